//! The start of an emperor: from the configuration to the event loop, step by step.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::{Config, Invocation};
use crate::control::socket_path;
use crate::net::PlaceError;
use crate::process::stop_signals::StopSignals;
use crate::process::{detach, log_thread, redirect_log};
use crate::sys::capability::Capabilities;
use crate::sys::notify::Notify;
use crate::sys::privileges::{self, Privileges};
use crate::sys::process;
use crate::sys::signal::Signals;
use crate::sys::{rlimit, title, user};

use super::backoff::Backoff;
use super::cgroups::Cgroups;
use super::cleanup::Cleanup;
use super::control::{self, Control};
use super::file_rules::{FileRules, is_tyrant};
use super::policy::Policy;
use super::run::{Emperor, READ};
use super::self_status::SelfStatus;
use super::source::Source;
use super::spawn::Launcher;
use super::statistics::Statistics;
use super::vassal::life_cycle::Delays;
use super::vassal_capabilities;
use super::vassals::Vassals;
use super::watch::{TIMING, VassalWatch};
use crate::watch::Debounce;

/// The default of `reload-mercy` for vassals, as in uWSGI.
const MERCY: Duration = Duration::from_secs(30);

/// Maximum concurrent starts per CPU. The number keeps the CPU busy while some of the starts wait for the disk or for
/// other processes.
const STARTS_PER_CPU: usize = 4;

/// Makes this process an emperor.
///
/// # Errors
/// Fails if a step of the start fails, or if the configuration has an option that an emperor does not support.
pub(super) fn start(
    config: &Config,
    invocation: &Invocation,
    cleanup: &mut Cleanup,
) -> Result<Emperor> {
    check(config)?;
    let capabilities = vassal_capabilities::of(config, is_tyrant(config))?;
    let sources = sources(config, invocation)?;
    // a process that exists already would stay in the emperor's first cgroup, so the cgroups are prepared before other
    // processes
    let cgroups = Cgroups::prepare(config, &sources)?;
    cleanup.parent = detach(config)?;
    redirect_log(config, config.logto())?;
    let signals = Signals::block(&READ).context("signals cannot be blocked")?;
    process::set_child_subreaper().context("vassals' workers cannot be adopted")?;
    let notify = Notify::from_environment();
    if let Some(mask) = config.umask() {
        process::set_umask(mask);
    }
    // the emperor needs a descriptor for each vassal; on failure the limit is lower and fewer vassals can run
    let _ = rlimit::raise_descriptors();
    for path in [config.pidfile(), config.emperor_pidfile()] {
        cleanup.pidfiles.write(path)?;
    }
    let control = open_control(config, invocation)?;
    let stats = Statistics::bind(config)?;
    drop_privileges(config, capabilities)?;
    open_last_log(config)?;
    for path in [
        config.pidfile2(),
        config.safe_pidfile(),
        config.safe_pidfile2(),
    ] {
        cleanup.pidfiles.write(path)?;
    }
    if let Some(title) = title(config) {
        title::set_title(&title);
    }
    cgroups.iter().for_each(Cgroups::log_start);
    let launcher = Launcher::new(config, invocation, capabilities)
        .context("the path of the ruwsgi program cannot be found")?;
    let policy = policy(config, launcher, cgroups);
    Ok(Emperor {
        sources,
        rules: file_rules(config),
        vassals: Vassals::new(policy, SelfStatus::new(config, invocation)),
        signals,
        stop_signals: StopSignals::default(),
        watch: VassalWatch::new().context("files cannot be watched")?,
        debounce: Debounce::new(TIMING),
        control,
        stats: stats.map(Statistics::start).transpose()?,
        notify,
        scan_interval: config.emperor_freq().max(Duration::from_secs(1)),
        reloading: false,
        unreadable: Vec::new(),
        status: String::new(),
        is_starting: true,
    })
}

/// Opens the logs as the user that the emperor has changed to: the file of `logto2`, and the loggers.
fn open_last_log(config: &Config) -> Result<()> {
    redirect_log(config, config.logto2())?;
    let logs = [
        config.logto2(),
        config.logto(),
        config.daemonize2(),
        config.daemonize(),
    ];
    let log = logs.into_iter().flatten().next();
    let log = log.map(std::path::absolute).transpose()?;
    log_thread::start_for_emperor(config, log.as_deref())
}

/// Fails if the configuration has an option that an emperor does not support.
fn check(config: &Config) -> Result<()> {
    let serves = !config.socket().is_empty()
        || !config.http().is_empty()
        || !config.http_socket().is_empty();
    if serves
        || config.module().is_some()
        || config.wsgi_file().is_some()
        || !config.mount().is_empty()
    {
        bail!(
            "an emperor serves no application itself: move the sockets and the application to a vassal's file"
        );
    }
    if config.chroot().is_some() {
        bail!("an emperor cannot be confined by chroot: set chroot in the vassals");
    }
    let tyrant = is_tyrant(config);
    if tyrant && !user::is_root() {
        bail!("emperor-tyrant needs root, to run each vassal as the owner of its file");
    }
    if tyrant && (config.uid().is_some() || config.gid().is_some()) {
        bail!("emperor-tyrant runs each vassal as the owner of its file: remove uid and gid");
    }
    Ok(())
}

fn sources(config: &Config, invocation: &Invocation) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for text in config.emperor() {
        let source = Source::parse(text, &invocation.cwd).map_err(anyhow::Error::msg)?;
        if let Some(directory) = source.missing_directory() {
            tracing::warn!(
                "there is no directory {}: its vassals are started when it is created",
                directory.display()
            );
        }
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn open_control(config: &Config, invocation: &Invocation) -> Result<Option<Control>> {
    let path = socket_path(config, invocation);
    let owner = config
        .uid()
        .map(|name| user::find_user_of("uid", name))
        .transpose()?
        .map(|user| user.uid);
    let owner = owner.filter(|_| user::is_root());
    if config.emperor_control().is_none()
        && let Some(directory) = path.parent()
        && let Err(reason) = socket_path::make_directory(directory)
    {
        tracing::warn!(
            "ruwsgi ls, status, reload and the other verbs do not work with this emperor: {reason}"
        );
        return Ok(None);
    }
    match control::open(&path, owner) {
        Ok(control) => Ok(Some(control)),
        Err(PlaceError::Live) => bail!(
            "another emperor has the same vassals and listens at {}",
            path.display()
        ),
        Err(error) if config.emperor_control().is_some() => {
            Err(error).with_context(|| format!("emperor-control = {}", path.display()))
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!(
                "ruwsgi ls, status, reload and the other verbs do not work with this emperor: {path}: {error}"
            );
            Ok(None)
        }
    }
}

/// The path of the control socket. Each list of sources has its own path, so that two emperors do not share a socket.
fn socket_path(config: &Config, invocation: &Invocation) -> PathBuf {
    if let Some(path) = config.emperor_control() {
        return invocation.cwd.join(path);
    }
    let given = socket_path::of_service(invocation.variable("RUNTIME_DIRECTORY"));
    let directory = given.or_else(|| socket_path::directories().into_iter().next());
    let sources = config.emperor().iter();
    let sources: Vec<String> = sources
        .map(|source| invocation.cwd.join(source).display().to_string())
        .collect();
    directory
        .unwrap_or_default()
        .join(socket_path::file_name(&sources.join(" ")))
}

fn drop_privileges(config: &Config, granted: Option<Capabilities>) -> Result<()> {
    let dropped = privileges::drop_privileges(&Privileges {
        uid: config.uid(),
        gid: config.gid(),
        add_gids: config.add_gid(),
        no_initgroups: config.no_initgroups(),
        caps: config.cap(),
        reserve: config.emperor_cap(),
    })?;
    match granted {
        None if dropped.changed => tracing::info!("{dropped}; the vassals run as the same user"),
        None => {}
        Some(granted) if dropped.changed => {
            tracing::info!(
                "{dropped}; the vassals run as the same user, with exactly the capabilities {granted}"
            );
        }
        Some(granted) => tracing::info!("each vassal has exactly the capabilities {granted}"),
    }
    if user::is_root() && !is_tyrant(config) {
        tracing::warn!(
            "the vassals run as root unless their files set uid and gid: set uid and gid here, or emperor-tyrant"
        );
    }
    Ok(())
}

fn title(config: &Config) -> Option<String> {
    let own = config
        .emperor_procname()
        .or(config.procname())
        .map(str::to_owned);
    own.or_else(|| config.auto_procname().then(|| "ruwsgi emperor".to_owned()))
}

fn file_rules(config: &Config) -> FileRules {
    FileRules {
        nofollow: config.emperor_nofollow(),
        extensions: config.emperor_extra_extension().to_vec(),
        tyrant: is_tyrant(config),
        link_owner: config.emperor_tyrant_nofollow(),
        address_extension: config.emperor_on_demand_extension().map(str::to_owned),
    }
}

fn policy(config: &Config, launcher: Launcher, cgroups: Option<Cgroups>) -> Policy {
    let milliseconds = |number: u32| Duration::from_millis(u64::from(number));
    let first = milliseconds(config.emperor_throttle());
    Policy {
        delays: Delays {
            backoff: Backoff {
                first,
                longest: milliseconds(config.emperor_max_throttle()).max(first),
            },
            mercy: config.reload_mercy().unwrap_or(MERCY),
        },
        launcher,
        cgroups,
        required_heartbeat: config.emperor_required_heartbeat(),
        max_concurrent_starts: std::thread::available_parallelism().map_or(1, NonZero::get)
            * STARTS_PER_CPU,
        tyrant: is_tyrant(config),
        tyrant_root: config.emperor_tyrant_root(),
    }
}
