//! The scripts by which shells, and kubectl, ask.

use crate::cli::Shell;

/// The script for `shell`.
pub(crate) const fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Kubectl => KUBECTL,
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    }
}

const KUBECTL: &str = r#"#!/bin/sh
# kubectl runs this, as `kubectl_complete-kitbag` in $PATH, to complete `kubectl kitbag`.
exec kubectl-kitbag __complete "$@"
"#;

// bash takes `=` and `:` for the ends of words. They are put together again, by bash-completion where it is there; of what
// comes back, bash wants the end only.
const BASH: &str = r#"# bash completion for kubectl-kitbag

_kubectl_kitbag() {
    local cur words cword word line directive=4
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur words cword
    else
        words=() cword=-1
        for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
            if ((cword > 0)) && [[ $word == = || ${words[cword]} == --*= ]]; then
                words[cword]+=$word
            else
                words+=("$word") cword=$((cword + 1))
            fi
        done
        cur=${words[cword]}
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) directive=${line#:} ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <(kubectl-kitbag __complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null)
    # bash 3 has no compopt.
    if ((directive & 2)); then compopt -o nospace 2>/dev/null; fi
    if ((directive == 0)); then compopt -o default 2>/dev/null; fi
    if [[ $cur == --*=* && $COMP_WORDBREAKS == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#"${cur%%=*}="}"); fi
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}

complete -F _kubectl_kitbag kubectl-kitbag
"#;

const ZSH: &str = r#"#compdef kubectl-kitbag
# zsh completion for kubectl-kitbag

_kubectl_kitbag() {
    local line directive=4
    local -a candidates suffix
    while IFS= read -r line; do
        case $line in
            :*) directive=${line#:} ;;
            *$'\t'*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            *) candidates+=("${line//:/\\:}") ;;
        esac
    done < <(kubectl-kitbag __complete "${(@)words[2,CURRENT-1]}" "${words[CURRENT]}" 2>/dev/null)
    (( directive & 2 )) && suffix=(-S '')
    (( directive == 0 )) && _files && return
    _describe 'kubectl-kitbag' candidates $suffix
}

if [ "$funcstack[1]" = "_kubectl_kitbag" ]; then
    _kubectl_kitbag "$@"
else
    compdef _kubectl_kitbag kubectl-kitbag
fi
"#;

const FISH: &str = r#"# fish completion for kubectl-kitbag

function __kubectl_kitbag
    set -l words (commandline -opc)
    set -l answer (kubectl-kitbag __complete $words[2..-1] (commandline -ct) 2>/dev/null)
    test (count $answer) -gt 0; or return
    if test "$answer[-1]" = ":0"
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $answer[1..-2]
    end
end

complete -c kubectl-kitbag -f -a '(__kubectl_kitbag)'
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// Runs the bash script in bash, before a plugin that answers always the same.
    fn in_bash(answer: &str, line: &str, words: &str) -> String {
        let script = format!(
            "kubectl-kitbag() {{ printf '%s\\n' \"$*\" >&3; printf -- '{answer}'; }}\n{BASH}\ncompopt() {{ echo \"compopt $*\"; }}\n\
             COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE='{line}' COMP_POINT=${{#COMP_LINE}}\n\
             exec 3>&1\n_kubectl_kitbag\nprintf '[%s]' \"${{COMPREPLY[@]}}\"\n"
        )
        .replace("2>/dev/null)", ")");
        let mut bash = Command::new("bash").arg("--norc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn bash_asks_with_the_words_and_offers_the_answer() {
        let asked = in_bash("shop-1\\tx\\nshop-2\\n:4\\n", "kubectl-kitbag debug sh", "kubectl-kitbag debug sh");
        assert_eq!(asked, "__complete debug sh\n[shop-1][shop-2]");
        let nospace = in_bash("deploy/\\n:6\\n", "kubectl-kitbag debug dep", "kubectl-kitbag debug dep");
        assert_eq!(nospace, "__complete debug dep\ncompopt -o nospace\n[deploy/]");
        let empty = in_bash(":0\\n", "kubectl-kitbag debug --custom ", "kubectl-kitbag debug --custom ''");
        assert_eq!(empty, "__complete debug --custom \ncompopt -o default\n[]");
        for words in ["--namespace = we", "--namespace=we"] {
            let asked = in_bash("--namespace=web\\n:4\\n", "", &format!("kubectl-kitbag list {words}"));
            assert_eq!(asked, "__complete list --namespace=we\n[web]");
        }
    }

    #[test]
    fn every_script_calls_the_one_command() {
        for shell in [Shell::Kubectl, Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert_eq!(script(shell).matches("kubectl-kitbag __complete").count(), 1, "{shell:?}");
        }
    }
}
