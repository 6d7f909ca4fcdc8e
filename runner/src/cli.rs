//! The command line, and the one place where errors become text and exit codes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::error::{Error, Kind};
use crate::image::Registry;
use crate::terminal;

/// Debugs a running pod with tools that are not in its image.
#[derive(Debug, Parser)]
#[command(name = "kubectl-kitbag", bin_name = "kubectl kitbag", version, after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Debug(Debug),
}

/// Opens a session with tools beside a container of a pod.
///
/// The tools see the container's processes and share the pod's network. The pod is not restarted, and not touched before
/// it is known that the image exists.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", exit_codes()))]
pub(crate) struct Debug {
    /// The pod: NAME or pod/NAME.
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// Tools, sets of tools, or commands that a tool provides. Without any: the tool that provides COMMAND, or a shell.
    #[arg(value_name = "TOOL")]
    pub(crate) tools: Vec<String>,
    /// What to run. Without it: an interactive shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// The container to debug [default: the annotated one, else the first].
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Passes standard input on.
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Gives the command a terminal; implies -i.
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// The registry that composes the image, as the cluster's nodes and this machine reach it: HOST[:PORT][/PREFIX].
    #[arg(long, value_name = "HOST", env = "KITBAG_REGISTRY", default_value = "127.0.0.1:5005")]
    pub(crate) registry: Registry,
    /// Speaks plain HTTP to the registry. (Loopback addresses are always spoken to so.)
    #[arg(long)]
    pub(crate) insecure_registry: bool,
    /// How long to wait for the container to start, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// How long the container stays when no session is open, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) idle: Duration,
    /// Says what is done and how long it takes.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

/// Which cluster: kubectl's own flags.
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// The pod's namespace [default: the context's].
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// The context of the kubeconfig [default: the current one].
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, the service account of the pod that this runs in].
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl kitbag debug shop                             a shell beside pod `shop`
  kubectl kitbag debug shop strace -- strace -fp 1      system calls of its first container
  kubectl kitbag debug shop -c proxy net                a shell with the set `net`, beside container `proxy`
  kubectl kitbag debug shop -- tcpdump -c 10 -w - > x   ten packets into a file";

/// Runs the plugin. What a person should read has been printed when it returns.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Before anything that might speak TLS: two of the libraries would otherwise disagree about who does it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    terminal::restore_on_panic();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let failed = error.use_stderr();
            return ExitCode::from(if failed { Kind::Usage.exit_code() } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Error::Runtime(error)),
    };
    let Command::Debug(debug) = cli.command;
    let result = runtime.block_on(commands::debug::run(debug));
    // A thread may still be reading standard input: nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(&error),
    }
}

fn report(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(error.kind().exit_code())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u32 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    Ok(Duration::from_secs(seconds.into()))
}

fn exit_codes() -> String {
    let mut text = String::from(
        "Exit codes:\n  0-255  the command's own: 128+n when signal n ended it, 127 not found, 126 not executable\n\
         Where no command ran:",
    );
    for kind in Kind::ALL {
        text.push_str(&format!("\n  {:>5}  {}", kind.exit_code(), kind.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn debug(line: &str) -> Debug {
        let arguments = std::iter::once("kubectl-kitbag").chain(line.split(' '));
        let Command::Debug(debug) = Cli::try_parse_from(arguments).unwrap().command;
        debug
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_between_pod_and_tools_and_the_command_is_left_alone() {
        let debug = debug("debug pod/shop -n web strace tcpdump -c app -it -- strace -c -n -p 1");
        assert_eq!((debug.pod.as_str(), debug.tools.join(" ").as_str()), ("pod/shop", "strace tcpdump"));
        assert_eq!(debug.command.join(" "), "strace -c -n -p 1");
        assert_eq!((debug.cluster.namespace.as_deref(), debug.container.as_deref()), (Some("web"), Some("app")));
        assert!(debug.stdin && debug.tty);
    }

    #[test]
    fn exit_codes_are_told() {
        insta::assert_snapshot!(exit_codes(), @r"
        Exit codes:
          0-255  the command's own: 128+n when signal n ended it, 127 not found, 126 not executable
        Where no command ran:
             64  the command line is wrong
             65  no such tool
             66  no such pod or container
             67  the pod or container cannot be debugged in its state
             68  the registry does not answer
             69  the cluster does not answer
             70  a fault of this program or machine
             71  the node could not pull or start the image
             73  a policy of the cluster refuses the container
             75  the container did not start in time
             76  the session was cut off
             77  a permission is missing
             78  no usable kubeconfig
        ");
    }
}
