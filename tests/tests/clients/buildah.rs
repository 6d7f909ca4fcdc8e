//! buildah: containers/image and containers/storage, as Debian has them. What it pulls it unpacks, so that is looked at.

use std::{fs, path::Path, process::Command};

use kitbag_tests::stock;

use crate::{
    Test,
    world::{IMAGES, LATEST, MISSPELLED, NEAR, Part, World, refusal, tag, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("buildah pulls and unpacks either form for either platform", pulls_and_unpacks),
    ("buildah pulls each form by its tag", pulls_by_tag),
    ("buildah tells the near name", tells_the_near_name),
];

fn pulls_and_unpacks(world: &World) {
    for path in IMAGES {
        for part in world.parts(&world.stock.image(path)) {
            let (storage, platform, form) = (Storage::new(world), part.platform, part.form);
            let arch = platform.arch.as_str();
            let id = storage.line(&[
                "pull",
                "--quiet",
                "--tls-verify=false",
                "--arch",
                arch,
                &format!("{}/{path}@{}", world.host(), part.manifest.digest),
            ]);
            assert_eq!(format!("sha256:{id}"), platform.config.digest.to_string());
            assert!(storage.manifest(&id) == part.manifest.bytes);

            let container = storage.line(&["from", "--pull-never", "--arch", arch, &id]);
            let mounted = storage.line(&["mount", &container]);
            for tool in path.split('/') {
                let unpacked = fs::read(Path::new(&mounted).join("usr/bin").join(tool)).unwrap();
                assert!(unpacked == stock::program_of(tool, platform.arch).unwrap(), "{tool}, {arch}, {form:?}");
            }
        }
    }
}

fn pulls_by_tag(world: &World) {
    let image = world.stock.image(stock::THREE);
    for part in world.parts(&image).filter(Part::is_here) {
        let storage = Storage::new(world);
        let reference = format!("{}/{}:{}", world.host(), stock::THREE, tag(LATEST, part.form));
        let id = storage.line(&["pull", "--quiet", "--tls-verify=false", &reference]);
        assert!(storage.manifest(&id) == part.manifest.bytes);
        let listed = storage.line(&["images", "--quiet", "--no-trunc"]);
        assert_eq!(listed, part.platform.config.digest.to_string());
    }
}

fn tells_the_near_name(world: &World) {
    let storage = Storage::new(world);
    let reference = format!("{}/{MISSPELLED}", world.host());
    let said = refusal(storage.buildah(&["pull", "--tls-verify=false", &reference]));
    assert!(said.contains(NEAR), "{said}");
}

/// Where buildah keeps images: empty at first, and gone at the end.
struct Storage<'a> {
    world: &'a World,
    dir: tempfile::TempDir,
}

impl<'a> Storage<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, dir: world.scratch() }
    }

    fn buildah(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command("buildah", &["--storage-driver=overlay"]);
        command.arg("--root").arg(self.dir.path().join("root")).arg("--runroot").arg(self.dir.path().join("run"));
        command.args(arguments);
        command
    }

    /// Runs buildah, which must succeed; the line that it printed.
    #[track_caller]
    fn line(&self, arguments: &[&str]) -> String {
        text(self.buildah(arguments)).trim().to_owned()
    }

    /// The manifest of an image, as it was pulled.
    fn manifest(&self, id: &str) -> Vec<u8> {
        fs::read(self.dir.path().join("root/overlay-images").join(id).join("manifest")).unwrap()
    }
}

impl Drop for Storage<'_> {
    fn drop(&mut self) {
        // With its mounts, the directory could not be removed. What fails here fails there, which is no test's affair.
        let _ = self.buildah(&["rm", "--all"]).output();
        let _ = self.world.command("umount", &[]).arg(self.dir.path().join("root/overlay")).output();
    }
}
