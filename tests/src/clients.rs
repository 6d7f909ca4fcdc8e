//! Clients of registries that Debian does not have, built from Go modules.

use std::path::PathBuf;

use crate::{cache, error::Result, go::Program};

/// The clients' programs.
#[derive(Clone, Debug)]
pub struct Clients {
    /// go-containerregistry's `crane`.
    pub crane: PathBuf,
    /// regclient's `regctl`.
    pub regctl: PathBuf,
    /// A program of ours over oras-go, the library of `oras`.
    pub oras: PathBuf,
    /// containerd 2; Debian's is older.
    pub containerd: PathBuf,
    /// Its `ctr`.
    pub ctr: PathBuf,
}

/// The sources of a module whose only content is which tools it has.
macro_rules! tool_module {
    ($name:literal) => {
        &[
            ("go.mod", include_str!(concat!("../clients/", $name, "/go.mod"))),
            ("go.sum", include_str!(concat!("../clients/", $name, "/go.sum"))),
        ]
    };
}

const CRANE: Program<'_> = Program {
    name: "crane",
    sources: tool_module!("crane"),
    package: "github.com/google/go-containerregistry/cmd/crane",
    stamps: &[],
    announcement: "crane from its Go module (once; half a minute)",
};

const REGCTL: Program<'_> = Program {
    name: "regctl",
    sources: tool_module!("regctl"),
    package: "github.com/regclient/regclient/cmd/regctl",
    stamps: &[],
    announcement: "regctl from its Go module (once; half a minute)",
};

const ORAS: Program<'_> = Program {
    name: "oras",
    sources: &[
        ("go.mod", include_str!("../clients/oras/go.mod")),
        ("go.sum", include_str!("../clients/oras/go.sum")),
        ("main.go", include_str!("../clients/oras/main.go")),
    ],
    package: ".",
    stamps: &[],
    announcement: "a client over oras-go (once; some seconds)",
};

const CONTAINERD: Program<'_> = Program {
    name: "containerd",
    sources: tool_module!("containerd"),
    package: "github.com/containerd/containerd/v2/cmd/containerd",
    stamps: &[],
    announcement: "containerd 2 from its Go module (once; about 2 minutes on two cores)",
};

const CTR: Program<'_> = Program {
    name: "ctr",
    package: "github.com/containerd/containerd/v2/cmd/ctr",
    announcement: "its ctr (once; some seconds)",
    ..CONTAINERD
};

/// The clients, built if they are not in the cache. `say` is told before a build starts.
///
/// # Errors
/// When Go is missing or a build fails.
pub fn build(say: &mut dyn FnMut(&str)) -> Result<Clients> {
    let cache = cache::dir();
    let mut built = |program: Program<'_>| program.built_in(&cache, say);
    Ok(Clients {
        crane: built(CRANE)?,
        regctl: built(REGCTL)?,
        oras: built(ORAS)?,
        containerd: built(CONTAINERD)?,
        ctr: built(CTR)?,
    })
}
