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
use super::plan::Plan;
use super::resources::Resources;
use super::signals;
use crate::log;
use crate::net;
use crate::process::{log_thread, redirect_log};

/// Makes this process the master of an instance, and returns the plan of its first generation. `None` if the instance does
/// not have to run: its emperor waits for connections on its sockets, or stops it.
///
/// # Errors
/// When a step fails; the external resources are released before.
pub(super) fn start(
    config: Config,
    invocation: config::Invocation,
    mut emperor: EmperorLink,
) -> Result<Option<(Instance, Signals, Plan)>> {
    // LISTEN_PID names this process, not the daemon that it may become
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
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    tracing::info!(
        "ruwsgi {} on {}",
        env!("CARGO_PKG_VERSION"),
        log::counted(cpus as u64, "CPU")
    );
    // they were written to the terminal already; the log file has other readers
    if [config.logto(), config.daemonize(), config.daemonize2()]
        .iter()
        .any(Option::is_some)
    {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
    }
    // before the first change, so that a start without the necessary rights has no effect
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

/// Sets the configured limit of descriptors; without one, raises the soft limit of this process to the hard one.
fn limit_descriptors(configured: Option<u32>) {
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

/// The steps from the directory of the application to the plan, with the drop of privileges among them.
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
    run_phase(Phase::PreApp, instance.config(), Some(signals))?;
    instance.plan().map(Some)
}

/// Sets the nice value and the limit of processes.
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

/// Locks files, so that one instance of several runs.
///
/// # Errors
/// When a file cannot be opened, or another process holds a lock that is not waited for.
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

/// Creates and opens the first `master-fifo`.
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

/// The directory of the control socket, determined while this process may still create it. A vassal has none: its emperor
/// forwards requests, and hundreds of vassals need no sockets.
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
        // reported by the drop of privileges
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

/// Opens the control socket. An error is reported only for a configured one (`control-socket`).
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
        // the same command in the same directory runs already, as another instance
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

/// Becomes a daemon, if configured; returns the parent that waits for the result of the start (`daemonize2`).
fn detach(config: &Config, emperor: &EmperorLink) -> Result<Option<daemon::Parent>> {
    if emperor.is_vassal() {
        // a vassal stays a child of its emperor; as in uWSGI, only the log is redirected
        redirect_log(config, config.daemonize().or(config.daemonize2()))?;
        return Ok(None);
    }
    crate::process::detach(config)
}

/// The path of the log before `logto2`; `None` with `chroot`, from where it cannot be reopened.
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

/// The user, groups and capabilities that are configured.
fn configured_privileges(config: &Config) -> Privileges<'_> {
    Privileges {
        uid: config.uid(),
        gid: config.gid(),
        add_gids: config.add_gid(),
        no_initgroups: config.no_initgroups(),
        caps: config.cap(),
        reserve: &[],
    }
}

/// Whether this process, which is not root's, has the configured user and groups already.
fn has_configured_user(wanted: Privileges<'_>) -> bool {
    let dropped = privileges::drop_privileges(&Privileges {
        caps: &[],
        ..wanted
    });
    !matches!(dropped, Err(user::DropError::NotRoot { .. }))
}
