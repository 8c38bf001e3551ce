//! The statistics of the emperor (`emperor-stats`): the state of the vassals, in the format of uWSGI. The observer, a
//! thread, serves them to clients.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::unistd::Gid;

use crate::config::Config;
use crate::net::ServiceSocket;
use crate::stats::{
    self, BackoffStats, Content, EmperorStats, Endpoint, Feed, Format, Pushing, Subject,
    VassalStats,
};
use crate::sys::process::Pid;
use crate::sys::user;

use super::file_rules::is_tyrant;
use super::vassal::{Scheduled, State, StopStage, Vassal};
use super::vassals::Vassals;

/// The statistics socket, and the feed of snapshots for the observer.
pub(super) struct Statistics {
    socket: ServiceSocket,
    feed: Option<Arc<Feed<EmperorStats>>>,
    format: Format,
    constants: Constants,
}

/// The fields of the statistics that do not change.
struct Constants {
    sources: Vec<String>,
    tyrant: bool,
}

impl Statistics {
    /// Listens at the address of `emperor-stats`. Returns `None` if the option is not set.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(super) fn bind(config: &Config) -> Result<Option<Self>> {
        let Some(address) = config.emperor_stats() else {
            return Ok(None);
        };
        let socket = ServiceSocket::bind(address, config);
        let socket = socket.with_context(|| format!("emperor-stats = {address}"))?;
        tracing::info!("the emperor's statistics are at {socket} (emperor-stats)");
        Ok(Some(Self {
            socket,
            feed: None,
            format: Format {
                http: config.stats_http(),
                minified: config.stats_minified(),
                cores: false,
            },
            constants: Constants {
                sources: config.emperor().to_vec(),
                tyrant: is_tyrant(config),
            },
        }))
    }

    /// Starts the observer. Must be called after the process has changed its user for the last time.
    ///
    /// # Errors
    /// When the thread or its descriptors cannot be created.
    pub(super) fn start(mut self) -> Result<Self> {
        let feed = Feed::new(EmperorStats::default());
        let started = feed.and_then(|feed| {
            let endpoint = Endpoint {
                listener: self.socket.duplicate()?,
                is_tcp: self.socket.is_tcp(),
                content: Content::Statistics(self.format),
            };
            stats::start(
                &Subject::Emperor(Arc::clone(&feed)),
                vec![endpoint],
                Pushing::default(),
            )?;
            Ok(feed)
        });
        let started = started.context("the thread for emperor-stats cannot be started");
        self.feed = Some(started?);
        Ok(self)
    }

    /// The descriptor to poll for input.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.feed.as_ref().map(|feed| feed.as_fd())
    }

    /// Publishes the state of the vassals, if a client has asked for it.
    pub(super) fn serve(&self, vassals: &Vassals, now: Instant) {
        if let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_requested()) {
            feed.publish(answer(vassals, &self.constants, now));
        }
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        self.socket.remove();
    }
}

fn answer(vassals: &Vassals, constants: &Constants, now: Instant) -> EmperorStats {
    let clock = Clock {
        now,
        wall: SystemTime::now(),
    };
    EmperorStats {
        version: env!("CARGO_PKG_VERSION"),
        pid: Pid::own().get(),
        uid: user::current_uid(),
        gid: Gid::current().as_raw(),
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
        throttle_level: u64::try_from(vassals.backoff().delay(failures).as_millis())
            .unwrap_or(u64::MAX),
        attempt: failures,
        first_attempt: clock.unix_time(vassal.history.first_spawn),
        last_attempt: clock.unix_time(vassal.history.last_spawn),
    })
}
