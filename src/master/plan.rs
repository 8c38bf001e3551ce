//! The plan of a generation: the settings that its processes need, with all defaults and paths resolved.

use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::{Config, ScalingAlgorithm};
use crate::ipc::{AppSpec, Procname, Serving, SharedMemorySpec, Watching, WorkerProgram};
use crate::log::request_log::{Field, Piece, RequestLogSettings, Selection};

use super::app_signals::{self, Trigger};
use super::extension_module::ExtensionModule;
use super::hooks;
use super::interpreter::InterpreterCache;
use super::memory_limits::MemoryLimits;
use super::mules::{self, MuleSettings};
use super::scale::{Algorithm, Busyness, Scale};
use super::shared_memory::SharedMemory;
use super::worker_limits::Limits;
use crate::log;
use crate::net::BoundSocket;

/// Default of `harakiri-graceful-timeout`, the time that a thread has to return after its request has expired.
const HARAKIRI_GRACE: Duration = Duration::from_secs(2);

/// Number of slots per worker id: one each for the worker, its successor, and a predecessor that has not exited yet.
const SLOTS_PER_WORKER: u32 = 3;

/// The resolved settings of a generation.
pub(super) struct Plan {
    /// The settings that are sent to the zygote and the workers.
    pub(super) app: AppSpec,
    pub(super) interpreter: PathBuf,
    pub(super) module: Rc<ExtensionModule>,
    /// The zygote's working directory, absolute.
    pub(super) directory: PathBuf,
    /// The zygote's complete environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Optimization level of the interpreter (`optimize`).
    pub(super) optimize: u32,
    /// Whether the interpreter imports the module `site`. `no-site` prevents the import.
    pub(super) has_site: bool,
    /// Whether the generation has a zygote. A generation without a socket, an application and an import only has
    /// services, and needs no zygote.
    pub(super) needs_zygote: bool,
    /// Limit of the address space of the zygote and its workers, in bytes (`limit-as`).
    pub(super) address_space: Option<u64>,
    /// Time that a leaving worker has to finish its requests and exit (`worker-reload-mercy`, `reload-mercy`).
    pub(super) mercy: Duration,
    /// Maximum wait of a successor for the exit of the process that has its worker id (`worker-id-timeout`).
    pub(super) id_timeout: Duration,
    /// Whether the application inherits the master's standard input (`honour-stdin`).
    pub(super) gives_stdin: bool,
    /// Time limit of a request (`harakiri`).
    pub(super) harakiri: Option<Duration>,
    /// Time that a thread has to return after its request has expired (`harakiri-graceful-timeout`).
    pub(super) harakiri_grace: Duration,
    /// `harakiri-queue-threshold`.
    pub(super) harakiri_queue_threshold: Option<u32>,
    pub(super) limits: Limits,
    /// Whether requests are counted by duration and status (`prometheus`).
    pub(super) measures_requests: bool,
    /// Whether `post-app` hooks run after the application is loaded. The generation serves when they have ended.
    pub(super) hooks_after_load: bool,
    pub(super) scale: Scale,
    pub(super) mules: MuleSettings,
    /// The triggers from options that raise signals of the application, each with the number of its signal.
    pub(super) signals: Vec<(u8, Trigger)>,
    /// The listening sockets, in the order of `app.listeners`. The previous generation may have the same sockets.
    pub(super) sockets: Vec<Rc<BoundSocket>>,
    /// The memory of `app.shared_memory`. The previous generation shares the parts whose definition has not changed.
    pub(super) shared_memory: SharedMemory,
}

impl Plan {
    /// Makes the plan for a configuration. The caller must have changed to the directory of the application before.
    ///
    /// # Errors
    /// When the interpreter cannot be found, or the current directory does not exist any more.
    pub(super) fn new(
        config: &Config,
        reloads: u32,
        sockets: Vec<Rc<BoundSocket>>,
        module: Rc<ExtensionModule>,
        interpreters: &mut InterpreterCache,
    ) -> Result<Self> {
        let directory = std::env::current_dir().context("the current directory is gone")?;
        let mut environment = environment(config, std::env::vars_os());
        environment.extend(facts(reloads));
        let interpreter = interpreters.find(config, &environment)?;
        Ok(Self {
            app: app(config, reloads > 0, &sockets),
            interpreter,
            module,
            directory,
            environment,
            optimize: config.optimize(),
            has_site: !config.no_site(),
            needs_zygote: !sockets.is_empty()
                || config.has_application()
                || !config.pyimport().is_empty()
                || !config.shared_import().is_empty(),
            address_space: config.limit_as(),
            mercy: mercy(config),
            id_timeout: config.worker_id_timeout(),
            gives_stdin: config.gives_stdin(),
            harakiri: harakiri(config),
            harakiri_grace: config
                .harakiri_graceful_timeout()
                .filter(|grace| !grace.is_zero())
                .unwrap_or(HARAKIRI_GRACE),
            harakiri_queue_threshold: config.harakiri_queue_threshold(),
            limits: limits(config),
            measures_requests: !config.prometheus().is_empty(),
            hooks_after_load: !hooks::Phase::PostApp.is_empty(config),
            mules: MuleSettings::new(config),
            signals: app_signals::configured(config),
            scale: match sockets.is_empty() {
                true => scale(config).without_workers(),
                false => scale(config),
            },
            sockets,
            shared_memory: SharedMemory::default(),
        })
    }

    /// Sets the memory that the processes share.
    pub(super) fn with_memory(mut self, memory: SharedMemory) -> Self {
        self.app.shared_memory = memory.spec();
        self.shared_memory = memory;
        self
    }
}

/// Variables that uWSGI sets for libraries: its program name (`argv[0]`), and the number of reloads.
fn facts(reloads: u32) -> [(OsString, OsString); 2] {
    let program = std::env::args_os().next().unwrap_or_default();
    [
        ("UWSGI_ORIGINAL_PROC_NAME".into(), program),
        ("UWSGI_RELOADS".into(), reloads.to_string().into()),
    ]
}

/// Returns the environment of the application. It begins with `ours`, the master's variables, without those that only
/// the master uses. Then `early-envdir`, `unenv`, `env` and `envdir` change it, in this order.
pub(super) fn environment(
    config: &Config,
    ours: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> =
        ours.filter(|(name, _)| !is_for_master(name)).collect();
    set(&mut environment, &config.directories.early);
    for name in config.unenv() {
        environment.retain(|(known, _)| known != name.as_str());
    }
    set(&mut environment, config.env());
    set(&mut environment, &config.directories.late);
    environment
}

/// Sets each variable that has a value, and removes each variable that has none.
fn set(environment: &mut Vec<(OsString, OsString)>, variables: &[(String, Option<String>)]) {
    for (name, value) in variables {
        environment.retain(|(known, _)| known != name.as_str());
        if let Some(value) = value {
            environment.push((name.into(), value.into()));
        }
    }
}

/// Whether a variable is for the master only. The application does not inherit such a variable.
fn is_for_master(name: &OsString) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    // the log settings are inherited, because they apply to the zygote and the workers too
    let option = (name.starts_with("UWSGI_") || name.starts_with("RUWSGI_"))
        && !["RUWSGI_LOG", "RUWSGI_JOURNAL_SOCKET", log::VASSAL_NAME].contains(&name);
    option
        || [
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "NOTIFY_SOCKET",
        ]
        .contains(&name)
}

fn app(config: &Config, is_a_reload: bool, sockets: &[Rc<BoundSocket>]) -> AppSpec {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mules = mules::programs(config);
    AppSpec {
        farms: mules::farms(config, mules.len()),
        mules,
        name: config.name().to_owned(),
        module: owned(config.module()),
        wsgi_file: owned(config.wsgi_file()),
        eval: owned(config.eval()),
        paste: owned(config.paste()),
        paste_logger: config.paste_logger(),
        pecan: owned(config.pecan()),
        callable: owned(config.callable()),
        mounts: config.mount().to_vec(),
        manage_script_name: config.manage_script_name(),
        no_default_app: config.no_default_app(),
        need_app: config.need_app() && (config.has_application() || !sockets.is_empty()),
        program: program(config),
        lazy: config.lazy_apps() || config.lazy(),
        pythonpath: config.pythonpath().to_vec(),
        chdir2: owned(config.chdir2()),
        pyargv: config
            .pyargv()
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        script: owned(config.pyrun()),
        imports: config.pyimport().to_vec(),
        shared_imports: config.shared_import().to_vec(),
        warmup: config.warmup().to_vec(),
        options: options(config),
        is_a_reload,
        listeners: sockets
            .iter()
            .map(|socket| socket.listener.clone())
            .collect(),
        watching: watching(config),
        shared_memory: SharedMemorySpec::default(),
        worker: config.worker_options(),
        routing: config.routes(),
        serving: serving(config),
    }
}

/// The program that workers run instead of serving requests.
fn program(config: &Config) -> Option<WorkerProgram> {
    let file = config.python_worker_override().map(str::to_owned);
    let shell = config.pyshell().map(str::to_owned);
    let once = config.pyshell_oneshot().map(str::to_owned);
    file.map(WorkerProgram::File)
        .or(shell.map(WorkerProgram::Shell))
        .or(once.map(WorkerProgram::ShellOnce))
}

/// Options of uWSGI that ruwsgi always implements. They are listed because libraries look for them in `uwsgi.opt`.
const IMPLIED: &[&str] = &[
    "master",
    "enable-threads",
    "single-interpreter",
    "py-call-osafterfork",
    "py-call-uwsgi-fork-hooks",
];

/// Returns the content of `uwsgi.opt`: every configured option with all its values, and the options that are in force
/// by default. An option that is not configured has no value. An implied option with a configured value other than
/// `true` is listed without its values.
fn options(config: &Config) -> Vec<(String, Vec<String>)> {
    let mut options: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value, _) in config.entries() {
        match options.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value.clone()),
            None => options.push((name.clone(), vec![value.clone()])),
        }
    }
    let is_true = |values: &Vec<String>| values.iter().all(|value| value == "true");
    options.retain(|(name, values)| is_true(values) || !IMPLIED.contains(&name.as_str()));
    let by_default = [("need-app", config.need_app()), ("vacuum", config.vacuum())];
    let by_default = by_default.iter().filter(|(_, on)| *on);
    for name in by_default.map(|(name, _)| name).chain(IMPLIED) {
        if !options.iter().any(|(known, _)| known == name) {
            options.push(((*name).to_owned(), Vec::new()));
        }
    }
    options
}

fn serving(config: &Config) -> Serving {
    Serving {
        rows: config.processes().saturating_mul(SLOTS_PER_WORKER),
        mercy_ms: milliseconds(mercy(config)),
        request_log: request_log(config),
        procname: procname(config),
    }
}

fn request_log(config: &Config) -> RequestLogSettings {
    RequestLogSettings {
        selection: Selection {
            all: !config.disable_logging(),
            client_errors: config.log_4xx(),
            server_errors: config.log_5xx(),
            slow_ms: config.log_slow().filter(|limit| *limit > 0).map(u64::from),
            big: config.log_big(),
            zero: config.log_zero(),
            sendfile: config.log_sendfile(),
            broken: config.log_ioerror(),
        },
        format: request_format(config),
        json: config.log_json(),
        micros: config.log_micros(),
        forwarded_for: config.log_x_forwarded_for(),
        host: config.vhost(),
        memory: config.memory_report(),
    }
}

/// Returns the format of request lines: `access-log-format`, or `log-format` if it is not set. With
/// `logformat-strftime`, `log-date` is the format of the time in `log-format`.
fn request_format(config: &Config) -> Option<Vec<Piece>> {
    if let Some(format) = config.access_log_format() {
        return Some(format.to_vec());
    }
    let mut format = config.log_format()?.to_vec();
    if config.logformat_strftime()
        && let Some(date) = config.log_date().filter(|date| date.contains('%'))
    {
        for piece in &mut format {
            if *piece == Piece::Field(Field::FormattedTime) {
                *piece = Piece::Time(date.to_owned());
            }
        }
    }
    Some(format)
}

/// Returns the time that a leaving worker has to finish its requests and exit: the shorter of `worker-reload-mercy` and
/// `reload-mercy`.
fn mercy(config: &Config) -> Duration {
    let worker = config.worker_reload_mercy();
    config.reload_mercy().map_or(worker, |all| all.min(worker))
}

/// Returns how the application's source files are watched (`py-autoreload`). `None` if they are not watched.
fn watching(config: &Config) -> Option<Watching> {
    let every = config.py_autoreload().filter(|every| !every.is_zero())?;
    Some(Watching {
        every_ms: milliseconds(every),
        ignored: config.py_auto_reload_ignore().to_vec(),
    })
}

fn limits(config: &Config) -> Limits {
    let number = |number: Option<u32>| number.filter(|number| *number > 0).map(u64::from);
    let time = |time: Option<Duration>| time.filter(|time| !time.is_zero());
    Limits {
        requests: number(config.max_requests()),
        requests_delta: config.max_requests_delta().map(u64::from),
        lifetime: time(config.max_worker_lifetime()),
        lifetime_delta: config.max_worker_lifetime_delta(),
        min_lifetime: config.min_worker_lifetime(),
        memory: MemoryLimits::new(config),
    }
}

fn scale(config: &Config) -> Scale {
    let most = config.processes();
    let least = config.cheaper().filter(|least| *least > 0);
    Scale {
        cheap: config.cheap(),
        initial: least.map_or(most, |least| {
            config.cheaper_initial().unwrap_or(least).max(least)
        }),
        least: least.unwrap_or(most),
        most,
        step: config.cheaper_step(),
        overload: config.cheaper_overload(),
        algorithm: algorithm(config),
        soft_limit: config.cheaper_rss_limit_soft().filter(|bytes| *bytes > 0),
        hard_limit: config.cheaper_rss_limit_hard().filter(|bytes| *bytes > 0),
    }
}

fn algorithm(config: &Config) -> Algorithm {
    match config.cheaper_algo() {
        ScalingAlgorithm::Spare => Algorithm::Spare,
        ScalingAlgorithm::Backlog => Algorithm::Backlog,
        ScalingAlgorithm::Manual => Algorithm::Manual,
        ScalingAlgorithm::Busyness => Algorithm::Busyness(Busyness {
            max: config.cheaper_busyness_max(),
            min: config.cheaper_busyness_min(),
            multiplier: config.cheaper_busyness_multiplier(),
            penalty: config.cheaper_busyness_penalty(),
            backlog_alert: config.cheaper_busyness_backlog_alert(),
            backlog_step: config.cheaper_busyness_backlog_step(),
            backlog_multiplier: config.cheaper_busyness_backlog_multiplier(),
            backlog_nonzero: config.cheaper_busyness_backlog_nonzero(),
        }),
    }
}

fn harakiri(config: &Config) -> Option<Duration> {
    config.harakiri().filter(|limit| !limit.is_zero())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn procname(config: &Config) -> Procname {
    let spaced = config
        .procname_prefix_spaced()
        .map(|prefix| format!("{prefix} "));
    let prefix = config.procname_prefix().map(str::to_owned).or(spaced);
    Procname {
        prefix: prefix.unwrap_or_default(),
        append: config.procname_append().unwrap_or_default().to_owned(),
        all: config.procname().map(str::to_owned),
        master: config.procname_master().map(str::to_owned),
    }
}

/// Returns the title of the master in `ps`. `None` if no option requests a title: `ps` then shows the command line.
pub(super) fn master_title(config: &Config) -> Option<String> {
    let procname = procname(config);
    let asked = config.auto_procname() || procname != Procname::default();
    let title = procname.master.or(procname.all);
    let title = title.as_deref().unwrap_or("ruwsgi master");
    asked.then(|| format!("{}{title}{}", procname.prefix, procname.append))
}
