//! The node's certificates, keys and kubeconfigs, made by openssl. They live as long as the node's directory.

use std::{fs, path::Path, process::Command};

use crate::{
    error::{Result, file, run},
    member::Member,
    services::{ADDRESS, IMAGES},
};

/// Who calls the API server: file name and subject of the client certificate. `dev` is a plain user who may do
/// nothing until someone grants it.
const CLIENTS: [(&str, &str); 5] = [
    ("admin", "/O=system:masters/CN=admin"),
    ("dev", "/O=devs/CN=dev"),
    ("kube-controller-manager", "/CN=system:kube-controller-manager"),
    ("kube-scheduler", "/CN=system:kube-scheduler"),
    ("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
];

/// Make everything for the first node in `dir`, which exists.
pub(crate) fn create(dir: &Path) -> Result<()> {
    write_configuration(dir)?;
    let authority = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
    certificate(dir, "ca", "/CN=kitbag tests", &authority)?;
    let apiserver = format!(
        "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,IP:{ADDRESS},DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    );
    certificate(dir, "apiserver", "/CN=kube-apiserver", &[&apiserver, "extendedKeyUsage=serverAuth"])?;
    node(dir, Member::FIRST)?;
    let dns = format!("subjectAltName=IP:127.0.0.1,IP:{ADDRESS},DNS:ns.kitbag.test");
    certificate(dir, "dns", "/CN=ns.kitbag.test", &[&dns, "extendedKeyUsage=serverAuth"])?;
    let images = format!("subjectAltName=DNS:{IMAGES}");
    certificate(dir, IMAGES, &format!("/CN={IMAGES}"), &[&images, "extendedKeyUsage=serverAuth"])?;
    for (name, subject) in CLIENTS {
        certificate(dir, name, subject, &["extendedKeyUsage=clientAuth"])?;
        write_kubeconfig(dir, name, Member::FIRST)?;
    }

    let (key, public) = (dir.join("service-account.key"), dir.join("service-account.pub"));
    run(Command::new("openssl").args(["genpkey", "-algorithm", "EC", "-pkeyopt", CURVE, "-out"]).arg(&key))?;
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public))?;
    Ok(())
}

/// Make what another node needs in `dir`, which exists: certificates by the first one's authority, which is in `first`,
/// and kubeconfigs for the same people as there.
pub(crate) fn create_for(member: Member, dir: &Path, first: &Path) -> Result<()> {
    write_configuration(dir)?;
    for name in ["ca", "admin", "dev"].iter().flat_map(|name| [format!("{name}.crt"), format!("{name}.key")]) {
        let from = first.join(&name);
        fs::copy(&from, dir.join(name)).map_err(file("copy", from))?;
    }
    node(dir, member)?;
    ["admin", "dev"].iter().try_for_each(|name| write_kubeconfig(dir, name, member))
}

/// What the kubelet serves with, and what it calls the API server with.
fn node(dir: &Path, member: Member) -> Result<()> {
    let subject = format!("/O=system:nodes/CN=system:node:{}", member.name());
    let names = format!("subjectAltName=IP:127.0.0.1,IP:{},DNS:{}", member.address(), member.name());
    certificate(dir, "kubelet", &subject, &[&names, "extendedKeyUsage=serverAuth"])?;
    certificate(dir, "node", &subject, &["extendedKeyUsage=clientAuth"])?;
    write_kubeconfig(dir, "node", member)
}

const CURVE: &str = "ec_paramgen_curve:prime256v1";

/// The system's own configuration would add extensions that contradict ours.
fn write_configuration(dir: &Path) -> Result<()> {
    let config = dir.join("openssl.cnf");
    fs::write(&config, "[req]\ndistinguished_name = dn\n[dn]\n").map_err(file("write", &config))
}

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

/// The kubeconfig of a client on this machine.
fn write_kubeconfig(dir: &Path, user: &str, member: Member) -> Result<()> {
    let path = dir.join(format!("{user}.kubeconfig"));
    fs::write(&path, kubeconfig(dir, user, &member.api_server())).map_err(file("write", &path))
}

/// A client's kubeconfig. It names the certificates' files by their absolute paths.
fn kubeconfig(dir: &Path, user: &str, server: &str) -> String {
    let dir = dir.display();
    format!(
        r#"apiVersion: v1
kind: Config
clusters: [{{name: kitbag, cluster: {{server: "https://{server}", certificate-authority: "{dir}/ca.crt"}}}}]
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
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        fs::create_dir(&first).and_then(|()| fs::create_dir(&second)).unwrap();
        create(&first).unwrap();
        create_for(Member::others().next().unwrap(), &second, &first).unwrap();
        let verify = |dir: &Path, names: &[&str]| {
            for name in names {
                let mut verify = Command::new("openssl");
                let authority = first.join("ca.crt");
                run(verify.arg("verify").arg("-CAfile").arg(&authority).arg(dir.join(format!("{name}.crt")))).unwrap();
            }
        };
        verify(&first, &["apiserver", "kubelet", "node", "dns", IMAGES, "admin", "dev"]);
        verify(&second, &["kubelet", "node", "admin", "dev"]);
        let kubeconfig = fs::read_to_string(second.join("dev.kubeconfig")).unwrap();
        assert!(kubeconfig.contains("https://198.51.100.11:6443"), "{kubeconfig}");
        let dir = &first;
        assert!(dir.join("dev.kubeconfig").exists());
        assert!(dir.join("service-account.pub").exists());
    }
}
