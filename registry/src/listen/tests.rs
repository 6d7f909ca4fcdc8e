//! Listening on what is free, taken, stale and inherited.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn one(text: &str) -> Result<Listener, Error> {
    listen(&[endpoint(text)], &Options::default(), Given::default()).map(|mut listeners| listeners.remove(0))
}

fn address(listener: &Listener) -> SocketAddr {
    listener.endpoint().address().unwrap()
}

#[test]
fn addresses_of_both_families_are_listened_on() {
    let v4 = one("127.0.0.1:0").unwrap();
    TcpStream::connect(address(&v4)).unwrap();
    if let Ok(v6) = one("[::1]:0") {
        TcpStream::connect(address(&v6)).unwrap();
    }
    assert!(matches!(one(&v4.endpoint().to_string()), Err(Error::InUse(_))));
}

#[test]
fn all_of_ipv6_leaves_ipv4_to_whom_it_was_given() {
    let port = address(&one("127.0.0.1:0").unwrap()).port();
    let all = [endpoint(&format!("0.0.0.0:{port}")), endpoint(&format!("[::]:{port}"))];
    assert!(only_v6(all[1].address().unwrap(), &all));
    assert!(!only_v6(all[1].address().unwrap(), &all[1..]));
    assert!(!only_v6(all[0].address().unwrap(), &all));
}

#[test]
fn a_port_is_shared_by_those_who_say_so() {
    let options = Options { reuse_port: true, ..Options::default() };
    let first = listen(&[endpoint("127.0.0.1:0")], &options, Given::default()).unwrap();
    let second = listen(&[first[0].endpoint()], &options, Given::default()).unwrap();
    assert_eq!(first[0].endpoint(), second[0].endpoint());
    assert!(matches!(one(&first[0].endpoint().to_string()), Err(Error::InUse(_))));
}

#[test]
fn tls_wants_a_certificate() {
    let error = one("tls:127.0.0.1:0").unwrap_err().to_string();
    insta::assert_snapshot!(error, @"`tls:127.0.0.1:0` is for TLS: name a certificate and its key with `--tls-certificate` and `--tls-key`");
}

#[test]
fn a_socket_file_is_for_owner_and_group_and_goes_with_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let text = format!("unix:{}", path.display());
    let listener = one(&text).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(listener.endpoint(), endpoint(&text));
    UnixStream::connect(&path).unwrap();
    assert!(matches!(one(&text), Err(Error::InUse(_))), "somebody answers");
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_makes_way_and_no_other_file_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let text = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap());
    let listener = one(&text).unwrap();
    // Somebody else has taken the name meanwhile: it stays.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    drop(listener);
    assert!(matches!(one(&text), Err(Error::InUse(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_without_a_file_has_a_name() {
    let name = format!("unix:@kitbag-listen-test-{}", std::process::id());
    let listener = one(&name).unwrap();
    assert_eq!(listener.endpoint().to_string(), name);
    connect_unix(name.strip_prefix("unix:").unwrap().as_ref()).unwrap();
    assert!(matches!(one(&name), Err(Error::InUse(_))));
    drop(listener);
    let gone = connect_unix(name.strip_prefix("unix:").unwrap().as_ref()).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_was_taken_over_is_used_where_it_is_asked_for_and_the_rest_is_closed() {
    let (kept, left) = (one("127.0.0.1:0").unwrap(), one("127.0.0.1:0").unwrap());
    let (kept_at, left_at) = (kept.endpoint(), left.endpoint());
    let taken = vec![left.share().unwrap().0, kept.share().unwrap().0];
    drop((kept, left));
    let listeners =
        listen(std::slice::from_ref(&kept_at), &Options::default(), Given { taken, ..Given::default() }).unwrap();
    assert_eq!(listeners[0].endpoint(), kept_at);
    TcpStream::connect(kept_at.address().unwrap()).unwrap();
    assert_eq!(TcpStream::connect(left_at.address().unwrap()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn without_inherited_sockets_there_is_nothing_to_listen_on() {
    assert!(matches!(one("systemd"), Err(Error::NothingInherited)));
}

#[test]
fn sockets_without_a_name_of_their_own_are_what_is_left() {
    let (named, unnamed) = (one("127.0.0.1:0").unwrap(), one("127.0.0.1:0").unwrap());
    let both = [Endpoint::Systemd, named.endpoint()];
    let taken = || vec![named.share().unwrap().0, unnamed.share().unwrap().0];
    let listeners = listen(&both, &Options::default(), Given { taken: taken(), ..Given::default() }).unwrap();
    assert_eq!([listeners[0].endpoint(), listeners[1].endpoint()], [unnamed.endpoint(), named.endpoint()]);
    // What this process was started with goes before it.
    let inherited = one("127.0.0.1:0").unwrap();
    let given = Given { inherited: vec![inherited.share().unwrap().0], taken: taken() };
    let listeners = listen(&both, &Options::default(), given).unwrap();
    assert_eq!([listeners[0].endpoint(), listeners[1].endpoint()], [inherited.endpoint(), named.endpoint()]);
}

#[test]
fn nothing_is_accepted_before_all_is_open() {
    let listeners = bind(&[endpoint("127.0.0.1:0")], &Options::default(), Given::default()).unwrap();
    let address = address(&listeners[0]);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    open(&listeners, &Options::default()).unwrap();
    TcpStream::connect(address).unwrap();
}

#[test]
fn the_file_of_a_socket_that_was_taken_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let endpoint = Endpoint::Unix(path.clone());
    let listener = one(&endpoint.to_string()).unwrap();
    let given = Given { taken: vec![listener.share().unwrap().0], ..Given::default() };
    drop(listen(&[endpoint], &Options::default(), given).unwrap());
    UnixStream::connect(&path).unwrap();
    drop(listener);
    assert!(!path.exists());
}
