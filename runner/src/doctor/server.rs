//! The API server: whether it knows ephemeral containers, and whether its clock is this machine's.

use std::time::Duration;

use super::facts::{Fetched, Server};
use super::finding::{Check, Finding};
use crate::kubernetes::{EPHEMERAL, TOO_OLD, minor};

/// The first minor version of Kubernetes 1 whose ephemeral containers are not an experiment.
const OLDEST: u32 = 25;
/// The newest that this program was tested with.
const NEWEST: u32 = 36;
/// From here on somebody should look at the clocks: logs and events no longer match.
const SKEWED: Duration = Duration::from_secs(5);
/// From here on tokens and certificates may be refused.
const BROKEN: Duration = Duration::from_secs(60);

/// Version and clock.
#[must_use]
pub(super) fn judge(server: &Server) -> Vec<Finding> {
    vec![version(server), clock(server)]
}

/// Whether a session can be had: it is a WebSocket.
#[must_use]
pub(super) fn session(upgrade: &Fetched<bool>) -> Finding {
    match upgrade {
        Fetched::Got(true) => Finding::ok(Check::Session, "WebSockets pass between this machine and the API server"),
        Fetched::Got(false) => Finding::failure(
            Check::Session,
            "a proxy between this machine and the API server takes away the headers `Connection` and `Upgrade`: no session can be opened",
        )
        .fix("# the proxy has to pass WebSockets on; or go around it:\nexport NO_PROXY=HOST\nkubectl config view --minify"),
        other => Finding::unseen(Check::Session, other, "watch pods"),
    }
}

fn version(server: &Server) -> Finding {
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), &server.version.git_version);
    let range = format!("1.{OLDEST} to 1.{NEWEST}");
    let told = format!("Kubernetes {theirs}, kubectl-kitbag {ours}");
    let newer = || {
        Finding::warning(Check::Version, format!("{told}: that is newer than what it was tested with, {range}"))
            .fix("# look for a newer kubectl-kitbag")
    };
    match (minor(&server.version.major), minor(&server.version.minor)) {
        (Some(1), Some(minor)) if minor < EPHEMERAL => Finding::failure(
            Check::Version,
            format!("{told}: the cluster has no ephemeral containers, without which no pod can be debugged"),
        )
        .fix(format!("# {TOO_OLD}")),
        (Some(1), Some(minor)) if minor < OLDEST => Finding::warning(
            Check::Version,
            format!("{told}: ephemeral containers are an experiment there, which can be turned off"),
        )
        .fix(format!("# upgrade the cluster: from 1.{OLDEST} on they are always there")),
        (Some(1), Some(minor)) if minor > NEWEST => newer(),
        (Some(1), Some(_)) => Finding::ok(Check::Version, format!("{told}, which is for {range}")),
        (Some(2..), _) => newer(),
        _ => Finding::warning(
            Check::Version,
            format!("kubectl-kitbag {ours} is for {range}; the API server calls itself `{theirs}`"),
        )
        .fix("kubectl version"),
    }
}

fn clock(server: &Server) -> Finding {
    let Some(date) = server.date else {
        return Finding::skipped(
            Check::Clock,
            "the API server's answers have no `Date`: something between takes it away",
        );
    };
    let (before, after) = server.asked;
    // Its clock is told in whole seconds: any moment of that second may be meant.
    let (earliest, latest) = (date.as_millisecond(), date.as_millisecond() + 1000);
    let (before, after) = (before.as_millisecond(), after.as_millisecond());
    let apart = (earliest - after).max(before - latest).max(0);
    let direction = if earliest > after { "behind" } else { "ahead of" };
    let apart = Duration::from_millis(u64::try_from(apart).unwrap_or_default());
    let text = format!("this machine's clock is {} s {direction} the API server's", apart.as_secs());
    let fix = "timedatectl status\n# the clock that is wrong has to be set by NTP";
    if apart > BROKEN {
        Finding::failure(Check::Clock, format!("{text}: tokens and certificates may be refused")).fix(fix)
    } else if apart > SKEWED {
        Finding::warning(Check::Clock, format!("{text}: ages and idle times are wrong by as much")).fix(fix)
    } else {
        Finding::ok(Check::Clock, "this machine and the API server agree on the time")
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::doctor::testing::told;

    fn server(major: &str, minor: &str) -> Server {
        let mut server = Server::default();
        server.version.git_version = format!("v{major}.{minor}.1");
        (server.version.major, server.version.minor) = (major.to_owned(), minor.to_owned());
        server
    }

    #[test]
    fn a_cluster_is_too_old_or_too_new_or_fits() {
        let versions = [("1", "22"), ("1", "24+"), ("1", "25"), ("1", "36"), ("1", "37"), ("2", "0"), ("", "")];
        let findings: Vec<Finding> = versions.iter().map(|(major, minor)| version(&server(major, minor))).collect();
        insta::assert_snapshot!(told(&findings), @r"
        FAILURE  version       Kubernetes v1.22.1, kubectl-kitbag 0.1.0: the cluster has no ephemeral containers, without which no pod can be debugged
                                 # upgrade the cluster: ephemeral containers came with Kubernetes 1.25
        warning  version       Kubernetes v1.24+.1, kubectl-kitbag 0.1.0: ephemeral containers are an experiment there, which can be turned off
                                 # upgrade the cluster: from 1.25 on they are always there
        ok       version       Kubernetes v1.25.1, kubectl-kitbag 0.1.0, which is for 1.25 to 1.36
        ok       version       Kubernetes v1.36.1, kubectl-kitbag 0.1.0, which is for 1.25 to 1.36
        warning  version       Kubernetes v1.37.1, kubectl-kitbag 0.1.0: that is newer than what it was tested with, 1.25 to 1.36
                                 # look for a newer kubectl-kitbag
        warning  version       Kubernetes v2.0.1, kubectl-kitbag 0.1.0: that is newer than what it was tested with, 1.25 to 1.36
                                 # look for a newer kubectl-kitbag
        warning  version       kubectl-kitbag 0.1.0 is for 1.25 to 1.36; the API server calls itself `v..1`
                                 kubectl version
        ");
    }

    #[test]
    fn clocks_may_differ_by_what_cannot_be_measured_and_a_little_more() {
        let now: Timestamp = "2026-03-01T12:00:00.9Z".parse().unwrap();
        let differing = |seconds: i64| {
            let date = "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
            clock(&Server {
                date: Some(date),
                asked: (now, now + SignedDuration::from_millis(40)),
                ..Server::default()
            })
        };
        let findings =
            [differing(0), differing(5), differing(-5), differing(7), differing(-7), differing(70), differing(-3600)];
        insta::assert_snapshot!(told(&findings), @r"
        ok       clock         this machine and the API server agree on the time
        ok       clock         this machine and the API server agree on the time
        ok       clock         this machine and the API server agree on the time
        warning  clock         this machine's clock is 6 s behind the API server's: ages and idle times are wrong by as much
                                 timedatectl status
                                 # the clock that is wrong has to be set by NTP
        warning  clock         this machine's clock is 6 s ahead of the API server's: ages and idle times are wrong by as much
                                 timedatectl status
                                 # the clock that is wrong has to be set by NTP
        FAILURE  clock         this machine's clock is 69 s behind the API server's: tokens and certificates may be refused
                                 timedatectl status
                                 # the clock that is wrong has to be set by NTP
        FAILURE  clock         this machine's clock is 3599 s ahead of the API server's: tokens and certificates may be refused
                                 timedatectl status
                                 # the clock that is wrong has to be set by NTP
        ");
        insta::assert_snapshot!(told(&[clock(&Server::default())]), @"skipped  clock         the API server's answers have no `Date`: something between takes it away");
    }

    #[test]
    fn a_proxy_may_take_a_websocket_for_a_question() {
        let upgrades = [Fetched::Got(true), Fetched::Got(false), Fetched::Forbidden, Fetched::Failed("403".to_owned())];
        insta::assert_snapshot!(told(&upgrades.map(|it| session(&it))), @r"
        ok       session       WebSockets pass between this machine and the API server
        FAILURE  session       a proxy between this machine and the API server takes away the headers `Connection` and `Upgrade`: no session can be opened
                                 # the proxy has to pass WebSockets on; or go around it:
                                 export NO_PROXY=HOST
                                 kubectl config view --minify
        skipped  session       only who may watch pods can look at that
        warning  session       the cluster does not say: 403
        ");
    }

    proptest! {
        #[test]
        fn no_version_makes_it_panic(text in "\\PC{0,12}") {
            let _ = version(&server(&text, &text));
        }
    }
}
