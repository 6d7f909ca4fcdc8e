//! The store breaks under a running registry: what is damaged is refused, the rest is served, what is repaired is served
//! again, and the registry never ends.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    Row, World, side_by_side,
    site::{self, Layer, Site},
};
use crate::{
    Result,
    http::Connection,
    server::{Flags, Server},
    synthetic::{self, tool},
};

pub(super) fn rows(world: &World) -> Vec<Row> {
    side_by_side([
        ("flipped byte", &|| damaged(world, "flipped", |layer| Ok(layer.flip()?))),
        ("truncated file", &|| damaged(world, "truncated", |layer| Ok(cut(layer, 100)?))),
        ("truncated while it is being sent", &|| truncated_midway(world)),
        ("missing file", &|| missing(world)),
        ("unreadable directory", &|| unreadable(world)),
        ("full disk, under the log", &|| full_log(world)),
        ("full disk, under the store", &|| full_store(world)),
        ("store replaced by an empty directory", &|| replaced(world, "replaced", |_| Ok(()))),
        ("store replaced by an empty layout", &|| replaced(world, "empty-layout", empty_layout)),
        ("store emptied", &|| emptied(world)),
        ("broken new generation", &|| broken_index(world)),
    ])
}

/// Damages a layer that was never served, and one that was: each is refused, and served again when it is repaired.
fn damaged(world: &World, name: &str, damage: impl Fn(&Layer) -> Result) -> Result<String> {
    let site = Site::start(world, name)?;
    for (number, served) in [(0, false), (1, true)] {
        let layer = site.layer(number)?;
        let bytes = fs::read(&layer.file)?;
        if served {
            site.good(&layer)?;
        }
        damage(&layer)?;
        site.refused(&layer)?;
        site.unready_for(&layer)?;
        site.good_manifest()?;
        site.good(&site.layer(2)?)?;
        layer.repair(&bytes)?;
        site.good_soon(&layer)?;
        site.ready_soon()?;
    }
    site.end()?;
    Ok("refused and named by /readyz, before and after it was served; served again when repaired".into())
}

/// What was served before is in memory, and as right as it was.
fn missing(world: &World) -> Result<String> {
    let site = Site::start(world, "missing")?;
    let (seen, unseen) = (site.layer(0)?, site.layer(1)?);
    let bytes = fs::read(&unseen.file)?;
    site.good(&seen)?;
    for layer in [&seen, &unseen] {
        fs::remove_file(&layer.file)?;
    }
    site.good(&seen)?;
    site.refused(&unseen)?;
    site.unready_for(&unseen)?;
    site.good_manifest()?;
    unseen.repair(&bytes)?;
    site.good_soon(&unseen)?;
    site.ready_soon()?;
    site.end()?;
    Ok("refused and named by /readyz, served again when it is back; what was served before is served on".into())
}

fn cut(layer: &Layer, bytes: u64) -> std::io::Result<()> {
    File::options().write(true).open(&layer.file)?.set_len(bytes)
}

/// Reading a mapped page that has lost its file ends a process: the kernel may do it on our behalf, we may not.
fn truncated_midway(world: &World) -> Result<String> {
    let site = Site::start(world, "midway")?;
    let layer = site.big_layer()?;
    site.good(&layer)?;
    let bytes = fs::read(&layer.file)?;
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(&layer.path, "")?;
    let length = connection.head()?.length() as usize;
    let mut body = vec![0; 100_000];
    let begun = connection.read(&mut body)?;
    body.truncate(begun);
    cut(&layer, 50_000)?;
    let mut buffer = vec![0; 1 << 20];
    while body.len() < length {
        match connection.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => body.extend_from_slice(&buffer[..count]),
        }
    }
    if body.len() == length {
        layer.check_bytes(&body)?;
    }
    site.good_manifest()?;
    site.refused(&layer)?;
    layer.repair(&bytes)?;
    site.good_soon(&layer)?;
    site.end()?;
    Ok(format!("the response ended after {} of {length} bytes; the registry goes on", body.len()))
}

fn unreadable(world: &World) -> Result<String> {
    // Root reads everything, unless it has given that up.
    let site = Site::start_by(world, "unreadable", |program| {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search").arg(program);
        command
    })?;
    let (served, blobs) = (site.layer(0)?, site.flags.store.join("blobs/sha256"));
    site.good(&served)?;
    for (number, dir) in [(1, &blobs), (2, &site.flags.store)] {
        let (layer, mode) = (site.layer(number)?, fs::metadata(dir)?.permissions());
        let seen = fs::set_permissions(dir, Permissions::from_mode(0o000)).map_err(Into::into).and_then(|()| {
            site.refused(&layer)?;
            // What is mapped already may be served on.
            site.good(&served).or_else(|_| site.refused(&served))?;
            site.good_manifest()
        });
        fs::set_permissions(dir, mode)?;
        seen?;
        site.good_soon(&layer)?;
        site.good_soon(&served)?;
    }
    site.end()?;
    Ok("what was not read yet is refused, manifests are served; everything again when readable".into())
}

fn full_log(world: &World) -> Result<String> {
    let dir = world.dir.join("full-log");
    let store = dir.join("store");
    site::copy(world.store, &store)?;
    let flags = Flags::new(&store)?;
    let full = || File::options().write(true).open("/dev/full");
    let mut command = Command::new(&world.programs.registry);
    command.args(flags.arguments()).stdin(Stdio::null()).stdout(full()?).stderr(full()?);
    let server = Server::spawn_as_is(Path::new("/dev/null"), "registry", flags.listen, &mut command)?;
    let site = Site::of(server, flags)?;
    let mut connection = Connection::open(site.flags.listen)?;
    for _ in 0..1000 {
        site::check_manifest(&connection.get(site::MANIFEST)?)?;
    }
    site.good(&site.layer(0)?)?;
    drop(connection);
    site.end()?;
    Ok("1,000 requests served with nowhere to log".into())
}

/// A builder that runs out of space leaves the store as it was, and the registry serves it.
fn full_store(world: &World) -> Result<String> {
    let dir = world.dir.join("full-store");
    let mount = Mount::new(&dir.join("disk"), "256m")?;
    let store = mount.0.join("store");
    site::copy(world.store, &store)?;
    let site = Site::serve(world, Flags::new(&store)?, |program| Command::new(program))?;
    let (layer, filler) = (site.layer(0)?, mount.0.join("filler"));
    // It takes all that is left, and fails.
    let _ = fs::write(&filler, vec![1; 256 << 20]);
    let next = [tool(&synthetic::name(0), "2.0", 300_000)];
    if synthetic::commit(&store, &next).is_ok() {
        return Err("the disk was not full".into());
    }
    site.good_manifest()?;
    site.good(&layer)?;
    fs::remove_file(&filler)?;
    let seen = site.sees_soon(&synthetic::commit(&store, &next)?)?;
    site.good_manifest()?;
    site.good(&layer)?;
    site.end()?;
    Ok(format!("the old generation served; the new one seen {} ms after there was space", seen.as_millis()))
}

fn replaced(world: &World, name: &str, with: impl FnOnce(&Path) -> Result) -> Result<String> {
    let site = Site::start(world, name)?;
    let (seen, unseen, aside) = (site.layer(0)?, site.layer(1)?, site.flags.store.with_extension("aside"));
    site.good_manifest()?;
    site.good(&seen)?;
    fs::rename(&site.flags.store, &aside)?;
    fs::create_dir(&site.flags.store)?;
    with(&site.flags.store)?;
    site.refusal_soon()?;
    site.good_manifest()?;
    // It has the directory open, whatever it is called.
    site.good(&seen)?;
    site.good(&unseen)?;
    fs::remove_dir_all(&site.flags.store)?;
    fs::rename(&aside, &site.flags.store)?;
    site.ready_soon()?;
    site.good(&unseen)?;
    let next = synthetic::commit(&site.flags.store, &[tool(&synthetic::name(0), "2.0", 5000)])?;
    site.sees_soon(&next)?;
    site.end()?;
    Ok("refused and said so; everything of the old one served on; the next generation seen when it is back".into())
}

/// What is gone cannot be served, unless it was already: then it is in memory.
fn emptied(world: &World) -> Result<String> {
    let site = Site::start(world, "emptied")?;
    let (seen, unseen, store) = (site.layer(0)?, site.layer(1)?, &site.flags.store);
    site.good(&seen)?;
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    site.refusal_soon()?;
    site.good_manifest()?;
    site.good(&seen)?;
    site.refused(&unseen)?;
    site.unready_for(&unseen)?;
    site::copy(world.store, store)?;
    site.good_soon(&unseen)?;
    site.good(&seen)?;
    site.ready_soon()?;
    site.end()?;
    Ok("refused and said so; manifests and what was served before served on; everything again when it is back".into())
}

fn empty_layout(dir: &Path) -> Result {
    fs::create_dir_all(dir.join("blobs/sha256"))?;
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(fs::write(dir.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#)?)
}

fn broken_index(world: &World) -> Result<String> {
    let site = Site::start(world, "broken-index")?;
    let index = site.flags.store.join("index.json");
    let whole = fs::read(&index)?;
    fs::write(&index, &whole[..whole.len() / 2])?;
    site.refusal_soon()?;
    site.good_manifest()?;
    site.good(&site.layer(0)?)?;
    fs::write(&index, whole)?;
    let next = synthetic::commit(&site.flags.store, &[tool(&synthetic::name(0), "2.0", 5000)])?;
    let seen = site.sees_soon(&next)?;
    site.ready_soon()?;
    site.end()?;
    Ok(format!("refused and said so, the old one served; the next good one seen after {} ms", seen.as_millis()))
}

/// A small disk in memory.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(dir: &Path, size: &str) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "torture"]).arg(dir).status()?;
        if status.success() {
            Ok(Self(dir.to_owned()))
        } else {
            Err(format!("cannot mount a small disk ({status})").into())
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, for a registry that is still about to end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
