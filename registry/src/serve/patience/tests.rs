//! What becomes of connections by what is noted and when.

use super::*;

const HEAD: u64 = 10;
const KEEP_ALIVE: u64 = 75;
const STALL: u64 = 60;

struct Connection {
    begin: Instant,
    notes: Notes,
    patience: Patience,
}

impl Connection {
    fn new() -> Self {
        let settings = Settings {
            head: Duration::from_secs(HEAD),
            keep_alive: Duration::from_secs(KEEP_ALIVE),
            stall: Duration::from_secs(STALL),
            ..Settings::default()
        };
        let begin = Instant::now();
        Self { begin, notes: Notes::default(), patience: Patience::new(&settings, begin) }
    }

    /// One that has got a response, at its beginning.
    fn used(multiplexed: bool) -> Self {
        let mut connection = Self::new();
        connection.request(multiplexed);
        assert_eq!(connection.at(0), connection.until(KEEP_ALIVE));
        connection
    }

    fn request(&self, multiplexed: bool) {
        self.notes.said();
        self.notes.asked(multiplexed);
        self.notes.took(200);
        self.notes.answered();
    }

    fn at(&mut self, seconds: u64) -> Verdict {
        self.patience.verdict(&self.notes, self.begin + Duration::from_secs(seconds))
    }

    fn until(&self, seconds: u64) -> Verdict {
        Verdict::Until(self.begin + Duration::from_secs(seconds))
    }
}

#[test]
fn who_has_asked_for_nothing_yet_has_the_time_of_a_head() {
    let mut connection = Connection::new();
    assert_eq!(connection.at(0), connection.until(HEAD));
    connection.notes.said();
    assert_eq!(connection.at(9), connection.until(HEAD), "a few bytes are no request");
    assert_eq!(connection.at(HEAD), Verdict::Cut);
}

#[test]
fn a_later_head_has_its_time_from_its_first_byte() {
    let mut connection = Connection::used(false);
    connection.notes.said();
    assert_eq!(connection.at(50), connection.until(50 + HEAD));
    connection.notes.said();
    assert_eq!(connection.at(59), connection.until(50 + HEAD));
    assert_eq!(connection.at(60), Verdict::Cut);
}

#[test]
fn an_idle_connection_is_ended_and_then_cut() {
    for multiplexed in [false, true] {
        let mut connection = Connection::used(multiplexed);
        connection.request(multiplexed);
        assert_eq!(connection.at(40), connection.until(40 + KEEP_ALIVE), "each request begins anew");
        assert_eq!(connection.at(114), connection.until(115));
        assert_eq!(connection.at(115), Verdict::End);
        connection.patience.end();
        assert_eq!(connection.at(115), connection.until(115 + STALL));
        assert_eq!(connection.at(175), Verdict::Cut);
    }
}

#[test]
fn who_waits_for_us_may_wait() {
    let mut connection = Connection::used(false);
    connection.notes.said();
    connection.notes.asked(false);
    assert_eq!(connection.at(1), Verdict::Open);
    assert_eq!(connection.at(1000), Verdict::Open);
    connection.notes.answered();
    assert_eq!(connection.at(1001), connection.until(1001 + KEEP_ALIVE));
}

#[test]
fn who_takes_too_little_is_cut() {
    let mut connection = Connection::used(false);
    connection.notes.no_room();
    assert_eq!(connection.at(10), connection.until(10 + STALL));
    for _ in 0..2 {
        connection.notes.took(LEAST as usize / 2);
        connection.notes.no_room();
    }
    assert_eq!(connection.at(60), connection.until(60 + STALL), "it has taken something");
    connection.notes.took(LEAST as usize / 2);
    connection.notes.no_room();
    assert_eq!(connection.at(119), connection.until(60 + STALL), "that was too little");
    assert_eq!(connection.at(120), Verdict::Cut);
}

#[test]
fn who_has_taken_all_that_there_was_is_idle() {
    let mut connection = Connection::used(false);
    connection.notes.no_room();
    assert_eq!(connection.at(10), connection.until(10 + STALL));
    connection.notes.flushed();
    assert_eq!(connection.at(20), connection.until(20 + KEEP_ALIVE));
    assert_eq!(connection.at(20 + KEEP_ALIVE), Verdict::End);
}

#[test]
fn a_multiplexed_connection_lives_by_requests_and_responses_and_not_by_what_else_is_said() {
    let mut connection = Connection::used(true);
    connection.notes.said();
    connection.notes.took(0);
    assert_eq!(connection.at(30), connection.until(KEEP_ALIVE));
    connection.notes.took(100_000);
    assert_eq!(connection.at(60), connection.until(60 + KEEP_ALIVE));
    assert_eq!(connection.at(60 + KEEP_ALIVE), Verdict::End);
}

#[test]
fn who_still_sends_after_the_end_has_little_time() {
    let mut connection = Connection::used(false);
    connection.notes.lingers();
    assert_eq!(connection.at(5), Verdict::Until(connection.begin + Duration::from_secs(5) + LINGER));
    assert_eq!(connection.at(8), Verdict::Cut);
}
