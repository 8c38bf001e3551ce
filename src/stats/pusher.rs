//! Pushers: the observer sends the statistics to other programs at intervals (`stats-push`). A destination that cannot
//! be reached is logged once until it is reached again.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::{PushProtocol, Pusher};
use crate::sys::{thread, trusted_path};

use super::feed::Feed;
use super::format::Format;
use super::instance::InstanceStats;
use super::json;
use super::metric_list::{self, Kind, NamedMetric};
use super::snapshot::InstanceSnapshot;

/// Maximum time of one transmission.
const SEND_TIME: Duration = Duration::from_secs(3);

/// Sends the statistics of `feed` to a destination, for ever. `every` is the interval unless the destination has its
/// own.
pub(super) async fn run(pusher: Pusher, feed: Arc<Feed<InstanceSnapshot>>, every: Duration) {
    let every = match &pusher {
        Pusher::File {
            interval: Some(own),
            ..
        } => *own,
        _ => every,
    };
    let mut ticks = interval(every.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // the first tick is immediate, and the instance has not started yet
    ticks.tick().await;
    let mut counters = Counters::default();
    let mut has_failed = false;
    loop {
        ticks.tick().await;
        let (_, snapshot) = feed.newer_than(feed.number()).await;
        let sent = timeout(SEND_TIME, push(&pusher, &snapshot, &mut counters)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match sent {
            Ok(()) => has_failed = false,
            Err(error) if !has_failed => {
                has_failed = true;
                let target = target(&pusher);
                tracing::warn!("statistics cannot be sent to {target} (stats-push): {error}");
            }
            Err(_) => {}
        }
    }
}

fn target(pusher: &Pusher) -> &str {
    match pusher {
        Pusher::Metrics { address, .. } => address,
        Pusher::File { path, .. } => path,
    }
}

async fn push(
    pusher: &Pusher,
    snapshot: &InstanceSnapshot,
    counters: &mut Counters,
) -> io::Result<()> {
    match pusher {
        Pusher::File {
            path, separator, ..
        } => append(Path::new(path), separator, snapshot),
        Pusher::Metrics {
            protocol: PushProtocol::Zabbix,
            address,
            prefix,
        } => {
            let packet = zabbix(&metric_list::list(snapshot), prefix);
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(&packet).await?;
            stream.shutdown().await
        }
        Pusher::Metrics {
            protocol,
            address,
            prefix,
        } => {
            let local = match address.starts_with('[') {
                true => "[::]:0",
                false => "0.0.0.0:0",
            };
            let socket = UdpSocket::bind(local).await?;
            socket.connect(address).await?;
            for metric in metric_list::list(snapshot) {
                let line = match protocol {
                    PushProtocol::Statsd => statsd(&metric, prefix, counters),
                    PushProtocol::Dogstatsd => dogstatsd(&metric, prefix, counters),
                    _ => format!(
                        "{prefix}.{} {} {}",
                        metric.name, metric.kind as u8, metric.value
                    ),
                };
                socket.send(line.as_bytes()).await?;
            }
            Ok(())
        }
    }
}

/// The values of counters at the last transmission. Statsd adds the values of counters up, so only the increase is
/// sent.
#[derive(Default)]
struct Counters(HashMap<String, i64>);

impl Counters {
    fn increase(&mut self, metric: &NamedMetric) -> i64 {
        let before = self.0.insert(metric.name.clone(), metric.value);
        metric.value.saturating_sub(before.unwrap_or(0))
    }
}

/// The value and the type of a metric for statsd.
fn statsd_value(metric: &NamedMetric, counters: &mut Counters) -> String {
    match metric.kind {
        Kind::Counter => format!("{}|c", counters.increase(metric)),
        Kind::Gauge | Kind::Absolute => format!("{}|g", metric.value),
    }
}

fn statsd(metric: &NamedMetric, prefix: &str, counters: &mut Counters) -> String {
    let value = statsd_value(metric, counters);
    format!("{prefix}.{}:{value}", metric.name)
}

/// A number that follows a word in the name becomes a tag: `worker.3.core.0.requests` is `worker.core.requests` with the
/// tags `worker:3` and `core:0`.
fn dogstatsd(metric: &NamedMetric, prefix: &str, counters: &mut Counters) -> String {
    let (mut words, mut tags): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for word in metric.name.split('.') {
        match words.last() {
            Some(before) if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                tags.push(format!("{before}:{word}"));
            }
            _ => words.push(word),
        }
    }
    let tags = match tags.is_empty() {
        true => String::new(),
        false => format!("|#{}", tags.join(",")),
    };
    let value = statsd_value(metric, counters);
    format!("{prefix}.{}:{value}{tags}", words.join("."))
}

#[derive(Serialize)]
struct ZabbixRequest {
    request: &'static str,
    data: Vec<ZabbixItem>,
}

#[derive(Serialize)]
struct ZabbixItem {
    host: String,
    key: String,
    value: String,
}

fn zabbix(metrics: &[NamedMetric], prefix: &str) -> Vec<u8> {
    let host = thread::hostname();
    let data = metrics.iter().map(|metric| ZabbixItem {
        host: host.clone(),
        key: format!("{prefix}.{}", metric.name),
        value: metric.value.to_string(),
    });
    let request = ZabbixRequest {
        request: "sender data",
        data: data.collect(),
    };
    let body = serde_json::to_vec(&request).unwrap_or_default();
    let mut packet = b"ZBXD\x01".to_vec();
    packet.extend((body.len() as u64).to_le_bytes());
    packet.extend(body);
    packet
}

fn append(path: &Path, separator: &str, snapshot: &InstanceSnapshot) -> io::Result<()> {
    let format = Format {
        http: false,
        minified: true,
        cores: true,
    };
    let mut text = json::to_vec(&InstanceStats::new(snapshot, format), false);
    text.pop();
    text.extend(separator.as_bytes());
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK;
    let mode = Mode::from_bits_truncate(0o640);
    trusted_path::open(path, flags, mode)?.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, kind: Kind, value: i64) -> NamedMetric {
        NamedMetric {
            name: name.to_owned(),
            kind,
            value,
        }
    }

    #[test]
    fn statsd_gets_the_increase_of_counters() {
        let mut counters = Counters::default();
        let mut line = |value| {
            let metric = metric("worker.1.requests", Kind::Counter, value);
            statsd(&metric, "x", &mut counters)
        };
        assert_eq!(line(5), "x.worker.1.requests:5|c");
        assert_eq!(line(7), "x.worker.1.requests:2|c");
        let gauge = metric("core.busy_workers", Kind::Gauge, 3);
        assert_eq!(
            statsd(&gauge, "x", &mut counters),
            "x.core.busy_workers:3|g"
        );
    }

    #[test]
    fn numbers_in_names_are_tags_of_dogstatsd() {
        let metric = metric("worker.3.core.0.requests", Kind::Counter, 2);
        let line = dogstatsd(&metric, "x", &mut Counters::default());
        assert_eq!(line, "x.worker.core.requests:2|c|#worker:3,core:0");
    }

    #[test]
    fn zabbix_gets_a_packet_with_its_length() {
        let packet = zabbix(&[metric("a", Kind::Gauge, 1)], "x");
        assert!(packet.starts_with(b"ZBXD\x01"));
        assert_eq!(u64::from(packet[5]), packet.len() as u64 - 13);
        assert!(packet.ends_with(b"\"key\":\"x.a\",\"value\":\"1\"}]}"));
    }
}
