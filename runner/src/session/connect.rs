//! The connection of a session: an exec in the debug container, or an attach to its first process.

use std::pin::Pin;

use futures_util::{Sink, Stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::core::{Request, Resource as _};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::error::says_gone;
use super::{Place, SessionError};
use crate::error::Error;
use crate::refusal::{Asked, explain};

/// What is connected to.
pub(super) enum To {
    /// A command of its own, with or without an input.
    Exec(Vec<String>, Stdin),
    /// The first process.
    Attach,
}

/// Whether there is an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stdin {
    Open,
    None,
}

pub(super) type Socket = Pin<Box<dyn Duplex + Send>>;
pub(super) trait Duplex:
    Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError>
{
}
impl<T> Duplex for T where T: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> {}

/// Connects. There is never a terminal of the runtime's: kitbag-init makes its own.
pub(super) async fn connect(place: &Place, to: To) -> Result<Socket, Error> {
    let (resource, stdin) = match &to {
        To::Exec(_, stdin) => ("pods/exec", *stdin),
        To::Attach => ("pods/attach", Stdin::Open),
    };
    let parameters = AttachParams::default()
        .container(&place.container)
        .stdin(stdin == Stdin::Open)
        .stdout(true)
        .stderr(true)
        .tty(false);
    let requests = Request::new(Pod::url_path(&(), Some(&place.namespace)));
    let request = match to {
        To::Exec(command, _) => requests.exec(&place.pod, command, &parameters),
        To::Attach => requests.attach(&place.pod, &parameters),
    };
    let request = request.map_err(|error| SessionError::Exec(error.to_string()))?;
    let asked =
        Asked { namespace: &place.namespace, verb: "create", resource, container: &place.container, reasons: "" };
    let connection = place.client.connect(request).await.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 404 || says_gone(&status.message) => {
            place.gone(status.message.clone()).into()
        }
        error => explain(error, asked),
    })?;
    Ok(Box::pin(connection.into_stream()))
}
