//! The flags that choose a cluster and an identity: kubectl's own, by its names and with its meaning; and whose tools are
//! meant.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueHint};

use super::values;
use crate::image::Registry;

/// The heading above these flags.
pub(crate) const HEADING: &str = "Cluster, as kubectl has it";

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Common {
    /// The namespace [default: the context's].
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The context of the kubeconfig [default: the current one].
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The cluster of the kubeconfig [default: the context's].
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// The user of the kubeconfig [default: the context's].
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, the service account of the pod that this runs in].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The user to act as; `system:serviceaccount:NAMESPACE:NAME` is a service account.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// A group to act as; may be repeated.
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    pub(crate) impersonate_groups: Vec<String>,
    /// The uid to act as.
    #[arg(long = "as-uid", value_name = "UID", requires = "impersonate")]
    pub(crate) impersonate_uid: Option<String>,
    /// How long the API server may take to begin each answer; 0: as long as it likes.
    #[arg(long, value_name = "DURATION", value_parser = values::duration_or_none, default_value = "0")]
    pub(crate) request_timeout: Duration,
    /// The API server's address.
    #[arg(short, long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The bearer token.
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// The certificates that the API server's is checked against.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "insecure_skip_tls_verify")]
    pub(crate) certificate_authority: Option<PathBuf>,
    /// The client's certificate.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_certificate: Option<PathBuf>,
    /// The client's private key.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_key: Option<PathBuf>,
    /// Believes whoever answers at the API server's address.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) insecure_skip_tls_verify: Option<bool>,
    /// The name in the API server's certificate [default: that of its address].
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// Says what is done and how long it takes.
    #[arg(short, long, help_heading = "Options")]
    pub(crate) verbose: bool,
}

/// Whose tools: the cluster's, or those of another registry.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Whose {
    /// The registry, where `debug` is given one: then the cluster is not asked what it has.
    #[arg(long, value_name = "HOST", env = "KITBAG_REGISTRY")]
    pub(crate) registry: Option<Registry>,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Whose {
    /// Those of the given flags that are among these; none where they make no sense.
    pub(crate) fn of_flags(flags: &[String]) -> Self {
        #[derive(Parser)]
        #[command(ignore_errors = true, no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            whose: Whose,
        }
        Line::try_parse_from(flags).map(|line| line.whose).unwrap_or_default()
    }
}

impl Common {
    /// Those of the given flags that are among these; none where they make no sense.
    pub(crate) fn of_flags(flags: &[String]) -> Self {
        #[derive(Parser)]
        #[command(ignore_errors = true, no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            common: Common,
        }
        Line::try_parse_from(flags).map(|line| line.common).unwrap_or_default()
    }
}
