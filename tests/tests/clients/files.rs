//! What `kitbag-builder image` writes with no registry running, read by skopeo and containerd, compared with what the
//! registry serves.

use kitbag_tests::{containerd::Containerd, stock};
use kitbag_toolsets::Compression;
use serde_json::Value;

use crate::{
    Test,
    layout::{assert_same, blobs, root},
    world::{World, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("skopeo reads an image's layout and its archive", skopeo_reads_both),
    ("skopeo reads a docker-archive", skopeo_reads_a_docker_archive),
    ("ctr 1 imports an archive", |world| ctr_imports(world, &world.containerd_1)),
    ("ctr 2 imports an archive", |world| ctr_imports(world, &world.containerd_2)),
];

const NAME: &str = "tools.example/strace:1";

fn skopeo_reads_both(world: &World) {
    for form in Compression::ALL {
        let (dir, image) = (world.scratch(), world.stock.image(stock::THREE));
        let index = image.form(form).index.digest.to_string();
        for kind in ["oci", "oci-archive"] {
            let written = format!("{kind}:{}/{kind}", dir.path().display());
            assert_eq!(written_to(world, form, &[], &written), index);
            let copied = dir.path().join(format!("{kind}-copied"));
            let target = format!("oci:{}:latest", copied.display());
            text(world.command("skopeo", &["copy", "--quiet", "--all", "--preserve-digests", &written, &target]));
            assert_same(&blobs(&copied), &world.stock.content(&image, form));
            assert_eq!(root(&copied), index);
        }
    }
}

fn skopeo_reads_a_docker_archive(world: &World) {
    let (dir, image) = (world.scratch(), world.stock.image(stock::THREE));
    let platform = &image.platforms()[0];
    let written = format!("docker-archive:{}/a.tar", dir.path().display());
    let id = written_to(world, Compression::Gzip, &["--platform", "linux/amd64"], &written);
    assert_eq!(id, platform.config.digest.to_string());
    let inspected: Value = serde_json::from_str(&text(world.command("skopeo", &["inspect", &written]))).unwrap();
    let diff_ids: Vec<_> = platform.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(inspected["Layers"], serde_json::json!(diff_ids));
}

fn ctr_imports(world: &World, containerd: &Containerd) {
    let (dir, image) = (world.scratch(), world.stock.image(stock::THREE));
    let (file, namespace) = (format!("{}/a.tar", dir.path().display()), "imported");
    let index = written_to(world, Compression::Gzip, &[], &format!("oci-archive:{file}"));
    assert_eq!(index, image.form(Compression::Gzip).index.digest.to_string());
    let ctr = |arguments: &[&str]| {
        let mut command = containerd.ctr(namespace);
        command.args(arguments);
        world.isolate(&mut command);
        text(command)
    };
    ctr(&["images", "import", "--no-unpack", &file]);
    let listed = ctr(&["images", "ls"]);
    let line = listed.lines().find(|line| line.starts_with(NAME)).expect("it has the name that it was given");
    assert!(line.contains(&index), "{line}");
    let digests = ctr(&["content", "ls", "--quiet"]);
    let expected: Vec<_> = world.stock.content(&image, Compression::Gzip).into_keys().collect();
    let found: Vec<_> = digests.lines().collect();
    let platform = &image.platforms()[0];
    let layers = platform.layers.iter().map(|layer| layer.gzip.digest.to_string());
    for digest in layers.chain([index, platform.config.digest.to_string()]) {
        assert!(found.contains(&digest.as_str()), "{digest} is not in {found:?}");
    }
    // The archive's own `index.json`, which names the image, is kept too, and nothing else that is foreign.
    let foreign: Vec<_> = found.iter().filter(|digest| !expected.iter().any(|known| known == *digest)).collect();
    assert!(foreign.len() <= 1, "{foreign:?}");
    ctr(&["images", "rm", NAME]);
}

/// Has the builder write the image of three tools; the digest that it prints.
fn written_to(world: &World, form: Compression, flags: &[&str], destination: &str) -> String {
    let compression = if form == Compression::Gzip { "gzip" } else { "zstd" };
    let store = world.stock.dir().display().to_string();
    let always = ["image", stock::THREE, "--store", &store, "--name", NAME, "--compression", compression];
    let printed = text(world.command(&world.builder, &[&always[..], flags, &["--to", destination]].concat()));
    let (place, digest) = printed.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(place, destination);
    digest.to_owned()
}
