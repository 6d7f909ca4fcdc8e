//! Archives of sources: from where they can be had, and the check of their hash. The hash decides, never the origin.

mod network;

use std::fmt;
use std::fs::{self as std_fs, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::id as process_id;

use kitbag_toolsets::canonical;
use kitbag_toolsets::recipe::Source;
use sha2::{Digest as _, Sha256};

use crate::fs::{self, At as _, FsError};
use crate::process::Interrupt;
pub use network::{Internet, InternetConfig};

/// Larger than any archive that is worth taking, so that a wrong server cannot fill the disk. Bytes.
const LARGEST: u64 = 2 << 30;

/// A place where an archive may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory that the user has named.
    Directory(PathBuf),
    /// Our own download cache.
    Cache(PathBuf),
    /// Upstream.
    Url(String),
    /// Below the mirror that apt is configured for.
    Debian(String),
    /// A wheel, as `project==version`, from where pip is configured for.
    Pypi(String),
}

impl Origin {
    const fn is_network(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Debian(_) | Self::Pypi(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "directory `{}`", path.display()),
            Self::Cache(path) => write!(f, "download cache `{}`", path.display()),
            Self::Url(url) => f.write_str(url),
            Self::Debian(path) => write!(f, "apt's mirror, `{path}`"),
            Self::Pypi(pin) => write!(f, "pip, `{pin}`"),
        }
    }
}

/// The origins of `source`, in the order in which they are asked.
#[must_use]
pub fn origins(source: &Source, directories: &[PathBuf], cache: &Path) -> Vec<Origin> {
    let mut origins: Vec<Origin> = directories.iter().map(|dir| Origin::Directory(dir.clone())).collect();
    origins.push(Origin::Cache(cache.to_owned()));
    origins.extend(source.urls.iter().cloned().map(Origin::Url));
    origins.extend(source.debian.clone().map(Origin::Debian));
    origins.extend(source.pypi.clone().map(Origin::Pypi));
    origins
}

/// What can be had from elsewhere. Errors are reasons for people.
pub trait Remote: Sync {
    /// The bytes at an address.
    ///
    /// # Errors
    /// Why not.
    fn get(&self, url: &str) -> Result<Box<dyn Read>, String>;

    /// Base addresses of the mirrors that apt is configured for, each once, ending with `/`.
    ///
    /// # Errors
    /// Why not.
    fn mirrors(&self) -> Result<Vec<String>, String>;

    /// Downloads a wheel into the empty directory `dir`, and says where it is.
    ///
    /// # Errors
    /// Why not.
    fn wheel(&self, pin: &str, dir: &Path) -> Result<PathBuf, String>;
}

/// Gets archives.
pub struct Fetcher<'a> {
    /// The user's directories, first asked first.
    pub directories: Vec<PathBuf>,
    /// The download cache.
    pub cache: PathBuf,
    /// The network; `None` with `--offline`.
    pub remote: Option<&'a dyn Remote>,
    /// Told of what was refused, although another origin had it.
    pub refused: &'a (dyn Fn(String) + Sync),
    /// Ends downloads.
    pub interrupt: &'a Interrupt,
}

/// An archive that no origin had.
#[derive(Debug, thiserror::Error)]
#[error("cannot get `{file}` (SHA-256 {sha256}):{}", tried.iter().map(|(o, why)| format!("\n    {o}: {why}")).collect::<String>())]
pub struct SourceError {
    /// Its name.
    pub file: String,
    /// The hash that it must have.
    pub sha256: String,
    /// Each origin, and why it was of no use.
    pub tried: Vec<(String, String)>,
    /// Whether an origin had something else under its name.
    pub wrong_hash: bool,
}

/// An archive that is there and has the right hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was downloaded just now.
    pub downloaded: bool,
}

enum Failure {
    /// Not there, or not to be had.
    Unavailable(String),
    /// Something else was there.
    Refused(String),
}

impl Fetcher<'_> {
    /// The archive that `source` pins, from the first origin that has it.
    ///
    /// # Errors
    /// [`SourceError`] names each origin with its reason.
    pub fn fetch(&self, source: &Source) -> Result<Found, SourceError> {
        let mut tried = Vec::new();
        let mut wrong_hash = false;
        for origin in origins(source, &self.directories, &self.cache) {
            let result = match (self.remote, origin.is_network()) {
                (None, true) => Err(Failure::Unavailable("not asked, because of --offline".to_owned())),
                (Some(remote), true) => self.download(source, &origin, remote),
                (_, false) => self.local(source, &origin),
            };
            match result {
                Ok(path) => return Ok(Found { path, downloaded: origin.is_network() }),
                Err(Failure::Unavailable(why)) => tried.push((origin.to_string(), why)),
                Err(Failure::Refused(why)) => {
                    (self.refused)(format!("`{}` refused, from {origin}: {why}", source.file));
                    wrong_hash = true;
                    tried.push((origin.to_string(), why));
                }
            }
        }
        Err(SourceError { file: source.file.clone(), sha256: source.sha256.clone(), tried, wrong_hash })
    }

    fn local(&self, source: &Source, origin: &Origin) -> Result<PathBuf, Failure> {
        let (Origin::Directory(dir) | Origin::Cache(dir)) = origin else { unreachable!("only called for directories") };
        let path = dir.join(&source.file);
        if !path.exists() {
            return Err(Failure::Unavailable("it is not there".to_owned()));
        }
        let hash = hash_of(&path).map_err(unavailable)?;
        if hash == source.sha256 {
            return Ok(path);
        }
        if matches!(origin, Origin::Cache(_)) {
            return Err(self.keep_aside(source, &path, &hash));
        }
        Err(Failure::Refused(format!("it has SHA-256 {hash}")))
    }

    fn download(&self, source: &Source, origin: &Origin, remote: &dyn Remote) -> Result<PathBuf, Failure> {
        fs::create_dir_all(&self.cache).map_err(unavailable)?;
        match origin {
            Origin::Url(url) => self.get(source, url, remote),
            Origin::Debian(path) => {
                let mut last = Failure::Unavailable("apt is configured for no mirror".to_owned());
                for mirror in remote.mirrors().map_err(Failure::Unavailable)? {
                    match self.get(source, &format!("{mirror}{path}"), remote) {
                        Err(failure @ Failure::Unavailable(_)) => last = failure,
                        other => return other,
                    }
                }
                Err(last)
            }
            Origin::Pypi(pin) => {
                let dir = self.cache.join(format!("{}pip-{}", fs::TEMPORARY, process_id()));
                let made = std_fs::create_dir_all(&dir).at("create", &dir).map_err(unavailable);
                let result = made.and_then(|()| {
                    let wheel = remote.wheel(pin, &dir).map_err(Failure::Unavailable)?;
                    let hash = hash_of(&wheel).map_err(unavailable)?;
                    self.accept(source, &wheel, &hash)
                });
                // Only rubbish is left in it.
                let _ = std_fs::remove_dir_all(&dir);
                result
            }
            Origin::Directory(_) | Origin::Cache(_) => unreachable!("only called for the network"),
        }
    }

    fn get(&self, source: &Source, url: &str, remote: &dyn Remote) -> Result<PathBuf, Failure> {
        let body = remote.get(url).map_err(Failure::Unavailable)?;
        let temporary = self.cache.join(format!("{}{}-{}", fs::TEMPORARY, process_id(), source.file));
        let result = save(body, &temporary, self.interrupt).and_then(|hash| self.accept(source, &temporary, &hash));
        // Gone already if it was taken or kept aside.
        let _ = std_fs::remove_file(&temporary);
        result
    }

    /// Moves a download to its place in the cache, or aside.
    fn accept(&self, source: &Source, downloaded: &Path, hash: &str) -> Result<PathBuf, Failure> {
        if hash != source.sha256 {
            return Err(self.keep_aside(source, downloaded, hash));
        }
        let path = self.cache.join(&source.file);
        std_fs::rename(downloaded, &path).at("write", &path).map_err(unavailable)?;
        Ok(path)
    }

    fn keep_aside(&self, source: &Source, path: &Path, hash: &str) -> Failure {
        let aside = self.cache.join(format!("{}.rejected-{}", source.file, &hash[..12]));
        let kept = match std_fs::rename(path, &aside) {
            Ok(()) => format!("kept as `{}`", aside.display()),
            Err(error) => format!("and cannot be kept aside: {error}"),
        };
        Failure::Refused(format!("it has SHA-256 {hash}; {kept}"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so it is the argument of `map_err`")]
fn unavailable(error: FsError) -> Failure {
    Failure::Unavailable(error.to_string())
}

/// SHA-256 of a file, in hexadecimal digits.
fn hash_of(path: &Path) -> Result<String, FsError> {
    let mut file = File::open(path).at("read", path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).at("read", path)? {
            0 => return Ok(canonical::hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Writes `body` to `path`, and gives its hash.
fn save(body: Box<dyn Read>, path: &Path, interrupt: &Interrupt) -> Result<String, Failure> {
    let mut file = File::create(path).at("create", path).map_err(unavailable)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut body = body.take(LARGEST);
    loop {
        let read = body.read(&mut buffer).map_err(|error| Failure::Unavailable(reason(&error)))?;
        if read == 0 {
            break;
        }
        if interrupt.is_triggered() {
            return Err(Failure::Unavailable("interrupted".to_owned()));
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read]).at("write", path).map_err(unavailable)?;
    }
    file.sync_all().at("write", path).map_err(unavailable)?;
    Ok(canonical::hex(&hasher.finalize()))
}

fn reason(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests;
