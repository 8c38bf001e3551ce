//! Processes that run beside the workers: the values of `attach-daemon`, `smart-attach-daemon` and `attach-daemon2`.

use std::time::Duration;

use crate::config::finding::Fault;

use super::keyed::{name_of_command, pairs, unknown_key};
use super::number::seconds;
use super::setting::{Parsed, Value};
use super::signal::signal;
use super::text::{non_empty, switch};

/// The settings of a companion process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Companion {
    /// The name in log messages.
    pub(crate) name: String,
    /// The command; `/bin/sh -c` runs it.
    pub(crate) command: String,
    /// The file with the process id. A companion with a pidfile survives reloads and the end of the instance.
    pub(crate) pidfile: Option<String>,
    /// Whether the command stays in the foreground and does not write the pidfile. The master then writes the pidfile.
    pub(crate) writes_no_pidfile: bool,
    /// The interval at which the pidfile is read.
    pub(crate) freq: Duration,
    /// Whether the instance stops when the command exits.
    pub(crate) control: bool,
    /// Files whose change restarts the command.
    pub(crate) touch: Vec<String>,
    /// The signal that stops the command.
    pub(crate) stop_signal: i32,
    /// The signal sent when the instance reloads.
    pub(crate) reload_signal: Option<i32>,
    /// Whether the signals for stop and reload also go to a command with a pidfile. Such a command outlives the
    /// instance.
    pub(crate) notify: bool,
    /// Whether the command inherits the master's standard input.
    pub(crate) stdin: bool,
    /// The user that runs the command.
    pub(crate) uid: Option<String>,
    /// The group that runs the command.
    pub(crate) gid: Option<String>,
    /// The working directory of the command.
    pub(crate) chdir: Option<String>,
    /// The maximum delay before the command is restarted.
    pub(crate) max_throttle: Option<Duration>,
    /// The timeout of a stop. After the timeout, the command is killed.
    pub(crate) mercy: Duration,
}

/// The default of `freq`, as in uWSGI.
const FREQ: Duration = Duration::from_secs(10);

/// The default timeout of a stop.
const MERCY: Duration = Duration::from_secs(10);

const SIGTERM: i32 = 15;

const KEYS: &[&str] = &[
    "cmd",
    "name",
    "pidfile",
    "daemonize",
    "freq",
    "control",
    "touch",
    "stopsignal",
    "reloadsignal",
    "notifypid",
    "stdin",
    "uid",
    "gid",
    "chdir",
    "max_throttle",
    "mercy",
];

impl Companion {
    fn new(command: &str) -> Companion {
        Companion {
            name: name_of_command(command),
            command: command.to_owned(),
            pidfile: None,
            writes_no_pidfile: false,
            freq: FREQ,
            control: false,
            touch: Vec::new(),
            stop_signal: SIGTERM,
            reload_signal: None,
            notify: false,
            stdin: false,
            uid: None,
            gid: None,
            chdir: None,
            max_throttle: None,
            mercy: MERCY,
        }
    }

    fn smart(text: &str) -> Parsed<Companion> {
        let Some((pidfile, command)) = text.split_once(char::is_whitespace) else {
            return Err(Fault::new("the value has no command")
                .hint("write the pidfile, a space and the command"));
        };
        let (command, remark) = non_empty(command.trim())?;
        let companion = Companion {
            pidfile: Some(pidfile.to_owned()),
            ..Companion::new(&command)
        };
        Ok((companion, remark))
    }

    fn keyed(text: &str) -> Result<Companion, Fault> {
        let mut companion = Companion::new("");
        let mut name = None;
        for (key, value) in pairs(text)? {
            companion
                .set(&key, &value, &mut name)
                .map_err(|fault| fault.of(&key, &value))?;
        }
        if companion.command.is_empty() {
            return Err(Fault::new("the value has no command").hint("write cmd=COMMAND"));
        }
        if companion.writes_no_pidfile && companion.pidfile.is_none() {
            return Err(Fault::new("daemonize needs a pidfile").hint("write pidfile=PATH"));
        }
        companion.name = name.unwrap_or_else(|| name_of_command(&companion.command));
        Ok(companion)
    }

    #[expect(clippy::cognitive_complexity, reason = "a table of keys")]
    fn set(&mut self, key: &str, value: &str, name: &mut Option<String>) -> Result<(), Fault> {
        let text = || non_empty(value).map(|(text, _)| text);
        let flag = || switch(value).map(|(flag, _)| flag);
        let time = || seconds(value).map(|(time, _)| time);
        match key {
            "cmd" | "command" | "exec" => self.command = text()?,
            "name" => *name = Some(text()?),
            "pidfile" => self.pidfile = Some(text()?),
            "daemonize" | "daemon" => self.writes_no_pidfile = flag()?,
            "freq" => self.freq = time()?.max(Duration::from_secs(1)),
            "control" => self.control = flag()?,
            "touch" => self.touch = text()?.split(';').map(|it| it.trim().to_owned()).collect(),
            "stopsignal" | "stop_signal" => self.stop_signal = signal(value)?,
            "reloadsignal" | "reload_signal" => self.reload_signal = Some(signal(value)?),
            "notifypid" => self.notify = flag()?,
            "stdin" => self.stdin = flag()?,
            "uid" => self.uid = Some(text()?),
            "gid" => self.gid = Some(text()?),
            "chdir" => self.chdir = Some(text()?),
            "max_throttle" => self.max_throttle = Some(time()?),
            "mercy" => self.mercy = time()?,
            "ns_pid" => {
                return Err(Fault::new("PID namespaces are not supported")
                    .hint("run the command with unshare or systemd-run"));
            }
            "legion" => {
                return Err(Fault::new(
                    "clusters of instances (legions) are not supported",
                ));
            }
            _ => return Err(unknown_key(key, KEYS)),
        }
        Ok(())
    }
}

/// Declares an option type whose values are companions.
macro_rules! companion {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = Companion;
            type Ref<'a> = &'a Companion;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<Companion> {
                ($parse)(text)
            }

            fn get(stored: &Companion) -> &Companion {
                stored
            }
        }
    };
}

companion!(
    /// A command that stays in the foreground.
    Attached, "COMMAND", |text| {
        let (command, remark) = non_empty(text)?;
        Ok((Companion::new(&command), remark))
    }
);
companion!(
    /// A command that stays in the foreground; the instance stops when the command exits.
    Controlling, "COMMAND", |text| {
        let (command, remark) = non_empty(text)?;
        Ok((Companion { control: true, ..Companion::new(&command) }, remark))
    }
);
companion!(
    /// A pidfile and the command that writes it.
    Smart, "PIDFILE COMMAND", Companion::smart
);
companion!(
    /// A pidfile and a command that does not write it.
    Smart2, "PIDFILE COMMAND", |text| {
        let (companion, remark) = Companion::smart(text)?;
        Ok((Companion { writes_no_pidfile: true, ..companion }, remark))
    }
);
companion!(
    /// A companion whose settings are given by keys.
    Keyed, "KEY=VALUE,...", |text| Ok((Companion::keyed(text)?, None))
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_companion_is_read_from_its_keys() {
        let text = "cmd=celery -A site worker,stopsignal=INT,reload_signal=10,mercy=30,max_throttle=5,touch=/a;/b";
        let (read, _) = Keyed::parse(text).unwrap();
        assert_eq!(read.name, "celery");
        assert_eq!((read.stop_signal, read.reload_signal), (2, Some(10)));
        assert_eq!(read.touch, ["/a", "/b"]);
        assert_eq!(read.mercy, Duration::from_secs(30));
        assert_eq!(Keyed::parse("cmd=a,name=queue").unwrap().0.name, "queue");
    }

    #[test]
    fn keys_that_are_not_served_are_refused_by_name() {
        for (text, part) in [
            ("cmd=a,ns_pid=1", "namespaces"),
            ("cmd=a,legion=x", "clusters"),
            ("cmd=a,frek=1", "unknown key frek"),
            ("cmd=a,stopsignal=99", "unknown signal"),
            ("freq=3", "no command"),
            ("cmd=a,daemonize=1", "needs a pidfile"),
            ("cmd=a -Q x,y", "y is not key=value"),
        ] {
            let fault = Keyed::parse(text).unwrap_err();
            assert!(fault.what.contains(part), "{text}: {}", fault.what);
        }
    }

    #[test]
    fn a_smart_companion_has_a_pidfile_and_a_command() {
        let (read, _) = Smart::parse("/run/redis.pid redis-server /etc/redis.conf").unwrap();
        assert_eq!(read.pidfile.as_deref(), Some("/run/redis.pid"));
        assert_eq!(read.command, "redis-server /etc/redis.conf");
        assert!(!read.writes_no_pidfile);
        assert!(Smart2::parse("/run/x.pid x").unwrap().0.writes_no_pidfile);
        assert!(Smart::parse("/run/redis.pid").is_err());
    }
}
