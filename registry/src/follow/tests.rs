use std::os::unix::fs::symlink;

use super::*;
use crate::testing;

struct World {
    dir: tempfile::TempDir,
    followed: Followed,
    metrics: Arc<Metrics>,
    begin: Instant,
}

impl World {
    /// A store that is reached by a symbolic link.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        testing::make(&dir.path().join("a"));
        symlink("a", dir.path().join("store")).unwrap();
        let metrics = Arc::new(Metrics::default());
        let followed = Followed::open(&dir.path().join("store"), Arc::clone(&metrics)).unwrap();
        Self { dir, followed, metrics, begin: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn look(&self, seconds: u64) -> Option<Arc<Served>> {
        self.followed.look(self.begin + Duration::from_secs(seconds))
    }

    fn newest(&self) -> String {
        self.followed.served().held.listed()[0].id().to_string()
    }

    fn refusal(&self) -> Option<String> {
        self.followed.refusal().map(|text| text.replace(&self.dir.path().display().to_string(), "DIR"))
    }
}

#[test]
fn a_new_generation_is_served_at_the_next_look() {
    let world = World::new();
    let before = world.newest();
    assert!(world.look(0).is_none());
    let id = testing::add(&world.path("store"), "7.0").to_string();
    assert_eq!(world.newest(), before);
    assert!(world.look(0).is_some());
    assert_eq!((world.newest(), world.metrics.generations.get()), (id, 3));
    assert!(world.metrics.generation_since.get() > 1_700_000_000);
    assert!(world.look(0).is_none());
}

/// What happens to a store, in words and in deed.
type Case = (&'static str, fn(&World));

#[test]
fn what_is_broken_is_refused_once_and_the_store_before_it_served() {
    let broken: [Case; 8] = [
        ("no JSON", |world| fs::write(world.path("a/index.json"), "{").unwrap()),
        ("no generation", |world| {
            fs::write(world.path("a/index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        }),
        ("no index", |world| fs::remove_file(world.path("a/index.json")).unwrap()),
        ("an index that cannot be read", |world| {
            fs::remove_file(world.path("a/index.json")).unwrap();
            fs::create_dir(world.path("a/index.json")).unwrap();
        }),
        ("an empty directory", |world| {
            fs::remove_file(world.path("store")).unwrap();
            fs::create_dir(world.path("store")).unwrap();
        }),
        ("a file", |world| {
            fs::remove_file(world.path("store")).unwrap();
            fs::write(world.path("store"), "").unwrap();
        }),
        ("nothing", |world| fs::remove_file(world.path("store")).unwrap()),
        ("a missing layer", |world| {
            testing::add(&world.path("a"), "7.0");
            let newest = &Store::open(&world.path("a")).unwrap().generations()[0].clone();
            let layer = &newest.tools()["strace"][&kitbag_toolsets::Arch::Amd64].zstd;
            fs::remove_file(world.path("a/blobs/sha256").join(layer.digest.digest())).unwrap();
        }),
    ];
    let mut texts = Vec::new();
    for (what, break_it) in broken {
        let world = World::new();
        let before = world.newest();
        break_it(&world);
        for seconds in 0..10 {
            assert!(world.look(seconds).is_none(), "{what}");
        }
        assert_eq!((world.newest(), world.metrics.store_refusals.get()), (before, 1), "{what}");
        let text = world.refusal().unwrap();
        texts.push(text.split(" (blob").next().unwrap().to_owned());

        // What is repaired is served, and said to be well.
        let _ = fs::remove_file(world.path("store")).or_else(|_| fs::remove_dir(world.path("store")));
        testing::make(&world.path("b"));
        let id = testing::add(&world.path("b"), "8.0").to_string();
        symlink("b", world.path("store")).unwrap();
        assert!(world.look(10).is_some());
        assert_eq!((world.newest(), world.refusal(), world.metrics.store_refusals.get()), (id, None, 1), "{what}");
    }
    insta::assert_snapshot!(texts.join("\n"), @r"
    `DIR/store/index.json` is damaged: EOF while parsing an object at line 1 column 1; copy the store again
    the store at `DIR/store` holds no generation yet: build into it with `kitbag-builder build`
    the store at `DIR/store` is half written: `index.json` is missing; copy it again, or make a new one with `kitbag-builder build`
    cannot read `DIR/store/index.json`: Is a directory (os error 21)
    there is no store at `DIR/store`: make one with `kitbag-builder build --store DIR/store`
    cannot read `DIR/store/oci-layout`: Not a directory (os error 20)
    there is no store at `DIR/store`: make one with `kitbag-builder build --store DIR/store`
    the store at `DIR/store` is half written: a layer of `strace` for `amd64`
    ");
}

#[test]
fn a_copy_that_is_completed_later_is_seen_though_its_index_does_not_change() {
    let world = World::new();
    let id = testing::add(&world.path("store"), "7.0").to_string();
    let newest = Store::open(&world.path("store")).unwrap().generations()[0].clone();
    let layer = newest.tools()["strace"].values().next().unwrap().gzip.clone();
    let path = world.path("store/blobs/sha256").join(layer.digest.digest());
    fs::rename(&path, world.path("layer")).unwrap();
    assert!(world.look(0).is_none());
    assert!(world.refusal().unwrap().contains("is missing"));
    fs::rename(world.path("layer"), path).unwrap();
    assert!(world.look(0).is_none(), "it is not read at every look");
    assert!(world.look(1).is_some());
    assert_eq!((world.newest(), world.refusal()), (id, None));
}

#[test]
fn a_refused_store_is_read_again_ever_less_often() {
    let now = Instant::now();
    let mut retry = Retry::after(None, now);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        pauses.push((retry.at - now).as_millis());
        retry = Retry::after(Some(retry), now);
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
}

#[test]
fn old_damage_does_not_keep_a_new_generation_away() {
    let world = World::new();
    let base = world.followed.served().held.listed()[0].base().values().next().unwrap().gzip.clone();
    fs::remove_file(world.path("a/blobs/sha256").join(base.digest.digest())).unwrap();
    let id = testing::add(&world.path("store"), "7.0").to_string();
    assert!(world.look(0).is_some());
    assert_eq!((world.newest(), world.refusal()), (id, None));
}

#[test]
fn a_store_that_takes_anothers_place_is_read_as_a_whole() {
    let world = World::new();
    testing::make(&world.path("b"));
    let id = testing::add(&world.path("b"), "7.0").to_string();
    let base = Store::open(&world.path("b")).unwrap().generations()[0].base().values().next().unwrap().gzip.clone();
    let layer = world.path("b/blobs/sha256").join(base.digest.digest());
    fs::rename(&layer, world.path("layer")).unwrap();
    let place = |name: &str| {
        symlink(name, world.path("link")).unwrap();
        fs::rename(world.path("link"), world.path("store")).unwrap();
    };
    place("b");
    assert!(world.look(0).is_none(), "that the other store has this layer is no help");
    place("a");
    assert!(world.look(1).is_none());
    assert_eq!(world.refusal(), None);
    fs::rename(world.path("layer"), layer).unwrap();
    place("b");
    assert!(world.look(2).is_some());
    assert_eq!(world.newest(), id);
}
