//! `kubectl kitbag install`: the registries first, and when they answer, what tells of them.

use std::fs;
use std::time::Duration;

use kitbag_toolsets::published::Published;
use kube::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::access;
use crate::cli::Install;
use crate::cluster::{self, Cluster, FIELD_MANAGER};
use crate::error::{Error, root_cause};
use crate::install::objects::{INSTALLED_IN, Object};
use crate::install::{InstallError, MANAGED_BY, NAMESPACE, Objects, Outcome, Settings, apply, permissions, wait};
use crate::progress::Progress;

/// How often it is looked whether a namespace that is being deleted is gone.
const POLL: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) async fn run(arguments: &Install) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    check_image(&arguments.image)?;
    let path = &arguments.catalog;
    let read = fs::read_to_string(path);
    let catalog = read.map_err(|source| InstallError::CatalogFile { path: path.clone(), source })?;
    let published = Published::parse(&catalog);
    let published = published.map_err(|fault| InstallError::Catalog { path: path.clone(), fault })?;
    let generation = published.id().to_string();

    let Cluster { client, user, .. } = cluster::connect(&arguments.common, progress.clock()).await?;
    let namespace = place(&client, arguments.common.namespace.as_deref()).await?;
    let mut objects = Objects::new(&Settings {
        image: &arguments.image,
        namespace: &namespace,
        port: arguments.port,
        pull_secret: arguments.pull_secret.as_deref(),
        generation: &generation,
        catalog: &catalog,
    })?;
    let deadline = Instant::now() + arguments.timeout;
    let found = current(&client, &objects, deadline, &progress).await?;
    if found.namespace.as_ref().is_some_and(|it| manager(it) != Some(FIELD_MANAGER)) {
        objects.keep_namespace();
    }
    let all: Vec<(Object, Option<Value>)> = objects.all().zip(found.in_order()).collect();
    for (object, before) in &all {
        check_manager(object, before.as_ref())?;
    }
    let wanted = permissions::to_apply(all.iter().map(|(object, before)| (object.clone(), before.is_some())));
    let missing = permissions::missing(&client, wanted).await;
    if !missing.is_empty() {
        let user = access::whoami(&client, user.as_deref()).await;
        return Err(InstallError::Forbidden { user, missing }.into());
    }
    progress.done("permissions checked");
    if arguments.dry_run {
        return preview(&client, all).await;
    }

    let mut done = Vec::new();
    let (first, then) = all.split_at(objects.first().len());
    put(&client, first, &mut done).await?;
    progress.done("registries applied");
    let say = |line: &str| progress.say(line);
    let nodes = wait::until_rolled_out(&client, &namespace, deadline, arguments.timeout, &done, say).await?;
    progress.done("registries rolled out");
    put(&client, then, &mut done).await?;
    let nodes = if nodes == 1 { "1 node has".to_owned() } else { format!("{nodes} nodes have") };
    let address = crate::install::objects::address(arguments.port);
    let last = format!("{nodes} a registry at `{address}`, of generation {generation}\n");
    super::print(done.iter().map(|line| format!("{line}\n")).collect::<String>() + &last)
}

/// A reference that containerd reads; whether the image is there is for the nodes to say.
fn check_image(image: &str) -> Result<(), InstallError> {
    let fault =
        |error: oci_client::ParseError| InstallError::Image { image: image.to_owned(), reason: error.to_string() };
    image.parse::<oci_client::Reference>().map(drop).map_err(fault)
}

/// The namespace: where the registries of this cluster are, if there are any.
async fn place(client: &Client, wanted: Option<&str>) -> Result<String, Error> {
    let installed = installed_in(client).await?;
    match (wanted, installed) {
        (Some(wanted), Some(namespace)) if wanted != namespace => Err(InstallError::Elsewhere { namespace }.into()),
        (Some(wanted), _) => Ok(wanted.to_owned()),
        (None, installed) => Ok(installed.unwrap_or_else(|| NAMESPACE.to_owned())),
    }
}

/// Where `install` has put the registries, as far as discovery says.
pub(super) async fn installed_in(client: &Client) -> Result<Option<String>, Error> {
    let objects = Objects::new(&Settings {
        image: "",
        namespace: NAMESPACE,
        port: 0,
        pull_secret: None,
        generation: "",
        catalog: "",
    })?;
    let [.., discovery] = objects.then();
    let found = seen(client, &discovery).await?;
    Ok(found.and_then(|found| found["metadata"]["annotations"][INSTALLED_IN].as_str().map(str::to_owned)))
}

/// What is there, in the order of [`Objects::all`].
struct Found {
    namespace: Option<Value>,
    others: Vec<Option<Value>>,
}

impl Found {
    fn in_order(self) -> impl Iterator<Item = Option<Value>> {
        std::iter::once(self.namespace).chain(self.others)
    }
}

async fn current(client: &Client, objects: &Objects, deadline: Instant, progress: &Progress) -> Result<Found, Error> {
    let mut all = objects.all();
    let mut namespace = None;
    let mut is_told = false;
    // An earlier installation may still be on its way out.
    for object in all.by_ref().take(1) {
        namespace = seen(client, &object).await?;
        while namespace.as_ref().is_some_and(|it| !it["metadata"]["deletionTimestamp"].is_null())
            && Instant::now() < deadline
        {
            if !std::mem::replace(&mut is_told, true) {
                progress.say(&format!("{object} is being deleted: waiting until it is gone…"));
            }
            sleep(POLL).await;
            namespace = seen(client, &object).await?;
        }
    }
    let mut others = Vec::new();
    for object in all {
        others.push(seen(client, &object).await?);
    }
    Ok(Found { namespace, others })
}

/// What is there of an object. What may not be seen is told with all other permissions that are missing.
async fn seen(client: &Client, object: &Object) -> Result<Option<Value>, Error> {
    match apply::get(client, object).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(failed(object, &error, &[])),
        Ok(found) => Ok(found),
    }
}

fn manager(found: &Value) -> Option<&str> {
    found["metadata"]["labels"][MANAGED_BY].as_str()
}

/// Nobody's object is taken from them. A namespace is shared.
fn check_manager(object: &Object, before: Option<&Value>) -> Result<(), InstallError> {
    match before.and_then(manager).filter(|manager| *manager != FIELD_MANAGER && object.namespace.is_some()) {
        Some(manager) => Err(InstallError::Managed { object: object.to_string(), manager: manager.to_owned() }),
        None => Ok(()),
    }
}

async fn preview(client: &Client, all: Vec<(Object, Option<Value>)>) -> Result<u8, Error> {
    let mut text = String::new();
    for (object, before) in all {
        match apply::preview(client, &object, before).await {
            Ok(Some(diff)) => text.push_str(&diff),
            Ok(None) => text.push_str(&format!("{object}: unchanged\n")),
            Err(error) => return Err(failed(&object, &error, &[])),
        }
    }
    super::print(text)
}

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
