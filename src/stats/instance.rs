//! The statistics of an instance, with the field names of uWSGI's statistics server. All numbers are integers.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::{Gid, Uid, getpid};
use serde::Serialize;

use super::counters::CoreCounters;
use super::format::Format;
use super::json::int;
use super::snapshot::{CronView, DaemonView, InstanceSnapshot, SocketView};
use super::worker::{InFlight, WorkerReading, read_workers};

/// If a worker has more threads than this number, the threads that have served no request are left out.
const MANY_CORES: u32 = 64;
/// The names of the locks of a uWSGI without caches and spoolers. Readers of the statistics expect them, although
/// ruwsgi has no such locks.
const LOCKS: [&str; 8] = [
    "user 0", "signal", "filemon", "timer", "rbtimer", "cron", "rpc", "snmp",
];

#[derive(Serialize)]
pub(super) struct InstanceStats {
    version: &'static str,
    listen_queue: u32,
    listen_queue_errors: i64,
    signal_queue: u32,
    load: u32,
    pid: i32,
    uid: u32,
    gid: u32,
    cwd: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    daemons: Vec<DaemonStats>,
    locks: Vec<BTreeMap<&'static str, i32>>,
    sockets: Vec<SocketStats>,
    workers: Vec<WorkerStats>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    crons: Vec<CronStats>,
    /// The number of the newest generation: 1 plus the number of reloads. uWSGI has no such field.
    generation: u32,
}

#[derive(Serialize)]
struct DaemonStats {
    cmd: String,
    pid: i32,
    respawns: u32,
}

#[derive(Serialize)]
struct SocketStats {
    name: String,
    proto: &'static str,
    queue: u32,
    max_queue: u32,
    shared: u8,
    can_offload: u8,
}

#[derive(Serialize)]
struct WorkerStats {
    id: u32,
    pid: i32,
    accepting: u8,
    requests: i64,
    delta_requests: i64,
    exceptions: i64,
    harakiri_count: i64,
    signals: i64,
    signal_queue: u32,
    status: String,
    rss: i64,
    vsz: i64,
    running_time: i64,
    last_spawn: i64,
    respawn_count: i64,
    tx: i64,
    avg_rt: i64,
    apps: Vec<AppStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Vec<CoreStats>>,
    /// Number of requests in flight. uWSGI has no such field.
    in_flight: usize,
}

#[derive(Serialize)]
struct AppStats {
    id: usize,
    modifier1: u8,
    mountpoint: String,
    startup_time: i64,
    requests: i64,
    exceptions: i64,
    chdir: String,
}

#[derive(Serialize)]
struct CoreStats {
    id: u32,
    requests: i64,
    static_requests: i64,
    routed_requests: i64,
    offloaded_requests: i64,
    write_errors: i64,
    read_errors: i64,
    in_request: u8,
    /// Some variables of the request as `NAME=value`, and an empty text as in uWSGI. Only the method, the URI and the
    /// address of the client are shown, so that no cookie and no password leaves the process.
    vars: Vec<String>,
    req_info: RequestInfo,
    /// Milliseconds since the request began. uWSGI has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<i64>,
}

#[derive(Serialize, Default)]
struct RequestInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_start: Option<i64>,
}

#[derive(Serialize)]
struct CronStats {
    minute: i32,
    hour: i32,
    day: i32,
    month: i32,
    week: i32,
    command: String,
    unique: u8,
    legion: &'static str,
    pid: i32,
    started_at: i64,
}

impl InstanceStats {
    pub(super) fn new(snapshot: &InstanceSnapshot, format: Format) -> Self {
        let longest = snapshot.sockets.iter().map(|it| it.queue).max();
        let longest = longest.unwrap_or_default();
        let drops = snapshot.sockets.iter().map(|it| i64::from(it.drops));
        let newest = snapshot.generations.last();
        let workers = read_workers(snapshot);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            listen_queue: longest,
            listen_queue_errors: drops.sum(),
            signal_queue: 0,
            load: longest,
            pid: getpid().as_raw(),
            uid: Uid::current().as_raw(),
            gid: Gid::current().as_raw(),
            cwd: current_directory(),
            daemons: snapshot.daemons.iter().map(DaemonStats::of).collect(),
            locks: LOCKS.iter().map(|name| [(*name, 0)].into()).collect(),
            sockets: snapshot.sockets.iter().map(SocketStats::of).collect(),
            workers: workers
                .iter()
                .map(|worker| WorkerStats::of(worker, snapshot, format))
                .collect(),
            crons: snapshot.crons.iter().map(CronStats::of).collect(),
            generation: newest.map_or(0, |generation| generation.number),
        }
    }
}

/// The working directory of this process; empty if the directory does not exist any more.
pub(super) fn current_directory() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |path| path.display().to_string())
}

impl DaemonStats {
    fn of(daemon: &DaemonView) -> Self {
        Self {
            cmd: daemon.command.clone(),
            pid: daemon.pid,
            respawns: daemon.respawns,
        }
    }
}

impl SocketStats {
    fn of(socket: &SocketView) -> Self {
        Self {
            name: socket.name.clone(),
            proto: socket.protocol,
            queue: socket.queue,
            max_queue: socket.limit,
            shared: 0,
            can_offload: 0,
        }
    }
}

impl CronStats {
    fn of(cron: &CronView) -> Self {
        let (pid, started_at) = cron.run.unwrap_or_default();
        Self {
            minute: cron.minute,
            hour: cron.hour,
            day: cron.day,
            month: cron.month,
            week: cron.week,
            command: cron.command.clone(),
            unique: cron.is_unique.into(),
            legion: "",
            pid,
            started_at: int(started_at),
        }
    }
}

impl WorkerStats {
    fn of(worker: &WorkerReading, snapshot: &InstanceSnapshot, format: Format) -> Self {
        let (sum, tally) = (&worker.sum, &worker.counters.tally);
        let apps = snapshot.apps.iter().enumerate().map(|(id, app)| AppStats {
            id,
            modifier1: 0,
            mountpoint: app.mountpoint.clone(),
            startup_time: int(worker.startup_seconds),
            requests: int(sum.requests),
            exceptions: int(sum.exceptions),
            chdir: app.directory.clone(),
        });
        Self {
            id: worker.id,
            pid: worker.holder.map_or(0, |holder| holder.pid),
            accepting: worker.is_accepting().into(),
            requests: int(sum.requests),
            delta_requests: int(worker.delta_requests),
            exceptions: int(sum.exceptions),
            harakiri_count: int(tally.harakiri),
            signals: int(worker.counters.signals),
            signal_queue: 0,
            status: status(worker, snapshot.is_paused),
            rss: int(worker.rss),
            vsz: int(worker.vsz),
            running_time: int(sum.running_us),
            last_spawn: int(tally.last_spawn),
            respawn_count: int(tally.spawns),
            tx: int(sum.sent),
            avg_rt: int(worker.average_us),
            apps: apps.collect(),
            cores: format.cores.then(|| cores(worker, snapshot.threads)),
            in_flight: worker.in_flight.len(),
        }
    }
}

fn status(worker: &WorkerReading, is_paused: bool) -> String {
    let status = match (worker.holder, worker.signal) {
        (Some(_), Some(signal)) => return format!("sig{signal}"),
        _ if worker.is_busy() => "busy",
        (Some(_), None) => "idle",
        (None, _) if is_paused => "pause",
        (None, _) => "cheap",
    };
    status.to_owned()
}

fn cores(worker: &WorkerReading, threads: u32) -> Vec<CoreStats> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(0));
    let cores = (0..threads).filter_map(|id| {
        let counters = worker.counters.cores.get(id as usize);
        let counters = counters.copied().unwrap_or_default();
        let request = worker.in_flight.iter().find(|it| it.core == id);
        let is_unused = counters.requests == 0 && request.is_none();
        (threads <= MANY_CORES || !is_unused).then(|| core(id, &counters, request, now))
    });
    cores.collect()
}

fn core(id: u32, counters: &CoreCounters, request: Option<&InFlight>, now_us: u64) -> CoreStats {
    let start = request.map(|it| int(now_us.saturating_sub(it.age_us) / 1_000_000));
    CoreStats {
        id,
        requests: int(counters.requests),
        static_requests: int(counters.static_requests),
        routed_requests: int(counters.routed_requests),
        offloaded_requests: 0,
        write_errors: int(counters.write_errors),
        read_errors: 0,
        in_request: request.is_some().into(),
        vars: request.map(variables).unwrap_or_default(),
        req_info: RequestInfo {
            request_start: start,
        },
        age_ms: request.map(|it| int(it.age_us / 1000)),
    }
}

fn variables(request: &InFlight) -> Vec<String> {
    let (method, uri) = request.request.split_once(' ').unwrap_or_default();
    vec![
        format!("REQUEST_METHOD={method}"),
        format!("REQUEST_URI={uri}"),
        format!("REMOTE_ADDR={}", request.client),
        String::new(),
    ]
}
