//! A store of its own with a registry of its own, and what its answers should be.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kitbag_builder::store::Store;
use kitbag_toolsets::{Arch, GenerationId, Name, canonical::sha256_hex};

use super::{World, until};
use crate::{
    Result,
    http::{Answer, fetch},
    server::{Flags, Server},
    synthetic::{self, tool},
};

/// The tool whose layer is large enough that no socket buffers hold it.
const BIG: &str = "big";
/// Bytes of that layer.
const BIG_BYTES: usize = 16 << 20;
/// How long what is repaired may stay refused, and what is broken be served: a guard, not a goal.
const PATIENCE: Duration = Duration::from_secs(15);
/// An image of the site.
pub(super) const MANIFEST: &str = "/v2/tool0000/tool0001/manifests/latest";

/// A store, and a registry that serves it.
pub(super) struct Site {
    /// The registry.
    pub(super) server: Server,
    /// How it was started.
    pub(super) flags: Flags,
    /// Its store, as it was then.
    store: Store,
}

/// A layer of the store.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Its URL's path.
    pub(super) path: String,
    /// Its file.
    pub(super) file: PathBuf,
    hex: String,
}

impl Site {
    /// A small store and its registry.
    pub(super) fn start(world: &World, name: &str) -> Result<Self> {
        Self::start_by(world, name, |program| Command::new(program))
    }

    /// The same, with the program started by another one: what that is told besides is the caller's.
    pub(super) fn start_by(world: &World, name: &str, by: impl FnOnce(&Path) -> Command) -> Result<Self> {
        let store = world.dir.join(name).join("store");
        copy(world.store, &store)?;
        Self::serve(world, Flags::new(&store)?, by)
    }

    /// A registry of a store that is there. Its log goes beside the store.
    pub(super) fn serve(world: &World, flags: Flags, by: impl FnOnce(&Path) -> Command) -> Result<Self> {
        let mut command = by(&world.programs.registry);
        let dir = flags.store.parent().unwrap_or(world.dir);
        let server = Server::spawn(dir, "registry", flags.listen, command.args(flags.arguments()))?;
        Self::of(server, flags)
    }

    /// With a registry that was just started.
    pub(super) fn of(server: Server, flags: Flags) -> Result<Self> {
        let store = Store::open(&flags.store)?;
        Ok(Self { server: server.wait("/v2/", Duration::from_millis(5))?, flags, store })
    }

    /// A layer of the tool of that number.
    pub(super) fn layer(&self, number: usize) -> Result<Layer> {
        self.layer_of(&synthetic::name(number))
    }

    /// The large layer.
    pub(super) fn big_layer(&self) -> Result<Layer> {
        self.layer_of(BIG)
    }

    fn layer_of(&self, name: &str) -> Result<Layer> {
        let tools = self.store.generations().first().ok_or("the store has no generation")?.tools();
        let record = tools.get(&Name::parse(name)?).and_then(|platforms| platforms.get(&Arch::Amd64));
        let digest = &record.ok_or("the store lacks a tool")?.gzip.digest;
        let hex = digest.digest().to_owned();
        Ok(Layer { path: format!("/v2/{name}/blobs/{digest}"), file: self.store.blob_path(digest), hex })
    }

    /// One answer, on a connection of its own.
    pub(super) fn ask(&self, path: &str) -> Result<Answer> {
        Ok(fetch(self.flags.listen, path).map_err(|error| format!("no answer to {path}: {error}"))?)
    }

    /// The manifest must be answered, and be what its digest says.
    pub(super) fn good_manifest(&self) -> Result {
        check_manifest(&self.ask(MANIFEST)?)
    }

    /// The layer must be answered, and be what its digest says.
    pub(super) fn good(&self, layer: &Layer) -> Result {
        layer.check(&self.ask(&layer.path)?)
    }

    /// The layer must be answered so, soon.
    pub(super) fn good_soon(&self, layer: &Layer) -> Result<Duration> {
        let waited = until("what is repaired is served", PATIENCE, || self.good(layer).is_ok());
        waited.or_else(|_| self.good(layer).map(|()| PATIENCE))
    }

    /// The layer must be refused, as a fault of the server, in the form that clients know.
    pub(super) fn refused(&self, layer: &Layer) -> Result {
        let answer = self.ask(&layer.path)?;
        if !(500..600).contains(&answer.head.status) {
            let right = sha256_hex(&answer.body) == layer.hex;
            return Err(
                format!("status {} instead of a refusal (the bytes are right: {right})", answer.head.status).into()
            );
        }
        let error: serde_json::Value = serde_json::from_slice(&answer.body)?;
        match error["errors"][0]["code"].as_str() {
            Some(_) => Ok(()),
            None => Err(format!("the refusal has no code: {error}").into()),
        }
    }

    /// `/readyz` must be a failure that names the layer.
    pub(super) fn unready_for(&self, layer: &Layer) -> Result {
        let answer = fetch(self.flags.admin, "/readyz")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.head.status == 503 && text.contains(&layer.hex) {
            return Ok(());
        }
        Err(format!("`/readyz` does not tell of the damaged blob: {} {text}", answer.head.status).into())
    }

    /// `/readyz` must be well, soon.
    pub(super) fn ready_soon(&self) -> Result {
        let ready = || fetch(self.flags.admin, "/readyz").is_ok_and(|answer| answer.head.status == 200);
        until("`/readyz` is well again", PATIENCE, ready).map(drop)
    }

    /// `/readyz` must tell that the store as it is was refused, soon.
    pub(super) fn refusal_soon(&self) -> Result {
        let tells = || {
            fetch(self.flags.admin, "/readyz?verbose")
                .is_ok_and(|answer| String::from_utf8_lossy(&answer.body).contains("refused"))
        };
        until("`/readyz` tells that the store was refused", PATIENCE, tells).map(drop)
    }

    /// This generation must become `latest`, soon.
    pub(super) fn sees_soon(&self, id: &GenerationId) -> Result<Duration> {
        let path = format!("/v2/tool0000/manifests/{id}");
        let seen = || fetch(self.flags.listen, &path).is_ok_and(|answer| answer.head.status == 200);
        until("a new generation is seen", PATIENCE, seen)
    }

    /// It must be there at the end, and end well.
    pub(super) fn end(mut self) -> Result {
        if !self.server.runs() {
            return Err(format!("the registry has died: {}", self.server.words()).into());
        }
        match self.server.stop()? {
            status if status.success() => Ok(()),
            status => Err(format!("the registry ended with {status}").into()),
        }
    }
}

impl Layer {
    /// The answer must be this layer.
    pub(super) fn check(&self, answer: &Answer) -> Result {
        if answer.head.status != 200 {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{} for a good blob: {body}", answer.head.status).into());
        }
        self.check_bytes(&answer.body)
    }

    /// These must be the layer's bytes.
    pub(super) fn check_bytes(&self, bytes: &[u8]) -> Result {
        if sha256_hex(bytes) == self.hex { Ok(()) } else { Err(format!("WRONG BYTES for {}", self.path).into()) }
    }

    /// Changes one byte in the middle, in place.
    pub(super) fn flip(&self) -> io::Result<()> {
        let mut file = fs::File::options().read(true).write(true).open(&self.file)?;
        let middle = SeekFrom::Start(file.metadata()?.len() / 2);
        let mut byte = [0];
        file.seek(middle)?;
        file.read_exact(&mut byte)?;
        file.seek(middle)?;
        file.write_all(&[byte[0] ^ 1])
    }

    /// Puts these bytes where the file was, as a whole.
    pub(super) fn repair(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.file.with_extension("repaired");
        fs::write(&temporary, bytes)?;
        fs::rename(&temporary, &self.file)
    }
}

/// The answer must be a manifest that is what its digest says.
pub(super) fn check_manifest(answer: &Answer) -> Result {
    let digest = answer.head.header("docker-content-digest").unwrap_or_default();
    match answer.head.status {
        200 if digest == format!("sha256:{}", sha256_hex(&answer.body)) => Ok(()),
        200 => Err("WRONG BYTES of a manifest".into()),
        status => Err(format!("{status} for a good manifest: {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}

/// Copies a directory and what is in it, to a place where nothing is.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, name) = (entry?, |entry: &fs::DirEntry| to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &name(&entry))?;
        } else {
            fs::copy(entry.path(), name(&entry))?;
        }
    }
    Ok(())
}

/// The store of a site: four tools, and one with a large layer.
pub(super) fn make(store: &Path) -> Result<GenerationId> {
    let big = tool(BIG, "1.0", BIG_BYTES);
    synthetic::commit(store, &synthetic::many(4).into_iter().chain([big]).collect::<Vec<_>>())
}
