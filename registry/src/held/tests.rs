use super::*;
use crate::testing;

struct World {
    _dir: tempfile::TempDir,
    root: Arc<Root>,
    /// The newest first.
    generations: Vec<Arc<Generation>>,
    begin: Instant,
}

impl World {
    fn new(more: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = testing::make(dir.path());
        for number in 0..more {
            testing::add(dir.path(), &format!("7.{number}"));
            store = store.reopen().unwrap();
        }
        let root = Arc::new(Root::open(dir.path()).unwrap());
        Self { _dir: dir, root, generations: store.generations().to_vec(), begin: Instant::now() }
    }

    fn held(&self, listed: &[usize]) -> Held {
        Held::new(self.listed(listed), Arc::clone(&self.root), &Arc::default())
    }

    fn listed(&self, ages: &[usize]) -> Vec<Arc<Generation>> {
        ages.iter().map(|age| Arc::clone(&self.generations[*age])).collect()
    }

    /// What follows on `held` once these are listed, after so long.
    fn after(&self, held: &Held, listed: &[usize], seconds: u64) -> Option<Held> {
        held.after(&self.listed(listed), &self.root, self.begin + Duration::from_secs(seconds), &Arc::default())
    }

    /// The ages of the generations that are held.
    fn ages(&self, held: &Held) -> Vec<usize> {
        let age = |held: &Arc<Generation>| self.generations.iter().position(|other| other.id() == held.id()).unwrap();
        held.images.generations().iter().map(age).collect()
    }
}

#[test]
fn a_dropped_generation_lingers_for_a_while() {
    let world = World::new(1);
    let held = world.held(&[1, 2]);
    assert!(world.after(&held, &[1, 2], 10_000).is_none(), "nothing has changed");

    let held = world.after(&held, &[0], 100).unwrap();
    assert_eq!(world.ages(&held), [0, 1, 2]);
    assert!(world.after(&held, &[0], 699).is_none());
    let later = world.after(&held, &[0], 700).unwrap();
    assert_eq!(world.ages(&later), [0]);

    // One that comes back is listed again, and not held twice.
    let back = world.after(&held, &[2, 0], 200).unwrap();
    assert_eq!(world.ages(&back), [2, 0, 1]);
    assert_eq!(back.listed().len(), 2);
}

#[test]
fn what_is_only_dropped_is_not_listed() {
    let world = World::new(0);
    let held = world.after(&world.held(&[0, 1]), &[0], 0).unwrap();
    let strace = |age: usize| world.generations[age].tools()["strace"].values().next().unwrap().gzip.digest.clone();
    assert_eq!((held.lists(&strace(0)), held.lists(&strace(1))), (true, false));
    assert!(held.layers().any(|layer| layer.digest == strace(1)));
}

#[test]
fn however_often_a_store_changes_only_some_generations_are_held() {
    let world = World::new(MAX_RETIRED + 2);
    let oldest = world.generations.len() - 1;
    let mut held = world.held(&[oldest]);
    for age in (0..oldest).rev() {
        held = world.after(&held, &[age], 1).unwrap();
    }
    assert_eq!(world.ages(&held), (0..=MAX_RETIRED).collect::<Vec<_>>());
}

#[test]
fn another_directory_is_looked_at_first_and_the_old_one_while_something_lingers() {
    let (old, new) = (World::new(0), World::new(0));
    let (listed, root) = (new.listed(&[0]), &new.root);
    let held = old.held(&[0, 1]).after(&listed, root, old.begin, &Arc::default()).unwrap();
    let identities = |held: &Held| held.roots().iter().map(|root| root.identity()).collect::<Vec<_>>();
    assert_eq!(identities(&held), [new.root.identity(), old.root.identity()]);
    let later = held.after(&listed, root, old.begin + LINGER, &Arc::default()).unwrap();
    assert_eq!(identities(&later), [new.root.identity()]);
}

#[test]
fn every_layer_comes_once_in_order() {
    let world = World::new(0);
    let held = world.held(&[0, 1]);
    let mut all: Vec<BlobRef> = held.layers().cloned().collect();
    all.sort_by(|a, b| a.digest.as_ref().cmp(b.digest.as_ref()));
    all.dedup();
    for count in [1, 2, 3, all.len(), usize::MAX] {
        let mut seen: Vec<BlobRef> = Vec::new();
        loop {
            let next = held.layers_after(seen.last().map(|layer| &layer.digest), count);
            if next.is_empty() {
                break;
            }
            assert!(next.len() <= count);
            seen.extend(next);
        }
        assert_eq!(seen, all, "{count} at a time");
    }
}
