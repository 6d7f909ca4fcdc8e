//! Where people keep what is theirs.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The user's directories, in which kubectl looks for `.kube/config`; the first that has one counts.
pub(crate) fn directories() -> Vec<PathBuf> {
    if cfg!(windows) { on_windows(|name| env::var_os(name)) } else { env::home_dir().into_iter().collect() }
}

/// In the order of kubectl (client-go's `homedir`).
fn on_windows(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let on_drive = set("HOMEDRIVE").zip(set("HOMEPATH")).map(|(mut drive, path)| {
        drive.push(path);
        drive
    });
    [set("HOME"), on_drive, set("USERPROFILE")].into_iter().flatten().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(set: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        on_windows(variable).into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn windows_has_several_homes() {
        let drive = [("HOMEDRIVE", "H:"), ("HOMEPATH", r"\eve")];
        let profile = ("USERPROFILE", r"C:\Users\eve");
        assert_eq!(found(&[profile, drive[0], drive[1], ("HOME", r"D:\eve")]), [r"D:\eve", r"H:\eve", r"C:\Users\eve"]);
        assert_eq!(found(&[("HOME", ""), drive[0], profile]), [r"C:\Users\eve"]);
        assert!(found(&[]).is_empty());
    }
}
