//! From a configuration to an instance that can begin: the steps of the start, in their order.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};

use crate::config::{self, Config};
use crate::control::socket_path;
use crate::sys::notify::Notify;
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signals;
use crate::sys::unix_socket::{Access, PlaceError};
use crate::sys::user::Wish;
use crate::sys::{daemon, pidfile, stdio, user};

use super::emperor_link::EmperorLink;
use super::fifo::Fifos;
use super::group;
use super::hooks::{Phase, run_phase};
use super::instance::{Instance, Resources};
use super::module::Module;
use super::plan::Plan;
use super::run::Control;
use super::signals;
use crate::net;

/// Makes this process the master of an instance, up to the first generation, which it describes. `None` where it is not
/// needed yet: its emperor waits at its sockets.
///
/// # Errors
/// Whatever the configuration or the environment does not allow; what was begun is undone.
pub(super) fn start(
    config: Config,
    invocation: config::Invocation,
    mut emperor: EmperorLink,
) -> Result<Option<(Instance, Signals, Plan)>> {
    // systemd names this very process, not the daemon that it may become
    let sockets = net::inherit(&config, &emperor.loan.lent)?;
    emperor.loan.find_address()?;
    run_phase(Phase::Asap, &config, None)?;
    let parent = detach(&config, &emperor)?;
    let mut resources = Resources {
        sockets,
        parent,
        emperor,
        log: log_file(&config)?,
        ..Resources::default()
    };
    resources.emperor.logs_elsewhere = [
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
            resources.undo(crate::exit::OK, &String::new().into());
            Ok(None)
        }
        Err(error) => {
            resources.undo(
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
    if let Some(log) = config.logto() {
        redirect(log)?;
    }
    // who has started it has read them already; the log of a daemon is for somebody else
    if [config.logto(), config.daemonize(), config.daemonize2()]
        .iter()
        .any(Option::is_some)
    {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
    }
    // what cannot end well is not begun
    wish(&config).check_rights()?;
    if !group::limit_at_start(&config, &resources.emperor)? {
        return Ok(None);
    }
    let mut signals = Signals::block(&signals::READ).context("signals cannot be blocked")?;
    process::set_child_subreaper().context("workers cannot be adopted")?;
    resources.notify = Notify::from_environment();
    if let Some(mask) = config.umask() {
        process::set_umask(mask);
    }
    if let Some(most) = config.max_fd().filter(|most| *most > 0)
        && let Err(error) = process::limit_descriptors(u64::from(most))
    {
        tracing::warn!(
            "max-fd = {most} cannot be set: {error}; the limit stays, and only root may raise it further"
        );
    }
    let module = Rc::new(Module::find()?);
    write_pidfile(config.pidfile(), resources)?;
    run_phase(Phase::PreJail, &config, Some(&mut signals))?;
    let directory = control_directory(&config, &invocation, &resources.emperor);
    if let Some(root) = config.chroot() {
        user::chroot(Path::new(root))?;
    }
    for phase in [Phase::PostJail, Phase::InJail] {
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

/// The steps that a reload takes again, and the drop of privileges in their midst.
fn finish(
    instance: &mut Instance,
    directory: Option<PathBuf>,
    signals: &mut Signals,
) -> Result<Option<Plan>> {
    if user::is_root() {
        run_phase(Phase::AsRoot, instance.config(), Some(signals))?;
    } else if !Phase::AsRoot.is_empty(instance.config()) {
        tracing::warn!("what is to be done as root is left out: this process does not run as root");
    }
    instance.enter_directory()?;
    instance.bind()?;
    if instance.waits_for_demand()? {
        return Ok(None);
    }
    drop_privileges(instance)?;
    run_phase(Phase::AsUser, instance.config(), Some(signals))?;
    if let Some(log) = instance.config().logto2() {
        redirect(log)?;
        let path = std::path::absolute(log)?;
        instance.resources_mut().log = Some(path);
    }
    let pidfile = instance.config().pidfile2().map(str::to_owned);
    write_pidfile(pidfile.as_deref(), instance.resources_mut())?;
    instance.name_process();
    instance.resources_mut().fifos = open_fifos(instance.config())?;
    instance.resources_mut().control = open_control(instance, directory)?;
    run_phase(Phase::PreApp, instance.config(), Some(signals))?;
    instance.plan().map(Some)
}

/// Makes the first `master-fifo`.
fn open_fifos(config: &Config) -> Result<Option<Fifos>> {
    let Some(first) = config.master_fifo().first() else {
        return Ok(None);
    };
    let absolute = config.master_fifo().iter().map(std::path::absolute);
    let paths = absolute.collect::<std::io::Result<Vec<_>>>()?;
    Fifos::open(paths).with_context(|| format!("master-fifo = {first}"))
}

/// Writes a pidfile that was written before.
pub(super) fn rewrite_pidfile(path: &Path) -> Result<()> {
    Ok(pidfile::write(path, Pid::own())?)
}

/// Where the control socket will be: decided while this process may still make the directory. A vassal's operators
/// ask the emperor, who passes on what it cannot answer: hundreds of vassals need no sockets for it.
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
        // that is reported when privileges are dropped
        Some(Err(_)) => return None,
        Some(Ok(user)) => user.uid,
        None => user::current_uid(),
    };
    // systemd makes one for the service
    let given = invocation.variable("RUNTIME_DIRECTORY");
    let given = given.and_then(|list| list.split(':').next());
    match socket_path::for_instance(given.map(PathBuf::from), uid) {
        Ok(directory) => Some(directory),
        Err(reason) => {
            tracing::debug!("there is no control socket: {reason}");
            None
        }
    }
}

/// Opens the control socket. Without one that was asked for, there is simply none where none can be.
fn open_control(instance: &Instance, directory: Option<PathBuf>) -> Result<Option<Control>> {
    let access = Access {
        mode: Some(0o600),
        ..Access::default()
    };
    let invocation = instance.invocation();
    if let Some(path) = instance.config().control_socket() {
        let path = invocation.cwd.join(path);
        return Control::open(&path, access)
            .map(Some)
            .with_context(|| format!("control-socket = {}", path.display()));
    }
    let Some(directory) = directory else {
        return Ok(None);
    };
    let arguments = invocation.argv.get(1..).unwrap_or_default();
    let identity = format!("{} {}", invocation.cwd.display(), arguments.join(" "));
    let name = instance.config().name();
    let mut opened = Control::open(&directory.join(socket_path::named(name, &identity)), access);
    if let Err(PlaceError::Live) = opened {
        // the same command in the same directory, made another one by its environment
        let identity = format!("{identity} {}", Pid::own());
        opened = Control::open(&directory.join(socket_path::named(name, &identity)), access);
    }
    match opened {
        Ok(control) => Ok(Some(control)),
        Err(reason) => {
            tracing::debug!("there is no control socket: {reason}");
            Ok(None)
        }
    }
}

/// Goes to the background, if asked; returns the process that waits to hear how the start went.
fn detach(config: &Config, emperor: &EmperorLink) -> Result<Option<daemon::Parent>> {
    if emperor.is_vassal() {
        // a vassal stays its emperor's child; as in uWSGI the log goes where it was meant to
        return match config.daemonize().or(config.daemonize2()) {
            Some(log) => redirect(log).map(|()| None),
            None => Ok(None),
        };
    }
    if let Some(log) = config.daemonize2() {
        return Ok(Some(daemon::detach_later(Path::new(log))?));
    }
    if let Some(log) = config.daemonize() {
        daemon::daemonize(Path::new(log))?;
    }
    Ok(None)
}

/// Where the log goes before `logto2`; nowhere that could be opened again, where that is outside of `chroot`.
fn log_file(config: &Config) -> Result<Option<PathBuf>> {
    let logs = [config.logto(), config.daemonize2(), config.daemonize()];
    let log = logs.into_iter().flatten().next();
    let log = log.filter(|_| config.chroot().is_none());
    Ok(log.map(std::path::absolute).transpose()?)
}

fn redirect(log: &str) -> Result<()> {
    stdio::redirect_output(Path::new(log))
        .with_context(|| format!("the log {log} cannot be written"))
}

pub(super) fn write_pidfile(path: Option<&str>, resources: &mut Resources) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let path = std::path::absolute(path)?;
    pidfile::write(&path, Pid::own())?;
    resources.pidfiles.push(path);
    Ok(())
}

fn drop_privileges(instance: &mut Instance) -> Result<()> {
    let vassal = instance.resources().emperor.is_vassal();
    let mut wish = wish(instance.config());
    if vassal && !user::is_root() && !is_already(wish) {
        tracing::warn!(
            "the uid and gid of this file have no effect: the emperor has started this vassal as {}",
            user::current_name()
        );
        wish = Wish {
            caps: wish.caps,
            ..Wish::default()
        };
    }
    let dropped = user::drop_privileges(&wish)?;
    if dropped.changed {
        tracing::info!("{dropped}");
    }
    if user::is_root() {
        tracing::warn!("the application runs as root: set uid (and gid) to a user of its own");
    }
    Ok(())
}

/// What the configuration wants this process to become.
fn wish(config: &Config) -> Wish<'_> {
    Wish {
        uid: config.uid(),
        gid: config.gid(),
        add_gids: config.add_gid(),
        no_initgroups: config.no_initgroups(),
        caps: config.cap(),
        reserve: &[],
    }
}

/// Whether this process, which is not root's, is what it is wished to become.
fn is_already(wish: Wish<'_>) -> bool {
    let dropped = user::drop_privileges(&Wish { caps: &[], ..wish });
    !matches!(dropped, Err(user::DropError::NotRoot { .. }))
}
