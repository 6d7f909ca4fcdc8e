//! The workload: how it is built, its images, and its pods' manifests.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
};

use crate::{
    error::{Result, file},
    image::{Image, ImageFile},
    node::Node,
    programs::{Build, cargo_build},
};

/// The pod `shop`: one container, no shell, no root, no capability, nothing to write to.
pub const SHOP: &str = include_str!("../cluster/shop.yaml");
/// The pod `shop-two`: the container `sidecar` stands first, the annotation makes `shop` the default.
pub const SHOP_TWO: &str = include_str!("../cluster/shop-two.yaml");
/// Pods of every kind that sessions are tried on, in three namespaces; those with the label `lasts=yes` become ready.
pub const DEBUGGED: &str = include_str!("../cluster/debugged.yaml");
/// Where the workload's server listens.
pub const PORT: u16 = 8080;
/// The file that the workload opens every second; `kitbag-marker` is in its name and in its content.
pub const MARKER: &str = "/etc/shop/kitbag-marker-of-the-shop";
/// The line that it writes then.
pub const MARKER_LINE: &str = "the kitbag-marker of the shop";

/// Build the workload's program, static, for this machine; its path.
///
/// # Errors
/// When cargo fails; it has said why.
pub fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let build = Build { packages: &["shop"], target: Some(&target), profile: "release", environment: &[] };
    cargo_build(build, ["shop"]).map(|[shop]| shop)
}

/// The manifest of a pod like [`SHOP`], with this name and no labels.
#[must_use]
pub fn shop_called(name: &str) -> String {
    SHOP.replace("name: shop\n  labels: { app: shop }", &format!("name: {name}"))
}

/// The same, on this node.
#[must_use]
pub fn shop_on(node: &Node, name: &str) -> String {
    shop_called(name).replace("spec:\n", &format!("spec:\n  nodeName: {}\n", node.name()))
}

/// Ask the server in a pod of the node for its page; the answer, head and body.
///
/// # Errors
/// When the pod has no address or doesn't answer.
pub fn visit(node: &Node, pod: &str) -> Result<String> {
    let address = node.kubectl(&["get", "pod", pod, "--output", "jsonpath={.status.podIP}"])?;
    let get = || {
        let mut stream = TcpStream::connect((address.as_str(), PORT))?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    node.inside(get)?.map_err(file("get a page from", format!("{address}:{PORT}")))
}

/// The images `localhost/shop:1` and `localhost/pause:1` (the sandbox's) of the program at `shop`.
pub(crate) fn images(shop: &Path) -> Result<[Image; 2]> {
    let content = fs::read(shop).map_err(file("read", shop))?;
    let program = ImageFile { path: "/shop".into(), mode: 0o755, content };
    let marker = ImageFile { path: MARKER.into(), mode: 0o644, content: format!("{MARKER_LINE}\n").into_bytes() };
    let image = |name: &str, command: &[&str], files| Image {
        name: name.into(),
        command: command.iter().map(|&word| word.into()).collect(),
        user: Some(1000),
        files,
    };
    Ok([
        image("localhost/shop:1", &["/shop", MARKER], vec![program.clone(), marker]),
        image("localhost/pause:1", &["/shop", "pause"], vec![program]),
    ])
}
