//! The node's certificates, keys and kubeconfigs, made by openssl. They live as long as the node's directory.

use std::{fs, path::Path, process::Command};

use crate::{
    error::{Result, file, run},
    services::ADDRESS,
};

/// Who calls the API server: file name and subject of the client certificate. `dev` is a plain user who may do
/// nothing until someone grants it.
const CLIENTS: [(&str, &str); 6] = [
    ("admin", "/O=system:masters/CN=admin"),
    ("dev", "/O=devs/CN=dev"),
    ("node1", "/O=system:nodes/CN=system:node:node1"),
    ("kube-controller-manager", "/CN=system:kube-controller-manager"),
    ("kube-scheduler", "/CN=system:kube-scheduler"),
    ("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
];

/// Make everything in `dir`, which exists.
pub(crate) fn create(dir: &Path) -> Result<()> {
    // The system's own configuration would add extensions that contradict ours.
    let config = dir.join("openssl.cnf");
    fs::write(&config, "[req]\ndistinguished_name = dn\n[dn]\n").map_err(file("write", &config))?;

    let authority = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
    certificate(dir, "ca", "/CN=kitbag tests", &authority)?;
    let apiserver = "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc";
    certificate(dir, "apiserver", "/CN=kube-apiserver", &[apiserver, "extendedKeyUsage=serverAuth"])?;
    let node = format!("subjectAltName=IP:127.0.0.1,IP:{ADDRESS},DNS:node1");
    certificate(dir, "kubelet", "/O=system:nodes/CN=system:node:node1", &[&node, "extendedKeyUsage=serverAuth"])?;
    let dns = format!("subjectAltName=IP:127.0.0.1,IP:{ADDRESS},DNS:ns.kitbag.test");
    certificate(dir, "dns", "/CN=ns.kitbag.test", &[&dns, "extendedKeyUsage=serverAuth"])?;
    for (name, subject) in CLIENTS {
        certificate(dir, name, subject, &["extendedKeyUsage=clientAuth"])?;
        let path = dir.join(format!("{name}.kubeconfig"));
        fs::write(&path, kubeconfig(dir, name)).map_err(file("write", &path))?;
    }

    let (key, public) = (dir.join("service-account.key"), dir.join("service-account.pub"));
    run(Command::new("openssl").args(["genpkey", "-algorithm", "EC", "-pkeyopt", CURVE, "-out"]).arg(&key))?;
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public))?;
    Ok(())
}

const CURVE: &str = "ec_paramgen_curve:prime256v1";

/// `name.key` and `name.crt`, signed by `ca`, or by itself if it is `ca`.
fn certificate(dir: &Path, name: &str, subject: &str, extensions: &[&str]) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(dir).args(["req", "-x509", "-config", "openssl.cnf", "-days", "365", "-nodes"]);
    openssl.args(["-newkey", "ec", "-pkeyopt", CURVE, "-subj", subject]);
    openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
    for extension in extensions {
        openssl.args(["-addext", extension]);
    }
    if name != "ca" {
        openssl.args(["-CA", "ca.crt", "-CAkey", "ca.key"]);
    }
    run(&mut openssl).map(drop)
}

/// A client's kubeconfig. It names the certificates' files by their absolute paths.
fn kubeconfig(dir: &Path, user: &str) -> String {
    let dir = dir.display();
    format!(
        r#"apiVersion: v1
kind: Config
clusters: [{{name: kitbag, cluster: {{server: "https://127.0.0.1:6443", certificate-authority: "{dir}/ca.crt"}}}}]
users: [{{name: {user}, user: {{client-certificate: "{dir}/{user}.crt", client-key: "{dir}/{user}.key"}}}}]
contexts: [{{name: kitbag, context: {{cluster: kitbag, user: {user}, namespace: default}}}}]
current-context: kitbag
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_signed_by_the_authority() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        for name in ["apiserver", "kubelet", "dns", "admin", "dev"] {
            let mut verify = Command::new("openssl");
            verify.current_dir(dir.path()).args(["verify", "-CAfile", "ca.crt", &format!("{name}.crt")]);
            run(&mut verify).unwrap();
        }
        assert!(dir.path().join("dev.kubeconfig").exists());
        assert!(dir.path().join("service-account.pub").exists());
    }
}
