//! What outlives generations: where the configuration comes from, the sockets, the files that tell others of the
//! instance, the service manager.

mod sockets;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::{self, Address, Config};
use crate::ipc::LoadFailure;
use crate::sys::notify::Notify;
use crate::sys::process::{self, Pid};
use crate::sys::{daemon, pidfile};

use super::emperor_link::EmperorLink;
use super::fifo::Fifos;
use super::generation::Generation;
use super::group;
use super::interpreter::Interpreters;
use super::module::Module;
use super::plan::{self, Plan};
use super::report;
use super::run::Control;
use super::services::{self, Wanted};
use super::signals::ReloadMode;
use super::start;
use crate::net::{self, Bound};

/// What a start leaves behind on its way, and has to take away when the instance ends.
#[derive(Default)]
pub(super) struct Resources {
    pub(super) notify: Notify,
    pub(super) emperor: EmperorLink,
    /// The process that was started, while it waits to hear how the start went (`daemonize2`).
    pub(super) parent: Option<daemon::Parent>,
    /// Absolute paths.
    pub(super) pidfiles: Vec<PathBuf>,
    /// The absolute path of the log, if it is a file of our own.
    pub(super) log: Option<PathBuf>,
    /// What the generation that serves listens on.
    pub(super) sockets: Vec<Rc<Bound>>,
    /// What the emperor lends, and keeps as it is until this instance has started.
    pub(super) lent: Vec<Rc<Bound>>,
    /// The files of the sockets are removed at the end, but for those that are lent.
    pub(super) vacuum: bool,
    /// By which letters reach the instance (`master-fifo`).
    pub(super) fifos: Option<Fifos>,
    /// By which operators reach the instance.
    pub(super) control: Option<Control>,
}

impl Resources {
    /// Takes everything away; who waits is told that the instance did not start.
    pub(super) fn undo(&mut self, status: i32, failure: &LoadFailure) {
        if self.vacuum {
            net::vacuum_dropped(&self.sockets, &self.lent);
            self.fifos.iter().for_each(Fifos::remove);
        }
        self.sockets.clear();
        for path in self.pidfiles.drain(..) {
            match pidfile::remove(&path, Pid::own()) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    // as usual where root owns the directory and the instance is no longer root
                    tracing::info!("the pidfile {} stays: {error}", path.display());
                }
                Err(error) => {
                    tracing::warn!("the pidfile {} cannot be removed: {error}", path.display())
                }
                Ok(_) => {}
            }
        }
        if status != crate::exit::OK {
            self.emperor.failed_as_logged(failure);
        }
        if let Some(parent) = self.parent.take() {
            parent.failed(u8::try_from(status).unwrap_or(1), &failure.sentence);
        }
        // last, because who waits for the stop sees it end
        self.control = None;
    }
}

/// What a reload prepares.
struct Next {
    config: Config,
    sockets: Vec<Rc<Bound>>,
    /// Its address on demand, if that is not in the configuration.
    address: Option<Address>,
    companions: Vec<Wanted>,
}

/// An instance, apart from its processes.
pub(super) struct Instance {
    invocation: config::Invocation,
    config: Config,
    /// What a reload that is under way will serve with.
    next: Option<Next>,
    /// The companions of the generation that serves.
    companions: Vec<Wanted>,
    module: Rc<Module>,
    interpreters: Interpreters,
    resources: Resources,
}

impl Instance {
    pub(super) fn new(
        config: Config,
        invocation: config::Invocation,
        module: Rc<Module>,
        mut resources: Resources,
    ) -> Self {
        Self {
            invocation,
            config,
            next: None,
            companions: Vec::new(),
            module,
            interpreters: Interpreters::new(resources.emperor.shim.take()),
            resources,
        }
    }

    /// The files that the configuration was read from, absolute, the first first.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        for (.., place) in self.config.entries() {
            if let Some(config::Place::File { file, .. }) = place {
                let file = self.invocation.cwd.join(&**file);
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        files
    }

    /// How the instance was started.
    pub(super) fn invocation(&self) -> &config::Invocation {
        &self.invocation
    }

    /// The configuration of the generation that serves.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration of the generation that a reload prepares, else of the one that serves.
    pub(super) fn next_config(&self) -> &Config {
        self.next.as_ref().map_or(&self.config, |next| &next.config)
    }

    /// The companions of the generation that serves.
    pub(super) fn companions(&self) -> Vec<Wanted> {
        self.companions.clone()
    }

    pub(super) fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(super) fn resources_mut(&mut self) -> &mut Resources {
        &mut self.resources
    }

    pub(super) fn into_resources(self) -> Resources {
        self.resources
    }

    /// Whether SIGTERM stops the instance.
    pub(super) fn term_stops(&self) -> bool {
        self.config.die_on_term() != Some(false)
    }

    /// `chdir`, resolved anew.
    pub(super) fn enter_directory(&self) -> Result<()> {
        enter(&self.config, &self.invocation)
    }

    /// The files whose change asks for a reload.
    pub(super) fn touched_files(&self) -> impl Iterator<Item = &String> {
        let config = &self.config;
        let lists = [
            config.touch_reload(),
            config.touch_workers_reload(),
            config.touch_chain_reload(),
        ];
        lists.into_iter().flatten()
    }

    /// The paths that the kernel watches, and how a change of each is reloaded.
    pub(super) fn watched_paths(&self) -> Vec<(PathBuf, ReloadMode)> {
        let with = |paths: &[String], mode| {
            let paths = paths.iter().map(PathBuf::from);
            paths.map(|path| (path, mode)).collect::<Vec<_>>()
        };
        let mut all = with(self.config.fs_reload(), ReloadMode::Graceful);
        all.extend(with(self.config.fs_brutal_reload(), ReloadMode::Brutal));
        all
    }

    /// Names the master, if that is asked for.
    pub(super) fn name_process(&self) {
        if let Some(title) = plan::master_title(&self.config) {
            process::set_title(&title);
        }
    }

    /// What the first generation is made of.
    pub(super) fn plan(&mut self) -> Result<Plan> {
        self.resources.notify.status("loading the application");
        self.companions = services::wanted(&self.config)?;
        let sockets = self.resources.sockets.clone();
        Plan::new(
            &self.config,
            false,
            sockets,
            Rc::clone(&self.module),
            &mut self.interpreters,
        )
    }

    /// Reads everything anew for the next generation; nothing that serves is touched.
    pub(super) fn renew(&mut self) -> Result<()> {
        let mut invocation = self.invocation.clone();
        invocation.reloading = true;
        let config = config::load(&invocation).map_err(|report| anyhow::anyhow!("{report}"))?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        group::check(&config, &self.resources.emperor)?;
        self.warn_of_what_stays(&config);
        enter(&config, &invocation)?;
        let companions = services::wanted(&config)?;
        let loan = &self.resources.emperor.loan;
        let address = match config.chroot() {
            None => loan.address_anew(&invocation.cwd)?,
            // the emperor's files are out of reach
            Some(_) => loan.address.clone(),
        };
        let sockets = net::bind_all(&config, address.as_ref(), &self.resources.sockets)?;
        if let Some(module) = self.module.reopened() {
            self.module = Rc::new(module);
        }
        group::limit_both(&self.config, &config, &self.resources.emperor);
        self.next = Some(Next {
            config,
            sockets,
            address,
            companions,
        });
        Ok(())
    }

    /// What the generation that [`Instance::renew`] prepared is made of.
    pub(super) fn next_plan(&mut self) -> Result<Plan> {
        let next = self.next.as_ref().context("no reload is prepared")?;
        Plan::new(
            &next.config,
            true,
            next.sockets.clone(),
            Rc::clone(&self.module),
            &mut self.interpreters,
        )
    }

    fn warn_of_what_stays(&self, next: &Config) {
        let now = &self.config;
        let changed = [
            ("uid", now.uid() != next.uid()),
            ("gid", now.gid() != next.gid()),
            ("add-gid", now.add_gid() != next.add_gid()),
            ("cap", now.cap() != next.cap()),
            ("chroot", now.chroot() != next.chroot()),
            ("umask", now.umask() != next.umask()),
            ("logto", now.logto() != next.logto()),
            ("logto2", now.logto2() != next.logto2()),
            ("pidfile", now.pidfile() != next.pidfile()),
            ("master-fifo", now.master_fifo() != next.master_fifo()),
            (
                "control-socket",
                now.control_socket() != next.control_socket(),
            ),
        ];
        for (name, _) in changed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(
                "{name} has changed, which a reload does not apply: stop and start the instance"
            );
        }
    }

    /// The first generation serves.
    pub(super) fn started(&mut self, generation: &Generation, took: Duration) {
        for path in [self.config.safe_pidfile(), self.config.safe_pidfile2()] {
            if let Err(error) = start::write_pidfile(path, &mut self.resources) {
                tracing::error!("{error:#}");
            }
        }
        let workers = report::workers(generation);
        tracing::info!("ready: {workers} in {:.2} s", took.as_secs_f64());
        self.resources.notify.ready(&serving(generation));
        self.settle_who_keeps_sockets();
        self.resources.emperor.ready();
        if let Some(parent) = self.resources.parent.take()
            && let Err(error) = parent.ready()
        {
            tracing::warn!("nobody waited for the start to end: {error}");
        }
    }

    /// Tells the service manager how the instance is.
    pub(super) fn status(&self, text: &str) {
        self.resources.notify.status(text);
    }

    /// A reload begins.
    pub(super) fn reload_begins(&self) {
        self.resources.notify.reloading();
    }

    /// The generation that a reload prepared serves.
    pub(super) fn reloaded(&mut self, generation: &Generation, took: Duration) {
        if let Some(next) = self.next.take() {
            let before = std::mem::replace(&mut self.resources.sockets, next.sockets);
            net::vacuum_dropped(&before, &self.resources.sockets);
            self.config = next.config;
            self.resources.emperor.loan.address = next.address;
            self.companions = next.companions;
            self.settle_who_keeps_sockets();
        }
        let workers = report::workers(generation);
        let number = generation.number;
        tracing::info!(
            "reloaded: generation {number} serves, {workers} in {:.2} s",
            took.as_secs_f64()
        );
        self.resources.notify.ready(&serving(generation));
    }

    /// Only the generation that serves is there any more.
    pub(super) fn handed_over(&mut self) {
        group::limit(&self.config, &self.resources.emperor);
        self.resources.emperor.reloaded();
    }

    /// The reload is given up, for this reason.
    pub(super) fn reload_failed(&mut self, failure: &LoadFailure) {
        self.resources.emperor.reload_failed(failure);
        if let Some(next) = self.next.take() {
            group::limit(&self.config, &self.resources.emperor);
            net::vacuum_dropped(&next.sockets, &self.resources.sockets);
        }
        self.resources
            .notify
            .ready("a reload failed, the generation before serves on; see the log");
    }

    /// The stop begins.
    pub(super) fn stop_begins(&mut self) {
        if let Some(next) = self.next.take() {
            net::vacuum_dropped(&next.sockets, &self.resources.sockets);
        }
        self.resources.notify.stopping();
    }

    /// The instance is over: takes away what it left outside. Who still waits for the start is told why it failed.
    pub(super) fn leave(&mut self, status: i32, failure: &LoadFailure) {
        self.resources.undo(status, failure);
    }
}

fn serving(generation: &Generation) -> String {
    match generation.wanted() {
        0 => "idle: the first connection brings the workers".to_owned(),
        _ => format!("{} serving", report::workers(generation)),
    }
}

/// Enters the directory of the application.
fn enter(config: &Config, invocation: &config::Invocation) -> Result<()> {
    let base = match config.chroot() {
        Some(_) => Path::new("/"),
        None => &invocation.cwd,
    };
    let directory = base.join(config.chdir().unwrap_or_default());
    std::env::set_current_dir(&directory).with_context(|| {
        format!(
            "the directory {} cannot be entered (chdir)",
            directory.display()
        )
    })
}
