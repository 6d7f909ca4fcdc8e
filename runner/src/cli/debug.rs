//! The command line of `debug`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueHint};
use kitbag_toolsets::ImagePath;

use super::common::Common;
use super::usage::UsageError;
use super::values::{self, DryRun, Format};
use crate::image::{self, Registry};
use crate::plan::Custom;
use crate::privileges::{Capability, Profile, Wishes};
use crate::target::Reference;
use crate::tools::ToolsError;
use crate::user::User;

/// Opens a session with tools beside a container of a pod.
///
/// The tools see the container's processes and share the pod's network. The pod is not restarted, and not touched before
/// it is known that the image exists.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Debug {
    #[command(flatten)]
    pub(crate) pods: Pods,
    /// Tools, sets of tools, or commands that a tool provides. Without any: the tool that provides COMMAND, or a shell.
    #[arg(value_name = "TOOL")]
    pub(crate) tools: Vec<String>,
    /// What to run. Without it: an interactive shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Runs COMMAND in each of the target's pods that runs, at once.
    #[arg(long)]
    pub(crate) all: bool,
    /// The container to debug [default: the annotated one, else the first].
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Passes standard input on.
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Gives the command a terminal; implies -i.
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// How long to wait for the container to start.
    #[arg(long, value_name = "DURATION", default_value = "60", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// How long the container stays when no session is open.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = values::duration)]
    pub(crate) idle: Duration,
    /// How long the container stays at the most.
    #[arg(long, value_name = "DURATION", default_value = "8h", value_parser = values::duration)]
    pub(crate) ttl: Duration,
    /// How long the command goes on without a sign of life from this client.
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = values::duration)]
    pub(crate) patience: Duration,
    /// Adds a container even where one that fits is running.
    #[arg(long)]
    pub(crate) new: bool,
    /// Says why, in the event that is written to the pod, and in the container.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) image: ImageFlags,
    #[command(flatten)]
    pub(crate) privileges: PrivilegeFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Which pods: the same for every command that has a target.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Pods {
    /// The pod NAME, or pod/NAME, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME: of several pods one that is
    /// running and ready, the youngest.
    #[arg(value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// A label selector, in the place of TARGET.
    #[arg(short = 'l', long, value_name = "SELECTOR", allow_hyphen_values = true)]
    pub(crate) selector: Option<String>,
}

/// Where the image comes from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Image")]
pub(crate) struct ImageFlags {
    /// The registry that composes the image, as the cluster's nodes and this machine reach it: HOST[:PORT][/PREFIX]
    /// [default: the one that the cluster names, else 127.0.0.1:5005].
    #[arg(long, value_name = "HOST", env = "KITBAG_REGISTRY")]
    pub(crate) registry: Option<Registry>,
    /// Speaks plain HTTP to the registry. (Loopback addresses are always spoken to so.)
    #[arg(long)]
    pub(crate) insecure_registry: bool,
    /// The generation of the image [default: latest].
    #[arg(long, value_name = "TAG", value_parser = values::tag, conflicts_with = "image")]
    pub(crate) tag: Option<String>,
    /// An image of one's own, with kitbag-init in it. TOOLs then say what it is allowed to do.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) image: Option<String>,
}

/// What the debug container may do, where it is not what the tools need.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Privileges, in the place of what the tools need")]
pub(crate) struct PrivilegeFlags {
    /// One of kubectl's profiles.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<Profile>,
    /// A container, as JSON or YAML, that is merged into ours, as kubectl does it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) custom: Option<PathBuf>,
    /// The user to run as.
    #[arg(long, value_name = "UID[:GID]")]
    pub(crate) as_user: Option<User>,
    /// A capability more, NAME or CAP_NAME; may be repeated.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', action = ArgAction::Append)]
    pub(crate) cap_add: Vec<Capability>,
    /// A capability less, or ALL; may be repeated.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', action = ArgAction::Append)]
    pub(crate) cap_drop: Vec<Capability>,
    /// All that there is.
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Leaves the target's volumes out.
    #[arg(long)]
    pub(crate) no_volumes: bool,
    /// Leaves the target's environment out.
    #[arg(long)]
    pub(crate) no_env: bool,
}

/// What programs want.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputFlags {
    /// Prints the container that would be added, and adds none.
    #[arg(long, value_name = "HOW", default_value = "none", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub(crate) dry_run: DryRun,
    /// Prints one object: what happened, the command's output in it; with --dry-run the container.
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl kitbag debug shop                                a shell beside pod `shop`
  kubectl kitbag debug deploy/shop strace -- strace -fp {pid}
                                                           system calls of a pod of the Deployment
  kubectl kitbag debug shop -c proxy net                   a shell with the set `net`, beside container `proxy`
  kubectl kitbag debug shop -- tcpdump -c 10 -w - > x      ten packets into a file
  kubectl kitbag debug -l app=shop --all -- dig db         a question of every pod with the label
  kubectl kitbag debug shop strace --dry-run=server -o yaml
                                                           what would be added";

impl Debug {
    /// What is to be debugged.
    ///
    /// # Errors
    /// [`UsageError`] when nothing is, or more than one thing.
    pub(crate) fn reference(&self) -> Result<Reference, UsageError> {
        match &self.pods {
            // With a selector the first word is a tool; what can't be one is a target too many.
            Pods { target: Some(target), selector: Some(_) }
                if target.contains('/') && target.parse::<Reference>().is_ok() =>
            {
                Err(UsageError::TwoTargets { target: target.clone() })
            }
            Pods { selector: Some(selector), .. } => Ok(Reference::selector(selector)?),
            Pods { target: Some(target), .. } => Ok(target.parse()?),
            Pods { .. } => Err(UsageError::NoTarget),
        }
    }

    /// The tools: with a selector the first word is one already.
    pub(crate) fn tools(&self) -> Vec<String> {
        let first = self.pods.selector.as_ref().and(self.pods.target.clone());
        first.into_iter().chain(self.tools.iter().cloned()).collect()
    }

    /// Whether the flags go together.
    ///
    /// # Errors
    /// The first [`UsageError`].
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        self.reference()?;
        let dry = self.output.dry_run != DryRun::None;
        let faults = [
            (
                self.all && self.command.is_empty(),
                "--all",
                "takes a COMMAND: a shell has one terminal, and pods are many",
            ),
            (
                self.all && (self.stdin || self.tty),
                "--all",
                "does not go with -i or -t: there is one standard input, and pods are many",
            ),
            (self.all && dry, "--all", "does not go with --dry-run: name one pod"),
            (
                self.output.format == Some(Format::Yaml) && !dry,
                "-o yaml",
                "is for --dry-run; what happened is told with -o json",
            ),
            (
                self.output.format.is_some() && !dry && self.command.is_empty(),
                "-o json",
                "takes a COMMAND, whose output goes into the object",
            ),
            (
                self.output.format.is_some() && !dry && self.tty,
                "-o json",
                "does not go with -t: what a terminal shows is no output",
            ),
        ];
        let fault = faults.into_iter().find(|(wrong, ..)| *wrong);
        fault.map_or(Ok(()), |(_, flag, fault)| Err(UsageError::Flag { flag, fault }))
    }
}

impl ImageFlags {
    /// The tools whose needs an image of one's own is given.
    ///
    /// # Errors
    /// [`ToolsError`] where one can't be the name of a tool.
    pub(crate) fn tools(&self, named: &[String]) -> Result<Option<ImagePath>, ToolsError> {
        let named = Some(named).filter(|named| self.image.is_some() && !named.is_empty());
        named.map(|named| Ok(ImagePath::from_names(named.iter().map(String::as_str))?)).transpose()
    }

    /// The image that is wanted: composed of `path`, or one's own with the needs of `tools`.
    pub(crate) fn wanted<'a>(&'a self, path: &'a ImagePath, tools: Option<&'a ImagePath>) -> image::Wanted<'a> {
        let plain_http = self.insecure_registry;
        match &self.image {
            Some(reference) => image::Wanted::Own { reference, tools, plain_http },
            None => {
                let (registry, tag) = (self.registry.as_ref(), self.tag.as_deref());
                image::Wanted::Composed { registry, path, tag, plain_http }
            }
        }
    }
}

impl PrivilegeFlags {
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            profile: self.profile,
            as_user: self.as_user,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            privileged: self.privileged,
        }
    }

    /// The custom part of the container.
    ///
    /// # Errors
    /// [`UsageError::Custom`] where the file can't be read or is none.
    pub(crate) fn custom(&self) -> Result<Option<Custom>, UsageError> {
        let Some(path) = &self.custom else { return Ok(None) };
        let fault = |reason: String| UsageError::Custom { path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        Custom::parse(&text).map(Some).map_err(|error| fault(error.to_string()))
    }
}

impl Pods {
    /// What is named, where nothing has to be.
    ///
    /// # Errors
    /// [`UsageError`] when two things are.
    pub(crate) fn optional(&self) -> Result<Option<Reference>, UsageError> {
        match (&self.target, &self.selector) {
            (Some(target), Some(_)) => Err(UsageError::TwoTargets { target: target.clone() }),
            (Some(target), None) => Ok(Some(target.parse()?)),
            (None, Some(selector)) => Ok(Some(Reference::selector(selector)?)),
            (None, None) => Ok(None),
        }
    }

    /// What is named, where something has to be.
    ///
    /// # Errors
    /// [`UsageError`] when nothing is, or two things.
    pub(crate) fn required(&self) -> Result<Reference, UsageError> {
        self.optional()?.ok_or(UsageError::NoTarget)
    }
}
