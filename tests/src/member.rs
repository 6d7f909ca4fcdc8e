//! Which machine of a cluster a node is: all that differs between them follows from its number. Pure.

use std::{
    fmt,
    num::ParseIntError,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A machine's number, from 1. The first has the control plane, and what the others' cables are plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Member(u8);

/// The directory of the first machine's in which each other one has its own.
pub(crate) const OTHERS: &str = "others";
/// So many machines have an address each: it ends in 10 and the number.
const MOST: u8 = 200;

impl Member {
    /// The machine with the control plane.
    pub(crate) const FIRST: Self = Self(1);

    /// The numbers that others may have.
    pub(crate) fn others() -> impl Iterator<Item = Self> {
        (2..=MOST).map(Self)
    }

    /// The node's and the machine's name.
    pub(crate) fn name(self) -> String {
        format!("node{}", self.0)
    }

    /// Its address, of a range that is set aside for documentation.
    pub(crate) fn address(self) -> String {
        format!("198.51.100.{}", 10 + u16::from(self.0))
    }

    /// The addresses of its pods.
    pub(crate) fn pods(self) -> String {
        format!("10.88.{}.0/24", self.0)
    }

    /// Where clients on this machine reach the API server. On the first one it is the loopback, as it is for everyone who
    /// enters just its network.
    pub(crate) fn api_server(self) -> String {
        let host = if self == Self::FIRST { "127.0.0.1".into() } else { Self::FIRST.address() };
        format!("{host}:6443")
    }

    /// Its directory, where the cluster's is `first`.
    pub(crate) fn dir(self, first: &Path) -> PathBuf {
        if self == Self::FIRST { first.into() } else { first.join(OTHERS).join(self.name()) }
    }

    /// The cluster's directory, where this machine's is `own`.
    pub(crate) fn first_dir(self, own: &Path) -> &Path {
        if self == Self::FIRST { own } else { own.parent().and_then(Path::parent).unwrap_or(own) }
    }
}

/// Its number, as one process tells it another.
impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Member {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::ADDRESS;

    #[test]
    fn no_two_machines_share_an_address() {
        assert_eq!(Member::FIRST.address(), ADDRESS);
        let second = Member::others().next().unwrap();
        assert_eq!(
            (second.name(), second.address(), second.pods(), second.api_server()),
            ("node2".into(), "198.51.100.12".into(), "10.88.2.0/24".into(), "198.51.100.11:6443".into())
        );
        let last = Member::others().last().unwrap();
        assert_eq!((last.address(), last.pods()), ("198.51.100.210".into(), "10.88.200.0/24".into()));
    }

    #[test]
    fn a_directory_leads_back_to_the_clusters() {
        let cluster = Path::new("/srv/c");
        let second = Member::others().next().unwrap();
        assert_eq!(second.dir(cluster), Path::new("/srv/c/others/node2"));
        for member in [Member::FIRST, second] {
            assert_eq!(member.first_dir(&member.dir(cluster)), cluster);
        }
    }
}
