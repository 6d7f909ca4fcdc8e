//! `kubectl kitbag debug`: from names to a session. What is known before a pod is touched is the [`errand`]; [`enter`]
//! finds or adds the container in a pod; [`visit`] is the session in it.

mod all;
mod dry_run;
mod enter;
mod errand;
mod object;
mod visit;

use crate::cli::Debug;
use crate::cli::values::DryRun;
use crate::error::Error;
use errand::Errand;
use object::Object;

/// How much of each stream `-o json` keeps, in bytes; the rest is read and forgotten, and the object says so.
const CAPTURED: usize = 16 * 1024 * 1024;

/// Runs the command. Returns the exit code of what ran in the container.
pub(crate) async fn run(arguments: Debug) -> Result<u8, Error> {
    let for_programs = arguments.output.format.is_some() && arguments.output.dry_run == DryRun::None;
    let tell = |object: Object| if for_programs { object::print(&object) } else { Ok(()) };
    let (errand, found) = match Errand::prepare(arguments).await {
        Ok(prepared) => prepared,
        Err(error) => {
            tell(Object::of_error(&error))?;
            return Err(error);
        }
    };
    if let Some(said) = &found.said {
        errand.progress.say(said);
    }
    if errand.arguments.all {
        return all::run(&errand, &found.pods).await;
    }
    let Some(pod) = found.pods.first() else { unreachable!("what was found is at least one pod") };
    if errand.arguments.output.dry_run != DryRun::None {
        return dry_run::run(&errand, pod).await;
    }
    match visit::run(&errand, pod, &errand.progress, errand.output(None)).await {
        Ok(visited) => {
            tell(visited.object(&errand))?;
            Ok(visited.code())
        }
        Err(undone) => {
            tell(Object::of_visit(&errand.namespace, pod, &undone))?;
            Err(undone.error)
        }
    }
}
