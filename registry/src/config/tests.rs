use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory as _;

use super::load::{Loaded, Origin, Setting, declared, load};
use super::{Config, ConfigError, Output, RELOADED, print};
use crate::cli::{Arguments, Task};

/// Loads as the program does, with no environment but the test's own.
fn loaded(arguments: &[&str]) -> Result<Loaded, ConfigError> {
    let arguments: Vec<OsString> = ["kitbag-registry"].iter().chain(arguments).map(OsString::from).collect();
    load(&arguments)
}

fn config(arguments: &[&str]) -> Box<Config> {
    match loaded(arguments).unwrap().task {
        Task::Serve(config) | Task::Config { config, .. } => config,
        Task::Ready { .. } | Task::Catalog { .. } => panic!("it has no settings"),
    }
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kitbag.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

/// The message about a file with this text.
fn refused(text: &str) -> String {
    let (_dir, path) = file(text);
    let error = loaded(&["serve", "--config", &path]).unwrap_err();
    error.to_string().replace(&path, "FILE")
}

/// A value that each setting can have, other than its default.
fn example(name: &str, placeholder: &str) -> &'static str {
    match (name, placeholder) {
        (_, "DIR" | "FILE" | "SOCKET") => "/somewhere",
        (_, "DURATION") => "7s",
        (_, "SIZE") => "7MiB",
        (_, "COUNT") => "7",
        (_, "ENDPOINT") => "unix:/somewhere",
        ("access-log", _) => "off",
        (_, "on|off") => "on",
        (_, "FILTER") => "error",
        (_, "text|json") => "json",
        (_, "PART") => "0.5",
        _ => panic!("no example of `{placeholder}`"),
    }
}

fn placeholder(argument: &clap::Arg) -> String {
    argument.get_value_names().unwrap_or_default().concat()
}

#[test]
fn a_setting_has_one_name() {
    for argument in declared().get_arguments() {
        let name = argument.get_long().unwrap();
        let variable = format!("KITBAG_{}", name.replace('-', "_").to_uppercase());
        assert_eq!(argument.get_env().and_then(std::ffi::OsStr::to_str), Some(variable.as_str()));
        assert_eq!(argument.get_id().as_str(), name.replace('-', "_"));
    }
    for name in RELOADED {
        assert!(declared().get_arguments().any(|argument| argument.get_long() == Some(name)), "{name}");
    }
}

#[test]
fn each_setting_can_stand_in_the_file_and_a_flag_goes_before_it() {
    for argument in declared().get_arguments().filter(|argument| argument.get_long() != Some("config")) {
        let name = argument.get_long().unwrap();
        let value = example(name, &placeholder(argument));
        // What belongs to it.
        let other = match name {
            "tls-certificate" => "tls-key = '/x'\nlisten = 'tls:[::1]:1'",
            "tls-key" => "tls-certificate = '/x'\nlisten = 'tls:[::1]:1'",
            _ => "",
        };
        let (_dir, path) = file(&format!("{name} = '{value}'\n{other}"));
        let found = |arguments: &[&str]| {
            let settings = loaded(arguments).unwrap().settings;
            let setting = settings.into_iter().find(|setting| setting.name == name).unwrap();
            (setting.values.join(","), setting.origin.to_string())
        };
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(found(&["config"]), (defaults.join(","), "default".to_owned()));
        assert_ne!(defaults.join(","), value);
        assert_eq!(found(&["config", "--config", &path]), (value.to_owned(), format!("{path}:1")));
        let flag = format!("--{name}={value}");
        assert_eq!(found(&["serve", "--config", &path, &flag]), (value.to_owned(), format!("--{name}")));
    }
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    insta::assert_snapshot!(
        [
            refused("tls-key = '/x'"),
            refused("tls-certificate = '/x'\ntls-key = '/x'"),
            refused("listen = ['127.0.0.1:1', 'tls:127.0.0.1:2']"),
        ]
        .join("\n"),
        @"
    `tls-key` without `tls-certificate`: give both, or neither
    `tls-certificate` without an endpoint of TLS: write for example `tls:0.0.0.0:5443` in `listen`
    `tls:127.0.0.1:2` in `listen` needs a certificate: give `tls-certificate` and `tls-key`
    "
    );
}

#[test]
fn what_a_file_says_arrives() {
    let (_dir, path) = file(
        "listen = ['[::1]:1', '127.0.0.1:2']\nadmin = 'unix:/a,127.0.0.1:3'\nmax-connections = 7\naccess-log = false\n\
         drain = '1m 30s'\nscrub-rate = 0\nreuse-port = true\naccess-log-sample = 0.5",
    );
    let config = config(&["serve", "--config", &path, "--listen", "127.0.0.1:4", "--settle=0s"]);
    // A list is replaced, not made longer.
    assert_eq!(config.listen, ["127.0.0.1:4".parse().unwrap()]);
    let admin: Vec<String> = config.admin.iter().map(ToString::to_string).collect();
    assert_eq!(admin, ["unix:/a", "127.0.0.1:3"]);
    assert_eq!((config.max_connections, config.access_log, config.drain.as_secs()), (7, false, 90));
    assert_eq!((config.scrub_rate, config.reuse_port, config.settle.as_nanos()), (0, true, 0));
    assert_eq!(config.access_log_sample, "1/2".parse().unwrap());
}

#[test]
fn a_flag_can_stand_for_on() {
    assert!(config(&["serve", "--reuse-port"]).reuse_port);
    assert!(!config(&["serve", "--access-log=off"]).access_log);
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line() {
    insta::assert_snapshot!(refused("\nmax-conections = 7"), @"`FILE`, line 2: there is no setting `max-conections`; did you mean `max-connections`?");
    insta::assert_snapshot!(refused("log_format = 'json'"), @"`FILE`, line 1: there is no setting `log_format`; did you mean `log-format`?");
    insta::assert_snapshot!(refused("colour = 'red'"), @"`FILE`, line 1: there is no setting `colour`");
    insta::assert_snapshot!(refused("config = 'other.toml'"), @"`FILE`, line 1: there is no setting `config`");
    insta::assert_snapshot!(refused("drain = 'soon'"), @"`FILE`, line 1: invalid value 'soon' for '--drain <DURATION>': expected number at 0; write for example `50s`, `1m 30s` or `500ms`");
    insta::assert_snapshot!(refused("max-connections = 0"), @"`FILE`, line 1: invalid value '0' for '--max-connections <COUNT>': 0 is not in 1..=4294967295");
    insta::assert_snapshot!(refused("store = ['a', 'b']"), @"`FILE`, line 1: the argument '--store <DIR>' cannot be used multiple times");
    insta::assert_snapshot!(refused("admin = 'localhost'"), @"`FILE`, line 1: invalid value 'localhost' for '--admin <ENDPOINT>': `localhost` is nothing for `admin`, which answers in plain HTTP on sockets of its own: write `127.0.0.1:5006`, `[::1]:5006` or `unix:/run/kitbag/admin.sock`");
    insta::assert_snapshot!(refused("handover = 'h.sock'"), @"`FILE`, line 1: invalid value 'h.sock' for '--handover <SOCKET>': `h.sock` cannot be the path of a Unix socket: begin it with `/` or `@`, with at most 107 bytes");
    insta::assert_snapshot!(refused("admin = 'unix:@admin'\nreuse-port = true"), @"`unix:@admin` cannot go over from one instance to the next, as `handover` and `reuse-port` ask: give `admin` a path, like `unix:/run/kitbag/admin.sock`");
    insta::assert_snapshot!(refused("log = 'a=b=c'"), @r#"`FILE`, line 1: invalid value 'a=b=c' for '--log <FILTER>': `a=b=c` is no filter for the log: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5; write for example `warn,kitbag_registry=info`"#);
    insta::assert_snapshot!(refused("access-log-sample = 2"), @"`FILE`, line 1: invalid value '2' for '--access-log-sample <PART>': write a part from 0 to 1, for example `0.1` or `1/100`");
    insta::assert_snapshot!(refused("tls-key = 'key.pem'"), @"`tls-key` without `tls-certificate`: give both, or neither");
    insta::assert_snapshot!(loaded(&["serve", "--config", "/nowhere"]).unwrap_err(), @"cannot read the settings in `/nowhere`: No such file or directory (os error 2)");
}

#[test]
fn a_faulty_file_is_no_reason_not_to_ask_whether_the_instance_is_ready() {
    let (_dir, path) = file("drain = 'soon'");
    let task = loaded(&["ready", "--config", &path]).unwrap().task;
    assert!(matches!(task, Task::Ready { config: Some(found), .. } if found == Path::new(&path)));
}

#[test]
fn settings_are_printed_with_where_they_come_from() {
    let (_dir, path) = file("store = '/store'\nlisten = ['127.0.0.1:5005', '[::1]:5005']\nlog-format = 'json'");
    let settings = loaded(&["config", "--config", &path, "--max-connections=100"]).unwrap().settings;
    let renamed = |mut setting: Setting| {
        setting.values.iter_mut().filter(|value| **value == path).for_each(|value| *value = "kitbag.toml".to_owned());
        if let Origin::File(file, _) = &mut setting.origin {
            *file = "kitbag.toml".into();
        }
        setting
    };
    let settings: Vec<Setting> = settings.into_iter().map(renamed).collect();
    let shown = |output| print(&settings, output);
    insta::assert_snapshot!(shown(Output::Text), @"
    config                  kitbag.toml                --config
    store                   /store                     kitbag.toml:1
    follow-interval         500ms                      default
    scrub-rate              4MiB                       default
    scrub-pause             1h                         default
    listen                  127.0.0.1:5005,[::1]:5005  kitbag.toml:2
    admin                   -                          default
    reuse-port              off                        default
    handover                -                          default
    tls-certificate         -                          default
    tls-key                 -                          default
    htpasswd                -                          default
    token-file              -                          default
    max-connections         100                        --max-connections
    connections-per-client  1024                       default
    requests-per-client     0                          default
    request-burst           100                        default
    header-timeout          10s                        default
    keep-alive-timeout      75s                        default
    stall-timeout           60s                        default
    settle                  500ms                      default
    drain                   10s                        default
    log                     warn,kitbag_registry=info  default
    log-format              json                       kitbag.toml:3
    access-log              on                         default
    access-log-sample       1                          default
    ");
    insta::assert_snapshot!(shown(Output::Toml), @r#"
    store = "/store"
    follow-interval = "500ms"
    scrub-rate = "4MiB"
    scrub-pause = "1h"
    listen = ["127.0.0.1:5005", "[::1]:5005"]
    reuse-port = "off"
    max-connections = 100
    connections-per-client = 1024
    requests-per-client = 0
    request-burst = 100
    header-timeout = "10s"
    keep-alive-timeout = "75s"
    stall-timeout = "60s"
    settle = "500ms"
    drain = "10s"
    log = "warn,kitbag_registry=info"
    log-format = "json"
    access-log = "on"
    access-log-sample = 1
    "#);
    let json: serde_json::Value = serde_json::from_str(&shown(Output::Json)).unwrap();
    insta::assert_snapshot!(json["listen"], @r#"{"from":"file","place":"kitbag.toml:2","value":["127.0.0.1:5005","[::1]:5005"]}"#);
    insta::assert_snapshot!(json["max-connections"], @r#"{"from":"flag","place":"--max-connections","value":"100"}"#);
    insta::assert_snapshot!(json["handover"], @r#"{"from":"default","place":null,"value":null}"#);
}

#[test]
fn what_is_printed_as_a_file_says_the_same() {
    let arguments = ["config", "--store=/a 'b' \"c\"", "--listen=127.0.0.1:1,[::1]:2", "--access-log=off"];
    let settings = loaded(&arguments).unwrap().settings;
    let (_dir, path) = file(&print(&settings, Output::Toml));
    let again = loaded(&["config", "--config", &path]).unwrap().settings;
    for (one, other) in settings.iter().zip(&again).skip(1) {
        assert_eq!((&one.name, &one.values), (&other.name, &other.values));
    }
}

/// The help as it is shown on a terminal of 100 columns, with no environment.
fn help(task: Option<&str>) -> clap::Command {
    let command = Arguments::command().term_width(100).mut_subcommands(|task| {
        let task = task.term_width(100);
        task.mut_args(|argument| {
            let shown = argument.get_env().is_some();
            argument.hide_env_values(shown)
        })
    });
    match task {
        Some(name) => command.find_subcommand(name).unwrap().clone(),
        None => command,
    }
}

#[test]
fn the_help_says_all() {
    insta::assert_snapshot!(help(None).render_help(), @r"
    An OCI registry that composes images from their path: pull `<host>/strace/tcpdump`

    Usage: kitbag-registry <COMMAND>

    Commands:
      serve    Serve a store until SIGTERM or Ctrl-C
      config   Print the effective settings, and where each comes from
      ready    Ask the running instance whether it is ready: exit code 0 if it is, 1 if not
      catalog  Print the catalog that a cluster publishes of the store's newest generation,
               `catalog.json`
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Exit codes:
      0  it ended as it was told to (the log says whether connections were cut off); `ready`: it is
      1  it could not start, or not go on; `ready`: it is not, or does not answer within 2 s;
         `catalog`: the store cannot be read
      2  wrong arguments or settings
      3  `catalog`: the store has no such generation
    ");
    insta::assert_snapshot!(help(Some("ready")).render_help(), @r"
    Ask the running instance whether it is ready: exit code 0 if it is, 1 if not

    Usage: ready [OPTIONS]

    Options:
          --admin <ENDPOINT>  Where the instance listens for questions about its health [env:
                              KITBAG_ADMIN]
          --config <FILE>     The TOML file that says so, where no flag and no variable does [env:
                              KITBAG_CONFIG]
          --live              Ask only whether it answers at all: a damaged blob does not get better by
                              a new start
      -h, --help              Print help (see more with '--help')
    ");
    insta::assert_snapshot!(help(Some("serve")).render_help(), @r#"
    Serve a store until SIGTERM or Ctrl-C

    Usage: serve [OPTIONS]

    Options:
          --config <FILE>  A TOML file with settings, named as the flags are [env: KITBAG_CONFIG]
      -h, --help           Print help

    Store:
          --store <DIR>                 The store that `kitbag-builder build` has made [env:
                                        KITBAG_STORE]
          --follow-interval <DURATION>  How often to look whether the store has a new generation [env:
                                        KITBAG_FOLLOW_INTERVAL] [default: 500ms]
          --scrub-rate <SIZE>           Bytes per second that are read in the background to find damaged
                                        blobs; 0 for none [env: KITBAG_SCRUB_RATE] [default: 4MiB]
          --scrub-pause <DURATION>      Pause after all of the store was read in the background [env:
                                        KITBAG_SCRUB_PAUSE] [default: 1h]

    Listeners:
          --listen <ENDPOINT>      Where clients come in: `127.0.0.1:5005`, `[::1]:5005`,
                                   `tls:0.0.0.0:5443`, `unix:/run/kitbag/registry.sock`, `systemd`;
                                   several with commas [env: KITBAG_LISTEN] [default: 127.0.0.1:5005]
          --admin <ENDPOINT>       Where health and metrics are asked for: `127.0.0.1:5006`,
                                   `unix:/run/kitbag/admin.sock`; several with commas [env:
                                   KITBAG_ADMIN]
          --reuse-port[=<on|off>]  Share the port with other instances (SO_REUSEPORT) [env:
                                   KITBAG_REUSE_PORT] [default: off]
          --handover <SOCKET>      Where an instance hands its listening sockets over to the next one: a
                                   Unix socket's path, or `@` and a name [env: KITBAG_HANDOVER]

    TLS and access:
          --tls-certificate <FILE>  Certificate chain in PEM, for `tls:` endpoints [env:
                                    KITBAG_TLS_CERTIFICATE]
          --tls-key <FILE>          Private key in PEM, for `tls:` endpoints [env: KITBAG_TLS_KEY]
          --htpasswd <FILE>         Users who may pull, with bcrypt hashes, as `htpasswd -B` writes them
                                    [env: KITBAG_HTPASSWD]
          --token-file <FILE>       Bearer tokens that may pull, one on a line [env: KITBAG_TOKEN_FILE]

    Limits:
          --max-connections <COUNT>         Connections at a time; more wait in the kernel's queue [env:
                                            KITBAG_MAX_CONNECTIONS] [default: 4096]
          --connections-per-client <COUNT>  Connections at a time of one client address; 0 for no limit
                                            [env: KITBAG_CONNECTIONS_PER_CLIENT] [default: 1024]
          --requests-per-client <COUNT>     Requests per second of one client address, before it gets
                                            429; 0 for no limit [env: KITBAG_REQUESTS_PER_CLIENT]
                                            [default: 0]
          --request-burst <COUNT>           Requests that a client may make at once, if it was quiet
                                            before [env: KITBAG_REQUEST_BURST] [default: 100]
          --header-timeout <DURATION>       How long a client may take for the head of a request, TLS
                                            included [env: KITBAG_HEADER_TIMEOUT] [default: 10s]
          --keep-alive-timeout <DURATION>   How long a client may keep a connection on which it asks for
                                            nothing [env: KITBAG_KEEP_ALIVE_TIMEOUT] [default: 75s]
          --stall-timeout <DURATION>        How long a client may read nothing of its response [env:
                                            KITBAG_STALL_TIMEOUT] [default: 60s]

    Ending:
          --settle <DURATION>  At the end: how long idle connections are kept after the listeners are
                               closed [env: KITBAG_SETTLE] [default: 500ms]
          --drain <DURATION>   At the end: how long responses may take to be finished [env:
                               KITBAG_DRAIN] [default: 10s]

    Log:
          --log <FILTER>              What is logged besides requests, as for RUST_LOG:
                                      `warn,kitbag_registry=debug` [env: KITBAG_LOG] [default:
                                      warn,kitbag_registry=info]
          --log-format <text|json>    How the log is written [env: KITBAG_LOG_FORMAT] [default: text]
          --access-log[=<on|off>]     Whether requests are logged [env: KITBAG_ACCESS_LOG] [default: on]
          --access-log-sample <PART>  The part of the requests that is logged: `0.1`, `1/100`; those
                                      that fail here (status 500 and above) always are [env:
                                      KITBAG_ACCESS_LOG_SAMPLE] [default: 1]

    A flag goes before the environment, that before the file, that before the default. The file has the
    names of the flags: `drain = "30s"`, `max-connections = 100`, `listen = ["[::1]:5005",
    "unix:/run/x"]`.

    Signals:
      SIGTERM, SIGINT  stop listening, finish what has begun, exit with 0; a second one: exit at once
      SIGHUP           read the settings again, and the files of certificates, users and tokens:
                       `access-log`, `access-log-sample`, `log`, `request-burst` and
                       `requests-per-client` change, the others take a restart, and the log says
                       which; with a fault in them nothing changes
    "#);
}
