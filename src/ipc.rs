//! Typed messages between the processes, over `SOCK_SEQPACKET` pairs: one message is one packet of
//! JSON, with the descriptors it carries beside it. End of file means that the other side is gone.
//!
//! ```text
//! master ── ToZygote ──▶ zygote      master ── ToWorker ──▶ worker
//!        ◀─ FromZygote ─                    ◀─ FromWorker ─    (the worker's end is its leash)
//! emperor ── ToVassal ──▶ master
//!         ◀─ FromVassal ─
//! ```

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::messages::{Answer, Request};
use crate::log::request_log::RequestLogSettings;
use crate::sys::cgroup::Limits;
use crate::sys::packet;

/// What a vassal's master is told by the emperor.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToVassal {
    /// Read the configuration and load the application anew, as by SIGHUP.
    Reload,
    /// Finish the requests in flight and stop.
    Stop,
    /// Stop at once.
    StopNow,
    /// Say how you are: [`FromVassal::Report`].
    Report,
}

/// What somebody asks of a vassal by way of the emperor; answered by [`FromVassal::Answer`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// By which the answer is known.
    pub(crate) ticket: u32,
    /// Who asks: a user's number. He may.
    pub(crate) uid: u32,
    pub(crate) request: Request,
}

/// The answer to [`FromVassal::Limits`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limited {
    /// Why the limits do not hold; nothing where they do.
    pub(crate) limits_refused: Option<String>,
}

/// Everything that a vassal's master hears from the emperor.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum FromEmperor {
    Order(ToVassal),
    Question(Question),
    Limited(Limited),
}

/// What a vassal's master says to the emperor.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) enum FromVassal {
    /// The first generation serves.
    Ready,
    /// A reload is complete: the new generation serves.
    Reloaded,
    /// A reload is given up, for this reason; the generation before serves on.
    ReloadFailed(LoadFailure),
    /// It cannot start, or cannot go on, for this reason; it exits after this.
    Failed {
        /// One sentence.
        reason: String,
        /// Python's traceback; empty if there is none.
        #[serde(default)]
        traceback: String,
        /// It stands in the log that the emperor writes to, too.
        told: bool,
    },
    /// It has had no request for so long that it leaves (`die-on-idle`), with status 0, when its workers have gone. What
    /// arrives from now on is for the next one to serve.
    Idle,
    /// The emperor is to keep these sockets from now on, in the place of those that it kept. Carries their descriptors.
    Sockets {
        /// The sockets, in the order of the descriptors.
        kept: Vec<Kept>,
        /// The sender leaves after this, and is to be started again when somebody connects.
        waits: bool,
    },
    /// Its master is alive (`heartbeat`).
    Beat {
        /// The next one follows after so many milliseconds.
        every_ms: u64,
    },
    /// What its own file lets its group take; the emperor's limits hold beside them. Answered by [`Limited`].
    Limits(Limits),
    /// How it is.
    Report(Report),
    /// The answer to a [`Question`].
    Answer {
        /// The question's.
        ticket: u32,
        /// What is said to who has asked.
        answer: Answer,
    },
}

/// A listening socket that the emperor keeps for a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its address, for the log.
    pub name: String,
    /// A Unix socket's file.
    pub file: Option<KeptFile>,
}

/// The file of a Unix socket: its path and what makes it itself.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct KeptFile {
    /// Absolute.
    pub path: PathBuf,
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// How a vassal is.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// Workers that serve.
    pub(crate) workers: u32,
    /// Requests that the generations there are have served.
    pub(crate) requests: u64,
    /// The memory of all its processes, shared pages counted in part (PSS), KiB.
    pub(crate) memory_kib: u64,
}

/// What a zygote is told.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum ToZygote {
    /// Import the application. Carries the scoreboard's descriptor, then one per listener.
    Load(Box<AppSpec>),
    /// Fork a worker into this slot. Carries the worker's end of its leash.
    Fork {
        /// The slot, from 1.
        slot: u32,
        /// The worker's row of the scoreboard, from 1: one that leaves and its successor have the same slot.
        row: u32,
        /// The worker waits for [`ToWorker::Serve`] before it accepts.
        hold: bool,
    },
    /// Write your output to this file. Carries its descriptor.
    Log,
}

/// What a zygote says.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum FromZygote {
    /// The application is imported and warmed up; workers can be forked.
    Loaded,
    /// The application cannot be loaded; the zygote exits after this.
    Failed(LoadFailure),
    /// Files of the application, to be watched.
    Files(Vec<String>),
    /// A worker was forked.
    Forked {
        /// Its row of the scoreboard.
        row: u32,
        /// Its process id.
        pid: i32,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// The row of the scoreboard that stays empty.
        row: u32,
        /// The error number.
        errno: i32,
    },
}

/// What a worker is told over its leash.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWorker {
    /// Start accepting (it was forked with `hold`).
    Serve,
    /// Accept no more, finish what was begun, exit. Idle connections get their usual time.
    Retire,
    /// The same in a hurry, because the instance stops: idle connections are closed at once.
    Stop,
    /// A request has run for too long: its client is answered, and its thread gets an exception.
    Expire {
        /// The thread that serves it, from 0.
        thread: u32,
        /// When it began: its `busy_since` on the scoreboard.
        since: u64,
    },
    /// Write your output to this file. Carries its descriptor.
    Log,
}

/// What a worker says over its leash.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum FromWorker {
    /// The application is there; the worker accepts, or waits for [`ToWorker::Serve`]. Carries the file in memory where
    /// the stacks of its threads are written, if there is one.
    Ready,
    /// The application cannot be loaded (`lazy-apps`); the worker exits after this.
    Failed(LoadFailure),
    /// The worker accepts no more, on its own account (it got a signal); it exits soon.
    Retiring,
    /// Files of the application that were loaded since the last time, to be watched.
    Files(Vec<String>),
    /// A worker that leaves has accepted its last connection.
    Closed,
    /// The worker has reached `reload-on-rss`: it accepts no more and exits soon.
    Large,
    /// A thread over its deadline cannot be reached: native code keeps the interpreter. The worker accepts no more.
    Stuck {
        /// From 0.
        thread: u32,
    },
}

/// Why an application could not be loaded.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct LoadFailure {
    /// One sentence: what failed and what to do.
    pub sentence: String,
    /// Python's traceback, as `traceback.format_exception` gives it; empty if there is none.
    pub traceback: String,
}

impl From<String> for LoadFailure {
    /// One of which a sentence says all.
    fn from(sentence: String) -> Self {
        Self {
            sentence,
            traceback: String::new(),
        }
    }
}

/// What a listening socket speaks.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The binary uwsgi protocol.
    Uwsgi,
    /// HTTP/1.1.
    Http,
}

/// A listening socket, as the workers know it; its descriptor travels beside the message.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Listener {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its address as configured, for the log.
    pub name: String,
    /// Port for SERVER_PORT of HTTP requests, 0 for a Unix socket.
    pub port: u16,
}

/// All that the interpreter's side needs to know.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct AppSpec {
    /// The instance's name for process titles and the log (the configuration file's name).
    pub name: String,
    /// This is not the instance's first generation (`uwsgi.is_a_reload`).
    pub is_a_reload: bool,
    /// `module`: `pkg.mod`, `pkg.mod:callable` or `pkg.mod:factory()`.
    pub module: Option<String>,
    /// `wsgi-file`: a path to a Python file.
    pub wsgi_file: Option<String>,
    /// `callable`: the name looked up where `module` gives none.
    pub callable: Option<String>,
    /// `mount`: mount point and what is mounted there, in the file's order.
    pub mounts: Vec<(String, String)>,
    /// `manage-script-name`.
    pub manage_script_name: bool,
    /// `need-app`: without an application the start fails.
    pub need_app: bool,
    /// `lazy-apps`: import in the worker, after the fork.
    pub lazy: bool,
    /// `pythonpath`, in order; each goes in front of `sys.path`.
    pub pythonpath: Vec<String>,
    /// `chdir2`: entered after the application is loaded.
    pub chdir2: Option<String>,
    /// `pyargv`: what follows `sys.argv[0]`.
    pub pyargv: Vec<String>,
    /// `pyimport`: modules (or `.py` files) imported before the application.
    pub imports: Vec<String>,
    /// `warmup`: paths requested once in the zygote before it forks.
    pub warmup: Vec<String>,
    /// Every configured option, for `uwsgi.opt`.
    pub options: Vec<(String, Vec<String>)>,
    /// The listening sockets, in the order of their descriptors.
    pub listeners: Vec<Listener>,
    /// `py-autoreload`: the master watches the application's files.
    pub watching: Option<Watching>,
    /// The request path's settings.
    pub serving: Serving,
}

/// What the master wants to know of the application's files.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Watching {
    /// How often it looks at them, milliseconds.
    pub every_ms: u64,
    /// Modules whose files it is not to be told of.
    pub ignored: Vec<String>,
}

/// Settings of the request path.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Serving {
    /// Worker processes.
    pub processes: u32,
    /// Rows of the scoreboard: more than processes, so that a worker and its successor can be there together.
    pub rows: u32,
    /// `reload-on-rss`, bytes: a worker that has so much resident memory accepts no more.
    pub resident_limit: Option<u64>,
    /// `min-worker-lifetime`, milliseconds: no younger worker minds it.
    pub min_lifetime_ms: u64,
    /// Requests have a deadline (`harakiri`).
    pub harakiri: bool,
    /// Threads per worker.
    pub threads: u32,
    /// `buffer-size`: the largest block of request variables, bytes.
    pub buffer_size: u32,
    /// `post-buffering`: bodies of at least this many bytes are spooled to a file.
    pub post_buffering: u64,
    /// `limit-post`: larger bodies are refused; 0: no limit.
    pub limit_post: u64,
    /// `socket-timeout`, milliseconds: how long a peer may be silent in mid-request or mid-response.
    pub socket_timeout_ms: u64,
    /// Idle HTTP connections are kept this long, milliseconds.
    pub http_keepalive_ms: u64,
    /// `worker-reload-mercy`, milliseconds: how long a worker whose master is gone may go on with its requests.
    pub mercy_ms: u64,
    /// The request log.
    pub request_log: RequestLogSettings,
    /// The process titles: `auto-procname` and its kin, resolved; `None`: the usual ones.
    pub procname: Procname,
}

/// How processes are named in `ps`.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct Procname {
    /// Put before each title (`procname-prefix`, `procname-prefix-spaced`).
    pub prefix: String,
    /// Put after each title (`procname-append`).
    pub append: String,
    /// `procname`: the whole title of every process.
    pub all: Option<String>,
    /// `procname-master`: the whole title of the master.
    pub master: Option<String>,
}

/// Sends one message and the descriptors that go with it.
///
/// # Errors
/// Those of sendmsg(2): `EPIPE` when the other side is gone, `EMSGSIZE` when the message is too large.
pub fn send<M: Serialize>(
    fd: BorrowedFd<'_>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    packet::send(fd, &serde_json::to_vec(message)?, fds)
}

/// Receives one message and its descriptors, blocking if there is none yet; `None` when the other side is gone.
///
/// # Errors
/// Those of recvmsg(2); `InvalidData` for what is no such message.
pub fn receive<M: DeserializeOwned>(fd: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    match packet::recv(fd, &mut bytes, &mut fds) {
        Ok(0) => Ok(None),
        // a side that dies with unread messages resets the pair: gone all the same
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Ok(_) => Ok(Some((serde_json::from_slice(&bytes)?, fds))),
        Err(error) => Err(error),
    }
}
