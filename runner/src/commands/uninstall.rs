//! `kubectl kitbag uninstall`: what tells of the registries first, so that nobody is sent to one that is gone.

use serde_json::Value;

use super::install::{begun_in, failed, installed_in, told};
use crate::access;
use crate::cli::Uninstall;
use crate::cluster::{self, Cluster};
use crate::discovery;
use crate::error::Error;
use crate::install::objects::Object;
use crate::install::remove::{self, Fate};
use crate::install::{Done, InstallError, NAMESPACE, Objects, Settings, apply, permissions};
use crate::progress::Progress;

/// Runs the command.
pub(crate) async fn run(arguments: &Uninstall) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    let Cluster { client, user, .. } = cluster::connect(&arguments.common, progress.clock()).await?;
    let installed = installed_in(&client).await?;
    let namespace = match (&arguments.common.namespace, &installed) {
        (Some(namespace), _) | (None, Some(namespace)) => namespace.clone(),
        (None, None) => begun_in(&client).await?.unwrap_or_else(|| NAMESPACE.to_owned()),
    };
    let elsewhere = installed.filter(|installed| *installed != namespace);
    let settings = Settings { image: "", namespace: &namespace, port: 0, pull_secret: None };
    let objects: Vec<Object> = Objects::new(&settings)?.all().rev().collect();
    let missing = permissions::missing(&client, permissions::to_remove(&objects)).await;
    if !missing.is_empty() {
        let user = access::whoami(&client, user.as_deref()).await;
        return Err(InstallError::Forbidden { user, missing }.into());
    }
    let mut plan: Vec<(Object, Fate, Option<Value>)> = Vec::new();
    for object in objects {
        let found = apply::get(&client, &object).await.map_err(|error| failed(&object, &error, &Done::default()))?;
        let is_discovery = object.namespace.as_deref() == Some(discovery::NAMESPACE);
        let fate = match remove::fate(found.as_ref()) {
            Fate::Goes(_) if is_discovery && let Some(elsewhere) = &elsewhere => {
                Fate::Stays(format!("it tells of the registries in namespace `{elsewhere}`"))
            }
            Fate::Goes(uid) if object.namespace.is_none() => {
                remove::others(&client, &namespace).await.map_or(Fate::Goes(uid), Fate::Stays)
            }
            fate => fate,
        };
        plan.push((object, fate, found));
    }
    if plan.iter().all(|(_, fate, _)| *fate == Fate::Absent) {
        return super::print("there is nothing to remove\n");
    }

    let (mut done, mut deleted) = (Done::default(), Vec::new());
    for (object, fate, found) in &plan {
        match fate {
            Fate::Absent => {}
            Fate::Goes(_) if arguments.dry_run => done.add(format!("{object}: would be removed")),
            Fate::Goes(uid) => {
                remove::delete(&client, object, uid).await.map_err(|error| kept(object, &error, &done))?;
                deleted.push((object.clone(), uid.clone()));
                done.add(format!("{object}: removed"));
            }
            Fate::Stays(why) => {
                let is_namespace = object.namespace.is_none() && !arguments.dry_run;
                let changed = match found.as_ref().filter(|_| is_namespace) {
                    Some(found) => {
                        let left = remove::leave(&client, object, found).await;
                        left.map_err(|error| kept(object, &error, &done))?
                    }
                    None => false,
                };
                let labels = if changed { "; what install had set on it was taken back" } else { "" };
                done.add(format!("{object}: left there, because {why}{labels}"));
            }
        }
    }
    progress.done("deleted");
    remove::until_gone(&client, &deleted, arguments.timeout).await?;
    super::print(done.lines())
}

/// Why something could not be removed.
fn kept(object: &Object, error: &kube::Error, done: &Done) -> Error {
    told(error, |code, message| InstallError::Kept { object: object.to_string(), code, message, done: done.clone() })
}
