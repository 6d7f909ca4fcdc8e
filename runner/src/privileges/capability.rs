//! Linux's capabilities: their names, without `CAP_` as Kubernetes has them, and sets of them as the kernel has them.

use std::fmt;
use std::str::FromStr;

/// By bit, as in `linux/capability.h`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The word for all of them, in a security context.
pub const ALL: &str = "ALL";

/// How many near names an unknown one is answered with.
const NEAR: usize = 3;

/// How many letters may differ in a near name.
const DISTANCE: usize = 3;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// Every capability.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// From the kernel's bits. Bits that have no name here are not counted.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// From names; `ALL` is all of them, and what is unknown to the kernel grants nothing.
    pub fn of<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Self {
        names.into_iter().fold(Self::default(), |set, name| set | Self::named(name.as_ref()))
    }

    fn named(name: &str) -> Self {
        if name == ALL {
            return Self::ALL;
        }
        NAMES.iter().position(|known| *known == name).map_or_else(Self::default, |bit| Self(1 << bit))
    }

    /// Whether `name` is in it.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.contains(Self::named(name)) && NAMES.contains(&name)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// What is in it and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its names, in the order of the alphabet.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let bits = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let mut names: Vec<&str> = bits.map(|(_, name)| *name).collect();
        names.sort_unstable();
        names
    }
}

impl std::ops::BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The names, with commas; `all capabilities` where it is all.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL { f.write_str("all capabilities") } else { f.write_str(&self.names().join(", ")) }
    }
}

/// One name as a person types it, `NET_RAW`, `cap_net_raw` or `ALL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability(String);

/// Why a text is not a [`Capability`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel has no capability `{name}`{}", did_you_mean(near))]
pub struct UnknownCapability {
    name: String,
    near: Vec<&'static str>,
}

impl Capability {
    /// The name, without `CAP_`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// An unknown name would pass the API and the runtime, and do nothing.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let name = text.trim().to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
        if name == ALL || NAMES.contains(&name.as_str()) {
            return Ok(Self(name));
        }
        let near = near(&name);
        Err(UnknownCapability { name: text.to_owned(), near })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The nearest names, and those of which `name` is a part.
fn near(name: &str) -> Vec<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let is_near = |known: &str| distance(known) <= DISTANCE.min(name.len() / 2);
    let is_part = |known: &str| name.len() > DISTANCE && known.contains(name);
    let mut near: Vec<&str> = NAMES.into_iter().filter(|known| is_near(known) || is_part(known)).collect();
    near.sort_by_key(|known| distance(known));
    near.truncate(NEAR);
    near
}

fn did_you_mean(near: &[&str]) -> String {
    let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bits_are_the_kernels() {
        // Containerd's default set, as /proc/PID/status has it.
        assert_eq!(
            Set::from_bits(0xa804_25fb).to_string(),
            "AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, MKNOD, NET_BIND_SERVICE, NET_RAW, SETFCAP, SETGID, SETPCAP, SETUID, SYS_CHROOT"
        );
        assert_eq!(Set::ALL, Set::from_bits(0x01ff_ffff_ffff));
        assert_eq!(Set::of(["CHECKPOINT_RESTORE"]), Set::from_bits(1 << 40));
        assert_eq!(Set::of(["ALL"]).to_string(), "all capabilities");
        assert!(!Set::ALL.has("NO_SUCH") && !Set::ALL.has("ALL"));
    }

    #[test]
    fn names_are_taken_as_people_type_them_and_unknown_ones_refused() {
        let names = ["NET_RAW", "cap_net_raw", "Sys_Ptrace", "all", "NET_ROW", "PTRACE", "CAP_", "SYS_ADMINISTRATOR"];
        let lines = names.map(|name| match name.parse::<Capability>() {
            Ok(capability) => format!("{name}: {capability}"),
            Err(error) => format!("{name}: error: {error}"),
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        NET_RAW: NET_RAW
        cap_net_raw: NET_RAW
        Sys_Ptrace: SYS_PTRACE
        all: ALL
        NET_ROW: error: the kernel has no capability `NET_ROW`: did you mean `NET_RAW`?
        PTRACE: error: the kernel has no capability `PTRACE`: did you mean `SYS_PTRACE`?
        CAP_: error: the kernel has no capability `CAP_`
        SYS_ADMINISTRATOR: error: the kernel has no capability `SYS_ADMINISTRATOR`
        ");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_known(text in "\\PC{0,30}") {
            if let Ok(capability) = text.parse::<Capability>() {
                prop_assert!(!Set::of([capability.as_str()]).is_empty());
            }
        }

        #[test]
        fn a_set_is_its_names(bits: u64) {
            let set = Set::from_bits(bits);
            prop_assert_eq!(Set::of(set.names()), set);
        }
    }
}
