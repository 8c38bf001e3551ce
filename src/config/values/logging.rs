//! The values of options of the log thread, such as `logger`, `log-route` and `log-encoder`.

use crate::config::finding::{Fault, shortened};
use crate::log::{
    Encoder, Engine, FileEngine, Logger, NamedEncoder, Pattern, Route, SyslogEngine, Template,
};
use crate::sys::log_file::Backup;

use super::choice::{Owner, owner};
use super::setting::{Parsed, Takes, Value};
use super::text::{before_comment, comment_remark, without_comment};

/// The default name of the program in syslog messages, as in uWSGI.
const IDENTITY: &str = "uwsgi";
/// LOG_INFO of syslog(3).
const INFO: u8 = 6;
/// LOG_DAEMON of syslog(3).
const DAEMON: u8 = 3;
/// The default priority of `rsyslog` messages: facility daemon (3 * 8) and severity notice (5).
const RSYSLOG_PRIORITY: u8 = 29;

/// The names and numbers of the facilities of syslog(3).
const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", DAEMON),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Declares an option type whose getter returns a reference to the value.
macro_rules! borrowed {
    ($(#[$doc:meta])* $name:ident: $stored:ty, $arg:literal, $takes:expr, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = $stored;
            type Ref<'a> = &'a $stored;
            const TAKES: Takes = $takes;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<$stored> {
                let value = ($parse)(text)?;
                Ok((value, before_comment(text).map(|_| comment_remark())))
            }

            fn get(stored: &$stored) -> &$stored {
                stored
            }
        }
    };
}

borrowed!(
    /// A logger: `[NAME ]ENGINE[:ARGUMENT]`.
    LoggerText: Logger, "[NAME ]ENGINE[:ARGUMENT]", Takes::Value, logger
);
borrowed!(
    /// The address of `log-socket`, and an optional prefix of each line.
    SocketText: Logger, "ADDRESS[,PREFIX]", Takes::Value, |text| unnamed(socket(text)?)
);
borrowed!(
    /// The name of the program and the facility for `log-syslog`.
    SyslogText: Logger, "IDENTITY[,FACILITY]", Takes::Maybe, |text| match text {
        "true" => unnamed(Engine::Syslog(syslog("")?)),
        text => unnamed(Engine::Syslog(syslog(text)?)),
    }
);
borrowed!(
    /// A route: the name of a logger, and the expression that selects its lines.
    RouteText: Route, "NAME REGEX", Takes::Value, route
);
borrowed!(
    /// A regular expression.
    Regex: Pattern, "REGEX", Takes::Value, pattern
);

borrowed!(
    /// The owner of log files.
    FileOwnerText: FileOwner, "USER:GROUP", Takes::Maybe, file_owner
);

/// The permissions of a file, in octal.
pub(crate) struct FileMode;

impl Value for FileMode {
    type Stored = u32;
    type Ref<'a> = u32;
    const ARG: &'static str = "OCTAL";

    fn parse(text: &str) -> Parsed<u32> {
        let (value, remark) = without_comment(text);
        let mode = u32::from_str_radix(value, 8).ok();
        match mode.filter(|mode| *mode <= 0o777) {
            Some(mode) => Ok((mode, remark)),
            None => Err(Fault::new("the value is no permissions in octal")
                .hint("write three octal digits, such as 640")),
        }
    }

    fn get(stored: &u32) -> u32 {
        *stored
    }
}

/// The owner of log files (`logfile-chown`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileOwner {
    /// The files keep the owner that they got when they were created.
    Unchanged,
    /// The user and group of the instance (`uid`, `gid`).
    OfInstance,
    /// The user and group that the option names.
    Named(Owner),
}

fn file_owner(text: &str) -> Result<FileOwner, Fault> {
    let (value, _) = without_comment(text);
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "on" | "yes" | "1" => Ok(FileOwner::OfInstance),
        "false" | "off" | "no" | "0" => Ok(FileOwner::Unchanged),
        _ => owner(text).map(|(owner, _)| FileOwner::Named(owner)),
    }
}

/// An encoder: `ENGINE[:NAME] [ARGUMENT]`.
pub(crate) struct EncoderText;

impl Value for EncoderText {
    type Stored = NamedEncoder;
    type Ref<'a> = &'a NamedEncoder;
    const ARG: &'static str = "ENGINE[:NAME] [ARGUMENT]";

    fn parse(text: &str) -> Parsed<NamedEncoder> {
        encoder(text)
    }

    fn get(stored: &NamedEncoder) -> &NamedEncoder {
        stored
    }
}

fn unnamed(engine: Engine) -> Result<Logger, Fault> {
    Ok(Logger { name: None, engine })
}

fn logger(text: &str) -> Result<Logger, Fault> {
    let is_name = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    match text.split_once(' ') {
        Some((name, rest)) if is_name(name) => Ok(Logger {
            name: Some(name.to_owned()),
            engine: engine(rest.trim_start())?,
        }),
        _ => unnamed(engine(text)?),
    }
}

fn engine(text: &str) -> Result<Engine, Fault> {
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    let needed = |what: &str| {
        let argument = argument.filter(|argument| !argument.is_empty());
        argument.ok_or_else(|| Fault::new(format!("{name} has no {what}")))
    };
    match name {
        "stdio" => Ok(Engine::Stdio),
        "fd" => {
            let number = needed("number of a descriptor")?.parse().ok();
            let number = number.filter(|number: &i32| *number >= 0);
            number.map(Engine::Descriptor).ok_or_else(|| {
                Fault::new("fd needs the number of a descriptor").hint("write fd:3, for example")
            })
        }
        "file" => file(needed("path")?).map(Engine::File),
        "socket" | "logsocket" => socket(needed("address")?),
        "syslog" => syslog(argument.unwrap_or_default()).map(Engine::Syslog),
        "rsyslog" => rsyslog(needed("address")?),
        "pipe" => Ok(Engine::Pipe(needed("command")?.to_owned())),
        "systemd" => Ok(Engine::Journal),
        "redislog" | "mongodblog" | "zeromq" | "zmq" | "graylog2" | "crypto" => {
            Err(Fault::new(format!("the engine {name} is not supported"))
                .hint("use pipe:COMMAND with a program that forwards the lines, or syslog"))
        }
        other => Err(Fault::new(format!("unknown engine {}", shortened(other)))
            .hint("the engines are stdio, fd, file, socket, syslog, rsyslog, pipe and systemd")),
    }
}

/// Parses `PATH`, or `logfile=PATH,maxsize=BYTES,backupname=PATH`.
fn file(text: &str) -> Result<FileEngine, Fault> {
    const KEYS: [&str; 3] = ["logfile", "maxsize", "backupname"];
    let is_keyed = KEYS.iter().any(|key| {
        let rest = text.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.starts_with('='))
    });
    let mut file = FileEngine::default();
    if !is_keyed {
        file.path = text.into();
        return Ok(file);
    }
    for (key, value) in super::keyed::pairs(text)? {
        match key.as_str() {
            "logfile" => file.path = value.into(),
            "maxsize" => {
                let size = super::number::whole(&value, &["b", "bytes"])?;
                file.max_size = Some(size.0);
            }
            "backupname" => file.backup = Some(Backup::Named(value.into())),
            other => return Err(super::keyed::unknown_key(other, &KEYS)),
        }
    }
    if file.path.as_os_str().is_empty() {
        return Err(Fault::new("file has no path").hint("write logfile=PATH"));
    }
    Ok(file)
}

fn socket(text: &str) -> Result<Engine, Fault> {
    let (address, prefix) = text.split_once(',').unwrap_or((text, ""));
    let is_path = address.starts_with('/') || !address.contains(':');
    let port = address.rsplit_once(':').map(|(_, port)| port);
    if !is_path && port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(Fault::new("the address has no port").hint("write HOST:PORT, or a path"));
    }
    Ok(Engine::Socket {
        address: address.to_owned(),
        prefix: prefix.to_owned(),
    })
}

/// Parses `[IDENTITY[,FACILITY]]`.
fn syslog(text: &str) -> Result<SyslogEngine, Fault> {
    let (identity, facility) = text.split_once(',').unwrap_or((text, ""));
    let number = match facility.trim() {
        "" => DAEMON,
        name => {
            let known = FACILITIES.iter().find(|(known, _)| *known == name);
            let known = known.ok_or_else(|| {
                let names: Vec<&str> = FACILITIES.iter().map(|(name, _)| *name).collect();
                Fault::new(format!("unknown facility {}", shortened(name)))
                    .hint(format!("the facilities are {}", names.join(", ")))
            })?;
            known.1
        }
    };
    Ok(SyslogEngine {
        identity: identity_or_default(identity),
        priority: number * 8 + INFO,
    })
}

/// Parses `ADDRESS[,IDENTITY[,PRIORITY]]`.
fn rsyslog(text: &str) -> Result<Engine, Fault> {
    let mut parts = text.splitn(3, ',');
    let address = parts.next().unwrap_or_default().to_owned();
    let identity = identity_or_default(parts.next().unwrap_or_default());
    let priority = match parts.next().map(str::trim) {
        None | Some("") => RSYSLOG_PRIORITY,
        Some(number) => number
            .parse()
            .ok()
            .filter(|number| *number < 192)
            .ok_or_else(|| {
                Fault::new("the priority of rsyslog is no number from 0 to 191")
                    .hint("write facility * 8 + severity")
            })?,
    };
    Ok(Engine::Rsyslog {
        address,
        syslog: SyslogEngine { identity, priority },
    })
}

fn identity_or_default(text: &str) -> String {
    match text.trim() {
        "" => IDENTITY.to_owned(),
        text => text.to_owned(),
    }
}

fn route(text: &str) -> Result<Route, Fault> {
    let (name, expression) = text.split_once(' ').ok_or_else(|| {
        Fault::new("the route has no expression")
            .hint("write the logger's name, a space and a regular expression")
    })?;
    Ok(Route {
        logger: name.to_owned(),
        pattern: pattern(expression)?,
    })
}

fn pattern(text: &str) -> Result<Pattern, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the value is empty").hint("write a regular expression"));
    }
    Pattern::new(text).map_err(|reason| {
        Fault::new(format!("the regular expression is not valid: {reason}"))
            .hint("write it in the syntax of PCRE")
    })
}

fn encoder(text: &str) -> Parsed<NamedEncoder> {
    let (head, argument) = text.split_once(' ').unwrap_or((text, ""));
    let (name, logger) = match head.split_once(':') {
        Some((name, logger)) => (name, Some(logger.to_owned())),
        None => (head, None),
    };
    let mut unknown = Vec::new();
    let mut template = || {
        let (template, names) = Template::parse(argument);
        unknown = names;
        template
    };
    let encoder = match name {
        "prefix" => Encoder::Prefix(argument.to_owned()),
        "suffix" => Encoder::Suffix(argument.to_owned()),
        "nl" => Encoder::LineFeed,
        "format" => Encoder::Format(template()),
        "json" => Encoder::Json(template()),
        "gzip" => Encoder::Gzip,
        "compress" => Encoder::Compress,
        other => {
            return Err(Fault::new(format!("unknown encoder {}", shortened(other)))
                .hint("the encoders are prefix, suffix, nl, format, json, gzip and compress"));
        }
    };
    let remark = (!unknown.is_empty()).then(|| {
        Fault::new(format!("unknown variable ${{{}}}", unknown.join("}, ${"))).hint(
            "it is empty; the variables are msg, msgnl, unix, millis, micros and strftime:FORMAT",
        )
    });
    Ok((NamedEncoder { logger, encoder }, remark))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_has_a_name_an_engine_and_arguments() {
        let named = logger("django syslog:site,local0").unwrap();
        assert_eq!(named.name.as_deref(), Some("django"));
        let syslog = SyslogEngine {
            identity: "site".into(),
            priority: 134,
        };
        assert_eq!(named.engine, Engine::Syslog(syslog));
        assert_eq!(logger("stdio").unwrap().engine, Engine::Stdio);
        let pipe = logger("pipe:cat >> /tmp/x").unwrap();
        assert_eq!(
            (pipe.name, pipe.engine),
            (None, Engine::Pipe("cat >> /tmp/x".into()))
        );
        let file = file("logfile=/tmp/a,maxsize=5000,backupname=/tmp/b").unwrap();
        assert_eq!(file.max_size, Some(5000));
        assert_eq!(file.backup, Some(Backup::Named("/tmp/b".into())));
        for wrong in [
            "",
            "nope:x",
            "fd:x",
            "file:",
            "socket:host:x",
            "syslog:a,b",
            "redislog:x",
            "file:maxsize=1",
        ] {
            assert!(logger(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_owner_of_log_files_is_a_switch_or_a_name() {
        let named = |text: &str| match file_owner(text).unwrap() {
            FileOwner::Named(owner) => (owner.user, owner.group),
            other => panic!("{other:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(named("site:adm"), (some("site"), some("adm")));
        assert_eq!(file_owner("true"), Ok(FileOwner::OfInstance));
        assert_eq!(file_owner("no"), Ok(FileOwner::Unchanged));
    }

    #[test]
    fn an_encoder_belongs_to_all_loggers_or_to_those_of_a_name() {
        let (nl, _) = encoder("nl:django").unwrap();
        assert_eq!(
            (nl.logger.as_deref(), nl.encoder),
            (Some("django"), Encoder::LineFeed)
        );
        let (prefix, _) = encoder("prefix [x] ").unwrap();
        assert_eq!(
            (prefix.logger, prefix.encoder),
            (None, Encoder::Prefix("[x] ".into()))
        );
        assert!(encoder("json {\"a\":\"${b}\"}").unwrap().1.is_some());
        assert!(encoder("yaml x").is_err());
    }
}
