//! A small DNS server for the node: Debian's `named`, authoritative for a few zones of the tests and nothing else. It
//! runs among the node's services; this module writes its configuration and knows what it answers.
//!
//! | zone | what |
//! |---|---|
//! | `kitbag.test` | signed; A and TXT records; also over TLS (853), HTTPS (443) and plain HTTP (8053) |
//! | `private.kitbag.test` | answers only who signs with the key [`TSIG_NAME`] |
//! | `cluster.local` | empty, so that a pod's search list is answered at once |

use std::{fs, path::Path};

use crate::{
    error::{Result, file},
    services::{ADDRESS, programs},
};

/// What `shop.kitbag.test` resolves to, of a range that is set aside for documentation.
pub const SHOP_ADDRESS: &str = "192.0.2.80";
/// What `secret.private.kitbag.test` resolves to.
pub const SECRET_ADDRESS: &str = "192.0.2.99";
/// The name of the key that `private.kitbag.test` asks for.
pub const TSIG_NAME: &str = "tests.";
/// Its algorithm.
pub const TSIG_ALGORITHM: &str = "hmac-sha256";
/// The key, in base64.
pub const TSIG_SECRET: &str = "a2l0YmFnLXRlc3RzLW5vdC1hLXNlY3JldC1hdC1hbGw=";

/// Write the server's files below `dir`, the node's directory.
pub(crate) fn write_configuration(dir: &Path) -> Result<()> {
    let dns = dir.join("dns");
    fs::create_dir_all(&dns).map_err(file("make", &dns))?;
    let texts = [
        ("named.conf", include_str!("../cluster/named.conf")),
        ("kitbag.test.zone", include_str!("../cluster/kitbag.test.zone")),
        ("private.kitbag.test.zone", include_str!("../cluster/private.kitbag.test.zone")),
        ("cluster.local.zone", include_str!("../cluster/cluster.local.zone")),
    ];
    for (name, text) in texts {
        let path = dns.join(name);
        fs::write(&path, fill(text, dir)).map_err(file("write", &path))?;
    }
    // Debian's AppArmor profile confines the program at its usual path to its usual directories.
    let (from, to) = ("/usr/sbin/named", programs(dir).join("named"));
    fs::copy(from, &to).map_err(file("copy", from)).map(drop)
}

fn fill(text: &str, dir: &Path) -> String {
    let values = [
        ("@DIR@", dir.to_string_lossy().into_owned()),
        ("@ADDRESS@", ADDRESS.to_owned()),
        ("@SHOP@", SHOP_ADDRESS.to_owned()),
        ("@SECRET-ADDRESS@", SECRET_ADDRESS.to_owned()),
        ("@KEY@", TSIG_NAME.trim_end_matches('.').to_owned()),
        ("@ALGORITHM@", TSIG_ALGORITHM.to_owned()),
        ("@SECRET@", TSIG_SECRET.to_owned()),
        // Longer than one packet may be, so that clients have to ask again over TCP.
        ("@LONG@", format!("\"{}\" ", "0123456789".repeat(20)).repeat(8)),
    ];
    values.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_the_texts_is_filled() {
        for text in [
            include_str!("../cluster/named.conf"),
            include_str!("../cluster/kitbag.test.zone"),
            include_str!("../cluster/private.kitbag.test.zone"),
            include_str!("../cluster/cluster.local.zone"),
        ] {
            let filled = fill(text, Path::new("/n"));
            // `@` alone is a zone's own name.
            assert!(!filled.split_whitespace().any(|word| word.len() > 1 && word.contains('@')), "{filled}");
        }
    }
}
