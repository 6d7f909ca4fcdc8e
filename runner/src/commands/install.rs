//! `kubectl kitbag install`: the registries first, and when they answer, what tells of them.

mod look;

use std::path::Path;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::access;
use crate::cli::Install;
use crate::cluster::{self, Cluster};
use crate::error::{Error, root_cause};
use crate::install::choice::choose;
use crate::install::objects::{Object, address};
use crate::install::served::{self, Catalog, ServedError};
use crate::install::{Choice, IMAGE, InstallError, Objects, Outcome, Settings, Wanted, apply, permissions, wait};
use crate::progress::Progress;

pub(super) use look::installed_in;

/// How long a registry may take to say what it serves.
const ASKING: Duration = Duration::from_secs(15);

/// Runs the command.
pub(crate) async fn run(arguments: &Install) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    let named = arguments.catalog.as_deref().map(look::catalog_in).transpose()?;
    let Cluster { client, user, .. } = cluster::connect(&arguments.common, progress.clock()).await?;
    look::check_version(&client).await?;
    let namespace = look::place(&client, arguments.common.namespace.as_deref()).await?;
    let choice = choose(wanted(arguments), IMAGE, look::installed(&client, &namespace).await.as_ref())?;
    progress.say(&format!("image `{}`, {}", choice.image, choice.by.as_str()));
    let mut objects = made(&choice, &namespace)?;

    let deadline = Instant::now() + arguments.timeout;
    let found = look::current(&client, &objects, deadline, &progress).await?;
    if found.namespace.as_ref().is_some_and(look::is_foreign) {
        objects.keep_namespace();
    }
    match (&named, found.discovery()) {
        (Some(named), _) => objects.publish(named.published.id().as_str(), &named.text),
        (None, Some(before)) => objects.publish_as(before),
        (None, None) => {}
    }
    let all: Vec<(Object, Option<Value>)> = objects.all().zip(found.in_order()).collect();
    for (object, before) in &all {
        look::check_manager(object, before.as_ref())?;
    }
    let mut wanted = permissions::to_apply(all.iter().map(|(object, before)| (object.clone(), before.is_some())));
    if named.is_none() {
        wanted.extend(served::permissions(&namespace));
    }
    let missing = permissions::missing(&client, wanted).await;
    if !missing.is_empty() {
        let user = access::whoami(&client, user.as_deref()).await;
        return Err(InstallError::Forbidden { user, missing }.into());
    }
    progress.done("permissions checked");
    if arguments.dry_run {
        return preview(&client, all, named.is_some()).await;
    }

    let mut done = Vec::new();
    let (first, then) = all.split_at(objects.first().len());
    put(&client, first, &mut done).await?;
    progress.done("registries applied");
    let say = |line: &str| progress.say(line);
    let nodes = wait::until_rolled_out(&client, &objects.registry, deadline, arguments.timeout, &done, say).await?;
    progress.done("registries rolled out");
    let catalog = agreed(&client, &objects, arguments.catalog.as_deref().zip(named), &done, &progress).await?;
    let generation = catalog.published.id().to_string();
    objects.publish(&generation, &catalog.text);
    let then: Vec<_> = objects.then().into_iter().zip(then.iter().map(|(_, before)| before.clone())).collect();
    put(&client, &then, &mut done).await?;
    let nodes = if nodes == 1 { "1 node has".to_owned() } else { format!("{nodes} nodes have") };
    let last = format!("{nodes} a registry at `{}`, of generation {generation}\n", address(choice.port));
    super::print(done.iter().map(|line| format!("{line}\n")).collect::<String>() + &last)
}

fn wanted(arguments: &Install) -> Wanted<'_> {
    Wanted { image: arguments.image.as_deref(), port: arguments.port, pull_secret: arguments.pull_secret.as_deref() }
}

fn made(choice: &Choice, namespace: &str) -> Result<Objects, InstallError> {
    let Choice { image, port, pull_secret, .. } = choice;
    Objects::new(&Settings { image, namespace, port: *port, pull_secret: pull_secret.as_deref() })
}

/// What the registries serve: what one of them says, which the catalog that was named has to agree with. Who named one
/// need not be able to ask.
async fn agreed(
    client: &Client,
    objects: &Objects,
    named: Option<(&Path, Catalog)>,
    done: &[String],
    progress: &Progress,
) -> Result<Catalog, InstallError> {
    let Some((path, named)) = named else {
        let catalog = served::catalog(client, &objects.registry, Instant::now() + ASKING).await;
        progress.done("catalog read");
        return catalog.map_err(|fault| InstallError::Served { fault, done: done.to_vec() });
    };
    let namespace = objects.first().into_iter().find_map(|object| object.namespace).unwrap_or_default();
    if !permissions::missing(client, served::permissions(&namespace)).await.is_empty() {
        return Ok(named);
    }
    match served::catalog(client, &objects.registry, Instant::now() + ASKING).await {
        Ok(served) if served.published.id() != named.published.id() => Err(InstallError::Differs {
            path: path.to_owned(),
            named: named.published.id().to_string(),
            served: served.published.id().to_string(),
            done: done.to_vec(),
        }),
        Ok(_) | Err(ServedError::Nobody) => Ok(named),
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
            Err(error) => return Err(failed(&object, &error, &[])),
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

async fn put(client: &Client, objects: &[(Object, Option<Value>)], done: &mut Vec<String>) -> Result<(), Error> {
    for (object, before) in objects {
        let outcome = apply::apply(client, object, before.clone()).await;
        let outcome = outcome.map_err(|error| failed(object, &error, done))?;
        done.push(match outcome {
            Outcome::Created => format!("{object}: created"),
            Outcome::Changed => format!("{object}: changed"),
            Outcome::Unchanged => format!("{object}: unchanged"),
        });
    }
    Ok(())
}

/// Why something could not be done with an object.
pub(super) fn failed(object: &Object, error: &kube::Error, done: &[String]) -> Error {
    match error {
        kube::Error::Api(status) => InstallError::Refused {
            object: object.to_string(),
            code: status.code,
            message: status.message.clone(),
            done: done.to_vec(),
        }
        .into(),
        error => Error::Unreachable(root_cause(error)),
    }
}
