//! `image`: an image as files, or pushed to a registry, with no registry of ours running.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kitbag_builder::fs;
use kitbag_builder::process::Interrupt;
use kitbag_builder::publish::push::{Options, Pushed, push};
use kitbag_builder::publish::{Content, Destination, credentials, write_archive, write_docker_archive, write_layout};
use kitbag_builder::server::{self, Parts};
use kitbag_builder::store::Store;
use kitbag_toolsets::{Arch, Generation, ImagePath};
use oci_spec::distribution::Reference;

use crate::cli::{self, Image};
use crate::output::{CommandError, Kind, size};

/// The pause before something is pushed again that did not get through.
const PAUSE: Duration = Duration::from_millis(500);
/// The last part of the name of the registry's own image.
const SERVER: &str = "kitbag-registry";
/// How often a push looks for a signal.
const SIGNALS: Duration = Duration::from_millis(100);

pub(crate) fn run(options: &Image, interrupt: &Interrupt) -> Result<ExitCode, CommandError> {
    let store = Store::open(&options.store.dir())?;
    let generation = generation(&store, options.generation.as_deref())?;
    let (name, content) = match &options.path {
        Some(path) => (path.to_string(), tools(path, generation, &store, options)?),
        None => (SERVER.to_owned(), registry(&store, options)?),
    };
    let content = match options.platform {
        Some(arch) => content.only(arch)?,
        None => content,
    };
    let tag = generation.id().to_string();
    let name = options.name.clone().unwrap_or_else(|| Reference::with_tag("localhost".to_owned(), name, tag));
    for destination in &options.to {
        let digest = write(&content, &name, destination, options, interrupt)?;
        // Whoever reads this may have read enough.
        let _ = writeln!(io::stdout(), "{destination} {digest}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The image of tools.
fn tools(path: &ImagePath, generation: &Generation, store: &Store, options: &Image) -> Result<Content, CommandError> {
    let set = generation.resolve(path).map_err(|error| {
        CommandError::new(Kind::Usage, error.to_string()).hint(format!(
            "asked was generation {} of the store at `{}`",
            generation.id(),
            store.dir().display()
        ))
    })?;
    let image = generation.compose(&set).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
    Ok(Content::of(&image, options.compression, store))
}

/// The registry's own image.
fn registry(store: &Store, options: &Image) -> Result<Content, CommandError> {
    let read = |(arch, file): (Arch, &Path)| fs::read(file).map(|program| (arch, program));
    let programs: BTreeMap<Arch, Vec<u8>> = options.programs().map(read).collect::<Result<_, _>>()?;
    let (all_layers, compression) = (options.all_layers, options.compression);
    Ok(server::image(Parts { store, programs: &programs, all_layers, compression })?)
}

fn generation<'a>(store: &'a Store, id: Option<&str>) -> Result<&'a Arc<Generation>, CommandError> {
    let generations = store.generations();
    let Some(id) = id else { return Ok(&generations[0]) };
    generations.iter().find(|generation| generation.id().as_str() == id).ok_or_else(|| {
        let ids: Vec<String> = generations.iter().map(|generation| format!("`{}`", generation.id())).collect();
        let message = format!("the store at `{}` has no generation `{id}`", store.dir().display());
        CommandError::new(Kind::Usage, message).hint(format!("it has {}", ids.join(", ")))
    })
}

/// Writes the image; the digest by which it is found there.
fn write(
    content: &Content,
    name: &Reference,
    destination: &Destination,
    options: &Image,
    interrupt: &Interrupt,
) -> Result<String, CommandError> {
    match destination {
        Destination::Layout(dir) => write_layout(content, name, dir)?,
        Destination::OciArchive(file) => write_archive(content, name, file)?,
        Destination::DockerArchive(file) => {
            write_docker_archive(content, name, file)?;
            return Ok(content.platforms[0].config.digest.to_string());
        }
        Destination::Registry(reference) => {
            let pushed = publish(content, reference, options, interrupt)?;
            let Pushed { uploaded, bytes, present } = pushed;
            eprintln!("{destination}: {uploaded} blobs ({}) uploaded, {present} were there", size(bytes));
        }
    }
    Ok(content.root.digest.to_string())
}

fn publish(content: &Content, to: &Reference, options: &Image, interrupt: &Interrupt) -> Result<Pushed, CommandError> {
    let auth = credentials::find(&cli::credential_files(), to)?;
    let host = |error: io::Error| CommandError::new(Kind::Host, format!("cannot start the push: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(host)?;
    // Only the first can be installed, and all are the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let how = Options { plain_http: options.insecure, pause: PAUSE };
    let signal = async {
        while !interrupt.is_triggered() {
            tokio::time::sleep(SIGNALS).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            pushed = push(content, to, &auth, how) => Ok(pushed?),
            () = signal => Err(CommandError::new(Kind::Interrupted, "interrupted")),
        }
    })
}
