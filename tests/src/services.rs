//! What runs in a node: each program with its arguments and its configuration. Pure: texts and paths, no processes.

use std::path::{Path, PathBuf};

use crate::member::Member;

/// The first node's address, of a range that is set aside for documentation. It is the DNS server's too.
pub const ADDRESS: &str = "198.51.100.11";
/// The first node's name for who pulls images from it: a certificate of that name is in its `pki`.
pub const IMAGES: &str = "images.kitbag.test";
/// Where a node's default route leads; no one is there.
pub(crate) const GATEWAY: &str = "198.51.100.1";

/// The bridge in the first machine's network that all machines' cables lead to.
pub(crate) const SWITCH: &str = "switch";

/// A program that init starts, and starts again when it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name: of the program in [`programs`], of the log.
    pub(crate) name: &'static str,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Does it start only when the API server is ready?
    pub(crate) needs_api: bool,
}

/// Where the node's programs lie: links to the Kubernetes binary by the names that it goes by.
pub(crate) fn programs(dir: &Path) -> PathBuf {
    dir.join("programs")
}

/// All that runs in the node in `dir`, in the order of their start. The control plane and the DNS server are the first
/// one's.
pub(crate) fn services(dir: &Path, member: Member) -> Vec<Service> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let pki = |name: &str| text(dir.join("pki").join(name));
    let etc = |name: &str| text(dir.join("etc").join(name));
    let service = |name, needs_api, arguments: &[(&str, String)]| Service {
        name,
        needs_api,
        arguments: arguments.iter().map(|(flag, value)| format!("{flag}{value}")).collect(),
    };
    let plain = |value: &str| value.to_owned();
    let manager = |name: &str| {
        let kubeconfig = pki(&format!("{name}.kubeconfig"));
        vec![
            ("--kubeconfig=", kubeconfig.clone()),
            ("--authentication-kubeconfig=", kubeconfig.clone()),
            ("--authorization-kubeconfig=", kubeconfig),
            ("--bind-address=", plain("127.0.0.1")),
            ("--leader-elect=", plain("false")),
            // With the default limits it takes 5 s to make the first service account.
            ("--kube-api-qps=", plain("1000")),
            ("--kube-api-burst=", plain("1000")),
        ]
    };
    let mut controllers = manager("kube-controller-manager");
    controllers.extend([
        ("--use-service-account-credentials=", plain("true")),
        ("--service-account-private-key-file=", pki("service-account.key")),
        ("--root-ca-file=", pki("ca.crt")),
        ("--horizontal-pod-autoscaler-sync-period=", plain("2s")),
    ]);
    let containerd = service("containerd", false, &[("--config=", etc("containerd.toml"))]);
    let kubelet = service(
        "kubelet",
        true,
        &[
            ("--config=", etc("kubelet.yaml")),
            ("--kubeconfig=", pki("node.kubeconfig")),
            ("--hostname-override=", member.name()),
            ("--node-ip=", member.address()),
            ("--root-dir=", plain("/var/lib/kubelet")),
            ("--cert-dir=", plain("/var/lib/kubelet/pki")),
        ],
    );
    if member != Member::FIRST {
        return vec![containerd, kubelet];
    }
    vec![
        service("etcd", false, &[("--data-dir=", text(dir.join("etcd")))]),
        containerd,
        Service {
            name: "named",
            arguments: ["-g", "-c", &text(dir.join("dns/named.conf"))].map(plain).to_vec(),
            needs_api: false,
        },
        service(
            "kube-apiserver",
            false,
            &[
                ("--etcd-servers=", plain("http://127.0.0.1:2379")),
                ("--bind-address=", plain("0.0.0.0")),
                ("--secure-port=", plain("6443")),
                ("--advertise-address=", plain(ADDRESS)),
                ("--endpoint-reconciler-type=", plain("none")),
                ("--service-cluster-ip-range=", plain("10.96.0.0/16")),
                ("--authorization-mode=", plain("Node,RBAC")),
                ("--enable-admission-plugins=", plain("NodeRestriction")),
                ("--allow-privileged=", plain("true")),
                ("--client-ca-file=", pki("ca.crt")),
                ("--tls-cert-file=", pki("apiserver.crt")),
                ("--tls-private-key-file=", pki("apiserver.key")),
                ("--kubelet-certificate-authority=", pki("ca.crt")),
                ("--kubelet-client-certificate=", pki("apiserver-kubelet-client.crt")),
                ("--kubelet-client-key=", pki("apiserver-kubelet-client.key")),
                ("--kubelet-preferred-address-types=", plain("InternalIP")),
                ("--service-account-issuer=", plain("https://kubernetes.default.svc")),
                ("--service-account-key-file=", pki("service-account.pub")),
                ("--service-account-signing-key-file=", pki("service-account.key")),
            ],
        ),
        service("kube-controller-manager", true, &controllers),
        service("kube-scheduler", true, &manager("kube-scheduler")),
        kubelet,
    ]
}

/// The configuration files below `dir`: path in it, and content.
pub(crate) fn configuration(dir: &Path, member: Member) -> Vec<(&'static str, String)> {
    let values = [("@DIR@", dir.to_string_lossy().into_owned()), ("@DNS@", ADDRESS.into()), ("@PODS@", member.pods())];
    let fill = |text: &str| values.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value));
    vec![
        ("etc/containerd.toml", fill(include_str!("../cluster/containerd.toml"))),
        ("etc/kubelet.yaml", fill(include_str!("../cluster/kubelet.yaml"))),
        ("etc/cni/10-bridge.conflist", fill(include_str!("../cluster/bridge.conflist"))),
        ("etc/hosts", format!("127.0.0.1 localhost\n{} {}\n", member.address(), member.name())),
        ("etc/resolv.conf", format!("nameserver {ADDRESS}\n")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_in_a_configuration_is_left_unfilled() {
        for (name, content) in configuration(Path::new("/srv/node"), Member::FIRST) {
            assert!(!content.contains('@'), "{name}");
        }
    }

    #[test]
    fn what_talks_to_the_api_waits_for_it() {
        let waiting = |member| -> Vec<_> {
            let services = services(Path::new("/n"), member).into_iter();
            services.filter(|service| service.needs_api).map(|service| service.name).collect()
        };
        assert_eq!(waiting(Member::FIRST), ["kube-controller-manager", "kube-scheduler", "kubelet"]);
        assert_eq!(Member::others().next().map(waiting), Some(vec!["kubelet"]));
    }
}
