//! `cargo xtask dist`: what a release publishes, in one directory. The same commit and store give the same files.
//!
//! The plugin is for Linux, macOS and Windows; its archives are what krew installs. It says itself what its manual and its
//! completions are.

mod archive;
mod krew;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kitbag_tests::programs;
use kitbag_toolsets::canonical::sha256_hex;

use crate::{
    Result,
    demo::set_up,
    release::{self, Built, Release, Sources},
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

/// The variable by which the plugin's build learns what `install` installs where nobody says otherwise.
const SERVER_IMAGE: &str = "KITBAG_SERVER_IMAGE";

/// By name.
type Files = BTreeMap<String, Vec<u8>>;

/// How to make it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the files go: a new directory, or an empty one
    #[arg(long, value_name = "DIR", default_value = "target/distribution")]
    out: PathBuf,
    /// Where people will find the archives: the krew manifest names URL/VERSION/ARCHIVE. Without it, it is only good for
    /// trying
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What people will find the registry's image as: `kubectl kitbag install` then needs no --image. Pushing it there
    /// is up to you
    #[arg(long, value_name = "HOST/REPOSITORY")]
    image_name: Option<String>,
    /// The profile of the programs; `release` is quicker to build and larger than what ships
    #[arg(long, value_name = "NAME", default_value = "dist")]
    profile: String,
    /// The store for the registry's image, brought up to date: that of the last release, whose images are then served
    /// too [default: a new one]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Makes everything.
pub(crate) fn run(options: &Options) -> Result {
    if env::var_os(SERVER_IMAGE).is_some() {
        return Err(format!("${SERVER_IMAGE} is set: unset it, and name the image by --image-name").into());
    }
    fs::create_dir_all(&options.out)?;
    if fs::read_dir(&options.out)?.next().is_some() {
        return Err(format!("`{}` is not empty: name another by --out, or remove it", options.out.display()).into());
    }
    set_up()?;
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let (builder, sources) = (release::builder()?, Sources::find()?);
    let release = Release { profile: &options.profile, builder: &builder, sources: &sources, environment: &[] };
    let servers = release::programs(&release)?;
    let image = format!("kitbag-registry_{version}.oci.tar");
    let digest = registry_image(&builder, &servers, options, &options.out.join(&image))?;
    let known = options.image_name.iter().map(|name| (SERVER_IMAGE.to_owned(), format!("{name}@{digest}")));
    let environment: Vec<_> = known.collect();
    let release = Release { environment: &environment, ..release };
    let mut plugins = Vec::from(release::programs(&release)?);
    plugins.extend(release::plugin_for_macos(&release)?);
    plugins.push(release::plugin_for_windows(&release)?);

    let date = source_date()?;
    let mut files = texts_of_the_plugin(&plugins)?;
    let plugin_texts: Files = files.clone().into_iter().chain(texts_of_the_checkout()?).collect();
    let mut platforms = Vec::new();
    for built @ Built { os, arch, .. } in &plugins {
        let name = format!("kubectl-kitbag_{version}_{os}_{arch}");
        let program = release::plugin_name(os);
        let (name, bytes) = if *os == "windows" {
            (format!("{name}.zip"), archive::zip(&[program], built, &plugin_texts, date)?)
        } else {
            (format!("{name}.tar.gz"), archive::gzip(&[program], built, &plugin_texts, date)?)
        };
        platforms.push(krew::Platform { os, arch, program, archive: name.clone(), sha256: sha256_hex(&bytes) });
        files.insert(name, bytes);
    }
    for built @ Built { os, arch, .. } in &servers {
        let programs = ["kitbag-builder", "kitbag-registry"];
        let bytes = archive::gzip(&programs, built, &texts_of_the_checkout()?, date)?;
        files.insert(format!("kitbag_{version}_{os}_{arch}.tar.gz"), bytes);
    }
    let manifest = krew::manifest(&version, options.url.as_deref(), &platforms);
    files.insert("kitbag.yaml".to_owned(), manifest.into_bytes());
    for (name, bytes) in &files {
        fs::write(options.out.join(name), bytes)?;
    }
    files.insert(image.clone(), fs::read(options.out.join(&image))?);
    let sums = sums(&files).into_bytes();
    fs::write(options.out.join("SHA256SUMS"), &sums)?;
    files.insert("SHA256SUMS".to_owned(), sums);
    for (name, bytes) in &files {
        println!("{:>8.2} MB  {}", bytes.len() as f64 / 1e6, options.out.join(name).display());
    }
    println!("          {image} is {digest}");
    Ok(())
}

fn texts_of_the_checkout() -> Result<Files> {
    TEXTS.into_iter().map(|name| Ok((name.to_owned(), fs::read(programs::workspace().join(name))?))).collect()
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
fn texts_of_the_plugin(built: &[Built]) -> Result<Files> {
    let here = ("linux", kitbag_tests::image::architecture());
    let own =
        built.iter().find(|built| (built.os, built.arch) == here).ok_or("no plugin was built for this machine")?;
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

/// Writes the registry's own image, for both architectures; its digest.
fn registry_image(builder: &Path, built: &[Built], options: &Options, file: &Path) -> Result<String> {
    let scratch = tempfile::tempdir()?;
    let store = options.store.clone().unwrap_or_else(|| scratch.path().join("store"));
    programs::update_store(builder, &store, true)?;
    let mut image = Command::new(builder);
    image.args(["image", "--server", "--store"]).arg(store);
    for Built { arch, directory, .. } in built {
        image.arg(format!("--program-{arch}")).arg(directory.join("kitbag-registry"));
    }
    if let Some(name) = &options.image_name {
        image.arg("--name").arg(format!("{name}:v{}", env!("CARGO_PKG_VERSION")));
    }
    image.arg("--to").arg(format!("oci-archive:{}", file.display()));
    let output = image.stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim_end().rsplit_once(' ') {
        Some((_, digest)) if output.status.success() => Ok(digest.to_owned()),
        _ => Err("the registry's image could not be made".into()),
    }
}

/// As `sha256sum` writes and checks them.
fn sums(files: &Files) -> String {
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
