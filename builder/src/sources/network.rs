//! The network, through the clients that the machine has configured: apt for its mirror, pip for its index.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Remote;

/// A host that does not answer by then will not answer for the next archive either.
const CONNECT: Duration = Duration::from_secs(5);
/// Of a whole download.
const DOWNLOAD: Duration = Duration::from_secs(30 * 60);
/// Until the first byte of an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// What the caller knows of its surroundings.
pub struct InternetConfig {
    /// The machine's trusted certificates, DER. Asked for when they are needed.
    pub certificates: fn() -> Vec<Vec<u8>>,
    /// The proxy that the user has configured.
    pub proxy: Option<ureq::Proxy>,
}

/// The real network.
pub struct Internet {
    config: InternetConfig,
    agent: OnceLock<ureq::Agent>,
    mirrors: OnceLock<Result<Vec<String>, String>>,
    /// Hosts that could not be reached, and why: they are not asked again.
    dead: Mutex<BTreeMap<String, String>>,
}

impl Internet {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(config: InternetConfig) -> Self {
        Self { config, agent: OnceLock::new(), mirrors: OnceLock::new(), dead: Mutex::default() }
    }

    fn agent(&self) -> &ureq::Agent {
        self.agent.get_or_init(|| {
            let certificates: Vec<Certificate<'static>> =
                (self.config.certificates)().iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            let tls = TlsConfig::builder()
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .root_certs(RootCerts::Specific(Arc::new(certificates)))
                .build();
            ureq::Agent::config_builder()
                .tls_config(tls)
                .proxy(self.config.proxy.clone())
                .timeout_resolve(Some(CONNECT))
                .timeout_connect(Some(CONNECT))
                .timeout_recv_response(Some(ANSWER))
                .timeout_global(Some(DOWNLOAD))
                .build()
                .new_agent()
        })
    }
}

impl Remote for Internet {
    fn get(&self, url: &str) -> Result<Box<dyn Read>, String> {
        let host = host_of(url);
        if let Some(why) = self.dead.lock().unwrap_or_else(PoisonError::into_inner).get(&host) {
            return Err(format!("{why} (not asked again)"));
        }
        match self.agent().get(url).call() {
            Ok(response) => Ok(Box::new(response.into_body().into_reader())),
            Err(ureq::Error::StatusCode(code)) => Err(format!("it answers {code}")),
            Err(error) => {
                let why = format!("`{host}` cannot be reached: {error}");
                self.dead.lock().unwrap_or_else(PoisonError::into_inner).insert(host, why.clone());
                Err(why)
            }
        }
    }

    fn mirrors(&self) -> Result<Vec<String>, String> {
        let ask = || {
            let arguments = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
            output("apt-get", &arguments).map(|text| mirrors_in(&text))
        };
        self.mirrors.get_or_init(ask).clone()
    }

    fn wheel(&self, pin: &str, dir: &Path) -> Result<PathBuf, String> {
        let dir_text = dir.to_string_lossy();
        let arguments =
            ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", &*dir_text, pin];
        output("python3", &arguments)?;
        let mut files = crate::fs::list(dir).map_err(|error| error.to_string())?.into_iter();
        files.next().map(|name| dir.join(name)).ok_or_else(|| "pip has downloaded nothing".to_owned())
    }
}

/// The host in an address, with its port.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}

/// The mirrors that can be asked by HTTP, in apt's order.
fn mirrors_in(text: &str) -> Vec<String> {
    let mut mirrors: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with("http://") || line.starts_with("https://")) {
        let mirror = format!("{}/", line.trim_end_matches('/'));
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    mirrors
}

/// What a program prints; its last line of complaint as the error.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    // It ends with us.
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", program])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gives no reason").to_owned();
    Err(format!("`{program}` failed: {last}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn internet() -> Internet {
        Internet::new(InternetConfig { certificates: Vec::new, proxy: None })
    }

    #[test]
    fn an_address_is_read_and_an_error_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            for answer in ["200 OK", "404 Not Found"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
            }
        });
        let internet = internet();
        let mut body = String::new();
        internet.get(&format!("{base}/a")).unwrap().read_to_string(&mut body).unwrap();
        assert_eq!(body, "hello");
        assert_eq!(internet.get(&format!("{base}/b")).err().unwrap(), "it answers 404");
        server.join().unwrap();
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_not_asked_again() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let internet = internet();
        let first = internet.get(&format!("http://{address}/a")).err().unwrap();
        assert!(first.starts_with(&format!("`{address}` cannot be reached")), "{first}");
        let second = internet.get(&format!("http://{address}/b")).err().unwrap();
        assert_eq!(second, format!("{first} (not asked again)"));
    }

    #[test]
    fn mirrors_come_once_and_only_those_that_speak_http() {
        let text = "http://a.example/debian/\nhttp://a.example/debian\ncdrom://x/\nhttps://b.example/d\n";
        assert_eq!(mirrors_in(text), ["http://a.example/debian/", "https://b.example/d/"]);
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        assert_eq!(output("sh", &["-c", "echo one >&2; echo two >&2; exit 1"]).unwrap_err(), "`sh` failed: two");
        assert!(output("/no/such/program", &[]).unwrap_err().starts_with("`/no/such/program` failed: "));
    }
}
