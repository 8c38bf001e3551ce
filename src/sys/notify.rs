//! Notifications to systemd (`Type=notify`, `WatchdogSec=`): sd_notify(3), sd_watchdog_enabled(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::sys::{clock, environment};

/// The connection to the service manager. Without a service manager, the methods send nothing.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    to: Option<(SocketAddr, UnixDatagram)>,
    watchdog: Option<Watchdog>,
}

/// The schedule of the keep-alive messages that systemd expects.
#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    /// The time at which the next message is due; `None` before the first message.
    due: Option<Instant>,
}

impl Notify {
    /// Connects to the socket that `NOTIFY_SOCKET` names. Removes that variable and the variables of the watchdog from
    /// the environment, so that no child sends notifications for this process.
    ///
    /// Must be called while the process has one thread, and before chroot(2).
    pub(crate) fn from_environment() -> Self {
        let to = environment::take("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(to) => Some(to),
            Err(e) => {
                tracing::warn!(
                    "cannot notify the service manager on {}: {e}",
                    name.display()
                );
                None
            }
        });
        let watchdog = watchdog().filter(|_| to.is_some());
        Notify { to, watchdog }
    }

    /// Reports that the start, or a reload, is complete.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// Reports a status text, which `systemctl status` shows.
    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}\n", one_line(status)));
    }

    /// Reports that a reload begins. [`Notify::ready`] reports the end of the reload, even if the reload has failed.
    pub(crate) fn reloading(&self) {
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}\n",
            clock::monotonic_micros()
        ));
    }

    /// Sends the keep-alive message if it is due.
    pub(crate) fn beat(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if watchdog.due.is_none_or(|due| due <= now) {
            watchdog.due = now.checked_add(watchdog.interval);
            self.send("WATCHDOG=1\n");
        }
    }

    /// The time at which [`Notify::beat`] is due; `None` without a watchdog, and before the first message.
    pub(crate) fn beat_deadline(&self) -> Option<Instant> {
        self.watchdog.as_ref()?.due
    }

    /// Reports that this process begins to stop.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    fn send(&self, message: &str) {
        let Some((address, socket)) = &self.to else {
            return;
        };
        let mut sent = socket.send(message.as_bytes());
        if sent.is_err() && socket.connect_addr(address).is_ok() {
            // after a restart the service manager has a new socket at the same address, so the message is sent again
            sent = socket.send(message.as_bytes());
        }
        if let Err(e) = sent {
            tracing::debug!("the service manager could not be notified: {e}");
        }
    }
}

/// Reads the watchdog's settings from the environment. Messages are sent at half the interval that systemd demands.
/// `None` if the watchdog is off, or if the settings are for another process.
fn watchdog() -> Option<Watchdog> {
    let [micros, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(environment::take);
    let ours = pid.is_none_or(|pid| pid.to_str() == Some(&std::process::id().to_string()));
    let micros: u64 = micros?.to_str()?.parse().ok()?;
    (ours && micros > 0).then(|| Watchdog {
        interval: Duration::from_micros(micros) / 2,
        due: None,
    })
}

fn connect(name: &OsStr) -> io::Result<(SocketAddr, UnixDatagram)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            return Err(io::Error::other(
                "the name begins neither with / nor with @",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok((address, socket))
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buf = [0; 500];
        let n = socket.recv(&mut buf).unwrap();
        String::from_utf8(buf[..n].to_vec()).unwrap()
    }

    #[test]
    fn notifications_arrive_also_after_the_service_manager_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify {
            to: Some(connect(path.as_os_str()).unwrap()),
            watchdog: None,
        };
        notify.ready("2 workers\nREADY=0");
        assert_eq!(received(&manager), "READY=1\nSTATUS=2 workers READY=0\n");
        drop(manager);
        std::fs::remove_file(&path).unwrap();
        let manager = UnixDatagram::bind(&path).unwrap();
        notify.stopping();
        assert_eq!(received(&manager), "STOPPING=1\n");
    }

    #[test]
    fn an_abstract_name_and_a_reload_work() {
        let name = format!("ruwsgi-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notify = Notify {
            to: Some(connect(OsStr::new(&format!("@{name}"))).unwrap()),
            watchdog: None,
        };
        notify.reloading();
        assert!(received(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        notify.status("draining");
        assert_eq!(received(&manager), "STATUS=draining\n");
    }

    #[test]
    fn nothing_happens_without_a_service_manager() {
        Notify::default().ready("serving");
        assert!(connect(OsStr::new("relative")).is_err());
    }
}
