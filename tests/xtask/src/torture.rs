//! `cargo xtask torture`: what a registry meets in years, in minutes. The store changes and breaks under it, clients are
//! slow, silent, rude or too many, and another instance takes its place; what it answers is compared with the digests.
//!
//! The program under test is the one that the end-to-end tests run. It is bounded in time; the gate runs a short form.

mod churn;
mod clients;
mod ending;
mod faults;
mod files;
mod site;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kitbag_tests::{
    cache,
    programs::{self, Programs},
};

use crate::{
    Result,
    demo::{say, set_up},
    progress::{Progress, seconds},
};

/// How long the short form takes.
pub(crate) const SHORT: Duration = Duration::from_secs(20);

/// One line of the report.
pub(crate) struct Row {
    name: String,
    /// What was done and seen, or what is wrong.
    outcome: std::result::Result<String, String>,
}

/// What every part of the torture needs.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    programs: &'a Programs,
    dir: &'a Path,
    /// A store that whoever needs one takes a copy of.
    store: &'a Path,
    time: Duration,
}

/// Builds what is needed, then tortures it for about so long.
pub(crate) fn run(time: Duration) -> Result {
    let mut progress = Progress::new(2);
    let programs = progress.step("packages and programs", || -> Result<_> {
        set_up()?;
        Ok(programs::build(&mut say)?)
    })?;
    progress.step("torture", || torture(&programs, time))
}

/// Tortures the registry for about so long, and prints the report. It fails if any row does.
pub(crate) fn torture(programs: &Programs, time: Duration) -> Result {
    let dir = cache::scratch("torture-")?;
    let store = dir.path().join("store");
    site::make(&store)?;
    let world = World { programs, dir: dir.path(), store: &store, time };
    let began = Instant::now();
    // Side by side: most of the time, most of them wait.
    let parts: [fn(&World) -> Vec<Row>; 6] =
        [churn::rows, ending::rows, faults::rows, clients::slow_rows, clients::rude_rows, files::rows];
    let rows: Vec<Row> = thread::scope(|scope| {
        let parts: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || part(&world))).collect();
        let died =
            |_| vec![Row { name: "the torture itself".to_owned(), outcome: Err("a part of it died".to_owned()) }];
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(died)).collect()
    });
    print!("\n{}", report(&rows));
    println!("{} rows in {}", rows.len(), seconds(began.elapsed()));
    match rows.iter().filter(|row| row.outcome.is_err()).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} rows failed", rows.len()).into()),
    }
}

/// A row of something that is tried.
fn row(name: &str, work: impl FnOnce() -> Result<String>) -> Row {
    Row { name: name.to_owned(), outcome: work().map_err(|error| error.to_string()) }
}

/// Rows that have nothing to do with each other. Most of the time, most of them wait.
fn side_by_side<const N: usize>(rows: [(&'static str, &(dyn Fn() -> Result<String> + Sync)); N]) -> Vec<Row> {
    thread::scope(|scope| {
        let threads = rows.map(|(name, work)| (name, scope.spawn(move || row(name, work))));
        let died = |name| row(name, || Err("its thread died".into()));
        threads.map(|(name, thread)| thread.join().unwrap_or_else(|_| died(name))).into_iter().collect()
    })
}

fn report(rows: &[Row]) -> String {
    let line = |row: &Row| match &row.outcome {
        Ok(seen) => format!("ok      {:<44} {seen}\n", row.name),
        Err(why) => format!("FAILED  {:<44} {}\n", row.name, why.replace('\n', "\n            ")),
    };
    rows.iter().map(line).collect()
}

/// Waits until something is so, and says after how long it was.
fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Result<Duration> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > patience {
            return Err(format!("{what}: not within {}", seconds(patience)).into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_what_failed_and_why() {
        let rows =
            [row("flipped byte", || Ok("3 times".into())), row("missing file", || Err("status 200\nlog".into()))];
        let text = report(&rows);
        assert!(text.starts_with("ok      flipped byte ") && text.contains("  3 times\n"), "{text}");
        assert!(text.contains("FAILED  missing file") && text.ends_with("status 200\n            log\n"), "{text}");
    }

    #[test]
    fn waiting_has_an_end() {
        let mut left = 3;
        let mut counted = || {
            left -= 1;
            left == 0
        };
        until("x", Duration::from_secs(9), &mut counted).unwrap();
        assert!(until("x", Duration::ZERO, || false).unwrap_err().to_string().starts_with("x: not within"));
    }
}
