//! The settings that the master sends to a zygote.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use serde::{Deserialize, Serialize};

use crate::config::WorkerOptions;
use crate::log::request_log::RequestLogSettings;
use crate::routing::RoutingSettings;
use crate::shared::cache::CacheDefinition;
use crate::shared::queue::QueueDefinition;
use crate::sys::stream;

/// The protocol of a listening socket.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The binary uwsgi protocol.
    #[default]
    Uwsgi,
    /// HTTP/1.1.
    Http,
}

/// A listening socket. Its descriptor is sent with the message as ancillary data.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Listener {
    /// The protocol spoken on the socket.
    pub protocol: Protocol,
    /// The address as configured, for the log.
    pub name: String,
    /// The port, which becomes SERVER_PORT of HTTP requests; 0 for a Unix socket.
    pub port: u16,
}

/// The settings that the zygote and its workers need.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct AppSpec {
    /// The instance's name, for process titles and the log: the name of the configuration file.
    pub name: String,
    /// Whether this generation is not the instance's first one (`uwsgi.is_a_reload`).
    pub is_a_reload: bool,
    /// `module`: `pkg.mod`, `pkg.mod:callable` or `pkg.mod:factory()`.
    pub module: Option<String>,
    /// `wsgi-file`: a path to a Python file.
    pub wsgi_file: Option<String>,
    /// `eval`: Python code that defines the application.
    pub eval: Option<String>,
    /// `paste`: the URI of a PasteDeploy application.
    pub paste: Option<String>,
    /// `paste-logger`: whether Python's logging is configured from the file of the PasteDeploy application.
    pub paste_logger: bool,
    /// `pecan`: the configuration file of a Pecan application.
    pub pecan: Option<String>,
    /// `callable`: the name of the application in its module, used if `module` names no callable.
    pub callable: Option<String>,
    /// `mount`: mount points and their applications, in the order of the configuration file.
    pub mounts: Vec<(String, String)>,
    /// `manage-script-name`: whether the mount point is moved from PATH_INFO to SCRIPT_NAME.
    pub manage_script_name: bool,
    /// `no-default-app`: whether a request that matches no mount point gets 404 instead of the default application.
    pub no_default_app: bool,
    /// The program that workers run instead of serving requests.
    pub program: Option<WorkerProgram>,
    /// `need-app`: whether the start fails if no application can be loaded.
    pub need_app: bool,
    /// `lazy-apps`: whether each worker imports the application itself, after the fork.
    pub lazy: bool,
    /// `pythonpath`: directories in the given order; each is inserted at the front of `sys.path`.
    pub pythonpath: Vec<String>,
    /// `chdir2`: the directory to enter after the application is loaded.
    pub chdir2: Option<String>,
    /// `pyargv`: `sys.argv` without its first item.
    pub pyargv: Vec<String>,
    /// `pyrun`: a Python file that runs instead of serving requests.
    pub script: Option<String>,
    /// `pyimport`: modules (or `.py` files) imported before the application.
    pub imports: Vec<String>,
    /// `shared-import`: modules (or `.py` files) imported before the workers are forked.
    pub shared_imports: Vec<String>,
    /// `warmup`: paths that the zygote requests from the application once, before it forks workers.
    pub warmup: Vec<String>,
    /// Every configured option, for `uwsgi.opt`.
    pub options: Vec<(String, Vec<String>)>,
    /// The programs of the mules, in the order of the mules' ids. An empty text stands for a mule without a program.
    pub mules: Vec<String>,
    /// The farms.
    pub farms: Vec<Farm>,
    /// The listening sockets, in the order of their descriptors.
    pub listeners: Vec<Listener>,
    /// The shared memory, in the order of its descriptors.
    pub shared_memory: SharedMemorySpec,
    /// `py-autoreload`: which source files workers report to the master. The master watches the reported files. `None`
    /// if no files are watched.
    pub watching: Option<Watching>,
    /// The options that workers use exactly as configured.
    pub worker: WorkerOptions,
    /// The rules of `route` and its variants.
    pub routing: RoutingSettings,
    /// The settings that the master derives from several options.
    pub serving: Serving,
}

impl AppSpec {
    /// Whether requests have a deadline (`harakiri`).
    pub fn has_deadline(&self) -> bool {
        self.worker.harakiri.is_some_and(|limit| !limit.is_zero())
    }

    /// Writes the settings to a file in memory, from where [`AppSpec::read`] reads them.
    ///
    /// # Errors
    /// Those of memfd_create(2) and write(2).
    pub(crate) fn to_memory(&self) -> io::Result<File> {
        let mut file = stream::memory_file("ruwsgi-settings")?;
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(file)
    }

    /// Reads the settings from the beginning of a file. The position of the descriptor has no effect.
    ///
    /// # Errors
    /// Those of read(2); `InvalidData` if the file does not contain settings.
    pub fn read(mut file: &File) -> io::Result<Self> {
        let mut text = Vec::new();
        file.seek(io::SeekFrom::Start(0))?;
        file.read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// A program that workers run instead of serving requests.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum WorkerProgram {
    /// `python-worker-override`: every worker runs this Python file.
    File(String),
    /// `pyshell`: worker 1 runs this Python code, or an interactive shell if it is empty.
    Shell(String),
    /// `pyshell-oneshot`: as `Shell`, but only the first process with the worker id 1 runs it.
    ShellOnce(String),
}

/// The memory that the processes of an instance share.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct SharedMemorySpec {
    /// The caches. The first cache is the default of the functions of `uwsgi`.
    pub caches: Vec<CacheDefinition>,
    /// Number of locks; `None`: lock 0 is in the scoreboard, and there is no descriptor.
    pub locks: Option<u32>,
    /// The queue.
    pub queue: Option<QueueDefinition>,
    /// The sizes of the shared areas, bytes.
    pub areas: Vec<u64>,
}

/// Which source files of the application workers report to the master.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Watching {
    /// Interval between checks for new files, milliseconds.
    pub every_ms: u64,
    /// Modules whose files are not reported.
    pub ignored: Vec<String>,
}

/// Settings that the master derives from several options.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Serving {
    /// Number of worker rows of the scoreboard. It exceeds `processes`, because a worker and its successor can exist at
    /// the same time.
    pub rows: u32,
    /// Time that a worker has to finish its requests in flight after its master has exited, milliseconds: the shorter
    /// of `worker-reload-mercy` and `reload-mercy`.
    pub mercy_ms: u64,
    /// The settings of the request log.
    pub request_log: RequestLogSettings,
    /// The process titles, from the options `procname` and `procname-*`.
    pub procname: Procname,
}

/// A group of mules.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Farm {
    /// The name.
    pub name: String,
    /// The ids of the mules, from 1.
    pub mules: Vec<u32>,
}

impl AppSpec {
    /// Number of rows of the scoreboard: a row for each worker slot, then a row for each mule.
    pub fn all_rows(&self) -> u32 {
        self.serving.rows + self.mules.len() as u32
    }
}

/// Process titles, as `ps` shows them.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct Procname {
    /// Text inserted before each title (`procname-prefix`, `procname-prefix-spaced`).
    pub prefix: String,
    /// Text appended to each title (`procname-append`).
    pub append: String,
    /// `procname`: the whole title of every process.
    pub all: Option<String>,
    /// `procname-master`: the whole title of the master.
    pub master: Option<String>,
}
