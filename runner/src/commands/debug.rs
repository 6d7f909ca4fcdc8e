//! `kubectl kitbag debug`: from names to a session.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::IsTerminal as _;

use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;
use kube::Api;

use crate::cli::Debug;
use crate::error::Error;
use crate::plan::Plan;
use crate::privileges::Wishes;
use crate::progress::Progress;
use crate::refusal::{Asked, explain};
use crate::session::{self, Output, Place, Streams, Wanted};
use crate::target::{self, TargetError};
use crate::tools::Request;
use crate::view::View;
use crate::{image, inject, plan, privileges, sentences, wait};

/// Runs the command. Returns the exit code of what ran in the container.
pub(crate) async fn run(arguments: Debug) -> Result<u8, Error> {
    let mut progress = Progress::new(arguments.verbose);
    let catalog = Catalog::builtin()?;
    let request = Request::new(&arguments.tools, &arguments.command, &catalog)?;
    let pod_name = target::pod_name(&arguments.pod)?;
    let streams = streams(&arguments, &request, &progress);

    let (client, namespace) = crate::cluster::connect(&arguments.cluster).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    // Both only read. What is said first, if both fail, is that the image does not exist.
    let (image, pod) = tokio::join!(
        image::resolve(&arguments.registry, arguments.insecure_registry, &request.path, &catalog),
        pods.get(pod_name),
    );
    let image = image?;
    progress.done(&format!("image `{}`: {}", image.reference, image.tools));
    let asked = Asked { namespace: &namespace, verb: "get", resource: "pods", container: "", reasons: "" };
    let pod = pod.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 404 => {
            TargetError::NoPod { pod: pod_name.to_owned(), namespace: namespace.clone() }.into()
        }
        error => explain(&error, asked),
    })?;
    let target = target::choose(&pod, arguments.container.as_deref())?;
    if let Some(warning) = &target.warning {
        progress.say(&format!("warning: {warning}"));
    }
    progress.done(&format!("pod `{}`, container `{}`", target.pod, target.container));

    let name = plan::name(&target.names, random);
    let candidates = privileges::candidates(&image.needs, &target, &Wishes::default());
    let Some(candidate) = candidates.first() else { unreachable!("there is always one") };
    let reasons = sentences::asks(&image.needs, candidate);
    let plan = Plan {
        name: &name,
        image: &image,
        target: &target,
        candidate,
        idle: arguments.idle,
        ttl: arguments.idle,
        user: None,
        reason: None,
        view: View { volumes: false, env: false },
        custom: None,
        attached: None,
    };
    let container = plan::container(&plan).container;
    let asked =
        Asked { verb: "patch", resource: "pods/ephemeralcontainers", container: &name, reasons: &reasons, ..asked };
    let added = inject::add(&pods, &target.pod, &[container], |_, _| None, asked).await?;
    progress.done(&format!("container `{name}` added, asking for {reasons}"));
    let wait = wait::Wait { pods: &pods, events: None, watch: true, limit: arguments.timeout, asked };
    wait::until_running(&wait, &added.pod, |state| progress.say(state)).await?;
    progress.done("container started");

    let place = Place { client, namespace: namespace.clone(), pod: target.pod, container: name };
    let wanted = Wanted::new(request.command.clone(), streams);
    let ended = session::run(&place, &wanted, |_| Ok(()), Output::Standard).await?;
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
