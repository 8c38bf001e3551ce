//! The settings that the master sends to a zygote.

use serde::{Deserialize, Serialize};

use crate::config::WorkerOptions;
use crate::log::request_log::RequestLogSettings;

/// The protocol of a listening socket.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The binary uwsgi protocol.
    #[default]
    Uwsgi,
    /// HTTP/1.1.
    Http,
}

/// A listening socket; its descriptor is sent beside the message.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address as configured, for the log.
    pub name: String,
    /// Port for SERVER_PORT of HTTP requests, 0 for a Unix socket.
    pub port: u16,
}

/// The settings that the interpreter's processes need.
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
    /// `eval`: Python code that defines the application.
    pub eval: Option<String>,
    /// `paste`: the URI of a PasteDeploy application.
    pub paste: Option<String>,
    /// `paste-logger`: configure logging from its file.
    pub paste_logger: bool,
    /// `pecan`: the configuration file of a Pecan application.
    pub pecan: Option<String>,
    /// `callable`: the attribute to use if `module` names none.
    pub callable: Option<String>,
    /// `mount`: mount points and their applications, in the order of the file.
    pub mounts: Vec<(String, String)>,
    /// `manage-script-name`.
    pub manage_script_name: bool,
    /// `no-default-app`: no application serves the requests for no mount point.
    pub no_default_app: bool,
    /// `need-app`: without an application the start fails.
    pub need_app: bool,
    /// `lazy-apps`: import in the worker, after the fork.
    pub lazy: bool,
    /// `pythonpath`, in order; each is inserted at the front of `sys.path`.
    pub pythonpath: Vec<String>,
    /// `chdir2`: the directory to enter after the application is loaded.
    pub chdir2: Option<String>,
    /// `pyargv`: `sys.argv` without its first item.
    pub pyargv: Vec<String>,
    /// `pyimport`: modules (or `.py` files) imported before the application.
    pub imports: Vec<String>,
    /// `shared-import`: modules (or `.py` files) imported before the workers are forked.
    pub shared_imports: Vec<String>,
    /// `warmup`: paths requested once in the zygote before it forks.
    pub warmup: Vec<String>,
    /// Every configured option, for `uwsgi.opt`.
    pub options: Vec<(String, Vec<String>)>,
    /// The listening sockets, in the order of their descriptors.
    pub listeners: Vec<Listener>,
    /// `py-autoreload`: the master watches the application's files.
    pub watching: Option<Watching>,
    /// The options that workers use as they are configured.
    pub worker: WorkerOptions,
    /// Further settings of request handling, derived by the master.
    pub serving: Serving,
}

/// Which files of the application are reported to the master.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Watching {
    /// Interval of the checks, milliseconds.
    pub every_ms: u64,
    /// Modules whose files are not reported.
    pub ignored: Vec<String>,
}

/// Settings of request handling that are derived from several options, or are no options.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Serving {
    /// Worker processes.
    pub processes: u32,
    /// Rows of the scoreboard: more than processes, because a worker and its successor can overlap.
    pub rows: u32,
    /// `reload-on-rss`, bytes: a worker with this much resident memory accepts no more connections.
    pub resident_limit: Option<u64>,
    /// `min-worker-lifetime`, milliseconds: the age from which `reload-on-rss` applies.
    pub min_lifetime_ms: u64,
    /// Requests have a deadline (`harakiri`).
    pub harakiri: bool,
    /// Threads per worker.
    pub threads: u32,
    /// `post-buffering`: bodies of at least this many bytes are spooled to a file.
    pub post_buffering: u64,
    /// `worker-reload-mercy`, milliseconds: time for the requests in flight of a worker whose master has exited.
    pub mercy_ms: u64,
    /// The request log.
    pub request_log: RequestLogSettings,
    /// `py-tracebacker`: the prefix of the sockets of the traceback servers.
    pub tracebacker: Option<String>,
    /// The process titles: the `procname` options, resolved.
    pub procname: Procname,
}

/// Process titles, as `ps` shows them.
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
