//! What clients of TLS endpoints are shown, reread when its files change. The handshake itself is in `serve`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::watched::{Fresh, Watched};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What is spoken in TLS, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it what signed it up to the root, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// A certificate in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: Watched<ServerConfig>,
}

/// A certificate that was read, and is not in use yet.
#[derive(Debug)]
pub struct Renewed(Fresh<ServerConfig>);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no certificate in the file for it.
    #[error("`{path}` has no certificate in it: it must be PEM, and begin with the server's own", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, if anything else is.
        #[source]
        source: Option<pem::Error>,
    },
    /// There is no key in the file for it.
    #[error("`{path}` has no private key in it: it must be PEM and not be encrypted", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// The two do not make a pair, or are of a kind that is not supported.
    #[error(
        "the certificate `{certificate}` cannot be used with the key `{key}`, renew both at once: {source}",
        certificate = files.certificate.display(), key = files.key.display()
    )]
    Pair {
        /// The files.
        files: TlsFiles,
        /// rustls's answer.
        #[source]
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads the certificate.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let config = Watched::new(vec![files.certificate.clone(), files.key.clone()], || read(&files))?;
        Ok(Self { files, config })
    }

    /// Reads the certificate again, for [`renew`](Self::renew).
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(&self) -> Result<Renewed, TlsError> {
        self.config.read(|| read(&self.files)).map(Renewed)
    }

    /// Uses another certificate from here on.
    pub fn renew(&self, renewed: Renewed) {
        self.config.replace(renewed.0);
    }

    /// Reads the certificate again whenever its files have changed, for ever.
    pub(crate) async fn follow(&self) {
        let what = format!("certificate `{}`", self.files.certificate.display());
        self.config.follow(LOOK, &what, || read(&self.files)).await;
    }

    /// What a handshake needs.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.get()
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let pair = |source| TlsError::Pair { files: files.clone(), source };
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&content(&files.key)?)
        .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
    // The provider is named, because a process may have several.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Certificate { path: path.to_owned(), source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content(path)?).collect();
    let found = found.map_err(|source| wrong(Some(source)))?;
    if found.is_empty() { Err(wrong(None)) } else { Ok(found) }
}

fn content(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn write(files: &TlsFiles, certificate: &str, key: &str) {
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
    }

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_the_one_before_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
        let text = |error: TlsError| error.to_string().replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(text(Tls::new(files.clone()).unwrap_err()), @"cannot read `DIR/tls.crt`: No such file or directory (os error 2)");

        let (certificate, key) = pair();
        write(&files, &certificate, &key);
        let tls = Tls::new(files.clone()).unwrap();
        let first = tls.config();

        let (other, _) = pair();
        write(&files, &other, &key);
        insta::assert_snapshot!(text(tls.read().unwrap_err()), @"the certificate `DIR/tls.crt` cannot be used with the key `DIR/tls.key`, renew both at once: keys may not be consistent: KeyMismatch");
        write(&files, &key, &key);
        insta::assert_snapshot!(text(tls.read().unwrap_err()), @"`DIR/tls.crt` has no certificate in it: it must be PEM, and begin with the server's own");
        write(&files, &certificate, &certificate);
        insta::assert_snapshot!(text(tls.read().unwrap_err()), @"`DIR/tls.key` has no private key in it: it must be PEM and not be encrypted");
        assert!(Arc::ptr_eq(&first, &tls.config()));

        let (certificate, key) = pair();
        write(&files, &certificate, &key);
        tls.renew(tls.read().unwrap());
        assert!(!Arc::ptr_eq(&first, &tls.config()));
    }
}
