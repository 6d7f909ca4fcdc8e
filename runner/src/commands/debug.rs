//! `kubectl kitbag debug`: from names to a session.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::IsTerminal as _;

use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;
use kube::Api;

use crate::cli::Debug;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::progress::Progress;
use crate::refusal::Asked;
use crate::session::{self, Place, Streams};
use crate::target::{self, Which};
use crate::tools::Request;
use crate::{image, inject, plan, wait};

/// Runs the command. Returns the exit code of what ran in the container.
pub(crate) async fn run(arguments: Debug) -> Result<u8, Error> {
    let mut progress = Progress::new(arguments.common.verbose);
    let catalog = Catalog::builtin()?;
    let request = Request::new(&arguments.tools(), &arguments.command, &catalog)?;
    let reference = arguments.reference()?;
    let streams = streams(&arguments, &request, &progress);

    let Cluster { client, namespace, .. } = crate::cluster::connect(&arguments.common).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    // Both only read. What is said first, if both fail, is that the image does not exist.
    let wanted = image::Wanted::Composed {
        registry: &arguments.image.registry,
        path: &request.path,
        tag: arguments.image.tag.as_deref(),
        plain_http: arguments.image.insecure_registry,
    };
    let (image, found) =
        tokio::join!(image::resolve(wanted, &catalog), target::find(&client, &namespace, &reference, Which::One),);
    let (image, found) = (image?, found?);
    progress.done(&format!("image `{}`, {}: {}", image.reference, image.resolved, image.tools));
    if let Some(said) = &found.said {
        progress.say(said);
    }
    let pod = found.pods.into_iter().next().unwrap_or_default();
    let asked = Asked { namespace: &namespace, verb: "get", resource: "pods", container: "", reasons: "" };
    let target = target::choose(&pod, arguments.container.as_deref())?;
    if let Some(warning) = &target.warning {
        progress.say(&format!("warning: {warning}"));
    }
    progress.done(&format!("pod `{}`, container `{}`", target.pod, target.container));

    let name = plan::name(&target.names, random);
    let container = plan::container(&name, &image, &target, arguments.idle);
    let reasons = plan::reasons(&image);
    let asked =
        Asked { verb: "patch", resource: "pods/ephemeralcontainers", container: &name, reasons: &reasons, ..asked };
    inject::try_out(&pods, &target.pod, &container, asked).await?;
    progress.done(&format!("allowed, asking for {reasons}"));
    let pod = inject::add(&pods, &target.pod, &container, asked).await?;
    progress.done(&format!("container `{name}` added"));
    let watching = Asked { verb: "watch", resource: "pods", ..asked };
    wait::until_running(&pods, &pod, arguments.timeout, watching, |state| progress.say(state)).await?;
    progress.done("container started");

    let place = Place { client, namespace: namespace.clone(), pod: target.pod, container: name };
    let ended = session::run(&place, &plan::word(random()), &request.command, streams).await?;
    if let Some(first) = ended.first_output {
        progress.note(first, "first output");
    }
    progress.done(&format!("the session has ended, exit code {}", ended.code));
    if let Some(tool) = request.missing_tool(&catalog).filter(|_| ended.code == NOT_FOUND) {
        progress.say(&format!("hint: that command comes with the tool `{tool}`: name it before `--`"));
    }
    Ok(ended.code)
}

/// What kitbag-init, as every shell, returns when there is no such command.
const NOT_FOUND: u8 = 127;

/// A shell for a person has a terminal where there is one; a command gets what the flags say.
fn streams(arguments: &Debug, request: &Request, progress: &Progress) -> Streams {
    let terminal = std::io::stdin().is_terminal();
    if arguments.tty && !terminal {
        progress.say("warning: standard input is not a terminal: the command gets none");
    }
    let wanted = arguments.tty || (request.interactive && std::io::stdout().is_terminal());
    Streams { stdin: arguments.stdin || arguments.tty || request.interactive, tty: wanted && terminal }
}

/// The standard library's hash tables are seeded by the operating system: enough for names that should differ.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
