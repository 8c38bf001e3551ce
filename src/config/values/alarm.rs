//! Alarms: the values of `alarm`.

use std::net::SocketAddr;

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
    /// Send the message as one datagram.
    Udp(SocketAddr),
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
        const HINT: &str =
            "write NAME cmd:COMMAND, NAME log:, NAME udp:ADDRESS:PORT or NAME webhook:URL";
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
            ("udp", address) => AlarmEngine::Udp(udp_address(address)?),
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

/// Parses the address of `udp:`. A name other than localhost is refused, because its resolution could block the master.
fn udp_address(text: &str) -> Result<SocketAddr, Fault> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        Fault::new(format!("{} is not an address and a port", shortened(text)))
            .hint("write udp:192.0.2.1:5000, with the number of the address")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_by_datagram_has_a_numeric_address() {
        let local = NamedAlarm::parse("ops udp:localhost:5000").map(|(alarm, _)| alarm.engine);
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        assert_eq!(local, Ok(AlarmEngine::Udp(address)));
        for wrong in ["udp:", "udp:example.org:5000", "udp:127.0.0.1"] {
            assert!(
                NamedAlarm::parse(&format!("ops {wrong}")).is_err(),
                "{wrong}"
            );
        }
    }
}
