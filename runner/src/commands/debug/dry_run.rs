//! `--dry-run`: prints the patch that would add the container, and changes nothing.

use k8s_openapi::api::core::v1::Pod;

use super::enter::Entry;
use super::errand::Errand;
use crate::cli::values::{DryRun, Format};
use crate::commands;
use crate::error::Error;
use crate::{plan, target};

pub(super) async fn run(errand: &Errand, pod: &Pod) -> Result<u8, Error> {
    let target = target::choose(pod, errand.arguments.container.as_deref())?;
    let entry = Entry { errand, pod, target: &target, means: errand.means(&target.pod), progress: &errand.progress };
    let candidates = entry.candidates();
    let planned = match errand.arguments.output.dry_run {
        DryRun::Server => entry.try_out(&candidates).await?,
        DryRun::Client | DryRun::None => entry.first(&candidates)?,
    };
    planned.notes.iter().for_each(|note| errand.progress.say(&format!("note: {note}")));
    let patch = plan::patch(&planned.container);
    let text = match errand.arguments.output.format {
        Some(Format::Json) => format!("{patch:#}\n"),
        Some(Format::Yaml) | None => {
            serde_saphyr::to_string(&patch).map_err(|error| Error::Output(std::io::Error::other(error)))?
        }
    };
    commands::print(text)
}
