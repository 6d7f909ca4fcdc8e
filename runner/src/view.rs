//! What a debug container shares with its target: mounts and environment, as far as the API takes them and our own programs
//! can live with them. Secrets go by reference, never by value. All of it pure.

mod env;
mod mounts;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, VolumeMount};

use crate::target::Target;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The target's volume mounts.
    pub volumes: bool,
    /// The target's environment.
    pub env: bool,
}

/// What is shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shared {
    pub(crate) volume_mounts: Vec<VolumeMount>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) env_from: Vec<EnvFromSource>,
    /// What is left out, and why.
    pub(crate) notes: Vec<String>,
}

/// What the target has that is wanted and possible. `ours`: the image is made of our tools.
pub(crate) fn of(target: &Target, view: View, ours: bool) -> Shared {
    let mut shared = Shared::default();
    if view.volumes {
        mounts::share(&target.spec, &mut shared);
    }
    if view.env {
        env::share(&target.spec, ours, &mut shared);
    }
    shared
}
