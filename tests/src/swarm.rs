//! Many clients that pull one image at the same moment, each the whole of it, as nodes do that have nothing of it yet.
//! What they get is checked by its digest. Who serves them, and what the figures mean, is the caller's affair.

use std::{
    io,
    net::SocketAddr,
    sync::RwLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    http::{Connection, Tls},
    image::hex,
};

/// A thread that reads and hashes needs no more.
const STACK: usize = 256 << 10;

/// Where clients pull from.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// Over TLS, if that is how it is spoken to.
    pub tls: Option<Tls>,
}

/// An image, as a client asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Its path: `strace/tcpdump`.
    pub path: &'a str,
    /// Its tag.
    pub tag: &'a str,
    /// For which architecture, in OCI's words.
    pub architecture: &'a str,
}

/// What became of the clients.
#[derive(Clone, Debug, Default)]
pub struct Pulls {
    /// How long each took that has the image, from the common start to the last layer's last byte, in order.
    pub latencies: Vec<Duration>,
    /// Why the others have not.
    pub failures: Vec<String>,
    /// Bytes of all documents and layers together.
    pub bytes: u64,
}

impl Pulls {
    /// What this share of the clients (0.5, 0.99) stayed within. None where nobody has pulled.
    #[must_use]
    pub fn within(&self, share: f64) -> Option<Duration> {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).copied()
    }
}

/// Has so many clients pull `image` at once, each by a connection of its own, one after the other from the next target.
///
/// # Panics
/// Without a target, or when a client does.
pub fn pull(targets: &[Target], clients: usize, image: Image<'_>) -> Pulls {
    // Closed until all are there; a client that cannot be started leaves nobody waiting.
    let start = RwLock::new(());
    let ended: Vec<_> = thread::scope(|scope| {
        let client = |number: usize| {
            let (start, target) = (&start, &targets[number % targets.len()]);
            let run = move || {
                drop(start.read());
                let begun = Instant::now();
                pull_one(target, image).map(|bytes| (begun.elapsed(), bytes))
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("there is room for a thread")
        };
        let closed = start.write();
        let running: Vec<_> = (0..clients).map(client).collect();
        drop(closed);
        running.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    });
    let mut pulls = Pulls::default();
    for end in ended {
        match end {
            Ok((took, bytes)) => {
                pulls.latencies.push(took);
                pulls.bytes += bytes;
            }
            Err(error) => pulls.failures.push(error.to_string()),
        }
    }
    pulls.latencies.sort();
    pulls
}

/// Index, manifest, config and layers; how many bytes that was.
fn pull_one(target: &Target, image: Image<'_>) -> io::Result<u64> {
    let mut connection = match &target.tls {
        Some(tls) => Connection::open_tls(target.address, tls)?,
        None => Connection::open(target.address)?,
    };
    let Image { path, tag, architecture } = image;
    let mut bytes = 0;
    let mut get = |kind: &str, reference: &str, digest: Option<&str>| {
        let at = format!("/v2/{path}/{kind}/{reference}");
        let answer = connection.get(&at)?;
        if answer.head.status != 200 {
            return Err(bad(format!("{at}: status {}", answer.head.status)));
        }
        let seen = format!("sha256:{}", hex(&answer.body));
        let wanted = digest.or_else(|| answer.head.header("docker-content-digest"));
        if wanted != Some(&seen) {
            return Err(bad(format!("{at}: {seen} came instead of {wanted:?}")));
        }
        bytes += answer.body.len() as u64;
        Ok(answer.body)
    };
    let index = get("manifests", tag, None)?;
    let manifest = of_platform(&index, architecture)
        .ok_or_else(|| bad(format!("the index of {path} has nothing for {architecture}")))?;
    let manifest = get("manifests", &manifest, Some(&manifest))?;
    for blob in blobs(&manifest).ok_or_else(|| bad(format!("the manifest of {path} is none")))? {
        get("blobs", &blob, Some(&blob))?;
    }
    Ok(bytes)
}

/// The digest of the manifest for an architecture.
fn of_platform(index: &[u8], architecture: &str) -> Option<String> {
    let index: Value = serde_json::from_slice(index).ok()?;
    let manifests = index["manifests"].as_array()?;
    let found = manifests.iter().find(|manifest| manifest["platform"]["architecture"] == architecture)?;
    Some(found["digest"].as_str()?.to_owned())
}

/// The digests of config and layers.
fn blobs(manifest: &[u8]) -> Option<Vec<String>> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    let descriptors = std::iter::once(&manifest["config"]).chain(manifest["layers"].as_array()?);
    descriptors.map(|descriptor| Some(descriptor["digest"].as_str()?.to_owned())).collect()
}

fn bad(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_from_below() {
        let latencies = (1..=200).map(Duration::from_millis).collect();
        let pulls = Pulls { latencies, ..Pulls::default() };
        assert_eq!(pulls.within(0.5), Some(Duration::from_millis(100)));
        assert_eq!(pulls.within(0.99), Some(Duration::from_millis(198)));
        assert_eq!(pulls.within(1.0), Some(Duration::from_millis(200)));
        assert_eq!(Pulls::default().within(0.5), None);
    }

    #[test]
    fn what_an_image_has_is_found_by_its_platform() {
        let index = br#"{"manifests":[{"digest":"a","platform":{"architecture":"arm64"}},{"digest":"b","platform":{"architecture":"amd64"}}]}"#;
        assert_eq!(of_platform(index, "amd64").as_deref(), Some("b"));
        assert_eq!(of_platform(index, "riscv64"), None);
        let manifest = br#"{"config":{"digest":"c"},"layers":[{"digest":"d"},{"digest":"e"}]}"#;
        assert_eq!(blobs(manifest).unwrap(), ["c", "d", "e"]);
        assert_eq!(blobs(b"{}"), None);
    }

    #[test]
    fn a_client_that_gets_nothing_is_counted() {
        let nobody = Target { address: SocketAddr::from(([127, 0, 0, 1], 1)), tls: None };
        let image = Image { path: "strace", tag: "latest", architecture: "amd64" };
        let pulls = pull(&[nobody], 3, image);
        assert_eq!((pulls.latencies.len(), pulls.failures.len(), pulls.bytes), (0, 3, 0));
    }
}
