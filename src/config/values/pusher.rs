//! Destinations of statistics: the values of `stats-push`.

use std::time::Duration;

use crate::config::finding::Fault;

use super::setting::{Parsed, Value};
use super::text::non_empty;

const HINT: &str = "write statsd:HOST:PORT[,PREFIX], dogstatsd:HOST:PORT[,PREFIX], socket:HOST:PORT[,PREFIX], zabbix:HOST[:PORT][,PREFIX] or file:path=PATH";

/// A destination of statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pusher {
    /// Sends metrics to `address`.
    Metrics {
        protocol: PushProtocol,
        /// Host and port.
        address: String,
        prefix: String,
    },
    /// Appends the statistics as JSON to a file.
    File {
        path: String,
        separator: String,
        /// The interval; `None`: that of all pushers.
        interval: Option<Duration>,
    },
}

/// The protocol in which metrics are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushProtocol {
    Statsd,
    Dogstatsd,
    /// A line `NAME TYPE VALUE` in each datagram.
    Socket,
    Zabbix,
}

/// A pusher: `ENGINE:ARGUMENT`.
pub(crate) struct PusherText;

impl Value for PusherText {
    type Stored = Pusher;
    type Ref<'a> = &'a Pusher;
    const ARG: &'static str = "ENGINE:ARGUMENT";

    fn parse(text: &str) -> Parsed<Pusher> {
        let (text, remark) = non_empty(text)?;
        let (engine, argument) = text.split_once(':').unwrap_or((&text, ""));
        let protocol = match engine {
            "statsd" => PushProtocol::Statsd,
            "dogstatsd" => PushProtocol::Dogstatsd,
            "socket" => PushProtocol::Socket,
            "zabbix" => PushProtocol::Zabbix,
            "file" => return Ok((file(argument)?, remark)),
            _ => {
                let fault = Fault::new(format!("there is no engine {engine} for statistics"));
                return Err(fault.hint(HINT));
            }
        };
        let (address, prefix) = argument.split_once(',').unwrap_or((argument, "uwsgi"));
        let address = address_of(protocol, address)?;
        let prefix = prefix.to_owned();
        let pusher = Pusher::Metrics {
            protocol,
            address,
            prefix,
        };
        Ok((pusher, remark))
    }

    fn get(stored: &Pusher) -> &Pusher {
        stored
    }
}

fn address_of(protocol: PushProtocol, text: &str) -> Result<String, Fault> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match (port, protocol) {
        (Some(Ok(_)), _) => Ok(text.to_owned()),
        (None, PushProtocol::Zabbix) if !text.is_empty() => Ok(format!("{text}:10051")),
        _ => Err(Fault::new("the address has no port").hint(HINT)),
    }
}

fn file(argument: &str) -> Result<Pusher, Fault> {
    let mut path = "uwsgi.stats".to_owned();
    let mut separator = "\n\n".to_owned();
    let mut interval = None;
    for part in argument.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => path = part.to_owned(),
            Some(("path", value)) => path = value.to_owned(),
            Some(("separator", value)) => separator = value.to_owned(),
            Some(("freq", value)) => match value.parse() {
                Ok(seconds) if seconds > 0 => interval = Some(Duration::from_secs(seconds)),
                _ => return Err(Fault::new("freq is not a number of seconds").hint(HINT)),
            },
            Some((key, _)) => {
                return Err(Fault::new(format!("file has no key {key}"))
                    .hint("the keys are path, freq and separator"));
            }
        }
    }
    Ok(Pusher::File {
        path,
        separator,
        interval,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushers_are_parsed() {
        let parse = |text: &str| PusherText::parse(text).map(|(pusher, _)| pusher);
        let statsd = Pusher::Metrics {
            protocol: PushProtocol::Statsd,
            address: "127.0.0.1:8125".to_owned(),
            prefix: "blog".to_owned(),
        };
        assert_eq!(parse("statsd:127.0.0.1:8125,blog"), Ok(statsd));
        let zabbix = Pusher::Metrics {
            protocol: PushProtocol::Zabbix,
            address: "zabbix:10051".to_owned(),
            prefix: "uwsgi".to_owned(),
        };
        assert_eq!(parse("zabbix:zabbix"), Ok(zabbix));
        let file = Pusher::File {
            path: "/tmp/x".to_owned(),
            separator: "\n\n".to_owned(),
            interval: Some(Duration::from_secs(5)),
        };
        assert_eq!(parse("file:path=/tmp/x,freq=5"), Ok(file));
        for wrong in [
            "mongodb:x",
            "statsd:host",
            "statsd:",
            "file:freq=x",
            "file:a=b",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
