//! Why a node cannot pull, in words, and what to do about it: pure.

use crate::doctor::discovery::Discovered;
use crate::doctor::fix::Installed;
use crate::doctor::registry::{self, Course};
use crate::shell::quoted;
use crate::wait::Fault;

/// `words` are the node's, and `course` is how far the registries are.
pub(super) fn not_pulled(
    fault: Fault,
    words: &str,
    discovered: &Discovered,
    installed: &Installed<'_>,
    course: Course,
) -> (String, String) {
    let Discovered { registry, per_node, generation, .. } = discovered;
    let scope = installed.scope();
    let pods = format!("kubectl get pods {scope} -o wide");
    let asked = format!("curl -sS {}", quoted(&format!("https://{registry}/v2/")));
    let missing = || {
        format!(
            "`{registry}` does not have generation {generation}, of which the ConfigMap speaks; or another program answers there"
        )
    };
    let (text, fix) = match (fault, per_node) {
        (Fault::Unreachable, true) => (
            format!("nothing answers at `{registry}`, where the node's own registry should be"),
            format!("{pods}\n{}", installed.install()),
        ),
        (Fault::Unreachable, false) => (
            format!("the node does not reach `{registry}`"),
            format!("# a firewall or a NetworkPolicy lies between, or nobody listens; on that node:\n{asked}"),
        ),
        (Fault::NoName, _) => (
            format!("the node's resolver does not know `{registry}`"),
            "# nodes know no Services: the name has to be one of the DNS that nodes use".to_owned(),
        ),
        (Fault::Missing, false) => (
            missing(),
            format!(
                "# roll the Deployment of that registry out, with an image of that generation; or publish what it serves:\n{}",
                installed.publish()
            ),
        ),
        (Fault::Missing, true) => (
            missing(),
            match course {
                Course::Rests => installed.install(),
                Course::Goes => format!(
                    "# another one is on its way to the nodes:\nkubectl rollout status daemonset/{} {scope}",
                    registry::NAME
                ),
                Course::Stuck => installed.install_before(),
            },
        ),
        (Fault::Untrusted, _) => (
            format!("the node does not trust the certificate of `{registry}`"),
            format!(
                "# on each node, a file of the container runtime (containerd: `/etc/containerd/certs.d/{registry}/hosts.toml`) has to name the authority"
            ),
        ),
        (Fault::Plain, _) => (
            format!("`{registry}` speaks plain HTTP, which nodes accept from their own loopback only"),
            "# put TLS in front of it".to_owned(),
        ),
        (Fault::Denied, _) => (
            format!("`{registry}` does not let the node in"),
            "# a kitbag registry for nodes has to let everybody pull: see its `htpasswd` and `token-file`".to_owned(),
        ),
        (Fault::Full, _) => ("the node's disk is full".to_owned(), "kubectl describe nodes".to_owned()),
        (Fault::Busy, _) => (
            format!("the registry at `{registry}` is in trouble: {words}"),
            if *per_node {
                format!("kubectl logs {scope} daemonset/{}", registry::NAME)
            } else {
                format!("# where that registry runs:\nkubectl logs -n NAMESPACE deployment/{}", registry::NAME)
            },
        ),
        (Fault::Platform, _) => (
            "the image is not there for the node's architecture".to_owned(),
            "kubectl get nodes -L kubernetes.io/arch".to_owned(),
        ),
        (Fault::Unknown, _) if is_forged(words) => (
            format!(
                "what answers at `{registry}` is not this cluster's registry: it serves something else under the digest that is asked for, which the node refuses"
            ),
            if *per_node {
                format!("# on that node, to see who listens there:\nss -ltnp 'sport = :{}'\n{pods}", installed.port)
            } else {
                format!("# see who answers there:\n{asked}")
            },
        ),
        (Fault::Name | Fault::Never | Fault::Unknown, _) => {
            (format!("the node cannot pull from `{registry}`: {words}"), if *per_node { pods } else { asked })
        }
    };
    (text, fix)
}

/// What containerd and CRI-O say when the bytes are not those of the digest.
fn is_forged(words: &str) -> bool {
    ["unexpected commit digest", "unexpected digest", "does not match the digest", "digest mismatch"]
        .iter()
        .any(|it| words.contains(it))
}
