//! The three servers, each set up as its documentation says for speed, and each with its access log on.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use super::{CORES, content::Content, load::Protocol};
use crate::{
    Result,
    server::{Flags, Server, free_address, on_core},
};

/// What ours is called.
pub(super) const OURS: &str = "kitbag-registry";
/// How often a server is asked whether it is there.
const PAUSE: Duration = Duration::from_millis(10);

/// All three, running on one core.
pub(super) struct Peers {
    pub(super) ours: Server,
    nginx: Server,
    /// The same nginx process: HTTP/2 has a port of its own, without TLS nginx can't tell the two apart.
    nginx_http2: SocketAddr,
    docker: Server,
}

impl Peers {
    pub(super) fn start(dir: &Path, registry: &Path, store: &Path, content: &Content) -> Result<Self> {
        let (www, storage) = (dir.join("www"), dir.join("storage"));
        content.as_files(&www)?;
        content.as_docker_storage(&storage)?;
        let path = content.by_tag();
        let ours = kitbag(dir, registry, store)?.wait(&path, PAUSE)?;
        let nginx_http2 = free_address()?;
        let nginx = nginx(dir, &www, nginx_http2)?.wait(&path, PAUSE)?;
        let docker = docker_registry(dir, &storage)?.wait(&path, PAUSE)?;
        Ok(Self { ours, nginx, nginx_http2, docker })
    }

    /// Those that speak a protocol without TLS, by name. docker-registry speaks HTTP/2 only with TLS.
    pub(super) fn speaking(&self, protocol: Protocol) -> Vec<(&'static str, Entrant<'_>)> {
        let at = |server, address| Entrant { server, address };
        let nginx = match protocol {
            Protocol::Http1 => self.nginx.address,
            Protocol::Http2 => self.nginx_http2,
        };
        let docker = (protocol == Protocol::Http1).then(|| ("docker-registry", at(&self.docker, self.docker.address)));
        [(OURS, at(&self.ours, self.ours.address)), ("nginx", at(&self.nginx, nginx))]
            .into_iter()
            .chain(docker)
            .collect()
    }
}

/// A server, and where it is to be asked.
#[derive(Clone, Copy)]
pub(super) struct Entrant<'a> {
    pub(super) server: &'a Server,
    pub(super) address: SocketAddr,
}

/// Ours, just started.
pub(super) fn kitbag(dir: &Path, registry: &Path, store: &Path) -> Result<Server> {
    kitbag_with(dir, registry, &Flags::new(store)?)
}

/// The same, with flags that the caller knows.
pub(super) fn kitbag_with(dir: &Path, registry: &Path, flags: &Flags) -> Result<Server> {
    let mut command = Command::new(registry);
    on_core(CORES.0, || Server::spawn(dir, OURS, flags.listen, command.args(flags.arguments())))
}

/// nginx, just started.
pub(super) fn nginx(dir: &Path, www: &Path, http2: SocketAddr) -> Result<Server> {
    let address = free_address()?;
    let config = dir.join("nginx.conf");
    fs::write(&config, nginx_config(dir, www, [address, http2]))?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config).arg("-e").arg(dir.join("nginx-errors.log"));
    on_core(CORES.0, || Server::spawn(dir, "nginx", address, &mut command))
}

fn nginx_config(dir: &Path, www: &Path, [http1, http2]: [SocketAddr; 2]) -> String {
    let (dir, www) = (dir.display(), www.display());
    format!(
        "daemon off;\n\
         # It must read what only root may.\n\
         user root;\n\
         worker_processes 1;\n\
         pid {dir}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log {dir}/nginx-access.log combined buffer=64k flush=1s;\n\
           sendfile on;\n\
           tcp_nopush on;\n\
           tcp_nodelay on;\n\
           keepalive_requests 1000000000;\n\
           open_file_cache max=1000 inactive=60s;\n\
           open_file_cache_valid 60s;\n\
           types {{ }}\n\
           server {{\n\
             listen {http1};\n\
             listen {http2} http2;\n\
             root {www};\n\
             location / {{ default_type application/vnd.oci.image.index.v1+json; }}\n\
             location ^~ /v2/blob {{ default_type application/octet-stream; }}\n\
           }}\n\
         }}\n"
    )
}

fn docker_registry(dir: &Path, storage: &Path) -> Result<Server> {
    let address = free_address()?;
    let config = dir.join("docker-registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: false}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, cache: {{blobdescriptor: inmemory}}}}\nhttp: {{addr: \"{address}\"}}\n",
        storage.display()
    );
    fs::write(&config, text)?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config);
    on_core(CORES.0, || Server::spawn(dir, "docker-registry", address, &mut command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_is_told_where_everything_is() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = nginx_config(Path::new("/d"), Path::new("/w"), [address(1), address(2)]);
        for line in ["listen 127.0.0.1:1;", "listen 127.0.0.1:2 http2;", "root /w;", "pid /d/nginx.pid;"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
