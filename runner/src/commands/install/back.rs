//! A step back, to a generation that the registries serve which run: the plugin is told first. Told last, as of a step
//! forward, it would ask nodes for what they do not have any more.

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use super::{ASKING, put_one};
use crate::discovery;
use crate::error::Error;
use crate::install::rollout::{State, chosen, observe, template};
use crate::install::{Done, Objects, served};

/// Publishes `generation`, if another image is to run than is `installed`, at the address at which all of that serve it. What is
/// published then. Who cannot be asked does not serve it: then it is published last.
pub(super) async fn step(
    client: &Client,
    objects: &Objects,
    published: &Value,
    installed: &DaemonSet,
    generation: &str,
    done: &mut Done,
) -> Result<Value, Error> {
    let data = &published["data"];
    let address = objects.discovery.data.as_ref().and_then(|data| data.get(discovery::REGISTRY));
    let is_there = data[discovery::GENERATION] == generation;
    let moves = data[discovery::REGISTRY].as_str() != address.map(String::as_str);
    let stays = template(installed).map(chosen) == template(&objects.registry).map(chosen);
    if is_there || moves || stays || !matches!(observe(installed, &[], &[]), State::Done { .. }) {
        return Ok(published.clone());
    }
    let catalog = match served::catalog(client, installed, Some(generation), Instant::now() + ASKING).await {
        Ok(catalog) if catalog.published.id().as_str() == generation => catalog,
        _ => return Ok(published.clone()),
    };
    let object = objects.of_before(published, generation, &catalog.text);
    let (_, after) = put_one(client, &object, Some(published), Instant::now() + ASKING, done).await?;
    done.went_back(format!("{object}: changed to generation {generation}, which the registries of before serve too"));
    Ok(after)
}
