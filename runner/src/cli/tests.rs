use super::*;
use crate::privileges::Capability;

fn parse(line: &str) -> Result<Command, UsageError> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    Command::parse(&words)
}

fn debug(line: &str) -> Box<Debug> {
    match parse(line) {
        Ok(Command::Debug(debug)) => debug,
        other => panic!("{other:?}"),
    }
}

/// The help as it is shown on a terminal of 100 columns, with no environment.
fn help(command: &str) -> String {
    let mut definition = Cli::command()
        .mut_subcommands(|command| command.term_width(100).mut_args(|argument| argument.env(None::<&str>)));
    definition.build();
    let text = definition.find_subcommand_mut(command).unwrap().render_long_help().to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn flags_may_stand_between_target_and_tools_and_the_command_is_left_alone() {
    let debug = debug("debug pod/shop -n web strace tcpdump -c app -it -- strace -c -n -p 1");
    assert_eq!(debug.reference().unwrap().to_string(), "pod/shop");
    assert_eq!(debug.tools().join(" "), "strace tcpdump");
    assert_eq!(debug.command.join(" "), "strace -c -n -p 1");
    assert_eq!((debug.common.namespace.as_deref(), debug.container.as_deref()), (Some("web"), Some("app")));
    assert!(debug.stdin && debug.tty);
}

#[test]
fn with_a_selector_every_word_is_a_tool() {
    let debug = debug("debug -l app=shop,tier!=db strace net -- true");
    assert_eq!(debug.reference().unwrap().to_string(), "-l app=shop,tier!=db");
    assert_eq!(debug.tools().join(" "), "strace net");
    assert_eq!(self::debug("debug -l app=shop -- true").tools(), Vec::<String>::new());
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let lines = [
        "debug",
        "debug cronjob/shop",
        "debug Shop",
        "debug -l app=shop deploy/shop",
        "debug -l  strace",
        "debug shop --all",
        "debug shop --all -t -- true",
        "debug shop --all --dry-run -- true",
        "debug shop -o yaml -- true",
        "debug shop -o json",
        "debug shop -t -o json -- true",
        "debug shop --image x --tag y",
        "debug shop --as-group g",
        "debug shop --as-user root",
        "debug shop --idle soon",
        "debug shop --timeout 0",
        "debug shop --tag a/b",
        "debug shop --profile legacy",
        "debug shop --dry-run=maybe",
        "debug shop --certificate-authority ca.pem --insecure-skip-tls-verify",
        "list shop -l app=shop",
        "attach",
        "end",
        "needs",
        "completion tcsh",
        "undebug shop",
    ];
    let told =
        lines.map(|line| parse(line).map_or_else(|error| error.to_string(), |command| format!("{line}: {command:?}")));
    insta::assert_snapshot!(told.join("\n"), @r"
    a TARGET is wanted, or a selector: -l app=shop
    `cronjob` is not a kind that can be debugged; these are: pod, deploy, sts, ds, rs, job, svc
    `Shop` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
    `deploy/shop` is a target, and -l selects others: only one of the two can be meant
    the selector is empty: it would select every pod of the namespace
    --all takes a COMMAND: a shell has one terminal, and pods are many
    --all does not go with -i or -t: there is one standard input, and pods are many
    --all does not go with --dry-run: name one pod
    -o yaml is for --dry-run; what happened is told with -o json
    -o json takes a COMMAND, whose output goes into the object
    -o json does not go with -t: what a terminal shows is no output
    `kubectl kitbag debug shop --image x --tag y` is no command line: the argument '--image <REFERENCE>' cannot be used with '--tag <TAG>'
    `kubectl kitbag debug shop --as-group g` is no command line: the following required arguments were not provided:
    `kubectl kitbag debug shop --as-user root` is no command line: invalid value 'root' for '--as-user <UID[:GID]>': `root` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
    `kubectl kitbag debug shop --idle soon` is no command line: invalid value 'soon' for '--idle <DURATION>': a number of seconds is wanted, or a duration like `90s`, `30m`, `8h`
    `kubectl kitbag debug shop --timeout 0` is no command line: invalid value '0' for '--timeout <DURATION>': at least one second is wanted
    `kubectl kitbag debug shop --tag a/b` is no command line: invalid value 'a/b' for '--tag <TAG>': letters, digits, `_`, `.` and `-` make a tag, 128 at the most
    `kubectl kitbag debug shop --profile legacy` is no command line: invalid value 'legacy' for '--profile <PROFILE>'
    `kubectl kitbag debug shop --dry-run=maybe` is no command line: invalid value 'maybe' for '--dry-run[=<HOW>]'
    `kubectl kitbag debug shop --certificate-authority ca.pem --insecure-skip-tls-verify` is no command line: the argument '--certificate-authority <FILE>' cannot be used with '--insecure-skip-tls-verify[=<BOOL>]'
    `shop` is a target, and -l selects others: only one of the two can be meant
    a TARGET is wanted, or a selector: -l app=shop
    a TARGET is wanted, or a selector: -l app=shop
    `kubectl kitbag needs` is no command line: the following required arguments were not provided:
    `kubectl kitbag completion tcsh` is no command line: invalid value 'tcsh' for '<SHELL>'
    `kubectl kitbag undebug shop` is no command line: unrecognized subcommand 'undebug'
    ");
}

#[test]
fn what_programs_write_is_taken() {
    for line in [
        "debug shop --dry-run=server -o yaml",
        "debug shop strace --dry-run -o json",
        "debug shop --all -o json -- true",
        "debug shop --cap-add NET_RAW,KILL --cap-add SYS_PTRACE",
        "debug shop --insecure-skip-tls-verify=true --request-timeout=5s",
        "debug shop --timeout=90 --idle 30m --ttl 8h",
        "list",
        "list -n web deploy/shop",
        "attach shop -c kitbag-b2c4d -- sh -c true",
        "end -l app=shop",
        "rbac",
        "rbac debug deploy/shop strace -n web -- strace -p 1",
        "tools dns",
        "__complete debug -n web -- ",
        "__complete -",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
}

#[test]
fn a_command_line_within_a_command_line_keeps_all_its_words() {
    let Ok(Command::Rbac(rbac)) = parse("rbac debug -l a=b strace -- strace -p 1") else { panic!() };
    assert_eq!(rbac.line.join(" "), "debug -l a=b strace -- strace -p 1");
    let Ok(Command::Complete(complete)) = parse("__complete debug shop -- strace -- ") else { panic!() };
    assert_eq!(complete.words.join(" "), "debug shop -- strace -- ");
    let debug = debug("debug shop --cap-add NET_RAW,KILL --cap-add SYS_PTRACE");
    let added: Vec<&str> = debug.privileges.cap_add.iter().map(Capability::as_str).collect();
    assert_eq!(added, ["NET_RAW", "KILL", "SYS_PTRACE"]);
}

#[test]
fn help_has_everything() {
    insta::assert_snapshot!(help("debug"), @r"
    Opens a session with tools beside a container of a pod.

    The tools see the container's processes and share the pod's network. The pod is not restarted, and
    not touched before it is known that the image exists.

    Usage: kubectl kitbag debug [OPTIONS] [TARGET] [TOOL]... [-- <COMMAND>...]

    Arguments:
      [TARGET]
              The pod NAME, or pod/NAME, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME: of
              several pods one that is running and ready, the youngest

      [TOOL]...
              Tools, sets of tools, or commands that a tool provides. Without any: the tool that
              provides COMMAND, or a shell

      [COMMAND]...
              What to run. Without it: an interactive shell

    Options:
      -l, --selector <SELECTOR>
              A label selector, in the place of TARGET

          --all
              Runs COMMAND in each of the target's pods that runs, at once

      -c, --container <NAME>
              The container to debug [default: the annotated one, else the first]

      -i, --stdin
              Passes standard input on

      -t, --tty
              Gives the command a terminal; implies -i

          --timeout <DURATION>
              How long to wait for the container to start

              [default: 60]

          --idle <DURATION>
              How long the container stays when no session is open

              [default: 30m]

          --ttl <DURATION>
              How long the container stays at the most

              [default: 8h]

          --patience <DURATION>
              How long the command goes on without a sign of life from this client

              [default: 45s]

          --new
              Adds a container even where one that fits is running

          --reason <TEXT>
              Says why, in the event that is written to the pod, and in the container

      -h, --help
              Print help (see a summary with '-h')

    Image:
          --registry <HOST>
              The registry that composes the image, as the cluster's nodes and this machine reach it:
              HOST[:PORT][/PREFIX] [default: the one that the cluster names, else 127.0.0.1:5005]

          --insecure-registry
              Speaks plain HTTP to the registry. (Loopback addresses are always spoken to so.)

          --tag <TAG>
              The generation of the image [default: latest]

          --image <REFERENCE>
              An image of one's own, with kitbag-init in it. TOOLs then say what it is allowed to do

    Privileges, in the place of what the tools need:
          --profile <PROFILE>
              One of kubectl's profiles

              Possible values:
              - general:    Adds SYS_PTRACE to the runtime's default capabilities
              - baseline:   The runtime's default capabilities
              - restricted: The target's user without any privilege
              - netadmin:   Adds NET_ADMIN and NET_RAW to the runtime's default capabilities
              - sysadmin:   A privileged container

          --custom <FILE>
              A container, as JSON or YAML, that is merged into ours, as kubectl does it

          --as-user <UID[:GID]>
              The user to run as

          --cap-add <CAPABILITY>
              A capability more, NAME or CAP_NAME; may be repeated

          --cap-drop <CAPABILITY>
              A capability less, or ALL; may be repeated

          --privileged
              All that there is

          --no-volumes
              Leaves the target's volumes out

          --no-env
              Leaves the target's environment out

    Output:
          --dry-run[=<HOW>]
              Prints the container that would be added, and adds none

              Possible values:
              - none:   nothing is tried, everything is done
              - client: nothing is sent
              - server: the API server is asked whether it would take it

              [default: none]

      -o, --output <FORMAT>
              Prints one object: what happened, the command's output in it; with --dry-run the container

              Possible values:
              - json: for programs
              - yaml: for people, and for `kubectl`

    Cluster, as kubectl has it:
      -n, --namespace <NAME>
              The namespace [default: the context's]

          --context <NAME>
              The context of the kubeconfig [default: the current one]

          --cluster <NAME>
              The cluster of the kubeconfig [default: the context's]

          --user <NAME>
              The user of the kubeconfig [default: the context's]

          --kubeconfig <FILE>
              The kubeconfig [default: $KUBECONFIG, ~/.kube/config, the service account of the pod that
              this runs in]

          --as <USER>
              The user to act as; `system:serviceaccount:NAMESPACE:NAME` is a service account

          --as-group <GROUP>
              A group to act as; may be repeated

          --as-uid <UID>
              The uid to act as

          --request-timeout <DURATION>
              How long the API server may take to begin each answer; 0: as long as it likes

              [default: 0]

      -s, --server <URL>
              The API server's address

          --token <TOKEN>
              The bearer token

          --certificate-authority <FILE>
              The certificates that the API server's is checked against

          --client-certificate <FILE>
              The client's certificate

          --client-key <FILE>
              The client's private key

          --insecure-skip-tls-verify[=<BOOL>]
              Believes whoever answers at the API server's address

          --tls-server-name <NAME>
              The name in the API server's certificate [default: that of its address]

    Options:
      -v, --verbose
              Says what is done and how long it takes

    Examples:
      kubectl kitbag debug shop                                a shell beside pod `shop`
      kubectl kitbag debug deploy/shop strace -- strace -fp {pid}
                                                               system calls of a pod of the Deployment
      kubectl kitbag debug shop -c proxy net                   a shell with the set `net`, beside
      container `proxy`
      kubectl kitbag debug shop -- tcpdump -c 10 -w - > x      ten packets into a file
      kubectl kitbag debug -l app=shop --all -- dig db         a question of every pod with the label
      kubectl kitbag debug shop strace --dry-run=server -o yaml
                                                               what would be added
    ");
}

#[test]
fn help_of_the_smaller_commands() {
    for command in ["list", "attach", "end", "needs", "rbac", "doctor", "tools", "completion", "man"] {
        let text = help(command);
        assert!(text.contains("Examples:\n  kubectl kitbag "), "{text}");
        assert!(text.contains(&format!("Usage: kubectl kitbag {command}")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
    insta::assert_snapshot!(help("needs"), @r"
    Tells what tools need of a pod, and what works without it

    Usage: kubectl kitbag needs [OPTIONS] <TOOL>...

    Arguments:
      <TOOL>...
              Tools, sets of tools, or commands that a tool provides

    Options:
          --registry <HOST>
              The registry, where `debug` is given one: then the cluster is not asked what it has

      -h, --help
              Print help

    Cluster, as kubectl has it:
      -n, --namespace <NAME>
              The namespace [default: the context's]

          --context <NAME>
              The context of the kubeconfig [default: the current one]

          --cluster <NAME>
              The cluster of the kubeconfig [default: the context's]

          --user <NAME>
              The user of the kubeconfig [default: the context's]

          --kubeconfig <FILE>
              The kubeconfig [default: $KUBECONFIG, ~/.kube/config, the service account of the pod that
              this runs in]

          --as <USER>
              The user to act as; `system:serviceaccount:NAMESPACE:NAME` is a service account

          --as-group <GROUP>
              A group to act as; may be repeated

          --as-uid <UID>
              The uid to act as

          --request-timeout <DURATION>
              How long the API server may take to begin each answer; 0: as long as it likes

              [default: 0]

      -s, --server <URL>
              The API server's address

          --token <TOKEN>
              The bearer token

          --certificate-authority <FILE>
              The certificates that the API server's is checked against

          --client-certificate <FILE>
              The client's certificate

          --client-key <FILE>
              The client's private key

          --insecure-skip-tls-verify[=<BOOL>]
              Believes whoever answers at the API server's address

          --tls-server-name <NAME>
              The name in the API server's certificate [default: that of its address]

    Options:
      -v, --verbose
              Says what is done and how long it takes

    Examples:
      kubectl kitbag needs strace           one tool
      kubectl kitbag needs net busybox      a set and a tool
    ");
}

#[test]
fn exit_codes_are_told() {
    insta::assert_snapshot!(exit_codes(), @r"
    Exit codes:
      0-255  the command's own: 128+n when signal n ended it, 127 not found, 126 not executable
    Where no command ran:
         64  the command line is wrong
         65  no such tool
         66  no such pod or container
         67  the pod or container cannot be debugged in its state
         68  the registry does not answer
         69  the cluster does not answer
         70  a fault of this program or machine
         71  the node could not pull or start the image
         73  a policy of the cluster refuses the container
         75  the container did not start in time
         76  the session was cut off
         77  a permission is missing
         78  no usable kubeconfig
    ");
}
