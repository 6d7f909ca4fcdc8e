//! The files that say who may pull: users with bcrypt hashes, and tokens. Parsed as a whole or not at all.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bcrypt::HashParts;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Largest file in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Most tokens in a file: each is compared with each that a client shows.
const MAX_TOKENS: usize = 1000;
/// Fewest characters of a token: nothing but its length keeps it from being guessed.
const MIN_TOKEN: usize = 16;
/// Highest cost of a password. Each step doubles the time of a check, which takes some seconds here.
const MAX_COST: u32 = 14;

/// Users, each with a hash of the password.
#[derive(Debug, Default)]
pub struct Users {
    hashes: HashMap<String, String>,
    /// What is checked for who is not a user, so that it takes as long.
    stand_in: String,
}

/// Tokens, each as a keyed hash.
#[derive(Debug, Default)]
pub struct Tokens(Vec<[u8; 32]>);

/// A key that this process has made up, so that what it remembers of passwords is of no use to anybody else.
pub struct Secret([u8; 32]);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is too large to be such a file.
    #[error("`{0}` has more than {MAX_BYTES} bytes: give a smaller file")]
    TooLarge(PathBuf),
    /// A line is wrong, or all are.
    #[error("`{path}`{}: {fault}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where one is wrong.
        line: Option<usize>,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a file's text. None shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no entry.
    #[error("there is nobody in it, so that nobody could pull: add a line")]
    Empty,
    /// A line without a user.
    #[error("there is no `<user>:<hash>`: write the line with `htpasswd -B`")]
    NoUser,
    /// A hash that is not bcrypt.
    #[error("the password of `{user}` is kept as {kind}, not as bcrypt: write it again with `htpasswd -B`")]
    Kind {
        /// The user.
        user: String,
        /// How it is kept.
        kind: &'static str,
    },
    /// A bcrypt hash that is cut off or changed.
    #[error("the hash of `{user}` is damaged: write it again with `htpasswd -B`")]
    Damaged {
        /// The user.
        user: String,
    },
    /// A hash that takes too long to check.
    #[error(
        "the hash of `{user}` has cost {cost}, where 4 to {MAX_COST} are allowed: write it again with `htpasswd -B -C 10`"
    )]
    Cost {
        /// The user.
        user: String,
        /// Its cost.
        cost: u32,
    },
    /// A user who stands twice.
    #[error("`{0}` stands twice: remove one of the lines")]
    Twice(String),
    /// A token that could be guessed.
    #[error(
        "the token has {0} characters, where at least {MIN_TOKEN} are needed: make one with `openssl rand -hex 32`"
    )]
    ShortToken(usize),
    /// A token that cannot stand in a header.
    #[error("a token may have letters, digits and `-._~+/=` only: make one with `openssl rand -hex 32`")]
    TokenCharacters,
    /// Too many tokens.
    #[error("there are more than {MAX_TOKENS} tokens: give each user a password instead, with `htpasswd -B`")]
    TooManyTokens,
}

impl Users {
    /// The users of a file.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        Self::parse(&text(path)?).map_err(|error| fault(path, error))
    }

    /// The users of an htpasswd file's text: `<user>:<hash>` on each line; empty lines and those with `#` don't count.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (Option<usize>, Fault)> {
        let (mut hashes, mut dearest) = (HashMap::new(), 0);
        for (number, line) in entries(text) {
            let (user, hash, cost) = user(line).map_err(|fault| (Some(number), fault))?;
            if hashes.insert(user.clone(), hash).is_some() {
                return Err((Some(number), Fault::Twice(user)));
            }
            dearest = dearest.max(cost);
        }
        if hashes.is_empty() {
            return Err((None, Fault::Empty));
        }
        // All zeros: a hash that no password is known to have.
        Ok(Self { hashes, stand_in: format!("$2b${dearest:02}${}", ".".repeat(53)) })
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether this is the user's password. Takes up to a second of CPU, for who is no user too.
    #[must_use]
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let hash = self.hashes.get(user);
        let same = bcrypt::verify(password, hash.unwrap_or(&self.stand_in)).unwrap_or(false);
        same & hash.is_some()
    }
}

/// User, hash and cost of a line.
fn user(line: &str) -> Result<(String, String, u32), Fault> {
    let (user, hash) = line.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or(Fault::NoUser)?;
    let (user, hash) = (user.to_owned(), hash.trim_end());
    if let Some(kind) = other_kind(hash) {
        return Err(Fault::Kind { user: shown(&user), kind });
    }
    match hash.parse::<HashParts>().map(|parts| parts.get_cost()) {
        Ok(cost @ 4..=MAX_COST) => Ok((user, hash.to_owned(), cost)),
        Ok(cost) => Err(Fault::Cost { user: shown(&user), cost }),
        Err(_) => Err(Fault::Damaged { user: shown(&user) }),
    }
}

/// What a hash is that is not bcrypt. (`$2x$` is: by a program that had it wrong.)
fn other_kind(hash: &str) -> Option<&'static str> {
    let is = |prefix| hash.starts_with(prefix);
    match hash {
        _ if is("$2y$") || is("$2b$") || is("$2a$") => None,
        _ if is("$2x$") => Some("faulty bcrypt (`$2x$`)"),
        _ if is("$apr1$") || is("$1$") => Some("MD5"),
        _ if is("{SHA}") => Some("SHA-1"),
        _ if is("$5$") || is("$6$") => Some("SHA-2"),
        _ if is("$argon2") => Some("Argon2"),
        _ => Some("crypt or plain text"),
    }
}

impl Tokens {
    /// The tokens of a file.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn read(path: &Path, secret: &Secret) -> Result<Self, AccessError> {
        Self::parse(&text(path)?, secret).map_err(|error| fault(path, error))
    }

    /// The tokens of a file's text: one on each line, with a name for people after white space; empty lines and those
    /// with `#` don't count.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn parse(text: &str, secret: &Secret) -> Result<Self, (Option<usize>, Fault)> {
        let mut tokens = Vec::new();
        for (number, line) in entries(text) {
            let token = line.split_ascii_whitespace().next().unwrap_or_default();
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            let fault = match token.len() {
                _ if !token.bytes().all(allowed) => Some(Fault::TokenCharacters),
                length @ ..MIN_TOKEN => Some(Fault::ShortToken(length)),
                _ if tokens.len() == MAX_TOKENS => Some(Fault::TooManyTokens),
                _ => None,
            };
            if let Some(fault) = fault {
                return Err((Some(number), fault));
            }
            tokens.push(secret.hash(&[token.as_bytes()]));
        }
        if tokens.is_empty() { Err((None, Fault::Empty)) } else { Ok(Self(tokens)) }
    }

    /// Whether this is one of the tokens: compared with every one, in a time that does not tell how alike they are.
    #[must_use]
    pub fn have(&self, secret: &Secret, token: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let hash = secret.hash(&[token]);
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&hash)).into()
    }
}

impl Secret {
    /// A key of random bytes.
    ///
    /// # Panics
    /// When the kernel has none to give, which happens only before it has started up.
    #[must_use]
    pub fn new() -> Self {
        let mut key = [0; 32];
        let filled = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty());
        assert_eq!(filled, Ok(key.len()), "so few bytes are given at once");
        Self(key)
    }

    /// SHA-256 of the key and the parts, each with its length before it.
    pub(super) fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.0);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The lines that say something, counted from 1.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn text(path: &Path) -> Result<String, AccessError> {
    let error = |source| AccessError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(error)?.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > MAX_BYTES { Err(AccessError::TooLarge(path.to_owned())) } else { Ok(text) }
}

fn fault(path: &Path, (line, fault): (Option<usize>, Fault)) -> AccessError {
    AccessError::Fault { path: path.to_owned(), line, fault }
}

/// A user's name, so that it fits into a message.
fn shown(user: &str) -> String {
    user.chars().take(40).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests;
