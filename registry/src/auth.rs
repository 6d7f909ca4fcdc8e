//! Who may pull: the users of an htpasswd file, and whoever has a token of a token file.
//!
//! A token is taken as `Bearer`, and as the password of any user in `Basic`. The challenge says `Basic` only: to a
//! challenge of `Bearer` every client asks the realm, which it takes for the URL of a token service, and there is none
//! here. So `docker login`, `imagePullSecrets` and a header in containerd's hosts.toml all work, with either file.
//!
//! A client of a Unix socket is let in: the file system's permissions say who may connect. All others are asked on
//! every path, `/v2/` too, where clients find out whether they have to log in.
//!
//! Checking a password takes bcrypt a good part of a second of CPU. So the outcome is remembered for a while, under a
//! keyed hash of the header; one password is checked once for all who come with it at a time; and few passwords are
//! checked at a time, each client's wrong ones are counted, and what is too much gets 429 without being checked. Tokens
//! cost nothing to check and are too long to be guessed: a right one is always let in.

pub mod credentials;
pub mod files;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::error::{Error, RequestError};
use crate::exchange::Client;
use crate::throttle::{RetryAfter, Throttle};
use crate::watched::{Fresh, Watched};
use credentials::{Credentials, Refusal, credentials};
use files::{AccessError, Secret, Tokens, Users};

/// Passwords that are checked at a time, each on a thread of its own.
const CHECKS: usize = 2;
/// Passwords that wait to be checked. Who comes after them gets 429.
const WAITING: usize = 64;
/// Attempts that a client has at once, and how often it gets another. Those that succeed are not counted.
const ATTEMPTS: (NonZeroU32, Duration) = (NonZeroU32::new(10).unwrap(), Duration::from_secs(5));
/// How long a right password is not checked again.
const RIGHT_FOR: Duration = Duration::from_secs(300);
/// How long a wrong one is not.
const WRONG_FOR: Duration = Duration::from_secs(30);
/// Outcomes that are remembered.
const OUTCOMES: usize = 1024;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where the names of those who may pull stand. Both files count when both are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Users with their passwords as bcrypt, as `htpasswd -B` writes them.
    pub htpasswd: Option<PathBuf>,
    /// Tokens, one on each line.
    pub tokens: Option<PathBuf>,
}

/// Those who may pull.
#[derive(Debug)]
pub struct Access {
    files: Files,
    entitled: Watched<Entitled>,
    secret: Secret,
    attempts: Throttle,
    checks: Arc<Semaphore>,
    waiting: Semaphore,
}

/// What was read again, and does not count yet.
#[derive(Debug)]
pub struct Renewed(Fresh<Entitled>);

/// What the files said when they were last read, and what came of it.
#[derive(Debug)]
struct Entitled {
    users: Arc<Users>,
    tokens: Tokens,
    outcomes: Cache<[u8; 32], Outcome>,
}

#[derive(Clone, Copy, Debug)]
struct Outcome {
    right: bool,
    until: Instant,
}

impl Access {
    /// Those whom the files name; `None` where no file is given, so that everybody may pull.
    ///
    /// # Errors
    /// [`Error::Access`] names the file and the line that cannot be used.
    pub fn open(files: Files) -> Result<Option<Self>, Error> {
        if files == Files::default() {
            return Ok(None);
        }
        let secret = Secret::new();
        let paths = [&files.htpasswd, &files.tokens].into_iter().flatten().cloned().collect();
        Ok(Some(Self {
            entitled: Watched::new(paths, || read(&files, &secret)).map_err(Error::Access)?,
            files,
            secret,
            attempts: Throttle::every(ATTEMPTS.1, ATTEMPTS.0),
            checks: Arc::new(Semaphore::new(CHECKS)),
            waiting: Semaphore::new(WAITING),
        }))
    }

    /// Reads the files again, for [`renew`](Self::renew).
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn read(&self) -> Result<Renewed, Error> {
        self.entitled.read(|| read(&self.files, &self.secret)).map(Renewed).map_err(Error::Access)
    }

    /// Goes by what was read from here on. Nothing that was found out before is remembered.
    pub fn renew(&self, renewed: Renewed) {
        self.entitled.replace(renewed.0);
    }

    /// Reads the files again whenever they have changed, for ever.
    pub async fn follow(&self) {
        self.entitled.follow(LOOK, "who may pull", || read(&self.files, &self.secret)).await;
    }

    /// Whether a request with these headers may be answered.
    ///
    /// # Errors
    /// [`RequestError::Unauthorized`]; [`RequestError::TooMany`] when the client has guessed too often.
    pub async fn check(&self, client: Client, headers: &HeaderMap) -> Result<(), RequestError> {
        if client == Client::Local {
            return Ok(());
        }
        let held = self.entitled.get();
        let credentials = credentials(headers).map_err(RequestError::Unauthorized)?;
        match &credentials {
            Credentials::Bearer { token } if held.tokens.have(&self.secret, token.as_bytes()) => return Ok(()),
            Credentials::Basic { password, .. } if held.tokens.have(&self.secret, password) => return Ok(()),
            Credentials::Basic { user, password } if !held.users.is_empty() => {
                if self.is_right(&held, client, user, password).await? {
                    return Ok(());
                }
            }
            _ => self.attempts.admit(client).map_err(RequestError::TooMany)?,
        }
        Err(RequestError::Unauthorized(Refusal::Unknown))
    }

    /// Whether this is the user's password: remembered, or found out, once for all who ask at the same time.
    async fn is_right(
        &self,
        held: &Entitled,
        client: Client,
        user: &str,
        password: &[u8],
    ) -> Result<bool, RequestError> {
        let key = self.secret.hash(&[user.as_bytes(), password]);
        loop {
            match held.outcomes.get_value_or_guard_async(&key).await {
                Ok(outcome) if Instant::now() < outcome.until => return Ok(outcome.right),
                Ok(_) => {
                    held.outcomes.remove(&key);
                }
                Err(place) => {
                    let right = self.find_out(&held.users, client, user, password).await?;
                    let until = Instant::now() + if right { RIGHT_FOR } else { WRONG_FOR };
                    // Where the place is gone nobody waits for the outcome.
                    let _ = place.insert(Outcome { right, until });
                    return Ok(right);
                }
            }
        }
    }

    async fn find_out(
        &self,
        users: &Arc<Users>,
        client: Client,
        user: &str,
        password: &[u8],
    ) -> Result<bool, RequestError> {
        self.attempts.admit(client).map_err(RequestError::TooMany)?;
        let busy = RequestError::TooMany(RetryAfter(1));
        let Ok(_waiting) = self.waiting.try_acquire() else { return Err(busy) };
        let Ok(check) = Arc::clone(&self.checks).acquire_owned().await else { return Err(busy) };
        let (users, user, password) = (Arc::clone(users), user.to_owned(), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let right = users.verify(&user, &password);
            // Only here: a client that goes away ends the request, not the work.
            drop(check);
            right
        });
        // It fails when the runtime is being shut down.
        let Ok(right) = checked.await else { return Err(busy) };
        if right {
            self.attempts.refund(client);
        }
        Ok(right)
    }
}

fn read(files: &Files, secret: &Secret) -> Result<Entitled, AccessError> {
    let users = files.htpasswd.as_deref().map(Users::read).transpose()?.unwrap_or_default();
    let tokens = files.tokens.as_deref().map(|path| Tokens::read(path, secret)).transpose()?.unwrap_or_default();
    Ok(Entitled { users: Arc::new(users), tokens, outcomes: Cache::new(OUTCOMES) })
}

#[cfg(test)]
mod tests;
