//! `kubectl kitbag install`: the registries first, and when they answer, what tells of them.

mod back;
mod look;

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::access;
use crate::cli::Install;
use crate::cluster::{self, Cluster};
use crate::error::{Error, root_cause};
use crate::image::Registry;
use crate::install::choice::choose;
use crate::install::objects::{Object, generation_of};
use crate::install::permissions::Permission;
use crate::install::served::{self, Catalog, ServedError};
use crate::install::{Choice, Done, IMAGE, InstallError, Objects, Outcome, Settings, Wanted, apply, permissions, wait};
use crate::progress::Progress;
use crate::refusal::is_passing;

pub(super) use look::{begun_in, installed_in};

/// How long a registry may take to say what it serves, and the API server to take an object.
const ASKING: Duration = Duration::from_secs(15);
/// Between two tries, where the API server is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) async fn run(arguments: &Install) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    let named = arguments.catalog.as_deref().map(look::catalog_in).transpose()?;
    let Cluster { client, user, .. } = cluster::connect(&arguments.common, progress.clock()).await?;
    let version = look::version(&client).await?;
    let namespace = look::place(&client, arguments.common.namespace.as_deref()).await?;
    let installed = look::installed(&client, &namespace).await?;
    let choice = match choose(wanted(arguments), IMAGE, installed.as_ref()) {
        Err(InstallError::NoImage) => return Err(no_image(&client, &namespace, user.as_deref()).await),
        choice => choice?,
    };
    progress.say(&format!("image `{}`, {}", choice.image, choice.by.as_str()));
    let mut objects = made(&choice, &namespace)?;

    let deadline = Instant::now() + arguments.timeout;
    let patience = (!arguments.dry_run).then_some(arguments.timeout);
    let found = look::current(&client, &objects, patience, &progress).await?;
    if found.namespace.as_ref().is_some_and(look::is_foreign) {
        objects.keep_namespace();
    }
    match (&named, found.discovery()) {
        (Some(named), _) => objects.publish(named.published.id().as_str(), &named.text),
        (None, Some(before)) => objects.publish_as(before),
        (None, None) => {}
    }
    found.discovery().into_iter().for_each(|before| objects.remember(before));
    let mut all: Vec<(Object, Option<Value>)> = objects.all().zip(found.in_order()).collect();
    for (object, before) in &all {
        look::check_manager(object, before.as_ref())?;
    }
    let mut wanted = permissions::to_apply(all.iter().map(|(object, before)| (object.clone(), before.is_some())));
    if named.is_none() {
        wanted.extend(served::permissions(&namespace, version.as_ref()));
    }
    let missing = permissions::missing(&client, wanted).await;
    if !missing.is_empty() {
        return Err(forbidden(&client, user.as_deref(), missing).await);
    }
    progress.done("permissions checked");
    if arguments.dry_run {
        return preview(&client, all, named.is_some()).await;
    }

    let may_ask = named.is_none()
        || permissions::missing(&client, served::permissions(&namespace, version.as_ref())).await.is_empty();
    let mut done = Done::default();
    if let (Some(installed), Some((_, Some(published))), true) = (&installed, all.last_mut(), may_ask) {
        let generation = named.as_ref().map(|named| named.published.id().as_str());
        let generation = generation.or_else(|| generation_of(published, &choice.image)).map(str::to_owned);
        if let Some(generation) = generation {
            *published = back::step(&client, &objects, published, installed, &generation, &mut done).await?;
            progress.done("compared with what the registries of before serve");
        }
    }
    let (first, then) = all.split_at(objects.first().len());
    let applied = put(&client, first, deadline, &mut done).await?;
    let registry = applied.into_iter().last().and_then(|set| serde_json::from_value(set).ok());
    let registry: DaemonSet = registry.unwrap_or_else(|| objects.registry.clone());
    progress.done("registries applied");
    let say = |line: &str| progress.say(line);
    let nodes = wait::until_rolled_out(&client, &registry, deadline, arguments.timeout, &done, say).await?;
    progress.done("registries rolled out");
    if nodes == 0 && named.is_none() {
        return Err(InstallError::NoNodes { done }.into());
    }
    let named = arguments.catalog.as_deref().zip(named);
    let catalog = agreed(&client, &registry, named, may_ask, &done, &progress).await?;
    let generation = catalog.published.id().to_string();
    objects.publish(&generation, &catalog.text);
    let then: Vec<_> = objects.then().into_iter().zip(then.iter().map(|(_, before)| before.clone())).collect();
    put(&client, &then, Instant::now() + ASKING, &mut done).await?;
    let nodes = if nodes == 1 { "1 node has".to_owned() } else { format!("{nodes} nodes have") };
    let last = format!("{nodes} a registry at `{}`, of generation {generation}\n", Registry::on_loopback(choice.port));
    super::print(done.lines() + &last)
}

fn wanted(arguments: &Install) -> Wanted<'_> {
    Wanted { image: arguments.image.as_deref(), port: arguments.port, pull_secret: arguments.pull_secret.as_deref() }
}

fn made(choice: &Choice, namespace: &str) -> Result<Objects, InstallError> {
    let Choice { image, port, pull_secret, .. } = choice;
    Objects::new(&Settings { image, namespace, port: *port, pull_secret: pull_secret.as_deref() })
}

async fn forbidden(client: &Client, user: Option<&str>, missing: Vec<Permission>) -> Error {
    let user = access::whoami(client, user).await;
    InstallError::Forbidden { user, missing }.into()
}

/// That no image is known may be for want of the permission to see which is installed.
async fn no_image(client: &Client, namespace: &str, user: Option<&str>) -> Error {
    let settings = Settings { image: "", namespace, port: 0, pull_secret: None };
    let objects = match Objects::new(&settings) {
        Ok(objects) => objects,
        Err(error) => return error.into(),
    };
    let missing =
        permissions::missing(client, permissions::to_apply(objects.all().map(|object| (object, false)))).await;
    let is_unseen = |missing: &Permission| missing.verb == "get" && missing.resource == "daemonsets";
    if !missing.iter().any(is_unseen) {
        return InstallError::NoImage.into();
    }
    forbidden(client, user, missing).await
}

/// What the registries serve: what one of them says, which the catalog that was named has to agree with. Who named one
/// need not be able to ask.
async fn agreed(
    client: &Client,
    registry: &DaemonSet,
    named: Option<(&Path, Catalog)>,
    may_ask: bool,
    done: &Done,
    progress: &Progress,
) -> Result<Catalog, InstallError> {
    let overtaken = || InstallError::Overtaken { done: done.clone() };
    let Some((path, named)) = named else {
        let catalog = served::catalog(client, registry, None, Instant::now() + ASKING).await;
        progress.done("catalog read");
        return catalog.map_err(|fault| match fault {
            ServedError::Overtaken => overtaken(),
            fault => InstallError::Served { fault, done: done.clone() },
        });
    };
    if !may_ask {
        return Ok(named);
    }
    match served::catalog(client, registry, None, Instant::now() + ASKING).await {
        Ok(served) if served.published.id() != named.published.id() => Err(InstallError::Differs {
            path: path.to_owned(),
            named: named.published.id().to_string(),
            served: served.published.id().to_string(),
            done: done.clone(),
        }),
        Ok(_) | Err(ServedError::Nobody) => Ok(named),
        Err(ServedError::Overtaken) => Err(overtaken()),
        Err(fault) => {
            progress.say(&format!("not compared with what the registries serve: {fault}"));
            Ok(named)
        }
    }
}

async fn preview(client: &Client, all: Vec<(Object, Option<Value>)>, is_published: bool) -> Result<u8, Error> {
    let mut text = String::new();
    for (object, before) in all {
        match apply::preview(client, &object, before).await {
            Ok(Some(diff)) => text.push_str(&diff),
            Ok(None) => text.push_str(&format!("{object}: unchanged\n")),
            Err(error) => return Err(failed(&object, &error, &Done::default())),
        }
    }
    if !is_published {
        text.push_str(UNKNOWN);
    }
    super::print(text)
}

/// What a dry run cannot show.
const UNKNOWN: &str =
    "not shown: the ConfigMap's `generation` and `catalog.json`, which the image says itself once it runs\n";

/// Applies them, and returns as what the server has them then. A server that is busy or starts is given some time, but not
/// beyond `deadline`.
async fn put(
    client: &Client,
    objects: &[(Object, Option<Value>)],
    deadline: Instant,
    done: &mut Done,
) -> Result<Vec<Value>, Error> {
    let mut applied = Vec::new();
    for (object, before) in objects {
        let (outcome, after) = put_one(client, object, before.as_ref(), deadline, done).await?;
        applied.push(after);
        done.add(match outcome {
            Outcome::Created => format!("{object}: created"),
            Outcome::Changed => format!("{object}: changed"),
            Outcome::Unchanged => format!("{object}: unchanged"),
        });
    }
    Ok(applied)
}

async fn put_one(
    client: &Client,
    object: &Object,
    before: Option<&Value>,
    deadline: Instant,
    done: &Done,
) -> Result<(Outcome, Value), Error> {
    let deadline = deadline.min(Instant::now() + ASKING);
    loop {
        match apply::apply(client, object, before.cloned()).await {
            Err(error) if is_passing(&error) && Instant::now() < deadline => sleep(PAUSE).await,
            outcome => return outcome.map_err(|error| failed(object, &error, done)),
        }
    }
}

/// Why something could not be done with an object.
pub(super) fn failed(object: &Object, error: &kube::Error, done: &Done) -> Error {
    told(error, |code, message| InstallError::Refused { object: object.to_string(), code, message, done: done.clone() })
}

/// Why something could not be found out.
fn unanswered(what: &str, error: &kube::Error) -> Error {
    told(error, |code, message| InstallError::Refused { object: what.to_owned(), code, message, done: Done::default() })
}

/// What the API server says, with its status; or that it says nothing.
pub(super) fn told(error: &kube::Error, refused: impl FnOnce(u16, String) -> InstallError) -> Error {
    match error {
        kube::Error::Api(status) => refused(status.code, status.message.clone()).into(),
        error => Error::Unreachable(root_cause(error)),
    }
}
