//! The target's environment.

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource};

use super::Shared;

/// Variables that would lead our own programs to files of the target's image, or have a shell of ours run what the target
/// wrote; with the values that are right in our images. The programs take an empty one for one that is not set.
const OWN: [(&str, &str); 17] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("BASH_ENV", ""),
    ("CURL_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt"),
    ("CURL_HOME", ""),
    ("ENV", ""),
    ("HISTFILE", ""),
    // Whoever the session is, that one may write there.
    ("HOME", "/tmp"),
    ("LD_AUDIT", ""),
    ("LD_LIBRARY_PATH", ""),
    ("LD_PRELOAD", ""),
    ("OPENSSL_CONF", ""),
    ("OPENSSL_MODULES", ""),
    ("SSL_CERT_DIR", "/etc/ssl/certs"),
    ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
    ("TERMINFO", "/usr/share/terminfo"),
    ("TERMINFO_DIRS", "/usr/share/terminfo"),
    ("TMPDIR", "/tmp"),
];

/// How names of such variables begin.
const OWN_PREFIXES: [&str; 2] = ["KITBAG_", "LD_"];

/// Adds the variables in their order, since one may be made of earlier ones, and a note on those that are left out.
/// A whole config map may hold ours too: what stands in `env` comes before that. `ours`: the image is one of ours.
pub(super) fn share(container: &Container, ours: bool, shared: &mut Shared) {
    let mut own = Vec::new();
    let mut left_out: Vec<&str> = Vec::new();
    for variable in container.env.iter().flatten() {
        if is_own(&variable.name) {
            own.push(variable.name.as_str());
        } else if let Some(copy) = copy(variable, &container.name).filter(|_| !refers_to(variable, &own, &left_out)) {
            shared.env.push(copy);
        } else {
            left_out.push(&variable.name);
        }
    }
    shared.env_from = container.env_from.iter().flatten().map(optional).collect();
    if ours && !shared.env_from.is_empty() {
        let variable =
            |(name, value): (&str, &str)| EnvVar { name: name.into(), value: Some(value.into()), ..EnvVar::default() };
        shared.env.extend(OWN.map(variable));
    }
    note(&own, "our own programs have theirs", shared);
    note(&left_out, "their values cannot be taken over", shared);
}

fn note(names: &[&str], why: &str, shared: &mut Shared) {
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        shared
            .notes
            .push(format!("of the environment, {names} is left out: {why}; `/proc/$KITBAG_PID/environ` has all"));
    }
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|(own, _)| *own == name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the value is made of one that is left out: it would be another than the target's.
fn refers_to(variable: &EnvVar, own: &[&str], left_out: &[&str]) -> bool {
    let value = variable.value.as_deref().unwrap_or_default();
    own.iter().chain(left_out).any(|name| value.contains(&format!("$({name})")))
}

/// What a variable refers to may have gone since the target started: then it is left out, instead of keeping the container
/// from starting. None for a source that this program does not know.
fn copy(variable: &EnvVar, target: &str) -> Option<EnvVar> {
    let Some(source) = &variable.value_from else { return Some(variable.clone()) };
    let mut source = source.clone();
    if source == EnvVarSource::default() {
        return None;
    }
    if let Some(reference) = &mut source.config_map_key_ref {
        reference.optional = Some(true);
    }
    if let Some(reference) = &mut source.secret_key_ref {
        reference.optional = Some(true);
    }
    if let Some(reference) = &mut source.resource_field_ref {
        reference.container_name.get_or_insert_with(|| target.to_owned());
    }
    Some(EnvVar { value_from: Some(source), ..variable.clone() })
}

fn optional(source: &EnvFromSource) -> EnvFromSource {
    let mut source = source.clone();
    if let Some(reference) = &mut source.config_map_ref {
        reference.optional = Some(true);
    }
    if let Some(reference) = &mut source.secret_ref {
        reference.optional = Some(true);
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_taken_over_in_their_order_and_by_reference() {
        let mut shared = Shared::default();
        let container = json!({
            "name": "app",
            "env": [
                { "name": "HOST", "value": "db" },
                { "name": "PATH", "value": "/app/bin" },
                { "name": "URL", "value": "postgres://$(HOST)/shop" },
                { "name": "ALL", "value": "/x:$(PATH)" },
                { "name": "MORE", "value": "$(ALL)" },
                { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } },
                { "name": "MODE", "valueFrom": { "configMapKeyRef": { "name": "app", "key": "mode", "optional": false } } },
                { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                { "name": "MEMORY", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory" } } },
                { "name": "OTHERS", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "containerName": "proxy" } } },
                { "name": "FROM_THE_FUTURE", "valueFrom": { "fileKeyRef": { "path": "x" } } },
                { "name": "LD_PRELOAD", "value": "/app/lib.so" },
                { "name": "SSL_CERT_FILE", "value": "/app/ca.pem" },
                { "name": "ENV", "value": "/app/profile" },
                { "name": "EMPTY" },
            ],
            "envFrom": [
                { "prefix": "A_", "configMapRef": { "name": "settings" } },
                { "secretRef": { "name": "keys", "optional": false } },
            ],
        });
        share(&serde_json::from_value(container).unwrap(), true, &mut shared);
        let lines = shared.env.iter().map(|variable| serde_json::to_string(variable).unwrap());
        let lines = lines.chain(shared.env_from.iter().map(|source| serde_json::to_string(source).unwrap()));
        let lines: Vec<String> = lines.chain(shared.notes).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"name":"HOST","value":"db"}
        {"name":"URL","value":"postgres://$(HOST)/shop"}
        {"name":"PASSWORD","valueFrom":{"secretKeyRef":{"key":"password","name":"db","optional":true}}}
        {"name":"MODE","valueFrom":{"configMapKeyRef":{"key":"mode","name":"app","optional":true}}}
        {"name":"NODE","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}}
        {"name":"MEMORY","valueFrom":{"resourceFieldRef":{"containerName":"app","resource":"limits.memory"}}}
        {"name":"OTHERS","valueFrom":{"resourceFieldRef":{"containerName":"proxy","resource":"limits.cpu"}}}
        {"name":"EMPTY"}
        {"name":"PATH","value":"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        {"name":"BASH_ENV","value":""}
        {"name":"CURL_CA_BUNDLE","value":"/etc/ssl/certs/ca-certificates.crt"}
        {"name":"CURL_HOME","value":""}
        {"name":"ENV","value":""}
        {"name":"HISTFILE","value":""}
        {"name":"HOME","value":"/tmp"}
        {"name":"LD_AUDIT","value":""}
        {"name":"LD_LIBRARY_PATH","value":""}
        {"name":"LD_PRELOAD","value":""}
        {"name":"OPENSSL_CONF","value":""}
        {"name":"OPENSSL_MODULES","value":""}
        {"name":"SSL_CERT_DIR","value":"/etc/ssl/certs"}
        {"name":"SSL_CERT_FILE","value":"/etc/ssl/certs/ca-certificates.crt"}
        {"name":"TERMINFO","value":"/usr/share/terminfo"}
        {"name":"TERMINFO_DIRS","value":"/usr/share/terminfo"}
        {"name":"TMPDIR","value":"/tmp"}
        {"configMapRef":{"name":"settings","optional":true},"prefix":"A_"}
        {"secretRef":{"name":"keys","optional":true}}
        of the environment, `PATH`, `LD_PRELOAD`, `SSL_CERT_FILE`, `ENV` is left out: our own programs have theirs; `/proc/$KITBAG_PID/environ` has all
        of the environment, `ALL`, `MORE`, `FROM_THE_FUTURE` is left out: their values cannot be taken over; `/proc/$KITBAG_PID/environ` has all
        "#);
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let mut shared = Shared::default();
        share(&serde_json::from_value(json!({ "name": "app" })).unwrap(), true, &mut shared);
        assert_eq!(shared, Shared::default());
    }
}
