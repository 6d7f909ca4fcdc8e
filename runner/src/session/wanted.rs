//! What a session is to be, and how kitbag-init is told: a pure function of it and of the user's terminal.

use std::time::Duration;

/// What a session is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Its streams.
    pub streams: Streams,
    /// Whether it takes the target's user and group.
    pub becomes: bool,
    /// The id of the target's container, as the pod's status has it; only where the target's main process is not 1.
    pub target_id: Option<String>,
    /// Whether the container sees the pid namespace of a pod or a node, where process 1 is never the target's.
    pub shared: bool,
    /// How long kitbag-init waits for a sign of life from here before it ends the command.
    pub patience: Duration,
    /// How long things take.
    pub pace: Pace,
}

/// How long kitbag-init waits where nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Which streams a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Ours is passed on.
    pub stdin: bool,
    /// A terminal, which has one stream for output.
    pub tty: bool,
}

/// How often, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two signs of life, at the most: a third of kitbag-init's patience, where that is less.
    pub beat: Duration,
    /// Between two questions whether the connection still lives. Proxies on the way give up connections that say nothing.
    pub ping: Duration,
    /// How long nothing may be heard of a connection that has answered before.
    pub silence: Duration,
    /// How long the other end may take to end a command that it was told to end.
    pub parting: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(5),
            ping: Duration::from_secs(15),
            silence: Duration::from_secs(45),
            parting: Duration::from_secs(5),
        }
    }
}

/// The user's terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns and rows.
    pub size: Option<(u16, u16)>,
    /// `$TERM`.
    pub name: Option<String>,
}

/// The size of a terminal that does not say.
const USUAL_SIZE: (u16, u16) = (80, 24);

impl Wanted {
    /// A session of this command with these streams, and otherwise the container's own user.
    #[must_use]
    pub fn new(command: Vec<String>, streams: Streams) -> Self {
        Self {
            command,
            streams,
            becomes: false,
            target_id: None,
            shared: false,
            patience: PATIENCE,
            pace: Pace::default(),
        }
    }

    /// Between two signs of life.
    pub(super) fn beat(&self) -> Duration {
        self.pace.beat.min(self.patience / 3)
    }

    /// The arguments after `kitbag-init session`, or after those of `kitbag-init attached` that are about the container.
    #[must_use]
    pub fn arguments(&self, terminal: &Terminal) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        if let Some(id) = &self.target_id {
            // The runtime's name in front, `containerd://`, is no part of what the kernel's cgroups are called.
            flag("--target", id.rsplit_once("://").map_or(id.as_str(), |(_, id)| id));
        }
        if self.streams.tty {
            let (columns, rows) = terminal.size.unwrap_or(USUAL_SIZE);
            flag("--tty", &format!("{columns}x{rows}"));
            if let Some(name) = &terminal.name {
                flag("--env", &format!("TERM={name}"));
            }
        }
        if self.patience != PATIENCE {
            flag("--patience", &self.patience.as_secs().to_string());
        }
        let switches = [("--shared", self.shared), ("--become", self.becomes), ("--stdin", self.streams.stdin)];
        arguments.extend(switches.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned()));
        arguments.push("--".to_owned());
        arguments.extend(self.command.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(stdin: bool, tty: bool) -> Wanted {
        Wanted::new(vec!["strace".to_owned(), "-p".to_owned(), "{pid}".to_owned()], Streams { stdin, tty })
    }

    fn line(wanted: &Wanted, terminal: &Terminal) -> String {
        wanted.arguments(terminal).join(" ")
    }

    #[test]
    fn the_command_line_says_what_the_session_is() {
        let terminal = Terminal { size: Some((120, 40)), name: Some("foot".to_owned()) };
        let all = Wanted {
            becomes: true,
            target_id: Some("containerd://3f9a".to_owned()),
            shared: true,
            ..wanted(true, true)
        };
        let lines = [
            line(&wanted(false, false), &terminal),
            line(&wanted(true, false), &terminal),
            line(&all, &terminal),
            line(&wanted(true, true), &Terminal::default()),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        -- strace -p {pid}
        --stdin -- strace -p {pid}
        --target 3f9a --tty 120x40 --env TERM=foot --shared --become --stdin -- strace -p {pid}
        --tty 80x24 --stdin -- strace -p {pid}
        ");
    }
}
