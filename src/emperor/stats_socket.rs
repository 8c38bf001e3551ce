//! The statistics socket (`emperor-stats`): each client that connects receives the state of the vassals as JSON in
//! uWSGI's form. The emperor reads nothing from the clients.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::config::Address;
use crate::control::reply::Reply;
use crate::net::{SocketPermissions, unix_socket};
use crate::sys::poll::Interest;
use crate::sys::process::Pid;
use crate::sys::socket::{self, FileId, TcpSettings};
use crate::sys::{stream, user};

use super::vassal::{Scheduled, State, StopStage, Vassal};
use super::vassals::Vassals;

/// Maximum clients served at the same time; further clients wait in the listen queue.
const MAX_CLIENTS: usize = 16;
/// Length of the listen queue, in connections.
const BACKLOG: u32 = 64;

/// The statistics socket and its clients.
pub(super) struct StatsSocket {
    listener: OwnedFd,
    /// The path and id of the socket's file, which is removed when the emperor exits.
    file: Option<(PathBuf, FileId)>,
    clients: Vec<Client>,
    constants: Constants,
}

struct Client {
    connection: OwnedFd,
    reply: Reply,
}

/// The fields of the answer that do not change.
struct Constants {
    sources: Vec<String>,
    tyrant: bool,
}

impl StatsSocket {
    /// Listens at `address`.
    ///
    /// # Errors
    /// Returns the errors of socket(2), bind(2) and listen(2), and of the resolution of the host name.
    pub(super) fn open(address: &Address, sources: &[String], tyrant: bool) -> Result<Self> {
        let (listener, file) =
            listen(address).with_context(|| format!("emperor-stats = {address}"))?;
        socket::set_nonblocking(&listener, true)?;
        tracing::info!("the emperor's statistics are at {address} (emperor-stats)");
        Ok(Self {
            listener,
            file,
            clients: Vec::new(),
            constants: Constants {
                sources: sources.to_vec(),
                tyrant,
            },
        })
    }

    /// The descriptors to poll: the clients, and the listening socket if the number of clients is below the maximum.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        let listener = (self.clients.len() < MAX_CLIENTS).then(|| self.listener.as_fd());
        let listener = listener.map(|fd| (fd, Interest::Read));
        let clients = self.clients.iter();
        listener
            .into_iter()
            .chain(clients.map(|client| (client.connection.as_fd(), Interest::Write)))
    }

    /// The time at which [`StatsSocket::serve`] must be called even if no descriptor is ready.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.clients.iter().map(|client| client.reply.deadline());
        deadlines.min()
    }

    /// Accepts clients, and sends the answers as far as the clients read them.
    pub(super) fn serve(&mut self, vassals: &Vassals, now: Instant) {
        while self.clients.len() < MAX_CLIENTS
            && let Ok(connection) = stream::accept(self.listener.as_raw_fd())
        {
            let answer = answer(vassals, &self.constants, now);
            self.clients.push(Client {
                connection,
                reply: Reply::new(serde_json::to_vec(&answer).unwrap_or_default(), now),
            });
        }
        self.clients
            .retain_mut(|client| !client.reply.send(client.connection.as_fd(), now));
    }
}

impl Drop for StatsSocket {
    fn drop(&mut self) {
        if let Some((path, id)) = &self.file {
            // the next emperor replaces a file that cannot be removed
            let _ = unix_socket::remove(path, *id);
        }
    }
}

fn listen(address: &Address) -> Result<(OwnedFd, Option<(PathBuf, FileId)>)> {
    match address {
        Address::Unix(path) => {
            let path = std::path::absolute(path)?;
            let (listener, id) = unix_socket::place(&path, SocketPermissions::default(), BACKLOG)?;
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

/// The answer to a client, with the field names of uWSGI's statistics.
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
    vassals: Vec<VassalStats>,
    blacklist: Vec<BackoffStats>,
}

/// The statistics of a vassal. Times are in seconds since 1970; 0 means never.
#[derive(Serialize, Default)]
struct VassalStats {
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

/// The statistics of a failed vassal that is started again after a backoff.
#[derive(Serialize)]
struct BackoffStats {
    id: String,
    /// The current backoff in milliseconds.
    throttle_level: u128,
    attempt: u32,
    first_attempt: u64,
    last_attempt: u64,
}

fn answer(vassals: &Vassals, constants: &Constants, now: Instant) -> Answer {
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
        emperor: constants.sources.clone(),
        emperor_tyrant: constants.tyrant.into(),
        throttle_level: 0,
        vassals: vassals
            .iter()
            .map(|vassal| vassal_stats(vassal, &clock, constants.tyrant))
            .collect(),
        blacklist: vassals
            .iter()
            .filter_map(|vassal| backoff_stats(vassal, vassals, &clock))
            .collect(),
    }
}

/// Converts monotonic times to wall clock times.
struct Clock {
    now: Instant,
    wall: SystemTime,
}

impl Clock {
    fn unix_time(&self, moment: Option<Instant>) -> u64 {
        let ago = moment.map(|moment| self.now.saturating_duration_since(moment));
        let date = ago.and_then(|ago| self.wall.checked_sub(ago));
        let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_secs())
    }
}

fn vassal_stats(vassal: &Vassal, clock: &Clock, tyrant: bool) -> VassalStats {
    let history = &vassal.history;
    let ready = u8::from(matches!(vassal.state, State::Ready(_)));
    let (uid, gid) = vassal
        .owner_and_group()
        .filter(|_| tyrant)
        .unwrap_or_default();
    let cursed = match &vassal.state {
        State::Stopping(stopping) => stopping.stage != StopStage::Graceful,
        _ => false,
    };
    let last_ready = clock.unix_time(history.last_ready);
    VassalStats {
        id: vassal.name().to_owned(),
        pid: vassal.pid().map_or(-1, |pid| pid.get()),
        born: clock.unix_time(Some(history.found)),
        last_mod: vassal.modified(),
        loyal: ready,
        ready,
        accepting: ready,
        last_loyal: last_ready,
        last_heartbeat: clock.unix_time(history.last_heartbeat),
        last_ready,
        last_accepting: last_ready,
        first_run: clock.unix_time(history.first_spawn),
        last_run: clock.unix_time(history.last_spawn),
        cursed: if cursed {
            clock.unix_time(Some(clock.now))
        } else {
            0
        },
        on_demand: vassal.sockets.addresses(),
        uid,
        gid,
        monitor: vassal.definition.directory.display().to_string(),
        respawns: history.spawns.saturating_sub(1),
        ..VassalStats::default()
    }
}

fn backoff_stats(vassal: &Vassal, vassals: &Vassals, clock: &Clock) -> Option<BackoffStats> {
    let State::Scheduled(Scheduled { failures, .. }) = vassal.state else {
        return None;
    };
    (failures > 0).then(|| BackoffStats {
        id: vassal.name().to_owned(),
        throttle_level: vassals.backoff().delay(failures).as_millis(),
        attempt: failures,
        first_attempt: clock.unix_time(vassal.history.first_spawn),
        last_attempt: clock.unix_time(vassal.history.last_spawn),
    })
}
