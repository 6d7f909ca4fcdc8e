//! What stands in front of a Service and ends TLS, as an Ingress controller does: nginx in a node's network, that sends what
//! comes to the pods that the Service's EndpointSlices name as ready, and follows them. It reads no Ingress object.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::{
    Node, Result,
    error::{Error, file, run, spawn, tail},
    services::programs,
};

/// How long it may take until there is a pod to send something to.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is in front of what.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The Service's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The port of its pods.
    pub port: u16,
}

/// A running nginx. It ends when this is dropped, or with the node.
#[derive(Debug)]
pub struct Ingress {
    nginx: Child,
    watch: Child,
    /// The addresses of the pods that it sends to.
    pods: Arc<Mutex<Vec<String>>>,
    log: PathBuf,
}

impl Ingress {
    /// Listens on `address` in the network of `node`, which has the control plane, with that certificate of its own
    /// (`pki/NAME.crt`), and waits until the Service has a pod. Its files are in `dir`, which exists.
    ///
    /// # Errors
    /// When nginx or kubectl don't start, or there is no pod in time.
    pub fn start(
        node: &Node,
        address: SocketAddr,
        certificate: &str,
        service: Service<'_>,
        dir: &Path,
    ) -> Result<Self> {
        let front = Front { address, certificate: node.dir().join("pki").join(certificate), dir: dir.into() };
        let config = dir.join("nginx.conf");
        fs::write(&config, front.config(&[], service.port)).map_err(file("write", &config))?;
        let log = dir.join("nginx.log");
        let output = File::create(&log).map_err(file("write", &log))?;
        let mut nginx = nginx(node, &config);
        nginx.stdin(Stdio::null()).stdout(output.try_clone().map_err(file("write", &log))?).stderr(output);
        let nginx = nginx.process_group(0).spawn().map_err(spawn(&nginx))?;

        let mut watch = watch(node, service);
        let mut watch = watch.process_group(0).spawn().map_err(spawn(&watch))?;
        let pods = Arc::new(Mutex::new(Vec::new()));
        let (events, known) = (watch.stdout.take(), Arc::clone(&pods));
        let mut reload = nginx_reload(node, &config);
        let port = service.port;
        thread::spawn(move || {
            let slices =
                events.into_iter().flat_map(|events| serde_json::Deserializer::from_reader(events).into_iter());
            for ready in slices.map_while(|slice| slice.ok()).map(|slice| ready(&slice)) {
                let told = fs::write(&config, front.config(&ready, port)).is_ok() && run(&mut reload).is_ok();
                if told && let Ok(mut known) = known.lock() {
                    *known = ready;
                }
            }
        });
        let ingress = Self { nginx, watch, pods, log };
        ingress.wait(1)?;
        Ok(ingress)
    }

    /// Waits until it sends to so many pods.
    ///
    /// # Errors
    /// When there are not so many in time: with the end of nginx' log.
    pub fn wait(&self, count: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.pods().len() != count {
            if Instant::now() > end {
                let what = format!("{count} pods behind nginx, which has {:?},", self.pods());
                let seen = tail(&fs::read_to_string(&self.log).unwrap_or_default(), 15);
                return Err(Error::Timeout { what, seconds: PATIENCE.as_secs(), seen });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The addresses of the pods that it sends to.
    pub fn pods(&self) -> Vec<String> {
        self.pods.lock().map(|pods| pods.clone()).unwrap_or_default()
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        for child in [&mut self.watch, &mut self.nginx] {
            // Behind an nsenter, neither is our child; all of a group are the group's.
            if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
        }
    }
}

/// Has a node's containerd believe a registry of that name and port whose certificate is by the tests' authority. It looks
/// at each pull.
///
/// # Errors
/// When the file can't be written.
pub fn trust(node: &Node, registry: &str) -> Result<()> {
    let dir = node.dir().join("etc/certs.d").join(registry);
    fs::create_dir_all(&dir).map_err(file("make", &dir))?;
    let (path, authority) = (dir.join("hosts.toml"), node.authority());
    let text = format!("[host.\"https://{registry}\"]\n  ca = \"{}\"\n", authority.display());
    fs::write(&path, text).map_err(file("write", &path))
}

fn nginx(node: &Node, config: &Path) -> Command {
    let mut nginx = node.server_command(Path::new("nginx"));
    nginx.arg("-c").arg(config).args(["-e", "stderr"]);
    nginx
}

fn nginx_reload(node: &Node, config: &Path) -> Command {
    let mut reload = nginx(node, config);
    reload.args(["-s", "reload"]);
    reload
}

/// A kubectl that prints the Service's EndpointSlice, and again at each change. A few pods have one.
fn watch(node: &Node, service: Service<'_>) -> Command {
    let mut watch = node.server_command(&programs(node.dir()).join("kubectl"));
    watch.args(["get", "endpointslices", "--watch", "--namespace", service.namespace]);
    watch.args(["--selector", &format!("kubernetes.io/service-name={}", service.name), "--output", "json"]);
    watch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    watch
}

/// The addresses of the pods that an EndpointSlice says are ready.
fn ready(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.filter_map(|endpoint| Some(endpoint["addresses"][0].as_str()?.to_owned())).collect()
}

/// What nginx is told, but for the pods.
struct Front {
    address: SocketAddr,
    /// The path of certificate and key, without what they end in.
    certificate: PathBuf,
    dir: PathBuf,
}

impl Front {
    /// Retries, buffering and headers are ingress-nginx' own.
    fn config(&self, pods: &[String], port: u16) -> String {
        let (dir, certificate, address) = (self.dir.display(), self.certificate.display(), self.address);
        let mut config = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {dir}/nginx.pid;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\naccess_log off;\n"
        );
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = writeln!(config, "{name}_temp_path {dir}/{name};");
        }
        if !pods.is_empty() {
            config.push_str("upstream pods {\n");
            for pod in pods {
                let _ = writeln!(config, "server {pod}:{port};");
            }
            config.push_str("keepalive 320;\n}\n");
        }
        let passed = "proxy_pass http://pods; proxy_http_version 1.1; proxy_buffering off;\n\
             proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;\n";
        let answer = if pods.is_empty() { "return 503;\n" } else { passed };
        let _ = write!(
            config,
            "server {{\nlisten {address} ssl http2 backlog=1024;\n\
             ssl_certificate {certificate}.crt; ssl_certificate_key {certificate}.key;\n\
             location /v2/ {{\n{answer}}}\n}}\n}}\n"
        );
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_are_ready_are_sent_to() {
        let slice = serde_json::json!({"endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]});
        assert_eq!(ready(&slice), ["10.0.0.1"]);
        assert!(ready(&serde_json::json!({"endpoints": null})).is_empty());
    }

    #[test]
    fn nginx_is_told_of_pods_and_of_none() {
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let front = Front { address, certificate: "/pki/images".into(), dir: "/d".into() };
        let config = front.config(&["10.0.0.1".into(), "10.0.0.2".into()], 5005);
        for line in ["listen 192.0.2.1:443 ssl", "server 10.0.0.1:5005;", "server 10.0.0.2:5005;", "/pki/images.key;"] {
            assert!(config.contains(line), "{config}");
        }
        let config = front.config(&[], 5005);
        assert!(config.contains("return 503;") && !config.contains("upstream"), "{config}");
    }
}
