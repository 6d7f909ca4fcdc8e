//! `gc`: lets go of old generations.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use humantime::format_duration;
use kitbag_builder::store::gc::{self, Amount, Collection, Policy};
use kitbag_toolsets::GenerationId;

use crate::cli::Gc;
use crate::output::{CommandError, size};

pub(crate) fn run(options: &Gc) -> Result<ExitCode, CommandError> {
    let dir = options.store.dir();
    let policy = options.policy();
    let collect = if options.dry_run { gc::plan } else { gc::collect };
    let collection = collect(&dir, policy, SystemTime::now())?;
    print!("{}", text(&dir, &collection, policy, options.dry_run));
    Ok(ExitCode::SUCCESS)
}

/// A line for each dropped generation, one for what went, one for what waits.
fn text(dir: &Path, collection: &Collection, policy: Policy, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let mut text = String::new();
    for digest in &collection.dropped {
        text += &format!("generation {} {would}dropped\n", &digest.digest()[..GenerationId::LENGTH]);
    }
    let unfinished = match collection.unfinished {
        0 => String::new(),
        files => format!(" and {}", count(files, "unfinished file")),
    };
    let (removed, kept) = (amount(collection.removed), count(collection.kept, "generation"));
    text += &format!("{}: {removed}{unfinished} {would}removed, {kept} kept\n", dir.display());
    if collection.waiting.blobs > 0 {
        let (waiting, grace) = (amount(collection.waiting), format_duration(policy.grace));
        text += &format!("{waiting} stay until they have been out of reach for {grace}: run `gc` again then\n");
    }
    text
}

fn amount(amount: Amount) -> String {
    format!("{} ({})", count(amount.blobs, "blob"), size(amount.bytes))
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kitbag_toolsets::generation::sha256_digest;

    use super::*;

    #[test]
    fn what_goes_and_what_waits_is_said() {
        let policy = Policy { keep: 2.try_into().unwrap(), grace: Duration::from_secs(3600) };
        let collection = Collection {
            dropped: vec![sha256_digest(&"0123456789abcdef".repeat(4))],
            kept: 2,
            removed: Amount { blobs: 5, bytes: 1_234_567 },
            waiting: Amount { blobs: 7, bytes: 2_000 },
            unfinished: 1,
        };
        let store = Path::new("/store");
        insta::assert_snapshot!(text(store, &collection, policy, false), @r"
        generation 0123456789ab dropped
        /store: 5 blobs (1.2 MB) and 1 unfinished file removed, 2 generations kept
        7 blobs (2.0 kB) stay until they have been out of reach for 1h: run `gc` again then
        ");
        let nothing = Collection { kept: 2, ..Collection::default() };
        insta::assert_snapshot!(text(store, &nothing, policy, false), @"/store: 0 blobs (0 B) removed, 2 generations kept");
        insta::assert_snapshot!(text(store, &collection, policy, true), @r"
        generation 0123456789ab would be dropped
        /store: 5 blobs (1.2 MB) and 1 unfinished file would be removed, 2 generations kept
        7 blobs (2.0 kB) stay until they have been out of reach for 1h: run `gc` again then
        ");
    }
}
