//! A client that pulls: whole images and digests that it has kept, to the end or not. Whatever it gets is hashed.

use std::io;

use kitbag_toolsets::canonical::sha256_hex;
use serde_json::Value;

use super::{Churn, store::TOOLS};
use crate::{
    Result,
    http::{Answer, Connection, Head},
    synthetic,
};

/// Digests that a client keeps: the first ones, whose generation gc takes soon.
const KEPT: usize = 200;

/// One client, with at most one connection.
pub(super) struct Client<'a> {
    churn: &'a Churn,
    connection: Option<Connection>,
    kept: Vec<Resource>,
    random: Random,
}

/// What a digest names.
#[derive(Clone)]
struct Resource {
    /// With `manifests` or `blobs`, up to the digest.
    path: String,
    digest: String,
    /// The generation by which it is known.
    generation: String,
}

/// How it is pulled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pull {
    Whole,
    /// Hung up in the middle, and asked for the rest.
    Resumed,
    /// Hung up in the middle.
    Cut,
}

/// Numbers that only have to differ: xorshift.
struct Random(u64);

impl<'a> Client<'a> {
    pub(super) fn new(churn: &'a Churn, seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { churn, connection: None, kept: Vec::new(), random }
    }

    /// Pulls until it is told to stop.
    pub(super) fn run(mut self) {
        while !self.churn.is_stopped() {
            if let Err(error) = self.pull_image().and_then(|()| self.revisit()) {
                self.churn.tally.fault(error.to_string());
                self.connection = None;
            }
        }
    }

    /// An image as clients pull it: the tag, then by digest the index, a manifest, the config and the layers.
    fn pull_image(&mut self) -> Result {
        let tools: Vec<String> =
            (0..=self.random.below(3)).map(|_| synthetic::name(self.random.below(TOOLS))).collect();
        let image = format!("/v2/{}", tools.join("/"));
        let tagged = self.get(&format!("{image}/manifests/latest"))?;
        if self.is_refusal(&tagged) {
            return Ok(());
        }
        let digest = tagged.head.header("docker-content-digest").unwrap_or_default().to_owned();
        let index = check(&image, &tagged, &digest)?;
        let generation = index["annotations"]["dev.kitbag.generation"].as_str().unwrap_or_default().to_owned();
        let resource = |kind: &str, digest: &str| Resource {
            path: format!("{image}/{kind}/"),
            digest: digest.to_owned(),
            generation: generation.clone(),
        };
        let manifests = index["manifests"].as_array().ok_or("an index lists no manifests")?;
        let manifest = manifests[self.random.below(manifests.len().max(1))]["digest"].as_str().unwrap_or_default();
        self.by_digest(&resource("manifests", &digest), Pull::Whole)?;
        let Some(manifest) = self.by_digest(&resource("manifests", manifest), Pull::Whole)? else { return Ok(()) };
        let manifest: Value = serde_json::from_slice(&manifest)?;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for descriptor in layers.chain([&manifest["config"]]) {
            let digest = descriptor["digest"].as_str().ok_or("a manifest names no digest")?;
            let how = [Pull::Whole, Pull::Whole, Pull::Resumed, Pull::Cut][self.random.below(4)];
            self.by_digest(&resource("blobs", digest), how)?;
        }
        Ok(())
    }

    /// Some digest of an earlier pull, as a node asks for it that was away in between.
    fn revisit(&mut self) -> Result {
        if self.kept.is_empty() {
            return Ok(());
        }
        let old = self.kept[self.random.below(self.kept.len())].clone();
        if self.by_digest(&old, Pull::Whole)?.is_some() {
            self.churn.tally.revisited.add(1);
        }
        Ok(())
    }

    /// What a digest names, if it is still there.
    fn by_digest(&mut self, resource: &Resource, how: Pull) -> Result<Option<Vec<u8>>> {
        let Resource { path, digest, generation } = resource;
        let path = format!("{path}{digest}");
        let answer = if how == Pull::Whole { self.get(&path)? } else { self.get_part(&path, how)? };
        if self.is_refusal(&answer) {
            return Ok(None);
        }
        let tally = &self.churn.tally;
        match answer.head.status {
            200 => {}
            404 if self.churn.store.is_expired(generation) => {
                tally.expired.add(1);
                return Ok(None);
            }
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                return Err(format!("{status} for {path} of generation {generation}: {body}").into());
            }
        }
        if how == Pull::Cut {
            tally.cut.add(1);
            return Ok(None);
        }
        if format!("sha256:{}", sha256_hex(&answer.body)) != *digest {
            return Err(format!("WRONG BYTES for {path}").into());
        }
        tally.checked.add(1);
        tally.bytes.add(answer.body.len() as u64);
        if self.kept.len() < KEPT {
            self.kept.push(resource.clone());
        }
        Ok(Some(answer.body))
    }

    /// Whether it is the one refusal that may be: by an instance that ends.
    fn is_refusal(&self, answer: &Answer) -> bool {
        let refused = answer.head.status == 503 && self.churn.is_draining();
        self.churn.tally.draining.add(u64::from(refused));
        refused
    }

    /// A whole answer.
    fn get(&mut self, path: &str) -> Result<Answer> {
        self.begin(path, "", Connection::body)
    }

    /// Hangs up in the middle of the body, and asks for the rest if that is wanted.
    fn get_part(&mut self, path: &str, how: Pull) -> Result<Answer> {
        let Answer { head, mut body } = self.begin(path, "", |connection, head| {
            let mut some = vec![0; (head.length() as usize / 2).max(1)];
            let count = if head.length() == 0 { 0 } else { connection.read(&mut some)? };
            some.truncate(count);
            Ok(some)
        })?;
        self.connection = None;
        if how == Pull::Cut || head.status != 200 || body.len() as u64 == head.length() {
            return Ok(Answer { head, body });
        }
        let rest = self.begin(path, &format!("Range: bytes={}-\r\n", body.len()), Connection::body)?;
        if rest.head.status != 206 {
            return Ok(rest);
        }
        self.churn.tally.resumed.add(1);
        body.extend(rest.body);
        Ok(Answer { head, body })
    }

    /// Asks, and reads the body by `read`. A connection that had ended while it was idle is replaced, as every client
    /// does; one that breaks otherwise is a fault.
    fn begin(
        &mut self,
        path: &str,
        headers: &str,
        read: impl Fn(&mut Connection, &Head) -> io::Result<Vec<u8>>,
    ) -> Result<Answer> {
        let asked = self.connection.take().map(|mut connection| match ask(&mut connection, path, headers) {
            Err(error) if is_stale(&error) => Ok(None),
            Err(error) => Err(format!("no answer to {path}: {error}")),
            Ok(head) => Ok(Some((connection, head))),
        });
        let (mut connection, head) = match asked.transpose()? {
            Some(Some(asked)) => asked,
            other => {
                self.churn.tally.stale.add(u64::from(other.is_some()));
                let new = Connection::open(self.churn.flags.listen);
                let mut connection = new.map_err(|error| format!("a connection was refused: {error}"))?;
                let head = ask(&mut connection, path, headers);
                let head = head.map_err(|error| format!("a new connection was lost, asking for {path}: {error}"))?;
                (connection, head)
            }
        };
        let body = read(&mut connection, &head).map_err(|error| format!("an answer broke off, to {path}: {error}"))?;
        // Who is told that it is the last answer asks elsewhere.
        let last = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.connection = Some(connection).filter(|_| !last);
        Ok(Answer { head, body })
    }
}

fn ask(connection: &mut Connection, path: &str, headers: &str) -> io::Result<Head> {
    connection.ask(path, headers)?;
    connection.head()
}

/// Whether the connection had ended before the server saw the request.
fn is_stale(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

fn check(image: &str, answer: &Answer, digest: &str) -> Result<Value> {
    if answer.head.status != 200 {
        return Err(format!("{} for {image}: {}", answer.head.status, String::from_utf8_lossy(&answer.body)).into());
    }
    if format!("sha256:{}", sha256_hex(&answer.body)) != digest {
        return Err(format!("WRONG BYTES for the tag of {image}").into());
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}
