//! What is noted of a client that takes nothing for a while.

use std::future::poll_fn;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt as _;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::exchange::{Client, Service};
use crate::handlers::Registry;
use crate::serve::{Server, Settings};
use crate::testing;

/// Both ends of a TLS connection: ours, and the client's.
async fn connected() -> (TlsStream<Plain>, tokio_rustls::client::TlsStream<UnixStream>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&ring)).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (near, far) = tokio::join!(
        TlsAcceptor::from(Arc::new(server)).accept(Plain::Unix(near)),
        TlsConnector::from(Arc::new(client)).connect(name, far),
    );
    (near.unwrap(), far.unwrap())
}

#[tokio::test]
async fn who_has_taken_everything_after_all_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let registry = Arc::new(Registry::open(dir.path(), Arc::default()).unwrap());
    let server = Arc::new(Server::new(Arc::new(Service::new(registry, Arc::default())), Settings::default()));
    let conversation = Arc::new(Conversation::new(server, Client::Local));
    let (near, mut far) = connected().await;
    let mut near = Noted::new(Stream::Tls(Box::new(near)), Arc::clone(&conversation));

    let mut sent = 0;
    poll_fn(|context| {
        while let Poll::Ready(count) = Pin::new(&mut near).poll_write(context, &[0; 10_000]) {
            sent += count.unwrap();
            if Pin::new(&mut near).poll_flush(context).is_pending() {
                break;
            }
        }
        Poll::Ready(())
    })
    .await;
    assert!(conversation.notes.is_blocked());
    let mut taken = vec![0; sent];
    let flushed = poll_fn(|context| Pin::new(&mut near).poll_flush(context));
    let (flushed, taken) = tokio::join!(flushed, far.read_exact(&mut taken));
    flushed.unwrap();
    assert_eq!(taken.unwrap(), sent);
    assert!(!conversation.notes.is_blocked(), "nothing was written since");
}
