//! `kubectl kitbag doctor`: asks, judges, pulls, reports.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::jiff::SignedDuration;
use kitbag_toolsets::Catalog;
use tokio::time::timeout;

use crate::cli::{Common, Doctor};
use crate::cluster::{self, Cluster};
use crate::doctor::aim::Aim;
use crate::doctor::facts::Facts;
use crate::doctor::pull::attempt::Attempt;
use crate::doctor::pull::{self, Outcome, Run};
use crate::doctor::{self, Check, FAILED, Finding, Plan, Status, fetch, render};
use crate::error::Error;
use crate::plan;
use crate::signals;
use crate::terminal;

/// The least that a pull is given, however long the questions took.
const LEAST: Duration = Duration::from_secs(5);
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: u8 = 128;

/// Runs the command.
pub(crate) async fn run(arguments: &Doctor) -> Result<u8, Error> {
    let start = Instant::now();
    let Cluster { client, namespace, user } =
        cluster::connect(&arguments.common, arguments.common.verbose.then_some(start)).await?;
    let facts = timeout(arguments.timeout, fetch::facts(&client, &namespace, user.as_deref())).await;
    let facts = facts
        .unwrap_or_else(|_| Err(Error::Unreachable(format!("no answer within {} s", arguments.timeout.as_secs()))))?;
    let (findings, found) = doctor::judge(&facts, &doctor::needs(&Catalog::builtin()?));
    let aim = aim(&arguments.common);
    let mut findings = aim.at(findings, &facts.who);
    let told = arguments.format.is_none();
    if told {
        super::print(render::who(&facts.who) + &render::findings(&findings, colour()))?;
    }
    let (pulled, signalled) = match (doctor::plan(&facts, found.as_ref(), arguments.all_nodes), found) {
        _ if !arguments.pull => (vec![Finding::skipped(Check::Pull, "--no-pull")], None),
        (Err(finding), _) => (vec![finding], None),
        (Ok(_), None) => (Vec::new(), None),
        (Ok(plan), Some(found)) => {
            let limit = arguments.timeout.saturating_sub(start.elapsed()).max(LEAST);
            match attempt(&client, &plan, limit, facts.server.ahead()).await? {
                Ok(outcomes) => (pull::judge(&outcomes, &found, &facts, plan.left_out), None),
                Err(signal) => (vec![Finding::skipped(Check::Pull, "it was interrupted")], Some(signal)),
            }
        }
    };
    let pulled = aim.at(pulled, &facts.who);
    if told {
        super::print(render::findings(&pulled, colour()))?;
    }
    findings.extend(pulled);
    super::print(report(&facts, &findings, told))?;
    let failed = findings.iter().any(|finding| finding.status == Status::Failure);
    Ok(signalled.map_or(if failed { FAILED } else { 0 }, |signal| SIGNALLED + signal))
}

fn report(facts: &Facts, findings: &[Finding], told: bool) -> String {
    if told { render::summary(findings) } else { render::json(&facts.who, findings) }
}

/// The flags that say which cluster that is. Who asks is not among them: others may have to mend it.
fn aim(flags: &Common) -> Aim {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    Aim::new([
        ("context", flags.context.clone()),
        ("cluster", flags.cluster.clone()),
        ("kubeconfig", path(&flags.kubeconfig)),
        ("server", flags.server.clone()),
        ("certificate-authority", path(&flags.certificate_authority)),
        ("insecure-skip-tls-verify", flags.insecure_skip_tls_verify.map(|is| is.to_string())),
        ("tls-server-name", flags.tls_server_name.clone()),
    ])
}

/// As <https://no-color.org> has it.
fn colour() -> bool {
    terminal::shows_colours() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The outcomes, or the number of the signal that ended the wait for them. Either way nothing is left behind.
async fn attempt(
    client: &kube::Client,
    plan: &Plan,
    limit: Duration,
    ahead: SignedDuration,
) -> Result<Result<Vec<Outcome>, u8>, Error> {
    let run = Run { id: plan::word(plan::random()), image: plan.image.clone(), limit, ahead };
    let attempt = Attempt::new(client, &plan.namespace, &run, &plan.places);
    // Before the first Job is made: from then on an interruption has to end in its deletion.
    let _ours = signals::Claim::new();
    let mut signals = signals::signals().map_err(Error::Runtime)?;
    let outcomes = tokio::select! {
        (outcomes, ()) = async { tokio::join!(attempt.outcomes(), attempt.remove_leftovers(run.now())) } => Ok(outcomes),
        Some(signal) = signals.next() => Err(signal),
    };
    attempt.clean().await;
    Ok(outcomes)
}
