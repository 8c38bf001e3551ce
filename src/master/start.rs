//! The start of an instance: the steps from a configuration to the plan of the first generation, in order.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};

use crate::config::{self, Config};
use crate::control::socket_path;
use crate::net::{PlaceError, SocketPermissions};
use crate::sys::file_lock::FileLock;
use crate::sys::notify::Notify;
use crate::sys::privileges::{self, Privileges};
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signals;
use crate::sys::{daemon, path_error, rlimit, user};

use super::cgroup_limits;
use super::control_socket::ControlSocket;
use super::emperor_link::EmperorLink;
use super::extension_module::ExtensionModule;
use super::fifo::Fifos;
use super::hooks::{Phase, run_phase};
use super::instance::Instance;
use super::observer::Observer;
use super::plan::Plan;
use super::resources::Resources;
use super::signals;
use crate::log;
use crate::net;
use crate::process::{log_thread, redirect_log};

/// Makes this process the master of an instance, and returns the plan of its first generation. Returns `None` if the
/// instance does not have to run, because its emperor waits for connections on its sockets or stops the instance.
///
/// # Errors
/// When a step fails. The external resources are released before the return.
pub(super) fn start(
    config: Config,
    invocation: config::Invocation,
    mut emperor: EmperorLink,
) -> Result<Option<(Instance, Signals, Plan)>> {
    // LISTEN_PID is the pid of this process, so the sockets are inherited before this process becomes a daemon with
    // another pid
    let sockets = net::inherit(&config, &emperor.on_demand.inherited)?;
    emperor.on_demand.resolve_address()?;
    let mut locks = lock_files(&config, false)?;
    run_phase(Phase::Asap, &config, None)?;
    let parent = detach(&config, &emperor)?;
    locks.extend(lock_files(&config, true)?);
    let mut resources = Resources {
        sockets,
        parent,
        locks,
        emperor,
        log: log_file(&config)?,
        ..Resources::default()
    };
    resources.emperor.has_own_log = [
        config.logto(),
        config.logto2(),
        config.daemonize(),
        config.daemonize2(),
    ]
    .iter()
    .any(Option::is_some);
    match prepare(config, invocation, &mut resources) {
        Ok(Some(started)) => Ok(Some(started)),
        Ok(None) => {
            resources.release(crate::exit::OK, &String::new().into());
            Ok(None)
        }
        Err(error) => {
            resources.release(
                crate::exit::FAILED,
                &format!("cannot start: {error:#}").into(),
            );
            Err(error)
        }
    }
}

fn prepare(
    config: Config,
    invocation: config::Invocation,
    resources: &mut Resources,
) -> Result<Option<(Instance, Signals, Plan)>> {
    redirect_log(&config, config.logto())?;
    log_start(&config);
    // the rights are checked before the first change, so a start without the necessary rights changes nothing
    configured_privileges(&config).check_rights()?;
    if !cgroup_limits::apply_at_start(&config, &resources.emperor)? {
        return Ok(None);
    }
    let mut signals = Signals::block(&signals::READ).context("cannot block signals")?;
    process::set_child_subreaper().context("cannot become the subreaper of the workers")?;
    resources.notify = Notify::from_environment();
    if let Some(mask) = config.umask() {
        process::set_umask(mask);
    }
    limit_descriptors(config.max_fd());
    limit_processes(&config);
    let module = Rc::new(ExtensionModule::find()?);
    resources.pidfiles.write(config.pidfile())?;
    run_phase(Phase::PreJail, &config, Some(&mut signals))?;
    let directory = control_directory(&config, &invocation, &resources.emperor);
    if let Some(root) = config.chroot() {
        user::chroot(Path::new(root))?;
    }
    for phase in [Phase::PostJail, Phase::InJail, Phase::Awaited] {
        run_phase(phase, &config, Some(&mut signals))?;
    }
    let mut instance = Instance::new(config, invocation, module, std::mem::take(resources));
    match finish(&mut instance, directory, &mut signals) {
        Ok(Some(plan)) => Ok(Some((instance, signals, plan))),
        Ok(None) => {
            *resources = instance.into_resources();
            Ok(None)
        }
        Err(error) => {
            *resources = instance.into_resources();
            Err(error)
        }
    }
}

/// Logs the version and the options that have no effect. If the log is a file, also logs the warnings about the
/// configuration.
fn log_start(config: &Config) {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    tracing::info!(
        "ruwsgi {} on {}",
        env!("CARGO_PKG_VERSION"),
        log::counted(cpus as u64, "CPU")
    );
    let without_effect = config.without_effect();
    if !without_effect.is_empty() {
        let names: Vec<&str> = without_effect.iter().map(|(name, ..)| *name).collect();
        tracing::info!(
            "accepted without effect: {} (ruwsgi check explains each)",
            names.join(", ")
        );
    }
    // the warnings were already written to the terminal; the log file repeats them for its own readers
    if [config.logto(), config.daemonize(), config.daemonize2()]
        .iter()
        .any(Option::is_some)
    {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
    }
}

/// Sets the configured limit of open descriptors (`max-fd`). Without a configured limit, raises the soft limit of this
/// process to its hard limit.
pub(super) fn limit_descriptors(configured: Option<u32>) {
    match configured.filter(|most| *most > 0) {
        // on failure the limit stays as it is
        None => drop(rlimit::raise_descriptors()),
        Some(most) => {
            if let Err(error) = rlimit::limit_descriptors(u64::from(most)) {
                tracing::warn!(
                    "max-fd = {most} cannot be set: {error}; the limit is not changed (only root may raise the hard limit)"
                );
            }
        }
    }
}

/// Performs the last steps of the start, from the `as-root` hooks to the plan. Between them, this process changes to
/// the application's directory and drops its privileges. Returns `None` if the instance has handed its sockets over to
/// the emperor.
fn finish(
    instance: &mut Instance,
    directory: Option<PathBuf>,
    signals: &mut Signals,
) -> Result<Option<Plan>> {
    if user::is_root() {
        run_phase(Phase::AsRoot, instance.config(), Some(signals))?;
    } else if !Phase::AsRoot.is_empty(instance.config()) {
        tracing::warn!(
            "the hooks and commands as root are skipped: this process does not run as root"
        );
    }
    instance.enter_directory()?;
    instance.bind()?;
    if instance.hand_over_if_on_demand()? {
        return Ok(None);
    }
    instance.check_sockets()?;
    instance.resources_mut().observer = Observer::bind(instance.config())?;
    drop_privileges(instance)?;
    run_phase(Phase::AsUser, instance.config(), Some(signals))?;
    redirect_log(instance.config(), instance.config().logto2())?;
    if let Some(log) = instance.config().logto2() {
        let path = std::path::absolute(log)?;
        instance.resources_mut().log = Some(path);
    }
    let log = instance.resources().log.as_deref();
    let has_loggers = log_thread::start(instance.config(), log)?;
    instance.resources_mut().emperor.has_own_log |= has_loggers;
    let pidfile = instance.config().pidfile2().map(str::to_owned);
    let pidfiles = &mut instance.resources_mut().pidfiles;
    pidfiles.write(pidfile.as_deref())?;
    instance.name_process();
    instance.resources_mut().fifos = open_fifos(instance.config())?;
    instance.resources_mut().control = open_control(instance, directory)?;
    instance.start_observer()?;
    run_phase(Phase::PreApp, instance.config(), Some(signals))?;
    instance.plan().map(Some)
}

/// Sets the nice value (`prio`) and the maximum number of processes (`limit-nproc`). Logs a warning on failure.
fn limit_processes(config: &Config) {
    if let Some(nice) = config.prio()
        && let Err(error) = process::set_priority(nice)
    {
        tracing::warn!("prio = {nice} cannot be set: {error}; only root may go below 0");
    }
    if let Some(most) = config.limit_nproc().filter(|most| *most > 0)
        && let Err(error) = rlimit::limit_processes(u64::from(most))
    {
        tracing::warn!("limit-nproc = {most} cannot be set: {error}");
    }
}

/// Locks the configured files, so that only one of several instances runs. May wait for another process (`flock-wait`,
/// `flock-wait2`). `detached` is true after this process has become a daemon; the options are then `flock2` and
/// `flock-wait2`.
///
/// # Errors
/// When a file cannot be opened, or another process holds the lock of a `flock` or `flock2` file.
fn lock_files(config: &Config, detached: bool) -> Result<Vec<FileLock>> {
    let (at_once, waiting) = match detached {
        false => (
            ("flock", config.flock()),
            ("flock-wait", config.flock_wait()),
        ),
        true => (
            ("flock2", config.flock2()),
            ("flock-wait2", config.flock_wait2()),
        ),
    };
    let mut locks = Vec::new();
    for ((option, paths), waits) in [(at_once, false), (waiting, true)] {
        for path in paths {
            let lock = FileLock::take(Path::new(path), waits);
            locks.push(lock.with_context(|| format!("{option} = {path}"))?);
        }
    }
    Ok(locks)
}

/// Creates and opens the first FIFO of `master-fifo`. Returns `None` if no FIFO is configured.
fn open_fifos(config: &Config) -> Result<Option<Fifos>> {
    let Some(first) = config.master_fifo().first() else {
        return Ok(None);
    };
    let absolute = config.master_fifo().iter().map(std::path::absolute);
    let paths = absolute.collect::<std::io::Result<Vec<_>>>()?;
    Fifos::open(paths).map_err(|error| {
        let reason = path_error::reason(Path::new(first), &error);
        anyhow!("master-fifo = {first}: {reason}")
    })
}

/// Returns the directory of the default control socket. It is determined before the drop of privileges, while this
/// process may still create the directory. A vassal has no such socket: its emperor forwards requests, so that hundreds
/// of vassals need no sockets. An instance with `chroot` or `control-socket` has no default control socket either.
fn control_directory(
    config: &Config,
    invocation: &config::Invocation,
    emperor: &EmperorLink,
) -> Option<PathBuf> {
    if emperor.is_vassal() || config.chroot().is_some() || config.control_socket().is_some() {
        return None;
    }
    let user = config
        .uid()
        .filter(|_| user::is_root())
        .map(user::find_user);
    let uid = match user {
        // the error is not reported here, because the drop of privileges reports it
        Some(Err(_)) => return None,
        Some(Ok(user)) => user.uid,
        None => user::current_uid(),
    };
    let given = socket_path::of_service(invocation.variable("RUNTIME_DIRECTORY"));
    match socket_path::for_instance(given, uid) {
        Ok(directory) => Some(directory),
        Err(reason) => {
            tracing::debug!("no control socket: {reason}");
            None
        }
    }
}

/// Opens the configured control socket (`control-socket`), or the default control socket in `directory`. A failure to
/// open the default socket is only logged, and the instance runs without it.
fn open_control(instance: &Instance, directory: Option<PathBuf>) -> Result<Option<ControlSocket>> {
    let access = SocketPermissions {
        mode: Some(0o600),
        ..SocketPermissions::default()
    };
    let invocation = instance.invocation();
    if let Some(path) = instance.config().control_socket() {
        let path = invocation.cwd.join(path);
        return ControlSocket::open(&path, access)
            .map(Some)
            .with_context(|| format!("control-socket = {}", path.display()));
    }
    let Some(directory) = directory else {
        return Ok(None);
    };
    let arguments = invocation.argv.get(1..).unwrap_or_default();
    let identity = format!("{} {}", invocation.cwd.display(), arguments.join(" "));
    let name = instance.config().name();
    let mut opened =
        ControlSocket::open(&directory.join(socket_path::named(name, &identity)), access);
    if let Err(PlaceError::Live) = opened {
        // another instance in the same directory was started by the same command, so the pid makes the name unique
        let identity = format!("{identity} {}", Pid::own());
        opened = ControlSocket::open(&directory.join(socket_path::named(name, &identity)), access);
    }
    match opened {
        Ok(control) => Ok(Some(control)),
        Err(reason) => {
            tracing::debug!("no control socket: {reason}");
            Ok(None)
        }
    }
}

/// Makes this process a daemon, if configured. With `daemonize2`, returns the parent that waits for the result of the
/// start.
fn detach(config: &Config, emperor: &EmperorLink) -> Result<Option<daemon::Parent>> {
    if emperor.is_vassal() {
        // a vassal stays a child of its emperor; as in uWSGI, only the log is redirected
        redirect_log(config, config.daemonize().or(config.daemonize2()))?;
        return Ok(None);
    }
    crate::process::detach(config)
}

/// Returns the absolute path of the log file that is used until `logto2` applies. Returns `None` with `chroot`, because
/// the file cannot be reopened inside the new root.
fn log_file(config: &Config) -> Result<Option<PathBuf>> {
    let logs = [config.logto(), config.daemonize2(), config.daemonize()];
    let log = logs.into_iter().flatten().next();
    let log = log.filter(|_| config.chroot().is_none());
    Ok(log.map(std::path::absolute).transpose()?)
}

fn drop_privileges(instance: &mut Instance) -> Result<()> {
    let vassal = instance.resources().emperor.is_vassal();
    let mut wanted = configured_privileges(instance.config());
    if vassal && !user::is_root() && !has_configured_user(wanted) {
        tracing::warn!(
            "uid and gid in this file have no effect: the emperor has started this vassal as {}",
            user::current_name()
        );
        wanted = Privileges {
            caps: wanted.caps,
            ..Privileges::default()
        };
    }
    let dropped = privileges::drop_privileges(&wanted)?;
    if dropped.changed {
        tracing::info!("{dropped}");
    }
    if user::is_root() {
        tracing::warn!("the application runs as root: set uid (and gid) to an unprivileged user");
    }
    Ok(())
}

/// Returns the configured user, groups and capabilities.
pub(super) fn configured_privileges(config: &Config) -> Privileges<'_> {
    Privileges {
        uid: config.uid(),
        gid: config.gid(),
        add_gids: config.add_gid(),
        no_initgroups: config.no_initgroups(),
        caps: config.cap(),
        reserve: &[],
    }
}

/// Whether this process already has the configured user and groups. The process does not run as root.
fn has_configured_user(wanted: Privileges<'_>) -> bool {
    let dropped = privileges::drop_privileges(&Privileges {
        caps: &[],
        ..wanted
    });
    !matches!(dropped, Err(user::DropError::NotRoot { .. }))
}
