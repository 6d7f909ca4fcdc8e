//! What a debug container shares with its target: mounts and environment, as far as the API takes them and our own programs
//! can live with them. Secrets go by reference, never by value. All of it pure.

mod env;
mod mounts;

use std::fmt;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, VolumeMount};

use crate::target::Target;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The target's volume mounts.
    pub volumes: bool,
    /// The target's environment.
    pub env: bool,
}

/// What `KITBAG_VIEW` calls it.
const VOLUMES: &str = "volumes";
const ENV: &str = "env";
const NONE: &str = "none";

impl View {
    /// Of the words in `KITBAG_VIEW`. Those that are unknown mean nothing.
    #[must_use]
    pub fn of_words(text: &str) -> Self {
        let has = |word: &str| text.split_whitespace().any(|it| it == word);
        Self { volumes: has(VOLUMES), env: has(ENV) }
    }
}

/// The words in `KITBAG_VIEW`.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.volumes, self.env) {
            (true, true) => "volumes env",
            (true, false) => VOLUMES,
            (false, true) => ENV,
            (false, false) => NONE,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_written_down_and_read_again() {
        for (volumes, env) in [(true, true), (true, false), (false, true), (false, false)] {
            let view = View { volumes, env };
            assert_eq!(View::of_words(&view.to_string()), view, "{view}");
        }
        assert_eq!(View::of_words("env devices"), View { volumes: false, env: true });
        assert_eq!(View::of_words(""), View::default());
    }
}
