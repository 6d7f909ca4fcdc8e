//! Whether a registry or an API server is this machine: then, and only then, plain HTTP is spoken without being told to, and
//! no proxy is asked.

use std::net::IpAddr;

/// Whether `authority`, a host with a port or without, is this machine.
#[must_use]
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        // The colons of a bare IPv6 address stand in brackets.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    is_loopback_host(host)
}

/// Whether `host`, without a port, is this machine.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address
        .parse::<IpAddr>()
        .map_or(host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for (authority, loopback) in [
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("localhost:5000", true),
            ("registry.localhost", true),
            ("128.0.0.1:5000", false),
            ("registry.example", false),
            ("127.0.0.1.example:5000", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_loopback(authority), loopback, "{authority}");
        }
    }
}
