//! `emperor-stats`: how the vassals are, as JSON in uWSGI's form, for everyone who connects. Nothing is read from there.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::config::Address;
use crate::sys::process::Pid;
use crate::sys::socket::{self, FileId, TcpSettings};
use crate::sys::unix_socket::{self, Access};
use crate::sys::{stream, user};

use super::realm::{Realm, Vassal};
use super::vassal::{Rung, State};

/// Those who are answered at the same time; more wait.
const MOST_CLIENTS: usize = 16;
/// How long a client may take to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon what a client has not taken is offered again.
const PAUSE: Duration = Duration::from_millis(20);
/// Those who may wait to be accepted.
const BACKLOG: u32 = 64;

/// The socket and those who are being answered.
pub(super) struct Stats {
    listener: OwnedFd,
    /// Our file, to be removed at the end.
    file: Option<(PathBuf, FileId)>,
    clients: Vec<Client>,
    facts: Facts,
}

struct Client {
    connection: OwnedFd,
    left: Vec<u8>,
    deadline: Instant,
}

/// What is the same in each answer.
struct Facts {
    sources: Vec<String>,
    tyrant: bool,
}

impl Stats {
    /// Listens at this address.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub(super) fn open(address: &Address, sources: &[String], tyrant: bool) -> Result<Self> {
        let (listener, file) =
            listen(address).with_context(|| format!("emperor-stats = {address}"))?;
        socket::set_nonblocking(&listener, true)?;
        tracing::info!("the emperor tells how the vassals are at {address}");
        Ok(Self {
            listener,
            file,
            clients: Vec::new(),
            facts: Facts {
                sources: sources.to_vec(),
                tyrant,
            },
        })
    }

    /// What to wait for; nothing while there are too many clients.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (self.clients.len() < MOST_CLIENTS).then(|| self.listener.as_fd())
    }

    /// When there is something to do, if nobody comes before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.clients.is_empty()).then(|| now + PAUSE)
    }

    /// Answers those who have come.
    pub(super) fn serve(&mut self, realm: &Realm, now: Instant) {
        while self.clients.len() < MOST_CLIENTS
            && let Ok(connection) = stream::accept(self.listener.as_raw_fd())
        {
            let left = serde_json::to_vec(&answer(realm, &self.facts, now)).unwrap_or_default();
            self.clients.push(Client {
                connection,
                left,
                deadline: now + PATIENCE,
            });
        }
        self.clients.retain_mut(|client| client.send(now));
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        if let Some((path, id)) = &self.file {
            // one that cannot be removed is replaced by the next emperor
            let _ = unix_socket::remove(path, *id);
        }
    }
}

impl Client {
    /// Sends what it takes; whether something is left.
    fn send(&mut self, now: Instant) -> bool {
        while !self.left.is_empty() {
            match stream::send(self.connection.as_raw_fd(), &[IoSlice::new(&self.left)]) {
                Ok(sent) => drop(self.left.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return now < self.deadline;
                }
                Err(_) => return false,
            }
        }
        false
    }
}

fn listen(address: &Address) -> Result<(OwnedFd, Option<(PathBuf, FileId)>)> {
    match address {
        Address::Unix(path) => {
            let path = std::path::absolute(path)?;
            let (listener, id) = unix_socket::place(&path, Access::default(), BACKLOG)?;
            Ok((listener, Some((path, id))))
        }
        Address::Abstract(name) => Ok((socket::listen_abstract(name, BACKLOG)?, None)),
        Address::Tcp { host, port } => {
            let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
            let address = match host.as_str() {
                "" | "*" => all,
                host => (host, *port)
                    .to_socket_addrs()?
                    .next()
                    .context("the host has no address")?,
            };
            let listener = socket::listen_tcp(address, BACKLOG, TcpSettings::default())?;
            Ok((listener, None))
        }
        Address::Fd(_) => bail!("an inherited descriptor cannot be used here"),
    }
}

/// The answer; the names are uWSGI's.
#[derive(Serialize)]
struct Answer {
    version: &'static str,
    pid: i32,
    uid: u32,
    gid: u32,
    cwd: String,
    emperor: Vec<String>,
    emperor_tyrant: u8,
    throttle_level: u8,
    vassals: Vec<One>,
    blacklist: Vec<Failing>,
}

/// A vassal; times are seconds since 1970, 0 for never.
#[derive(Serialize, Default)]
struct One {
    id: String,
    pid: i32,
    born: u64,
    last_mod: i64,
    last_heartbeat: u64,
    loyal: u8,
    ready: u8,
    accepting: u8,
    last_loyal: u64,
    last_ready: u64,
    last_accepting: u64,
    first_run: u64,
    last_run: u64,
    cursed: u64,
    zerg: u8,
    on_demand: String,
    uid: u32,
    gid: u32,
    monitor: String,
    respawns: u32,
}

/// A vassal that is started again only after a pause.
#[derive(Serialize)]
struct Failing {
    id: String,
    /// Milliseconds.
    throttle_level: u128,
    attempt: u32,
    first_attempt: u64,
    last_attempt: u64,
}

fn answer(realm: &Realm, facts: &Facts, now: Instant) -> Answer {
    let clock = Clock {
        now,
        wall: SystemTime::now(),
    };
    Answer {
        version: env!("CARGO_PKG_VERSION"),
        pid: Pid::own().get(),
        uid: user::current_uid(),
        gid: std::fs::metadata("/proc/self").map_or(0, |it| it.gid()),
        cwd: std::env::current_dir().map_or_else(|_| String::new(), |it| it.display().to_string()),
        emperor: facts.sources.clone(),
        emperor_tyrant: facts.tyrant.into(),
        throttle_level: 0,
        vassals: realm
            .vassals()
            .map(|vassal| one(vassal, &clock, facts.tyrant))
            .collect(),
        blacklist: realm
            .vassals()
            .filter_map(|vassal| failing(vassal, realm, &clock))
            .collect(),
    }
}

/// Turns moments into dates.
struct Clock {
    now: Instant,
    wall: SystemTime,
}

impl Clock {
    fn date(&self, moment: Option<Instant>) -> u64 {
        let ago = moment.map(|moment| self.now.saturating_duration_since(moment));
        let date = ago.and_then(|ago| self.wall.checked_sub(ago));
        let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_secs())
    }
}

fn one(vassal: &Vassal, clock: &Clock, tyrant: bool) -> One {
    let history = &vassal.history;
    let serves = u8::from(matches!(vassal.state, State::Ready { .. }));
    let (uid, gid) = vassal.owners().filter(|_| tyrant).unwrap_or_default();
    let cursed = match vassal.state {
        State::Leaving { rung, .. } => rung != Rung::Asked,
        _ => false,
    };
    let last_ready = clock.date(history.last_ready);
    One {
        id: vassal.found.name.clone(),
        pid: vassal.state.pid().map_or(-1, |pid| pid.get()),
        born: clock.date(Some(history.born)),
        last_mod: vassal.modified(),
        loyal: serves,
        ready: serves,
        accepting: serves,
        last_loyal: last_ready,
        last_heartbeat: clock.date(history.last_beat),
        last_ready,
        last_accepting: last_ready,
        first_run: clock.date(history.first_run),
        last_run: clock.date(history.last_run),
        cursed: if cursed {
            clock.date(Some(clock.now))
        } else {
            0
        },
        on_demand: vassal.kept_names(),
        uid,
        gid,
        monitor: vassal.found.directory.display().to_string(),
        respawns: history.runs.saturating_sub(1),
        ..One::default()
    }
}

fn failing(vassal: &Vassal, realm: &Realm, clock: &Clock) -> Option<Failing> {
    let State::Due { failures, .. } = vassal.state else {
        return None;
    };
    (failures > 0).then(|| Failing {
        id: vassal.found.name.clone(),
        throttle_level: realm.limits().pause(failures).as_millis(),
        attempt: failures,
        first_attempt: clock.date(vassal.history.first_run),
        last_attempt: clock.date(vassal.history.last_run),
    })
}
