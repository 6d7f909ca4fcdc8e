//! What the fuzz targets check, held against what they have found so far (`registry/fuzz`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../fuzz/checks/accept.rs"]
mod accept;
#[path = "../fuzz/checks/credentials.rs"]
mod credentials;
#[path = "../fuzz/checks/digest.rs"]
mod digest;
#[path = "../fuzz/checks/if_none_match.rs"]
mod if_none_match;
#[path = "../fuzz/checks/range.rs"]
mod range;
#[path = "../fuzz/checks/route.rs"]
mod route;

use std::path::Path;

/// Panics where what it says does not hold.
type Check = fn(&[u8]);

#[test]
fn what_was_found_holds() {
    let targets: [(&str, Check); 6] = [
        ("accept", accept::check),
        ("credentials", credentials::check),
        ("digest", digest::check),
        ("if_none_match", if_none_match::check),
        ("range", range::check),
        ("route", route::check),
    ];
    for (target, check) in targets {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut checked = 0;
        for entry in std::fs::read_dir(&corpus).unwrap() {
            check(&std::fs::read(entry.unwrap().path()).unwrap());
            checked += 1;
        }
        assert!(checked > 0, "`{}` is empty", corpus.display());
    }
}
