//! Companion processes: the values of `attach-daemon` and its kin.

use std::time::Duration;

use crate::config::finding::Fault;
use crate::config::table::options::Config;
use crate::config::values::keyed::{name_of_command, pairs, unknown};
use crate::config::values::parse::{full, seconds, switch};
use crate::config::values::setting::{Read, Value};

/// A companion process as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Companion {
    /// Its name in the log.
    pub(crate) name: String,
    /// The command, for `/bin/sh -c`.
    pub(crate) command: String,
    /// The file with its process id: then it outlives reloads, and the instance.
    pub(crate) pidfile: Option<String>,
    /// The pidfile is written by us, because the command stays in the foreground.
    pub(crate) writes_no_pidfile: bool,
    /// How often the pidfile is looked at.
    pub(crate) freq: Duration,
    /// Its end ends the instance.
    pub(crate) control: bool,
    /// Files whose change restarts it.
    pub(crate) touch: Vec<String>,
    /// The signal that asks it to stop.
    pub(crate) stop_signal: i32,
    /// The signal that asks it to stop, or to reload, when the instance reloads.
    pub(crate) reload_signal: Option<i32>,
    /// It is sent the signals although it has a pidfile.
    pub(crate) notify: bool,
    /// It keeps the master's standard input.
    pub(crate) stdin: bool,
    /// The user it runs as.
    pub(crate) uid: Option<String>,
    /// The group it runs as.
    pub(crate) gid: Option<String>,
    /// The directory it runs in.
    pub(crate) chdir: Option<String>,
    /// The longest pause before it is started again.
    pub(crate) max_throttle: Option<Duration>,
    /// How long it may take to stop.
    pub(crate) mercy: Duration,
}

/// The usual `freq`, uWSGI's.
const FREQ: Duration = Duration::from_secs(10);

/// How long a companion may take to stop unless it says otherwise.
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
    fn of(command: &str) -> Companion {
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

    fn smart(text: &str) -> Read<Companion> {
        let Some((pidfile, command)) = text.split_once(char::is_whitespace) else {
            return Err(Fault::new("there is no command in it")
                .hint("write the pidfile, a space and the command"));
        };
        let (command, remark) = full(command.trim())?;
        let companion = Companion {
            pidfile: Some(pidfile.to_owned()),
            ..Companion::of(&command)
        };
        Ok((companion, remark))
    }

    fn keyed(text: &str) -> Result<Companion, Fault> {
        let mut companion = Companion::of("");
        let mut name = None;
        for (key, value) in pairs(text)? {
            companion
                .set(&key, &value, &mut name)
                .map_err(|fault| fault.of(&key, &value))?;
        }
        if companion.command.is_empty() {
            return Err(Fault::new("there is no command in it").hint("write cmd=COMMAND"));
        }
        if companion.writes_no_pidfile && companion.pidfile.is_none() {
            return Err(Fault::new("daemonize needs a pidfile").hint("write pidfile=PATH"));
        }
        companion.name = name.unwrap_or_else(|| name_of_command(&companion.command));
        Ok(companion)
    }

    fn set(&mut self, key: &str, value: &str, name: &mut Option<String>) -> Result<(), Fault> {
        let text = || full(value).map(|(text, _)| text);
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
                return Err(Fault::new("a namespace of its own is not made")
                    .hint("confine the command by unshare or by systemd-run"));
            }
            "legion" => return Err(Fault::new("there is no cluster of instances")),
            _ => return Err(unknown(key, KEYS)),
        }
        Ok(())
    }
}

/// A signal by its number or its name, with or without SIG.
pub(crate) fn signal(text: &str) -> Result<i32, Fault> {
    const NAMES: &[(&str, i32)] = &[
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("WINCH", 28),
    ];
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(name, _)| *name == bare);
    let number = named
        .map(|(_, number)| *number)
        .or_else(|| bare.parse().ok());
    number
        .filter(|number| (1..=31).contains(number))
        .ok_or_else(|| {
            Fault::new("it is no signal").hint("write a name or a number, such as TERM or 15")
        })
}

/// Declares a type of option whose values are companions.
macro_rules! companion {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Is = Companion;
            type Got<'a> = &'a Companion;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Read<Companion> {
                ($parse)(text)
            }

            fn got(is: &Companion) -> &Companion {
                is
            }
        }
    };
}

companion!(
    /// A command that stays in the foreground.
    Attached, "COMMAND", |text| {
        let (command, remark) = full(text)?;
        Ok((Companion::of(&command), remark))
    }
);
companion!(
    /// The same, whose end ends the instance.
    Controlling, "COMMAND", |text| {
        let (command, remark) = full(text)?;
        Ok((Companion { control: true, ..Companion::of(&command) }, remark))
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
    /// A companion by keys.
    Keyed, "KEY=VALUE,...", |text| Ok((Companion::keyed(text)?, None))
);

impl Config {
    /// All companions, each with a name of its own.
    pub(crate) fn companions(&self) -> Vec<Companion> {
        let lists = [
            self.attach_daemon(),
            self.attach_control_daemon(),
            self.smart_attach_daemon(),
            self.smart_attach_daemon2(),
            self.attach_daemon2(),
        ];
        let mut companions: Vec<Companion> = Vec::new();
        for companion in lists.into_iter().flatten() {
            let mut companion = companion.clone();
            let name = companion.name.clone();
            for number in 2.. {
                if companions.iter().all(|other| other.name != companion.name) {
                    break;
                }
                companion.name = format!("{name} {number}");
            }
            companions.push(companion);
        }
        companions
    }
}

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
            ("cmd=a,ns_pid=1", "namespace"),
            ("cmd=a,legion=x", "cluster"),
            ("cmd=a,frek=1", "no key frek"),
            ("cmd=a,stopsignal=99", "no signal"),
            ("freq=3", "no command"),
            ("cmd=a,daemonize=1", "needs a pidfile"),
            ("cmd=a -Q x,y", "y is no key=value"),
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
