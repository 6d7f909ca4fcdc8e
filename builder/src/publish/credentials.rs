//! Who we are to a registry: by the files in which Docker and podman keep what `login` was told, and by the helpers
//! that these name.
//!
//! Secrets come out of here as [`RegistryAuth`], which prints none, and never as part of an error: what a helper writes
//! to its standard output is not shown.

use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use serde_json::Value;

use crate::fs::{self, FsError};

/// What every helper says about a registry that it does not know (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Why credentials that are there cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file is there and cannot be read.
    #[error(transparent)]
    Fs(FsError),
    /// The file is not what Docker and podman write.
    #[error("`{}` is no file of credentials: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What the file says about the registry makes no sense.
    #[error("`{}` has no usable credentials for `{key}`: {reason}; log in again", file.display())]
    Entry {
        /// The file.
        file: PathBuf,
        /// The registry, as the file calls it.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A helper does not do its work.
    #[error("`{helper}`, which `{}` names for `{key}`, {reason}", file.display())]
    Helper {
        /// The file.
        file: PathBuf,
        /// Program of the helper.
        helper: String,
        /// The registry, as the helper was asked for it.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the first of the files says that knows the repository or its registry; anonymous when none does. Files that are
/// not there are left out. Helpers are started by their name on `PATH`.
///
/// # Errors
/// [`CredentialError`] where there is something, but nothing to use.
pub fn find(files: &[PathBuf], repository: &Reference) -> Result<RegistryAuth, CredentialError> {
    for file in files {
        let bytes = match fs::read(file) {
            Err(error) if error.is_not_found() => continue,
            other => other.map_err(CredentialError::Fs)?,
        };
        if let Some(auth) = in_file(file, &bytes, repository)? {
            return Ok(auth);
        }
    }
    Ok(RegistryAuth::Anonymous)
}

fn in_file(file: &Path, bytes: &[u8], repository: &Reference) -> Result<Option<RegistryAuth>, CredentialError> {
    let damaged = |reason: String| CredentialError::File { file: file.to_owned(), reason };
    let document: Value = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    for key in
        keys(repository, |key| document["auths"].get(key).is_some() || document["credHelpers"].get(key).is_some())
    {
        let entry = |reason| CredentialError::Entry { file: file.to_owned(), key: key.clone(), reason };
        let helper = |reason: String| CredentialError::Helper {
            file: file.to_owned(),
            helper: helper_name(&document, &key),
            key: key.clone(),
            reason,
        };
        use CredentialRetrievalError as E;
        match get_credential_from_reader(bytes, &key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(RegistryAuth::Basic(user, password)));
            }
            Ok(DockerCredential::IdentityToken(_)) => {
                return Err(entry("an identity token is not a user name and a password"));
            }
            Err(E::NoCredentialConfigured) => {}
            Err(E::HelperFailure { stdout, .. }) if stdout.contains(NOT_FOUND) => {}
            Err(E::HelperFailure { stderr, .. }) => {
                let said = stderr.lines().next().unwrap_or_default().trim();
                return Err(helper(format!("fails: {}", if said.is_empty() { "it does not say why" } else { said })));
            }
            Err(E::HelperCommunicationError) => return Err(helper("cannot be asked: is it on `PATH`?".to_owned())),
            Err(E::MalformedHelperResponse) => return Err(helper("does not answer as helpers do".to_owned())),
            Err(E::CredentialDecodingError) => return Err(entry("`auth` is not the base64 of `USER:PASSWORD`")),
            Err(E::CredentialMismatchError) => return Err(entry("`auth` is not what `username` and `password` say")),
            Err(E::ConfigNotFound | E::ConfigReadError) => {
                return Err(damaged("`auths`, `credHelpers` or `credsStore` has another form".to_owned()));
            }
        }
    }
    Ok(None)
}

/// What the repository may be called in a file: the most special name first, as podman has it, and those that only some
/// files have only where they are `listed`. For the registry itself, a helper may be asked.
fn keys(repository: &Reference, listed: impl Fn(&str) -> bool) -> Vec<String> {
    // References call Docker's own registry by another name than its clients speak to, and its files by a third.
    let (host, spoken_to) = (repository.registry(), repository.resolve_registry());
    let is_dockers = host != spoken_to;
    let hosts = if is_dockers { &[host, spoken_to][..] } else { &[host] };
    let path = format!("/{}", repository.repository());
    let mut keys = Vec::new();
    for host in hosts {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let mut names: Vec<String> = ends.map(|end| format!("{host}{}", &path[..end])).collect();
        names.reverse();
        keys.extend(names);
    }
    keys.retain(|key| listed(key));
    let asked = if is_dockers { format!("https://{spoken_to}/v1/") } else { host.to_owned() };
    if !keys.contains(&asked) {
        keys.push(asked);
    }
    keys
}

fn helper_name(document: &Value, key: &str) -> String {
    let name = document["credHelpers"][key].as_str().or(document["credsStore"].as_str());
    format!("docker-credential-{}", name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, repository: &str) -> String {
        let auth = in_file(Path::new("/auth.json"), file.as_bytes(), &repository.parse().unwrap());
        match auth {
            // The one place where a secret is looked at.
            Ok(Some(RegistryAuth::Basic(user, password))) => format!("{user} {password}"),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("error: {error}"),
        }
    }

    /// `auth` of user `u` with the password `one`, `two`.
    const AUTHS: &str = r#"{"auths":{
        "registry.example": {"auth":"dTpvbmU="},
        "registry.example/team/tools": {"auth":"dTp0d28="},
        "https://old.example/v1/": {"auth":"dTpvbmU="},
        "broken.example": {"auth":"%%%"},
        "token.example": {"identitytoken":"secret"}
    }}"#;

    #[test]
    fn the_most_special_entry_counts() {
        for (repository, expected) in [
            ("registry.example/strace", "u one"),
            ("registry.example/team/other", "u one"),
            ("registry.example/team/tools", "u two"),
            ("registry.example/team/tools/strace:1", "u two"),
            ("old.example/strace", "u one"),
            ("other.example/strace", "None"),
        ] {
            assert_eq!(found(AUTHS, repository), expected, "{repository}");
        }
    }

    #[test]
    fn dockers_own_registry_goes_by_the_names_that_clients_have_for_it() {
        let reference: Reference = "team/tools".parse().unwrap();
        let (host, spoken_to) = (reference.registry(), reference.resolve_registry());
        assert_ne!(host, spoken_to);
        for key in [format!("https://{spoken_to}/v1/"), format!("{host}/team"), spoken_to.to_owned()] {
            let file = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpvbmU="}}}}}}"#);
            assert_eq!(found(&file, "team/tools"), "u one", "{key}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_an_error_without_a_secret() {
        let cases = [
            found(AUTHS, "broken.example/a"),
            found(AUTHS, "token.example/a"),
            found("{", "a.example/a"),
            found(r#"{"auths":[]}"#, "a.example/a"),
        ];
        insta::assert_snapshot!(cases.join("\n"), @"
        error: `/auth.json` has no usable credentials for `broken.example`: `auth` is not the base64 of `USER:PASSWORD`; log in again
        error: `/auth.json` has no usable credentials for `token.example`: an identity token is not a user name and a password; log in again
        error: `/auth.json` is no file of credentials: EOF while parsing an object at line 1 column 1
        error: `/auth.json` is no file of credentials: `auths`, `credHelpers` or `credsStore` has another form
        ");
    }

    #[test]
    fn files_that_are_not_there_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, AUTHS).unwrap();
        let files = [dir.path().join("none.json"), file];
        let repository = "registry.example/strace".parse().unwrap();
        assert!(matches!(find(&files, &repository), Ok(RegistryAuth::Basic(user, _)) if user == "u"));
        assert!(matches!(find(&files[..1], &repository), Ok(RegistryAuth::Anonymous)));
    }
}
