//! Words of a command line that is printed for people to paste into a shell: what others have named must not become a
//! command of its own. Whether a name is one at all is for those to judge who read it.

use crate::progress::printable_line;

/// One word, whatever it has in it. What no terminal can show nobody can paste: it is a `?`, and the word stays in its line.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_.:@/".contains(it);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", printable_line(text).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_needs_no_quotes_has_none() {
        let words =
            ["jane", "a.b/c:1@sha256:00", "", "x;curl evil|sh", "it's", "~root", "=ls", "a\nb", "a[0].b=c", "$(id)"];
        insta::assert_snapshot!(words.map(quoted).join("\n"), @r"
        jane
        a.b/c:1@sha256:00
        ''
        'x;curl evil|sh'
        'it'\''s'
        '~root'
        '=ls'
        'a?b'
        'a[0].b=c'
        '$(id)'
        ");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_takes_it_for_one_word(text in r"[ -~äß]{0,24}") {
            let mut shell = Command::new("sh");
            let printed = shell.args(["-c", &format!("printf '%s|' {}", quoted(&text))]).output().unwrap();
            prop_assert_eq!(String::from_utf8(printed.stdout).unwrap(), format!("{text}|"));
        }
    }
}
