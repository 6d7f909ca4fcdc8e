//! What to do about an installation that did not happen, or not as a whole.

use kitbag_toolsets::published::PublishedError;

use super::error::InstallError;
use super::permissions;
use super::rollout::Trouble;
use super::served::ServedError;
use crate::kubernetes::{POD_SECURITY, TOO_OLD};

/// What else there is for who cannot ask the registries.
const WITHOUT_EXEC: &str = "`pods/exec` is for asking the image what it serves: --catalog FILE says it instead, which `kitbag-builder catalog --store DIR` prints";

impl InstallError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Embedded { .. } => None,
            Self::TooOld { .. } => {
                Some(format!("nothing was touched; {TOO_OLD}"))
            }
            Self::NoImage => Some(
                "`kitbag-builder image --server --to REGISTRY/kitbag-registry:TAG` makes one; name it with --image REGISTRY/kitbag-registry@DIGEST"
                    .to_owned(),
            ),
            Self::Image { .. } => Some("REGISTRY/NAME@DIGEST is wanted, or the name of a preloaded image".to_owned()),
            Self::CatalogFile { .. } | Self::Catalog { .. } => Some(
                "`kitbag-builder catalog --store DIR` prints it, for the store that the image is made of".to_owned(),
            ),
            Self::Forbidden { missing, .. } => {
                let rules = permissions::rules(missing);
                let exec = if permissions::is_about_exec(missing) { format!("\n{WITHOUT_EXEC}") } else { String::new() };
                Some(format!("nothing was touched; a ClusterRole with these rules will do:\n{rules}{exec}"))
            }
            Self::Managed { manager, .. } => {
                Some(format!("nothing was touched; change it with `{manager}`, or remove it with that first"))
            }
            Self::Foreign { .. } => Some(
                "nothing was touched; rename or remove it, or name another namespace with --namespace where that will do"
                    .to_owned(),
            ),
            Self::PodSecurity { namespace, .. } => Some(format!(
                "nothing was touched; whose it is may let them in: `kubectl label namespace {namespace} {POD_SECURITY}=privileged --overwrite`; or name another with --namespace"
            )),
            Self::Served { fault: ServedError::Catalog { fault, .. }, done } if is_of_another_version(fault) => {
                Some(format!("the image and this program have to be of the same version\n{}", done.afterwards()))
            }
            Self::Served { fault: ServedError::NoUpgrade { .. }, done } => Some(format!(
                "the proxy has to pass WebSockets on, or is gone around with $NO_PROXY; `kubectl kitbag doctor` checks it\n{WITHOUT_EXEC}\n{}",
                done.afterwards()
            )),
            Self::Served { done, .. } => Some(format!("{WITHOUT_EXEC}\n{}", done.afterwards())),
            Self::Differs { done, .. } => {
                Some(format!("without --catalog it is read from the image\n{}", done.afterwards()))
            }
            Self::Elsewhere { namespace } => Some(format!(
                "nothing was touched; two would want the same port: name --namespace {namespace}, or remove that one first: `kubectl kitbag uninstall --namespace {namespace}`"
            )),
            Self::Refused { done, .. } if done.is_empty() => Some("nothing was touched".to_owned()),
            Self::Rollout { troubles, done } | Self::Timeout { troubles, done, .. } if !troubles.is_empty() => {
                let hints: Vec<String> = troubles.iter().map(Trouble::hint).collect();
                Some(format!("{}\n{}", hints.join("\n"), done.afterwards()))
            }
            Self::Kept { done, .. } if done.is_empty() => Some("nothing was touched".to_owned()),
            Self::Kept { .. } => Some("the same command again goes on from there".to_owned()),
            Self::Overtaken { done } => Some(format!(
                "it is theirs to finish, or the same command again changes it back: agree on one; {}",
                done.discovery()
            )),
            Self::NoNodes { done } => Some(format!(
                "`kubectl get nodes --selector kubernetes.io/os=linux` says which there are; --catalog FILE installs without them\n{}",
                done.afterwards()
            )),
            Self::Gone { done } | Self::Refused { done, .. } | Self::Rollout { done, .. } | Self::Timeout { done, .. } => {
                Some(done.afterwards())
            }
            Self::Remains { objects, .. } => {
                let commands = objects.iter().map(|it| {
                    let place = it.namespace.iter().map(|namespace| format!(" --namespace {namespace}"));
                    let place = place.collect::<String>();
                    format!("`kubectl get {} {}{place} --output yaml` says what it waits for", it.resource.plural, it.name)
                });
                Some(commands.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// Whether another version of this program would read the catalog.
const fn is_of_another_version(fault: &PublishedError) -> bool {
    matches!(fault, PublishedError::Version { .. } | PublishedError::Composition { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::Done;

    #[test]
    fn a_removal_that_fails_goes_on_later() {
        let kept = |done: &[&str]| {
            let (object, message) = ("DaemonSet `registry` in namespace `kitbag`".to_owned(), "denied".to_owned());
            let done = done.iter().fold(Done::default(), |mut done, line| {
                done.add((*line).to_owned());
                done
            });
            let error = InstallError::Kept { object, code: 403, message, done };
            format!("{error}\nhint: {}", error.hint().unwrap())
        };
        insta::assert_snapshot!([kept(&[]), kept(&["ConfigMap `kitbag`: removed"])].join("\n"), @r"
        the cluster refuses to remove DaemonSet `registry` in namespace `kitbag`: denied
        hint: nothing was touched
        the cluster refuses to remove DaemonSet `registry` in namespace `kitbag`: denied
        done before:
          ConfigMap `kitbag`: removed
        hint: the same command again goes on from there
        ");
    }

    #[test]
    fn what_stays_is_named_in_what_to_ask() {
        let settings = crate::install::Settings { image: "x", namespace: "tools", port: 5050, pull_secret: None };
        let objects = crate::install::Objects::new(&settings).unwrap().first().into();
        let error = InstallError::Remains { seconds: 1, objects };
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
        after 1 s these are being deleted still:
          Namespace `tools`
          DaemonSet `registry` in namespace `tools`
        hint: `kubectl get namespaces tools --output yaml` says what it waits for
        `kubectl get daemonsets registry --namespace tools --output yaml` says what it waits for
        ");
    }
}
