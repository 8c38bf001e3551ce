//! Alarms: the values of `alarm`.

use crate::config::finding::{Fault, shortened};

use super::setting::{Parsed, Value};
use super::text::non_empty;

/// An alarm that options refer to by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) name: String,
    pub(crate) engine: AlarmEngine,
}

/// The way in which an alarm is raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AlarmEngine {
    /// Run a command by `/bin/sh`. The command reads the message from its standard input.
    Command(String),
    /// Write the message to the log.
    Log,
    /// Send the message to a URL, as JSON.
    Webhook(String),
}

/// A name and an engine: `NAME ENGINE:ARGUMENT`.
pub(crate) struct NamedAlarm;

impl Value for NamedAlarm {
    type Stored = Alarm;
    type Ref<'a> = &'a Alarm;
    const ARG: &'static str = "NAME ENGINE:ARGUMENT";

    fn parse(text: &str) -> Parsed<Alarm> {
        const HINT: &str = "write NAME cmd:COMMAND, NAME log: or NAME webhook:URL";
        let (text, remark) = non_empty(text)?;
        let parts = text
            .split_once(char::is_whitespace)
            .and_then(|(name, rest)| Some((name, rest.trim().split_once(':')?)));
        let Some((name, (engine, argument))) = parts else {
            return Err(Fault::new("the value is not NAME ENGINE:ARGUMENT").hint(HINT));
        };
        let engine = match (engine, argument) {
            ("cmd" | "webhook", "") => {
                return Err(Fault::new(format!("{engine} has no argument")).hint(HINT));
            }
            ("cmd", command) => AlarmEngine::Command(command.to_owned()),
            ("log", _) => AlarmEngine::Log,
            ("webhook", url) if url.starts_with("http://") || url.starts_with("https://") => {
                AlarmEngine::Webhook(url.to_owned())
            }
            ("webhook", _) => {
                return Err(Fault::new("the value is not a URL").hint("write webhook:https://..."));
            }
            ("curl", _) => {
                let fault = Fault::new("the engine curl is not supported");
                return Err(fault.hint("write webhook:URL, or cmd:curl with its options"));
            }
            _ => {
                let fault = Fault::new(format!("unknown engine {}", shortened(engine)));
                return Err(fault.hint(HINT));
            }
        };
        let name = name.to_owned();
        Ok((Alarm { name, engine }, remark))
    }

    fn get(stored: &Alarm) -> &Alarm {
        stored
    }
}
