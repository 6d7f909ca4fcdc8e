use std::fs;

use super::*;
use proptest::prelude::*;

/// `open sesame`, with the lowest cost.
const SESAME: &str = "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

/// As a person is told; the whole file's fault has no line.
fn told(error: (Option<usize>, Fault)) -> String {
    fault(Path::new("/etc/kitbag/users"), error).to_string()
}

fn users(text: &str) -> Result<Users, String> {
    Users::parse(text).map_err(told)
}

fn tokens(text: &str) -> Result<Tokens, String> {
    Tokens::parse(text, &Secret::new()).map_err(told)
}

#[test]
fn bcrypt_of_every_program_is_read() {
    for prefix in ["$2y$", "$2b$", "$2a$"] {
        let users = users(&format!("# ours\n\nann:{}\r\n", SESAME.replace("$2y$", prefix))).unwrap();
        assert!(users.verify("ann", b"open sesame"), "{prefix}");
        for (user, password) in
            [("ann", "open"), ("ann", ""), ("bob", "open sesame"), ("", "open sesame"), ("ann ", "open sesame")]
        {
            assert!(!users.verify(user, password.as_bytes()), "{user} {password}");
        }
    }
}

#[test]
fn nobody_has_the_password_of_who_is_no_user() {
    let users = users(&format!("ann:{SESAME}")).unwrap();
    assert_eq!(users.stand_in.len(), SESAME.len());
    assert_eq!(users.stand_in.parse::<HashParts>().unwrap().get_cost(), 4);
}

#[test]
fn a_line_that_cannot_be_used_is_named() {
    let twice = format!("ann:{SESAME}\nbob:{SESAME}\nann:{SESAME}");
    let texts = [
        "",
        "# nobody\n",
        "ann",
        ":x",
        "ann:open sesame",
        "\nann:$apr1$salt$hash",
        "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "ann:$6$salt$hash",
        "ann:$2x$04$abc",
        "ann:$2y$04$abc",
        &format!("ann:{}", SESAME.replace("$04$", "$15$")),
        &format!("ann:{}", SESAME.replace("$04$", "$03$")),
        &twice,
        "a\u{1b}[2J:x",
    ];
    let errors: Vec<String> = texts.iter().map(|text| users(text).unwrap_err()).collect();
    insta::assert_snapshot!(errors.join("\n"), @r"
    `/etc/kitbag/users`: there is nobody in it, so that nobody could pull: add a line
    `/etc/kitbag/users`: there is nobody in it, so that nobody could pull: add a line
    `/etc/kitbag/users`, line 1: there is no `<user>:<hash>`: write the line with `htpasswd -B`
    `/etc/kitbag/users`, line 1: there is no `<user>:<hash>`: write the line with `htpasswd -B`
    `/etc/kitbag/users`, line 1: the password of `ann` is kept as crypt or plain text, not as bcrypt: write it again with `htpasswd -B`
    `/etc/kitbag/users`, line 2: the password of `ann` is kept as MD5, not as bcrypt: write it again with `htpasswd -B`
    `/etc/kitbag/users`, line 1: the password of `ann` is kept as SHA-1, not as bcrypt: write it again with `htpasswd -B`
    `/etc/kitbag/users`, line 1: the password of `ann` is kept as SHA-2, not as bcrypt: write it again with `htpasswd -B`
    `/etc/kitbag/users`, line 1: the password of `ann` is kept as faulty bcrypt (`$2x$`), not as bcrypt: write it again with `htpasswd -B`
    `/etc/kitbag/users`, line 1: the hash of `ann` is damaged: write it again with `htpasswd -B`
    `/etc/kitbag/users`, line 1: the hash of `ann` has cost 15, where 4 to 14 are allowed: write it again with `htpasswd -B -C 10`
    `/etc/kitbag/users`, line 1: the hash of `ann` has cost 3, where 4 to 14 are allowed: write it again with `htpasswd -B -C 10`
    `/etc/kitbag/users`, line 3: `ann` stands twice: remove one of the lines
    `/etc/kitbag/users`, line 1: the password of `a\u{1b}[2J` is kept as crypt or plain text, not as bcrypt: write it again with `htpasswd -B`
    ");
}

#[test]
fn tokens_stand_one_on_a_line() {
    let secret = Secret::new();
    let tokens = Tokens::parse("# CI\n0123456789abcdef\n\nABC-._~+/=ABC-._~+/=\t the cluster\n", &secret).unwrap();
    for (token, known) in [
        ("0123456789abcdef", true),
        ("ABC-._~+/=ABC-._~+/=", true),
        ("0123456789abcde", false),
        ("0123456789abcdef ", false),
        ("the", false),
        ("", false),
    ] {
        assert_eq!(tokens.have(&secret, token.as_bytes()), known, "{token}");
    }
    assert!(!tokens.have(&Secret::new(), b"0123456789abcdef"), "the key is part of the hash");
    assert!(!Tokens::default().have(&secret, b""));
}

#[test]
fn a_token_that_is_none_is_named_but_not_shown() {
    let many = "0123456789abcdef\n".repeat(MAX_TOKENS + 1);
    let texts = ["", "short", "0123456789abcdef\n\u{e9}0123456789abcdef", "0123456789:abcdef", &many];
    let errors: Vec<String> = texts.iter().map(|text| tokens(text).unwrap_err()).collect();
    insta::assert_snapshot!(errors.join("\n"), @"
    `/etc/kitbag/users`: there is nobody in it, so that nobody could pull: add a line
    `/etc/kitbag/users`, line 1: the token has 5 characters, where at least 16 are needed: make one with `openssl rand -hex 32`
    `/etc/kitbag/users`, line 2: a token may have letters, digits and `-._~+/=` only: make one with `openssl rand -hex 32`
    `/etc/kitbag/users`, line 1: a token may have letters, digits and `-._~+/=` only: make one with `openssl rand -hex 32`
    `/etc/kitbag/users`, line 1001: there are more than 1000 tokens: give each user a password instead, with `htpasswd -B`
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Users::read(&dir.path().join("none")).unwrap_err().to_string();
    assert!(missing.ends_with("/none`: No such file or directory (os error 2)"), "{missing}");
    let large = dir.path().join("large");
    fs::write(&large, vec![b'#'; 1 + MAX_BYTES as usize]).unwrap();
    assert!(matches!(Users::read(&large), Err(AccessError::TooLarge(_))));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[\n:$])*") {
        let _ = (users(&text), tokens(&text), users(&format!("a:{text}")), users(&format!("a:$2y${text}")));
    }
}
