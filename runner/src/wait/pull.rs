//! Why a node cannot pull an image, read from what its container runtime says: whether trying again may help, and what a
//! person can do.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers under that address.
    Unreachable,
    /// The node can't resolve the name.
    NoName,
    /// The registry answers that it can't.
    Busy,
    /// The node does not trust the registry's certificate.
    Untrusted,
    /// The registry speaks plain HTTP and the node doesn't.
    Plain,
    /// The registry does not let the node in.
    Denied,
    /// The registry has no such image.
    Missing,
    /// It has it for other architectures.
    Platform,
    /// The reference makes no sense to the node.
    Name,
    /// The node must not pull it.
    Never,
    /// The node's disk is full.
    Full,
    /// Something else.
    Unknown,
}

/// What the runtimes say, in small letters. What is nearest to the network comes first: of a message with several of
/// these, the first counts.
const WORDS: [(Fault, &[&str]); 9] = [
    (Fault::NoName, &["no such host", "server misbehaving", "temporary failure in name resolution"]),
    (
        Fault::Unreachable,
        &[
            "connection refused",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "handshake timeout",
            "deadline exceeded",
            "timeout exceeded",
            ": eof",
            "unexpected eof",
        ],
    ),
    (
        Fault::Busy,
        &[
            "too many requests",
            "toomanyrequests",
            "500 internal server error",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway timeout",
        ],
    ),
    (Fault::Untrusted, &["x509:", "tls: ", "certificate"]),
    (Fault::Plain, &["server gave http response to https client"]),
    (Fault::Denied, &["unauthorized", "authorization failed", "403 forbidden", "denied", "no basic auth credentials"]),
    (Fault::Platform, &["no match for platform", "no matching manifest", "no image found in manifest list"]),
    (Fault::Missing, &["not found", "manifest unknown", "name unknown", "does not exist"]),
    (Fault::Full, &["no space left on device"]),
];

impl Fault {
    /// Reads why the kubelet has a container wait, and its words; nothing where that is not for the image.
    #[must_use]
    pub fn of(reason: &str, message: &str) -> Option<Self> {
        match reason {
            "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" => Some(Self::in_words(message)),
            "InvalidImageName" => Some(Self::Name),
            "ErrImageNeverPull" => Some(Self::Never),
            "RegistryUnavailable" => Some(Self::Unreachable),
            _ => None,
        }
    }

    fn in_words(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| message.contains(word)));
        found.map_or(Self::Unknown, |(fault, _)| *fault)
    }

    /// Whether the kubelet's next try will end as this one did.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Unreachable | Self::NoName | Self::Busy | Self::Full | Self::Unknown)
    }

    /// What to do about it; `registry` is as the node is told.
    #[must_use]
    pub fn hint(self, registry: &str) -> String {
        match self {
            Self::Unreachable => format!(
                "nodes pull by themselves: `{registry}` has to answer on the node, whatever it does here; `kubectl kitbag doctor` examines the cluster's own, --registry names another"
            ),
            Self::NoName => format!(
                "the node's own resolver has to know `{registry}`, and it knows no Services; --registry names another"
            ),
            Self::Busy => format!("registry `{registry}` is in trouble or has had enough; --registry names another"),
            Self::Untrusted => format!(
                "the node's container runtime has to trust the certificate of `{registry}` (containerd: `hosts.toml`); --registry names another"
            ),
            Self::Plain => format!(
                "the node's container runtime has to be told that `{registry}` speaks plain HTTP (containerd: `hosts.toml`); on the node's loopback it needs no telling"
            ),
            Self::Denied => format!(
                "`{registry}` wants to know the node: only the pull secrets that the pod has already count, and none can be added; --registry names another"
            ),
            Self::Missing => format!(
                "the registry that the node knows as `{registry}` has no such image: it may be another than the one that this machine knows so; `kubectl kitbag doctor` examines the cluster's own"
            ),
            Self::Platform => "the image is not there for the node's architecture".to_owned(),
            Self::Name => "the node can't read this image's name: see --registry and --image".to_owned(),
            Self::Never => "the image has to be on the node already: its kubelet is told not to pull it".to_owned(),
            Self::Full => "the node's disk is full; another node's pod can be debugged".to_owned(),
            Self::Unknown => "`kubectl describe pod` has what the node says".to_owned(),
        }
    }
}

/// The runtime's words, without what stands before them.
pub(crate) fn words(message: &str) -> String {
    let message = message.split_once("ErrImagePull: ").map_or(message, |(_, rest)| rest);
    let message = match message.strip_prefix("rpc error: code = ") {
        Some(rest) => rest.split_once(" desc = ").map_or(rest, |(_, rest)| rest),
        None => message,
    };
    message.trim().to_owned()
}

/// The registry in an image's reference.
pub(super) fn registry(image: &str) -> &str {
    image.split_once('/').map_or(image, |(registry, _)| registry)
}
