//! Recipes: how a tool, a library or a generator is made. One TOML file each.
//!
//! A recipe is checked as it is read: what can be wrong within one file is found here, what can be wrong between files
//! in [`crate::catalog`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;

use crate::names::Name;
use crate::needs::Needs;

/// What the product of a recipe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A layer that users ask for by name.
    Tool,
    /// Headers and static libraries that other recipes link.
    Library,
    /// A program that runs during builds, on the build machine.
    Generator,
    /// The layer below all others: exactly one recipe has this role.
    Base,
    /// Files that another recipe `includes` in its layer.
    Part,
}

/// By which tool chain a recipe is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `zig cc` and musl; the steps are shell commands.
    C,
    /// `cargo build`, for musl; no steps.
    Cargo,
}

/// A recipe, checked. Paths in it are relative and stay within their directory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Its name, which is the file's too.
    pub name: Name,
    /// Upstream's version.
    pub version: String,
    /// What it is for.
    pub role: Role,
    /// How it is built.
    pub kind: Kind,
    /// One line for people.
    pub summary: String,
    /// Licence, as an SPDX expression.
    pub license: String,
    /// Where upstream lives.
    pub homepage: String,
    /// Modification time of every file in the layer and `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub source_date: i64,
    /// Order of layers: lower ranks first. 0 for everything that is not a tool.
    pub rank: u32,
    /// Libraries, by recipe name.
    pub uses: Vec<Name>,
    /// Generators, by recipe name.
    pub build_tools: Vec<Name>,
    /// Recipes of role [`Role::Part`] whose outputs join this layer.
    pub includes: Vec<Name>,
    /// Licence texts in the unpacked source.
    pub license_files: Vec<String>,
    /// Commands that it provides, the main one first.
    pub commands: Vec<String>,
    /// Archives.
    pub sources: Vec<Source>,
    /// Additions to and replacements in the build environment.
    pub env: BTreeMap<String, String>,
    /// Shell commands (`sh -ec`), in order.
    pub steps: Vec<String>,
    /// Files of the layer.
    pub outputs: Vec<Output>,
    /// What it wants of the kernel and the pod.
    pub needs: Needs,
    /// Commands that prove that the outputs run.
    pub checks: Vec<Check>,
}

/// A pinned archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// Its file name, in `--sources` directories and in the download cache.
    pub file: String,
    /// SHA-256, 64 small hexadecimal digits. Decides, whatever the origin.
    pub sha256: String,
    /// Upstream's addresses of the very same bytes.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Path below the Debian mirror that apt is configured for.
    pub debian: Option<String>,
    /// A wheel, as `project==version`, through pip.
    pub pypi: Option<String>,
    /// Leading path components to drop when unpacking.
    #[serde(default = "one")]
    pub strip: usize,
    /// Directory below the work directory to unpack into. The first source is unpacked into the work directory itself,
    /// others stay packed unless this is given.
    pub unpack: Option<String>,
    /// Globs of stripped paths that are not unpacked.
    #[serde(default)]
    pub exclude: Vec<String>,
}

fn one() -> usize {
    1
}

/// One entry of the layer, or a list of links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Where it stands in the image, absolute. Empty for [`OutputKind::Links`].
    pub to: String,
    /// What it is.
    pub kind: OutputKind,
}

/// What an [`Output`] is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// A file of the work directory.
    File {
        /// Relative to the work directory.
        from: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Its target, as it is written.
        target: String,
    },
    /// An empty directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A link for every line (an absolute path) of a file that a step writes.
    Links {
        /// The file, relative to the work directory.
        from: String,
        /// Target of each link.
        target: String,
    },
}

/// A command that must succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Program (file name of an output) and arguments.
    pub run: Vec<String>,
    /// Text that must stand in its output.
    #[serde(default)]
    pub expect: String,
    /// Exit status that it must end with.
    #[serde(default)]
    pub exit: i32,
}

/// A mistake in a recipe or a set: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RecipeError {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl Recipe {
    /// Reads the recipe in `text`; `file` is where it stands, for messages and for its name.
    ///
    /// # Errors
    /// The first [`RecipeError`] found.
    pub fn parse(file: &str, text: &str) -> Result<Self, RecipeError> {
        let raw: Raw = parse_toml(file, text)?;
        Checker { file, text }.recipe(raw)
    }

    /// The part of the recipe that decides what its build makes, as canonical JSON: not its description, not the
    /// addresses of its sources.
    #[must_use]
    pub fn build_inputs(&self) -> Vec<u8> {
        let sources: Vec<_> =
            self.sources.iter().map(|s| (&s.file, &s.sha256, s.strip, &s.unpack, &s.exclude)).collect();
        crate::canonical::to_vec(&serde_json::json!({
            "name": self.name, "kind": self.kind, "role": self.role, "version": self.version,
            "source-date": self.source_date, "sources": sources, "env": self.env, "steps": self.steps,
            "outputs": self.outputs, "license-files": self.license_files, "checks": self.checks,
        }))
    }

    /// The recipes that must be built before this one.
    pub fn dependencies(&self) -> impl Iterator<Item = &Name> {
        self.uses.iter().chain(&self.build_tools).chain(&self.includes)
    }
}

/// `text` as a TOML value of type `T`.
pub(crate) fn parse_toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, RecipeError> {
    toml::from_str(text).map_err(|error| RecipeError {
        file: file.to_owned(),
        line: line_of(text, error.span().unwrap_or(0..0)),
        message: error.message().to_owned(),
    })
}

/// The line, counted from 1, on which `span` begins.
pub(crate) fn line_of(text: &str, span: Range<usize>) -> usize {
    let end = span.start.min(text.len());
    text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    name: Spanned<String>,
    version: Spanned<String>,
    role: Role,
    kind: Spanned<Kind>,
    summary: String,
    license: Spanned<String>,
    homepage: String,
    source_date: Spanned<String>,
    rank: Option<Spanned<u32>>,
    #[serde(default)]
    uses: Vec<Spanned<String>>,
    #[serde(default)]
    build_tools: Vec<Spanned<String>>,
    #[serde(default)]
    includes: Vec<Spanned<String>>,
    #[serde(default)]
    license_files: Vec<Spanned<String>>,
    #[serde(default)]
    commands: Vec<Spanned<String>>,
    #[serde(default)]
    steps: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    source: Vec<Spanned<Source>>,
    #[serde(default)]
    output: Vec<Spanned<RawOutput>>,
    #[serde(default)]
    needs: Needs,
    #[serde(default)]
    check: Vec<Spanned<Check>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOutput {
    to: Option<String>,
    from: Option<String>,
    link: Option<String>,
    links_from: Option<String>,
    #[serde(default)]
    directory: bool,
    mode: Option<u32>,
}

struct Checker<'a> {
    file: &'a str,
    text: &'a str,
}

impl Checker<'_> {
    fn error(&self, span: Range<usize>, message: impl Into<String>) -> RecipeError {
        RecipeError { file: self.file.to_owned(), line: line_of(self.text, span), message: message.into() }
    }

    fn recipe(&self, raw: Raw) -> Result<Recipe, RecipeError> {
        let name = self.name(&raw.name)?;
        let stem = self.file.rsplit('/').next().and_then(|file| file.strip_suffix(".toml")).unwrap_or(self.file);
        if stem != name.as_str() {
            return Err(
                self.error(raw.name.span(), format!("`{name}` stands in `{stem}.toml`: name and file must agree"))
            );
        }
        if raw.version.get_ref().is_empty() {
            return Err(self.error(raw.version.span(), "`version` is empty"));
        }
        if let Err(error) = spdx::Expression::parse(raw.license.get_ref()) {
            let message = format!("`license` is no SPDX expression: {}", error.reason);
            return Err(self.error(raw.license.span(), message));
        }
        let source_date = OffsetDateTime::parse(raw.source_date.get_ref(), &Rfc3339)
            .map_err(|_| self.error(raw.source_date.span(), "`source-date` is not a date like `2025-12-29T00:00:00Z`"))?
            .unix_timestamp();
        if !(0..=i64::from(u32::MAX)).contains(&source_date) {
            return Err(self.error(raw.source_date.span(), "`source-date` lies before 1970 or after 2106"));
        }
        self.role_rules(&raw)?;
        let outputs = raw.output.into_iter().map(|output| self.output(output)).collect::<Result<Vec<_>, _>>()?;
        let checks = raw.check.into_iter().map(|check| self.check(check, &outputs)).collect::<Result<_, _>>()?;
        Ok(Recipe {
            name,
            version: raw.version.into_inner(),
            role: raw.role,
            kind: raw.kind.into_inner(),
            summary: raw.summary,
            license: raw.license.into_inner(),
            homepage: raw.homepage,
            source_date,
            rank: raw.rank.map_or(0, Spanned::into_inner),
            uses: self.names(&raw.uses)?,
            build_tools: self.names(&raw.build_tools)?,
            includes: self.names(&raw.includes)?,
            license_files: raw.license_files.into_iter().map(|path| self.inside(path)).collect::<Result<_, _>>()?,
            commands: raw.commands.into_iter().map(|command| self.command(command)).collect::<Result<_, _>>()?,
            sources: raw.source.into_iter().map(|source| self.source(source)).collect::<Result<_, _>>()?,
            env: raw.env,
            steps: raw.steps,
            outputs,
            needs: raw.needs,
            checks,
        })
    }

    /// What each role must have and must not have.
    fn role_rules(&self, raw: &Raw) -> Result<(), RecipeError> {
        let at = raw.name.span();
        let is_tool = raw.role == Role::Tool;
        match (&raw.rank, is_tool) {
            (None, true) => return Err(self.error(at, "a tool must have a `rank`, the place of its layer")),
            (Some(rank), true) if *rank.get_ref() == 0 => {
                return Err(self.error(rank.span(), "`rank` 0 is the base layer's: take a higher one"));
            }
            (Some(rank), false) => return Err(self.error(rank.span(), "only a tool has a `rank`")),
            _ => {}
        }
        if is_tool && raw.commands.is_empty() {
            return Err(self.error(at, "a tool must provide at least one of `commands`"));
        }
        if let (false, Some(command)) = (is_tool, raw.commands.first()) {
            return Err(self.error(command.span(), "only a tool provides `commands`"));
        }
        if !is_tool && raw.needs != Needs::default() {
            return Err(self.error(at, "only a tool has `needs`"));
        }
        let has_layer = matches!(raw.role, Role::Tool | Role::Base | Role::Part);
        if has_layer && raw.output.is_empty() {
            return Err(self.error(at, "without an `[[output]]` there is nothing to put into the layer"));
        }
        if let (false, Some(output)) = (has_layer, raw.output.first()) {
            return Err(self.error(output.span(), "a library or generator installs into `$PREFIX`: it has no outputs"));
        }
        if is_tool && raw.license_files.is_empty() {
            return Err(self.error(at, "a tool must ship its licence: name at least one of `license-files`"));
        }
        if is_tool && raw.check.is_empty() {
            return Err(self.error(at, "a tool must have a `[[check]]` that runs it"));
        }
        if *raw.kind.get_ref() == Kind::C && raw.steps.is_empty() {
            return Err(self.error(raw.kind.span(), "kind `c` must have `steps`"));
        }
        if *raw.kind.get_ref() == Kind::Cargo && !raw.steps.is_empty() {
            return Err(self.error(raw.kind.span(), "kind `cargo` has no `steps`: cargo builds it"));
        }
        Ok(())
    }

    fn name(&self, text: &Spanned<String>) -> Result<Name, RecipeError> {
        Name::parse(text.get_ref()).map_err(|error| self.error(text.span(), error.to_string()))
    }

    fn names(&self, texts: &[Spanned<String>]) -> Result<Vec<Name>, RecipeError> {
        texts.iter().map(|text| self.name(text)).collect()
    }

    fn command(&self, command: Spanned<String>) -> Result<String, RecipeError> {
        let text = command.get_ref();
        if text.is_empty() || text.contains('/') || text.contains(char::is_whitespace) {
            return Err(self.error(command.span(), format!("`{text}` is not the name of a command")));
        }
        Ok(command.into_inner())
    }

    fn inside(&self, path: Spanned<String>) -> Result<String, RecipeError> {
        if is_inside(path.get_ref()) {
            Ok(path.into_inner())
        } else {
            let message = format!("`{}` must be a relative path without `..`", path.get_ref());
            Err(self.error(path.span(), message))
        }
    }

    fn source(&self, source: Spanned<Source>) -> Result<Source, RecipeError> {
        let span = source.span();
        let source = source.into_inner();
        let fault = if !is_inside(&source.file) || source.file.contains('/') {
            Some(format!("`file` must be a plain file name, not `{}`", source.file))
        } else if source.sha256.len() != 64 || !source.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Some("`sha256` must be 64 small hexadecimal digits".to_owned())
        } else if source.urls.is_empty() && source.debian.is_none() && source.pypi.is_none() {
            Some(format!("`{}` has no origin: give at least one of `urls`, `debian`, `pypi`", source.file))
        } else if let Some(url) = source.urls.iter().find(|url| !url.starts_with("https://")) {
            Some(format!("`{url}` is not an https address"))
        } else if source.debian.as_ref().is_some_and(|path| !is_inside(path)) {
            Some(
                "`debian` must be a path below the mirror, like `pool/main/s/strace/strace_6.1.orig.tar.xz`".to_owned(),
            )
        } else if source.pypi.as_ref().is_some_and(|pin| pin.split("==").filter(|part| !part.is_empty()).count() != 2) {
            Some("`pypi` must be `project==version`".to_owned())
        } else if source.unpack.as_ref().is_some_and(|path| !is_inside(path)) {
            Some("`unpack` must be a relative path without `..`".to_owned())
        } else {
            None
        };
        fault.map_or(Ok(source), |message| Err(self.error(span, message)))
    }

    fn output(&self, output: Spanned<RawOutput>) -> Result<Output, RecipeError> {
        let span = output.span();
        let raw = output.into_inner();
        let kind = match (raw.from, raw.link, raw.links_from, raw.directory) {
            (Some(from), None, None, false) if is_inside(&from) => {
                OutputKind::File { from, mode: raw.mode.unwrap_or(0o755) }
            }
            (None, Some(target), None, false) if raw.mode.is_none() => OutputKind::Link { target },
            (None, Some(target), Some(from), false) if raw.mode.is_none() && is_inside(&from) => {
                OutputKind::Links { from, target }
            }
            (None, None, None, true) => OutputKind::Directory { mode: raw.mode.unwrap_or(0o755) },
            _ => {
                let message = "an output is a file (`from`, a relative path; `mode`), a link (`link`), many links \
                               (`links-from` and `link`) or a directory (`directory = true`; `mode`)";
                return Err(self.error(span, message));
            }
        };
        let to = raw.to.unwrap_or_default();
        if matches!(kind, OutputKind::Links { .. }) {
            if !to.is_empty() {
                return Err(self.error(span, "with `links-from` the paths stand in that file: leave `to` out"));
            }
        } else if !to.strip_prefix('/').is_some_and(is_inside) {
            return Err(self.error(span, "`to` must be an absolute path in the image, without `..`"));
        }
        if let OutputKind::File { mode, .. } | OutputKind::Directory { mode } = kind
            && mode > 0o7777
        {
            return Err(self.error(span, "`mode` must be permission bits, like `0o755`"));
        }
        Ok(Output { to, kind })
    }

    fn check(&self, check: Spanned<Check>, outputs: &[Output]) -> Result<Check, RecipeError> {
        let Some(program) = check.get_ref().run.first() else {
            return Err(self.error(check.span(), "`run` is empty: name a program and its arguments"));
        };
        let known = outputs.iter().any(|output| output.to.rsplit('/').next() == Some(program));
        if known {
            Ok(check.into_inner())
        } else {
            Err(self.error(check.span(), format!("`{program}` is not the file name of an output")))
        }
    }
}

/// Whether a path is relative, not empty, and has no component that leads out.
fn is_inside(path: &str) -> bool {
    !path.split('/').any(|part| part.is_empty() || part == "." || part == "..") && !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"name = "demo"
version = "1.0"
role = "tool"
kind = "c"
summary = "a demonstration"
license = "MIT OR Apache-2.0"
homepage = "https://demo.example/"
source-date = "2025-01-02T03:04:05Z"
rank = 300
license-files = ["LICENSE"]
commands = ["demo"]
steps = ["make"]
[[source]]
file = "demo-1.0.tar.gz"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
urls = ["https://demo.example/demo-1.0.tar.gz"]
[[output]]
from = "demo"
to = "/usr/bin/demo"
[needs]
required = ["raw-socket"]
[[check]]
run = ["demo", "--version"]
expect = "1.0"
"#;

    fn with(from: &str, to: &str) -> Result<Recipe, RecipeError> {
        assert!(GOOD.contains(from), "{from}");
        Recipe::parse("catalog/demo.toml", &GOOD.replace(from, to))
    }

    #[test]
    fn a_good_recipe_is_read() {
        let recipe = Recipe::parse("catalog/demo.toml", GOOD).unwrap();
        assert_eq!(recipe.source_date, 1_735_787_045);
        assert_eq!(recipe.outputs[0].kind, OutputKind::File { from: "demo".into(), mode: 0o755 });
        assert_eq!(recipe.sources[0].strip, 1);
    }

    #[test]
    fn a_mistake_is_refused_with_file_line_and_reason() {
        let mistakes = [
            ("name = \"demo\"", "name = \"Demo\""),
            ("name = \"demo\"", "name = \"other\""),
            ("license = \"MIT OR Apache-2.0\"", "license = \"Free\""),
            ("license = \"MIT OR Apache-2.0\"\n", ""),
            ("summary", "sumary"),
            ("2025-01-02T03:04:05Z", "yesterday"),
            ("rank = 300\n", ""),
            ("kind = \"c\"", "kind = \"magic\""),
            ("sha256 = \"e3b0", "sha256 = \"E3B0"),
            ("urls = [\"https:", "urls = [\"http:"),
            ("from = \"demo\"", "from = \"../demo\""),
            ("to = \"/usr/bin/demo\"", "to = \"usr/bin/demo\""),
            ("required = [\"raw-socket\"]", "required = [\"root\"]"),
            ("run = [\"demo\"", "run = [\"demon\""),
            ("commands = [\"demo\"]", "commands = []"),
        ];
        let messages: Vec<String> = mistakes.iter().map(|(from, to)| with(from, to).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn descriptions_and_addresses_do_not_count_as_inputs() {
        let inputs = |recipe: Recipe| recipe.build_inputs();
        let good = inputs(Recipe::parse("catalog/demo.toml", GOOD).unwrap());
        assert_eq!(inputs(with("a demonstration", "another").unwrap()), good);
        assert_eq!(inputs(with("https://demo.example/demo-1.0", "https://mirror.example/demo-1.0").unwrap()), good);
        assert_ne!(inputs(with("steps = [\"make\"]", "steps = [\"make all\"]").unwrap()), good);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", cut in 0_usize..600) {
            let _ = Recipe::parse("catalog/demo.toml", &text);
            let mut cut = cut.min(GOOD.len());
            while !GOOD.is_char_boundary(cut) { cut -= 1; }
            let _ = Recipe::parse("catalog/demo.toml", &format!("{}{text}{}", &GOOD[..cut], &GOOD[cut..]));
        }
    }
}
