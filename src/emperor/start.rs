//! From a configuration to an emperor: the steps of its start, in their order.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::{Config, Invocation};
use crate::control::socket_path;
use crate::process::pidfile;
use crate::sys::capability::Capabilities;
use crate::sys::notify::Notify;
use crate::sys::privileges::{self, Privileges};
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signals;
use crate::sys::unix_socket::PlaceError;
use crate::sys::{daemon, rlimit, stdio, title, user};

use super::control::{self, Control};
use super::groups::Groups;
use super::is_tyrant;
use super::realm::{Realm, Rule};
use super::run::{Emperor, READ};
use super::self_status::About;
use super::source::{Rules, Source};
use super::spawn::Recipe;
use super::stats::Stats;
use super::vassal::Limits;
use super::vassal_capabilities;
use super::watch::{TIMING, VassalWatch};
use crate::watch::Debounce;

/// How long vassals may take to stop where `reload-mercy` says nothing, as in uWSGI.
const MERCY: Duration = Duration::from_secs(30);

/// Starts that may be under way at once, for each CPU: enough to keep it busy while others wait for the disk, and to
/// have a share of a machine on which others work too.
const TURNS_PER_CPU: usize = 4;

/// What the emperor has to take away when it leaves.
#[derive(Default)]
pub(super) struct Way {
    pidfiles: Vec<PathBuf>,
    parent: Option<daemon::Parent>,
}

impl Way {
    /// Who waits for the start hears that it went well.
    pub(super) fn started(&mut self) {
        if let Some(parent) = self.parent.take()
            && let Err(error) = parent.ready()
        {
            tracing::warn!("nobody waited for the start to end: {error}");
        }
    }

    /// Takes everything away; who still waits for the start hears why it failed.
    pub(super) fn undo(&mut self, status: i32, sentence: &str) {
        for path in self.pidfiles.drain(..) {
            if let Err(error) = pidfile::remove(&path, Pid::own()) {
                // as usual where root owns the directory and the emperor is no longer root
                tracing::info!("the pidfile {} stays: {error}", path.display());
            }
        }
        if let Some(parent) = self.parent.take() {
            parent.failed(u8::try_from(status).unwrap_or(1), sentence);
        }
    }

    fn write_pidfile(&mut self, path: Option<&str>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let path = std::path::absolute(path)?;
        pidfile::write(&path, Pid::own())?;
        self.pidfiles.push(path);
        Ok(())
    }
}

/// Makes this process an emperor.
///
/// # Errors
/// Whatever the configuration or the environment does not allow.
pub(super) fn start(config: &Config, invocation: &Invocation, way: &mut Way) -> Result<Emperor> {
    check(config)?;
    let capabilities = vassal_capabilities::of(config, is_tyrant(config))?;
    let sources = sources(config, invocation)?;
    // before there is a second process, which could not be taken along
    let groups = Groups::prepare(config, &sources)?;
    if let Some(log) = config.daemonize2() {
        way.parent = Some(daemon::detach_later(Path::new(log))?);
    } else if let Some(log) = config.daemonize() {
        daemon::daemonize(Path::new(log))?;
    }
    redirect(config.logto())?;
    let signals = Signals::block(&READ).context("signals cannot be blocked")?;
    process::set_child_subreaper().context("vassals' workers cannot be adopted")?;
    let notify = Notify::from_environment();
    if let Some(mask) = config.umask() {
        process::set_umask(mask);
    }
    // it holds a channel to each vassal, and each may have as few as we had
    let descriptors = rlimit::raise_descriptors().ok();
    for path in [config.pidfile(), config.emperor_pidfile()] {
        way.write_pidfile(path)?;
    }
    let control = open_control(config, invocation)?;
    let stats = config.emperor_stats();
    let stats = stats
        .map(|address| Stats::open(address, config.emperor(), is_tyrant(config)))
        .transpose()?;
    drop_privileges(config, capabilities)?;
    redirect(config.logto2())?;
    for path in [
        config.pidfile2(),
        config.safe_pidfile(),
        config.safe_pidfile2(),
    ] {
        way.write_pidfile(path)?;
    }
    if let Some(title) = title(config) {
        title::set_title(&title);
    }
    groups.iter().for_each(Groups::begin);
    let recipe = Recipe::new(config, invocation, descriptors, capabilities)
        .context("our own program cannot be found")?;
    let every = config.emperor_freq().max(Duration::from_secs(1));
    Ok(Emperor {
        sources,
        rules: rules(config),
        realm: Realm::new(rule(config, recipe, groups), About::new(config, invocation)),
        signals,
        watch: VassalWatch::new().context("files cannot be watched")?,
        debounce: Debounce::new(TIMING),
        control,
        stats,
        notify,
        every,
        reloading: false,
        unread: Vec::new(),
        status: String::new(),
    })
}

/// What an emperor's configuration must not hold.
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
            "an emperor serves no application itself: put sockets and application into a file among its vassals"
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
        bail!("emperor-tyrant runs each vassal as the owner of its file: take uid and gid out");
    }
    Ok(())
}

fn sources(config: &Config, invocation: &Invocation) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for text in config.emperor() {
        let source = Source::parse(text, &invocation.cwd).map_err(anyhow::Error::msg)?;
        if let Some(directory) = source.missing_directory() {
            tracing::warn!(
                "there is no directory {} (yet): its vassals are started when it comes",
                directory.display()
            );
        }
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn redirect(log: Option<&str>) -> Result<()> {
    let Some(log) = log else { return Ok(()) };
    stdio::redirect_output(Path::new(log))
        .with_context(|| format!("the log {log} cannot be written"))
}

fn open_control(config: &Config, invocation: &Invocation) -> Result<Option<Control>> {
    let path = socket_path(config, invocation);
    let owner = config
        .uid()
        .map(user::find_user)
        .transpose()?
        .map(|user| user.uid);
    let owner = owner.filter(|_| user::is_root());
    if config.emperor_control().is_none()
        && let Some(directory) = path.parent()
        && let Err(reason) = socket_path::make_directory(directory)
    {
        tracing::warn!("ruwsgi ls and its kin cannot be served: {reason}");
        return Ok(None);
    }
    match control::open(&path, owner) {
        Ok(control) => Ok(Some(control)),
        Err(PlaceError::Live) => bail!(
            "another emperor has the same vassals: it listens at {}",
            path.display()
        ),
        Err(error) if config.emperor_control().is_some() => {
            Err(error).with_context(|| format!("emperor-control = {}", path.display()))
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!("ruwsgi ls and its kin cannot be served at {path}: {error}");
            Ok(None)
        }
    }
}

/// The control socket of an emperor: one for each list of sources, so that two emperors do not share one.
fn socket_path(config: &Config, invocation: &Invocation) -> PathBuf {
    if let Some(path) = config.emperor_control() {
        return invocation.cwd.join(path);
    }
    // systemd makes one for the service
    let given = invocation.variable("RUNTIME_DIRECTORY").map(PathBuf::from);
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
        None if dropped.changed => tracing::info!("{dropped}, and so do the vassals"),
        None => {}
        Some(granted) if dropped.changed => {
            tracing::info!("{dropped}; the vassals are the same user, with just {granted}");
        }
        Some(granted) => tracing::info!("each vassal has just the capabilities {granted}"),
    }
    if user::is_root() && !is_tyrant(config) {
        tracing::warn!(
            "the vassals run as root unless their files say otherwise: set uid and gid, or emperor-tyrant"
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

fn rules(config: &Config) -> Rules {
    Rules {
        nofollow: config.emperor_nofollow(),
        extensions: config.emperor_extra_extension().to_vec(),
        tyrant: is_tyrant(config),
        link_owner: config.emperor_tyrant_nofollow(),
        beside: config.emperor_on_demand_extension().map(str::to_owned),
    }
}

fn rule(config: &Config, recipe: Recipe, groups: Option<Groups>) -> Rule {
    let milliseconds = |number: u32| Duration::from_millis(u64::from(number));
    let throttle = milliseconds(config.emperor_throttle());
    Rule {
        limits: Limits {
            throttle,
            longest: milliseconds(config.emperor_max_throttle()).max(throttle),
            mercy: config.reload_mercy().unwrap_or(MERCY),
        },
        recipe,
        groups,
        required_heartbeat: config.emperor_required_heartbeat(),
        turns: std::thread::available_parallelism().map_or(1, NonZero::get) * TURNS_PER_CPU,
        tyrant: is_tyrant(config),
        tyrant_root: config.emperor_tyrant_root(),
    }
}
