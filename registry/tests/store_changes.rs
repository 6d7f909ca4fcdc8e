//! A registry whose store changes, breaks and is repaired under it, asked through [`Service`].

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/testing.rs"]
mod testing;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use kitbag_builder::store::gc::{self, Policy};
use kitbag_builder::store::{Store, verify};
use kitbag_registry::exchange::Client;
use kitbag_registry::follow::{Settings, follow};
use kitbag_registry::listen::{Given, Options, listen};
use kitbag_registry::serve;
use kitbag_registry::{Metrics, Registry, Service};
use kitbag_toolsets::canonical::sha256_hex;
use serde_json::Value;
use tokio::time::sleep;

/// What no test waits longer for.
const GUARD: Duration = Duration::from_secs(60);

/// A registry over a store in a directory of its own. The store's name is a symbolic link.
struct World {
    dir: tempfile::TempDir,
    service: Arc<Service>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        testing::make(&dir.path().join("a"));
        symlink("a", dir.path().join("store")).unwrap();
        let metrics = Arc::new(Metrics::default());
        let registry = Registry::open(&dir.path().join("store"), Arc::clone(&metrics)).unwrap();
        Self { service: service(registry, metrics), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn registry(&self) -> &Arc<Registry> {
        &self.service.registry
    }

    fn follow(&self, settings: Settings) {
        tokio::spawn(follow(Arc::clone(self.registry()), settings));
    }

    async fn get(&self, target: &str) -> (u16, Bytes) {
        get(&self.service, target).await
    }

    /// The targets of the image's documents and layers.
    async fn everything(&self, image: &str, tag: &str) -> Vec<String> {
        everything(&self.service, image, tag).await.unwrap()
    }

    async fn assert_served(&self, targets: &[String]) {
        for target in targets {
            let (status, body) = self.get(target).await;
            assert_eq!((status, digest(target)), (200, sha256_hex(&body).as_str()), "{target}");
        }
    }

    /// Waits until it is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Registry) -> bool) {
        let waiting = async {
            while !is_so(self.registry()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(GUARD, waiting).await.unwrap_or_else(|_| panic!("not seen: {what}"));
    }

    /// The file of the layer that the target names.
    fn file(&self, target: &str) -> PathBuf {
        self.path("store/blobs/sha256").join(digest(target))
    }
}

fn service(registry: Registry, metrics: Arc<Metrics>) -> Arc<Service> {
    Arc::new(Service::new(Arc::new(registry), metrics))
}

async fn get(service: &Service, target: &str) -> (u16, Bytes) {
    let request = Request::get(target).body(()).unwrap();
    let response = service.exchange(Client::Local, &request).await;
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

/// The targets of an image's documents and layers; the first answer that is not 200 where there is one.
async fn everything(service: &Service, image: &str, tag: &str) -> Result<Vec<String>, (u16, String)> {
    let document = async |target: String| {
        let (status, body) = get(service, &target).await;
        if status == 200 { Ok(serde_json::from_slice::<Value>(&body).unwrap()) } else { Err((status, target)) }
    };
    let target =
        |kind: &str, descriptor: &Value| format!("/v2/{image}/{kind}/{}", descriptor["digest"].as_str().unwrap());
    let mut targets = Vec::new();
    let index = document(format!("/v2/{image}/manifests/{tag}")).await?;
    for descriptor in index["manifests"].as_array().unwrap() {
        targets.push(target("manifests", descriptor));
        let manifest = document(target("manifests", descriptor)).await?;
        targets.push(target("blobs", &manifest["config"]));
        targets.extend(manifest["layers"].as_array().unwrap().iter().map(|layer| target("blobs", layer)));
    }
    Ok(targets)
}

/// The hexadecimal digits at the end of a target.
fn digest(target: &str) -> &str {
    target.rsplit(':').next().unwrap()
}

fn layer_of(targets: &[String], dir: &Path) -> String {
    let in_store =
        |target: &&String| target.contains("/blobs/") && dir.join("blobs/sha256").join(digest(target)).exists();
    targets.iter().rfind(in_store).unwrap().clone()
}

fn collect(dir: &Path, keep: usize, grace: Duration) {
    let policy = Policy { keep: NonZeroUsize::new(keep).unwrap(), grace };
    gc::collect(dir, policy, SystemTime::now()).unwrap();
}

/// Pulls without end while generations come and go. Gives how often each status was seen.
async fn pull_while_it_changes(world: &World, changes: usize, grace: Duration) -> BTreeMap<u16, usize> {
    world.follow(Settings { poll: Duration::from_millis(20), ..Settings::default() });
    let ended = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (service, ended) = (Arc::clone(&world.service), Arc::clone(&ended));
            let image = ["strace", "strace/sh", "dig/strace", "sh"][number];
            tokio::spawn(async move {
                let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
                while !ended.load(Ordering::Relaxed) {
                    let targets = match everything(&service, image, "latest").await {
                        Ok(targets) => targets,
                        Err((status, _)) => {
                            *seen.entry(status).or_default() += 1;
                            continue;
                        }
                    };
                    for target in targets {
                        let (status, body) = get(&service, &target).await;
                        let right = status != 200 || sha256_hex(&body) == digest(&target);
                        assert!(right, "wrong bytes for {target}");
                        *seen.entry(status).or_default() += 1;
                        tokio::task::yield_now().await;
                    }
                }
                seen
            })
        })
        .collect();
    let dir = world.path("a");
    let writer = tokio::task::spawn_blocking(move || {
        for number in 0..changes {
            testing::add(&dir, &format!("7.{number}"));
            collect(&dir, 1 + number % 2, grace);
        }
    });
    writer.await.unwrap();
    world
        .until("the last generation", |registry| {
            Store::open(&world.path("a")).unwrap().generations()[0].id() == registry.latest().id()
        })
        .await;
    ended.store(true, Ordering::Relaxed);
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for client in clients {
        for (status, count) in client.await.unwrap() {
            *seen.entry(status).or_default() += count;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_go_on_while_generations_come_and_gc_removes_old_ones() {
    let world = World::new();
    let seen = pull_while_it_changes(&world, 8, Duration::from_secs(3600)).await;
    assert_eq!(seen.keys().collect::<Vec<_>>(), [&200], "{seen:?}");
    assert!(seen[&200] > 200, "{seen:?}");
    assert_eq!(world.service.metrics.store_refusals.get(), 0);
    assert_eq!(world.registry().health().damaged, []);
    assert!(verify(&world.path("a")).unwrap().faults.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_gc_gives_no_grace_a_layer_is_unknown_at_worst() {
    let world = World::new();
    let seen = pull_while_it_changes(&world, 8, Duration::ZERO).await;
    assert!(seen.keys().all(|status| [200, 404].contains(status)), "{seen:?}");
    assert!(seen[&200] > 200, "{seen:?}");
    assert_eq!(world.service.metrics.store_refusals.get(), 0);
    assert_eq!(world.registry().health().damaged, []);
}

#[tokio::test]
async fn a_pull_that_has_begun_is_finished_from_the_generation_that_was_dropped() {
    let world = World::new();
    let targets = world.everything("strace", "latest").await;
    testing::add(&world.path("a"), "7.0");
    collect(&world.path("a"), 1, Duration::from_secs(3600));
    world.registry().look().await;
    assert_ne!(world.everything("strace", "latest").await, targets);
    world.assert_served(&targets).await;

    // What was never asked for and is gone is unknown: a dropped generation is not damage.
    let layer = layer_of(&world.everything("tags", "latest").await, &world.path("a"));
    let other = World::new();
    let unasked = layer_of(&other.everything("strace", "latest").await, &other.path("a"));
    testing::add(&other.path("a"), "7.0");
    collect(&other.path("a"), 1, Duration::ZERO);
    assert_eq!((other.get(&unasked).await.0, other.get(&layer).await.0), (404, 200));
    assert_eq!(other.registry().health().damaged, []);
}

#[tokio::test]
async fn a_store_may_be_replaced_by_another_and_the_old_one_taken_away() {
    let world = World::new();
    let targets = world.everything("strace/sh", "latest").await;
    testing::make(&world.path("b"));
    let id = testing::add(&world.path("b"), "7.0");
    symlink("b", world.path("link")).unwrap();
    fs::rename(world.path("link"), world.path("store")).unwrap();
    world.registry().look().await;
    assert_eq!(*world.registry().latest().id(), id);
    world.assert_served(&targets).await;
    world.assert_served(&world.everything("strace/sh", "latest").await).await;

    fs::remove_dir_all(world.path("a")).unwrap();
    world.assert_served(&targets).await;
    assert_eq!(world.registry().health().damaged, []);
}

/// What happens to a store.
type Case = (&'static str, fn(&World));

#[tokio::test]
async fn while_a_store_is_away_or_empty_or_unreadable_the_old_one_is_served() {
    fn away(world: &World) {
        fs::rename(world.path("a"), world.path("elsewhere")).unwrap();
    }
    let cases: [Case; 4] = [
        ("away", away),
        ("empty", |world| {
            away(world);
            fs::create_dir(world.path("a")).unwrap();
        }),
        ("without a generation", |world| {
            away(world);
            drop(kitbag_builder::store::StoreWriter::open_or_create(&world.path("a")).unwrap());
        }),
        ("unreadable", |world| {
            away(world);
            fs::write(world.path("a"), "").unwrap();
        }),
    ];
    for (what, break_it) in cases {
        let world = World::new();
        break_it(&world);
        world.registry().look().await;
        assert!(world.registry().health().refusal.is_some(), "{what}");
        // Nothing of it was asked for before.
        world.assert_served(&world.everything("strace/sh", "latest").await).await;
        assert_eq!(world.service.metrics.store_refusals.get(), 1, "{what}");

        let _ = fs::remove_file(world.path("a")).or_else(|_| fs::remove_dir_all(world.path("a")));
        fs::rename(world.path("elsewhere"), world.path("a")).unwrap();
        world.registry().look().await;
        assert_eq!(world.registry().health().refusal, None, "{what}");
    }
}

/// What happens to a file, in words and in deed.
type Damage = (&'static str, fn(&Path));

#[tokio::test]
async fn damage_is_never_served_and_repaired_by_the_right_file() {
    let damages: [Damage; 3] = [
        ("a flipped byte", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[100] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a truncated file", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap()),
        ("a missing file", |path| fs::remove_file(path).unwrap()),
    ];
    for (what, damage) in damages {
        for asked_before in [false, true] {
            let world = World::new();
            let targets = world.everything("strace", "latest").await;
            let layer = layer_of(&targets, &world.path("a"));
            let path = world.file(&layer);
            let whole = fs::read(&path).unwrap();
            if asked_before {
                world.assert_served(&targets).await;
            }
            damage(&path);
            world.follow(Settings {
                scrub_rate: u64::MAX,
                scrub_pause: Duration::from_millis(20),
                ..Settings::default()
            });
            world.until("the damage", |registry| registry.health().damaged.len() == 1).await;
            assert_eq!(world.registry().health().damaged[0].digest(), digest(&layer));
            assert_eq!(world.service.metrics.blobs_damaged.get(), 1);
            let (status, body) = world.get(&layer).await;
            // What is mapped of a file that was removed is right.
            let served = asked_before && what == "a missing file";
            assert_eq!(status, if served { 200 } else { 500 }, "{what}");
            assert!(!served || body == whole);

            fs::write(world.path("repaired"), &whole).unwrap();
            fs::rename(world.path("repaired"), &path).unwrap();
            world.until("the repair", |registry| registry.health().damaged.is_empty()).await;
            world.assert_served(&targets).await;
        }
    }
}

/// Writing to a page that is mapped and dirty already changes neither size nor times of its file.
#[tokio::test]
#[allow(unsafe_code, reason = "mapping a file that others map too is what is tested")]
async fn the_scrub_finds_a_byte_that_changed_without_a_trace() {
    let world = World::new();
    let layer = layer_of(&world.everything("strace", "latest").await, &world.path("a"));
    let file = fs::OpenOptions::new().read(true).write(true).open(world.file(&layer)).unwrap();
    // SAFETY: nobody truncates the file.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file).unwrap() };
    map[100] ^= 1;
    map[100] ^= 1;
    assert_eq!(world.get(&layer).await.0, 200);
    let changed = || file.metadata().map(|file| (file.mtime_nsec(), file.ctime_nsec())).unwrap();
    let before = changed();
    map[100] ^= 1;
    assert_eq!(changed(), before);
    assert_eq!(world.get(&layer).await.0, 200, "nothing shows the damage, until the scrub comes by");
    world.follow(Settings { scrub_rate: u64::MAX, scrub_pause: Duration::from_millis(20), ..Settings::default() });
    world.until("the damage", |registry| !registry.health().damaged.is_empty()).await;
    assert_eq!(world.get(&layer).await.0, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_repaired_is_well_again_before_anybody_asks_for_it() {
    let world = World::new();
    world.follow(Settings { scrub_rate: 0, ..Settings::default() });
    let targets = world.everything("strace", "latest").await;
    let layer = targets.iter().find(|target| world.file(target).exists()).unwrap();
    let file = world.file(layer);
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(world.get(layer).await.0, 500);
    assert_eq!(world.registry().health().damaged.len(), 1);
    fs::write(&file, &whole).unwrap();
    world.until("a repair", |registry| registry.health().damaged.is_empty()).await;
    world.assert_served(&targets).await;
}

/// The kernel finds that a page is gone when it copies it to the socket, and says so to the writer: no signal is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_truncated_while_it_is_sent_ends_that_connection_only() {
    let world = World::new();
    let targets = world.everything("sh", "latest").await;
    let largest = targets.iter().max_by_key(|target| fs::metadata(world.file(target)).map_or(0, |file| file.len()));
    let largest = largest.unwrap().clone();
    let listeners = listen(&["127.0.0.1:0".parse().unwrap()], &Options::default(), Given::default()).unwrap();
    let address = listeners[0].endpoint().address().unwrap();
    let settings = serve::Settings::default();
    tokio::spawn(serve::serve(listeners, Arc::clone(&world.service), settings, std::future::pending()));
    let path = world.file(&largest);
    let (whole, size) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().len());
    let received = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        // More than the buffers between the two hold, so that the server must come back to the file.
        let request = format!("GET {largest} HTTP/1.1\r\nHost: registry\r\n\r\n");
        let last = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        stream.write_all((request.repeat(63) + &last).as_bytes()).unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        fs::write(&path, whole).unwrap();
        rest.len() as u64
    })
    .await
    .unwrap();
    assert!(received < 64 * size, "something was cut");
    world.assert_served(&targets).await;
}

/// Set for the child that fills the disk.
const FULL: &str = "KITBAG_TEST_FULL_DISK";

#[tokio::test]
async fn a_full_disk_leaves_the_store_as_it_was() {
    if let Some(dir) = std::env::var_os(FULL) {
        testing::add(Path::new(&dir), "7.0");
        return;
    }
    let world = World::new();
    let targets = world.everything("strace", "latest").await;
    // The limit is in blocks of 512 bytes: room for an index of a tool, not for a layer. The signal is ignored, so
    // that writing fails as it does on a full disk.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact a_full_disk_leaves_the_store_as_it_was"])
        .arg(std::env::current_exe().unwrap())
        .env(FULL, world.path("a"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success() && said.contains("File too large"), "{said}");
    world.registry().look().await;
    assert_eq!(world.registry().health().refusal, None);
    assert_eq!(world.everything("strace", "latest").await, targets);
    let found = verify(&world.path("a")).unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);

    // With room again, the next run does it.
    let id = testing::add(&world.path("a"), "7.0");
    world.registry().look().await;
    assert_eq!(*world.registry().latest().id(), id);
}
