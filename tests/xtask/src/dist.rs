//! `cargo xtask dist`: what a release publishes, in one directory. The same commit and store give the same files.
//!
//! The plugin is for Linux; its archive is what krew installs. It says itself what its manual and its completions are.

mod archive;
mod krew;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use kitbag_tests::programs;
use kitbag_toolsets::canonical::sha256_hex;

use crate::{
    Result,
    demo::{say, set_up},
    release::{self, Built},
};

/// Shells, as the plugin names them, and what their files of completions are called.
const COMPLETIONS: [(&str, &str); 4] = [
    ("bash", "kubectl-kitbag.bash"),
    ("fish", "kubectl-kitbag.fish"),
    ("kubectl", "kubectl_complete-kitbag"),
    ("zsh", "_kubectl-kitbag"),
];
const MANUAL: &str = "kubectl-kitbag.1";
/// Files of the checkout that go into every archive.
const TEXTS: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// How to make it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Where people will find the archives: goes into the krew manifest
    #[arg(long, value_name = "URL", default_value = "https://kitbag.invalid/releases")]
    url: String,
    /// The profile of the programs; `release` is quicker to build and larger than what ships
    #[arg(long, value_name = "NAME", default_value = "dist")]
    profile: String,
    /// The store for the registry's image [default: the whole catalog, built into the cache]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Makes everything.
pub(crate) fn run(options: &Options) -> Result {
    set_up()?;
    let built = release::programs(&options.profile)?;
    let date = source_date()?;
    let mut files = texts_of_the_plugin(&built)?;
    let own: BTreeMap<String, Vec<u8>> = TEXTS
        .into_iter()
        .map(|name| Ok((name.to_owned(), fs::read(programs::workspace().join(name))?)))
        .collect::<Result<_>>()?;
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let mut plugins = Vec::new();
    for Built { arch, directory } in &built {
        let program = |name: &str| -> Result<_> { Ok((name.to_owned(), fs::read(directory.join(name))?)) };
        let plugin: BTreeMap<_, _> =
            [program("kubectl-kitbag")?].into_iter().chain(files.clone()).chain(own.clone()).collect();
        let server: BTreeMap<_, _> =
            [program("kitbag-builder")?, program("kitbag-registry")?].into_iter().chain(own.clone()).collect();
        for (name, content) in [("kubectl-kitbag", plugin), ("kitbag", server)] {
            let name = format!("{name}_{version}_linux_{arch}.tar.gz");
            let bytes = archive::gzip(&content, date)?;
            if name.starts_with("kubectl") {
                let sha256 = sha256_hex(&bytes);
                plugins.push(krew::Platform { arch, archive: name.clone(), sha256 });
            }
            files.insert(name, bytes);
        }
    }
    let manifest = krew::manifest(&version, &options.url, &plugins);
    files.insert("kitbag.yaml".to_owned(), manifest.into_bytes());
    fs::create_dir_all(&options.out)?;
    let image = format!("kitbag-registry_{version}.oci.tar");
    registry_image(&built, options, &options.out.join(&image))?;
    files.insert(image.clone(), fs::read(options.out.join(&image))?);
    files.insert("SHA256SUMS".to_owned(), sums(&files).into_bytes());
    for (name, bytes) in &files {
        if *name != image {
            fs::write(options.out.join(name), bytes)?;
        }
        println!("{:>8.2} MB  {}", bytes.len() as f64 / 1e6, options.out.join(name).display());
    }
    Ok(())
}

/// When what is built was written, in seconds since 1970: of the commit, where nobody says otherwise.
fn source_date() -> Result<i64> {
    if let Ok(date) = env::var("SOURCE_DATE_EPOCH") {
        return date.parse().map_err(|_| format!("$SOURCE_DATE_EPOCH is no number of seconds: `{date}`").into());
    }
    let mut git = Command::new("git");
    git.current_dir(programs::workspace()).args(["log", "-1", "--format=%ct"]);
    let date = git.output().ok().and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    date.ok_or_else(|| "this is no checkout with a commit: set SOURCE_DATE_EPOCH to the date of its sources".into())
}

/// The manual and the completions, as the plugin for this machine prints them.
fn texts_of_the_plugin(built: &[Built]) -> Result<BTreeMap<String, Vec<u8>>> {
    let here = kitbag_tests::image::architecture();
    let own = built.iter().find(|built| built.arch == here).ok_or("no plugin was built for this machine")?;
    let says = |arguments: &[&str]| -> Result<Vec<u8>> {
        let output = Command::new(own.directory.join("kubectl-kitbag")).args(arguments).output()?;
        if output.status.success() && !output.stdout.is_empty() {
            return Ok(output.stdout);
        }
        Err(format!("`kubectl-kitbag {}` fails: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr))
            .into())
    };
    let completions = COMPLETIONS.map(|(shell, file)| Ok((file.to_owned(), says(&["completion", shell])?)));
    completions.into_iter().chain([says(&["man"]).map(|page| (MANUAL.to_owned(), page))]).collect()
}

/// The registry's own image, for both architectures.
fn registry_image(built: &[Built], options: &Options, file: &Path) -> Result {
    let store = match &options.store {
        Some(store) => store.clone(),
        None => programs::store(&programs::build(&mut say)?, true)?,
    };
    let here = kitbag_tests::image::architecture();
    let own = built.iter().find(|built| built.arch == here).ok_or("no builder was built for this machine")?;
    let mut builder = Command::new(own.directory.join("kitbag-builder"));
    builder.args(["image", "--server", "--store"]).arg(store);
    for Built { arch, directory } in built {
        builder.arg(format!("--program-{arch}")).arg(directory.join("kitbag-registry"));
    }
    builder.arg("--to").arg(format!("oci-archive:{}", file.display()));
    if builder.status()?.success() { Ok(()) } else { Err("the registry's image could not be made".into()) }
}

/// As `sha256sum` writes and checks them.
fn sums(files: &BTreeMap<String, Vec<u8>>) -> String {
    files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256_hex(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_sha256sum_reads() {
        let files = [("b", ""), ("a", "a")].map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let expected = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n\
                        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n";
        assert_eq!(sums(&files.into()), expected);
    }
}
