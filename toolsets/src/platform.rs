//! The platforms that images are made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A processor architecture, named as in Go's `GOARCH` (OCI image specification, "image index", `platform`).
/// The operating system is always `linux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Arch {
    /// Every architecture, in the order in which an index lists them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// `amd64` or `arm64`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A text that names no architecture of [`Arch::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{0}`: `amd64` and `arm64` are known")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        Self::ALL.into_iter().find(|arch| arch.as_str() == text).ok_or_else(|| UnknownArch(text.to_owned()))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
