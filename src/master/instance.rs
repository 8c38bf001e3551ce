//! The state of an instance that outlives its generations: the configuration, the invocation from which it is read, and
//! the external resources.

mod sockets;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::{self, Address, Config};
use crate::ipc::LoadFailure;
use crate::sys::{memory, path_error, title};

use super::cgroup_limits;
use super::extension_module::ExtensionModule;
use super::generation::Generation;
use super::interpreter::InterpreterCache;
use super::needed_sockets::check_sockets;
use super::plan::{self, Plan};
use super::resources::Resources;
use super::services::{DaemonSpec, daemon_specs};
use super::shared_memory::SharedMemory;
use super::signals::ReloadMode;
use crate::net::{self, BoundSocket};
use crate::process::log_thread;

/// The configuration of a running reload, with its sockets and daemons. It becomes the running configuration when the
/// new generation serves.
struct Next {
    config: Config,
    sockets: Vec<Rc<BoundSocket>>,
    /// The address that the emperor's options give this vassal, in addition to the addresses in `config`.
    address: Option<Address>,
    daemons: Vec<DaemonSpec>,
    shared_memory: SharedMemory,
}

/// An instance without its processes, which are in [`Generation`].
pub(super) struct Instance {
    invocation: config::Invocation,
    config: Config,
    /// The configuration that the running reload has read; `None` without a reload.
    next: Option<Next>,
    /// Number of reloads that have succeeded.
    reloads: u32,
    /// The daemons that the running configuration defines (`attach-daemon` and similar options).
    daemons: Vec<DaemonSpec>,
    /// The shared memory of the running generation.
    shared_memory: SharedMemory,
    module: Rc<ExtensionModule>,
    interpreters: InterpreterCache,
    resources: Resources,
}

impl Instance {
    pub(super) fn new(
        config: Config,
        invocation: config::Invocation,
        module: Rc<ExtensionModule>,
        mut resources: Resources,
    ) -> Self {
        Self {
            invocation,
            config,
            next: None,
            reloads: 0,
            daemons: Vec::new(),
            shared_memory: SharedMemory::default(),
            module,
            interpreters: InterpreterCache::new(resources.emperor.shim.take()),
            resources,
        }
    }

    /// Starts the observer, if an option needs it.
    pub(super) fn start_observer(&mut self) -> Result<()> {
        match &mut self.resources.observer {
            Some(observer) => observer.start(&self.config),
            None => Ok(()),
        }
    }

    /// The absolute paths of the configuration files, in the order in which they were read.
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

    /// The command line, the environment and the directory with which the instance was started.
    pub(super) fn invocation(&self) -> &config::Invocation {
        &self.invocation
    }

    /// The configuration of the running generation.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration that the running reload has read. Without a reload: the configuration of the running
    /// generation.
    pub(super) fn next_config(&self) -> &Config {
        self.next.as_ref().map_or(&self.config, |next| &next.config)
    }

    /// The daemons that the running configuration defines (`attach-daemon` and similar options).
    pub(super) fn daemons(&self) -> Vec<DaemonSpec> {
        self.daemons.clone()
    }

    /// The memory that the processes of the running generation share.
    pub(super) fn shared_memory(&self) -> &SharedMemory {
        &self.shared_memory
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

    /// Whether SIGTERM stops the instance. With `die-on-term = false`, SIGTERM causes a brutal reload.
    pub(super) fn term_stops(&self) -> bool {
        self.config.die_on_term() != Some(false)
    }

    /// Changes the working directory of the master to the application's directory (`chdir`).
    pub(super) fn enter_directory(&self) -> Result<()> {
        enter(&self.config, &self.invocation)
    }

    /// The files whose change requests a reload (`touch-reload`, `touch-workers-reload` and `touch-chain-reload`).
    pub(super) fn touched_files(&self) -> impl Iterator<Item = &String> {
        let config = &self.config;
        let lists = [
            config.touch_reload(),
            config.touch_workers_reload(),
            config.touch_chain_reload(),
        ];
        lists.into_iter().flatten()
    }

    /// The paths of `fs-reload` and `fs-brutal-reload`, each with the mode of the reload that a change of the path
    /// causes.
    pub(super) fn watched_paths(&self) -> Vec<(PathBuf, ReloadMode)> {
        let with = |paths: &[String], mode| {
            let paths = paths.iter().map(PathBuf::from);
            paths.map(|path| (path, mode)).collect::<Vec<_>>()
        };
        let mut all = with(self.config.fs_reload(), ReloadMode::Graceful);
        all.extend(with(self.config.fs_brutal_reload(), ReloadMode::Brutal));
        all
    }

    /// Sets the process title of the master, if the configuration defines a title.
    pub(super) fn name_process(&self) {
        if let Some(title) = plan::master_title(&self.config) {
            title::set_title(&title);
        }
    }

    /// Makes the plan of the first generation, and determines the daemons of the configuration. Reports to the service
    /// manager that the application is being loaded.
    pub(super) fn plan(&mut self) -> Result<Plan> {
        self.resources.notify.status("loading the application");
        self.daemons = daemon_specs(&self.config)?;
        self.shared_memory = SharedMemory::new(&self.config, &SharedMemory::default())?;
        let sockets = self.resources.sockets.clone();
        let plan = Plan::new(
            &self.config,
            0,
            sockets,
            Rc::clone(&self.module),
            &mut self.interpreters,
        )?;
        Ok(plan.with_memory(self.shared_memory.clone()))
    }

    /// Prepares a reload: reads the configuration again, changes to its directory, and binds its sockets. Opens the
    /// extension module again. The running generation is not affected, but its cgroup limits are widened to include the
    /// limits of the new configuration.
    pub(super) fn renew(&mut self) -> Result<()> {
        let mut invocation = self.invocation.clone();
        invocation.reloading = true;
        let mut config = config::load(&invocation).map_err(|report| anyhow::anyhow!("{report}"))?;
        if config.directories.is_unreadable {
            tracing::warn!(
                "envdir: a directory cannot be read without the privileges of the start, so its variables are not changed"
            );
            config.directories.late = self.config.directories.late.clone();
        }
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        cgroup_limits::check(&config, &self.resources.emperor)?;
        self.warn_unapplied(&config);
        enter(&config, &invocation)?;
        let daemons = daemon_specs(&config)?;
        let shared_memory = SharedMemory::new(&config, &self.shared_memory)?;
        let on_demand = &self.resources.emperor.on_demand;
        let address = match config.chroot() {
            None => on_demand.reload_address(&invocation.cwd)?,
            // the file with the address is outside of the chroot and cannot be read again, so the address of the start
            // is kept
            Some(_) => on_demand.address.clone(),
        };
        let sockets = net::bind_all(&config, address.as_ref(), &self.resources.sockets)?;
        check_sockets(&config, &sockets)?;
        if let Some(module) = self.module.reopened() {
            self.module = Rc::new(module);
        }
        cgroup_limits::apply_both(&self.config, &config, &self.resources.emperor);
        self.next = Some(Next {
            config,
            sockets,
            address,
            daemons,
            shared_memory,
        });
        Ok(())
    }

    /// Makes the plan of the generation for the configuration that [`Instance::renew`] has read.
    pub(super) fn next_plan(&mut self) -> Result<Plan> {
        let next = self.next.as_ref().context("no reload is prepared")?;
        let plan = Plan::new(
            &next.config,
            self.reloads + 1,
            next.sockets.clone(),
            Rc::clone(&self.module),
            &mut self.interpreters,
        )?;
        Ok(plan.with_memory(next.shared_memory.clone()))
    }

    fn warn_unapplied(&self, next: &Config) {
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
            ("logger", log_thread::differs(now, next)),
            ("pidfile", now.pidfile() != next.pidfile()),
            ("master-fifo", now.master_fifo() != next.master_fifo()),
            ("stats", now.stats() != next.stats()),
            ("stats-push", now.stats_push() != next.stats_push()),
            ("prometheus", now.prometheus() != next.prometheus()),
            (
                "control-socket",
                now.control_socket() != next.control_socket(),
            ),
        ];
        for (name, _) in changed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(
                "{name} has changed: a reload does not apply it, stop and start the instance"
            );
        }
    }

    /// Completes the start when the first generation serves. Writes `safe-pidfile`, and reports to the log, the service
    /// manager, the emperor and the waiting parent process. Then removes the code pages that only the start needed from
    /// the resident memory.
    pub(super) fn started(&mut self, generation: &Generation, took: Duration) {
        for path in [self.config.safe_pidfile(), self.config.safe_pidfile2()] {
            if let Err(error) = self.resources.pidfiles.write(path) {
                tracing::error!("{error:#}");
            }
        }
        let workers = generation.worker_count_text();
        tracing::info!("ready: {workers} in {:.2} s", took.as_secs_f64());
        self.resources.notify.ready(&serving(generation));
        self.update_kept_sockets();
        self.resources.emperor.ready();
        if let Some(parent) = self.resources.parent.take()
            && let Err(error) = parent.ready()
        {
            tracing::warn!("the parent process did not wait for the end of the start: {error}");
        }
        memory::release_code();
    }

    /// Sends `text` to the service manager as the status of the instance.
    pub(super) fn status(&self, text: &str) {
        self.resources.notify.status(text);
    }

    /// Reports to the service manager that a reload has begun.
    pub(super) fn reload_begins(&self) {
        self.resources.notify.reloading();
    }

    /// Adopts the configuration of a reload when its generation serves. Removes the files of sockets that the new
    /// configuration does not use (`vacuum`). Reports the reload to the log and the service manager.
    pub(super) fn reloaded(&mut self, generation: &Generation, took: Duration) {
        if let Some(next) = self.next.take() {
            let before = std::mem::replace(&mut self.resources.sockets, next.sockets);
            net::vacuum_dropped(&before, &self.resources.sockets);
            self.config = next.config;
            self.reloads += 1;
            self.resources.emperor.on_demand.address = next.address;
            self.daemons = next.daemons;
            self.shared_memory = next.shared_memory;
            self.update_kept_sockets();
        }
        let workers = generation.worker_count_text();
        let number = generation.number;
        tracing::info!(
            "reloaded: generation {number} serves, {workers} in {:.2} s",
            took.as_secs_f64()
        );
        self.resources.notify.ready(&serving(generation));
    }

    /// Ends a reload when only the new generation accepts connections. Sets the cgroup limits of the new configuration,
    /// and reports to the emperor.
    pub(super) fn handed_over(&mut self) {
        cgroup_limits::apply(&self.config, &self.resources.emperor);
        self.resources.emperor.reloaded();
    }

    /// Reports a failed reload to the emperor and the service manager. Drops its configuration: resets the cgroup
    /// limits, and removes the files of sockets that only this configuration uses (`vacuum`).
    pub(super) fn reload_failed(&mut self, failure: &LoadFailure) {
        self.resources.emperor.reload_failed(failure);
        if let Some(next) = self.next.take() {
            cgroup_limits::apply(&self.config, &self.resources.emperor);
            net::vacuum_dropped(&next.sockets, &self.resources.sockets);
        }
        self.resources
            .notify
            .ready("a reload failed, the previous generation continues to serve; see the log");
    }

    /// Reports to the service manager that the instance stops. Drops the configuration of a running reload, and removes
    /// the files of sockets that only this configuration uses (`vacuum`).
    pub(super) fn stop_begins(&mut self) {
        if let Some(next) = self.next.take() {
            net::vacuum_dropped(&next.sockets, &self.resources.sockets);
        }
        self.resources.notify.stopping();
    }

    /// Removes the external resources when the master exits. Sends `failure` to a parent process that waits for the end
    /// of the start, and to the emperor unless `status` is success.
    pub(super) fn release(&mut self, status: i32, failure: &LoadFailure) {
        self.resources.release(status, failure);
    }
}

fn serving(generation: &Generation) -> String {
    match generation.wanted() {
        0 if generation.plan.sockets.is_empty() => generation.worker_count_text(),
        0 => "idle: the first connection starts the workers".to_owned(),
        _ => format!("{} serving", generation.worker_count_text()),
    }
}

/// Changes the working directory to `chdir`, or to a base directory if `chdir` is not set. A relative `chdir` starts at
/// the base directory. The base directory is `/` with `chroot`. Without `chroot`, it is `force-cwd` in a reload if that
/// option is set, and otherwise the directory of `invocation`.
pub(super) fn enter(config: &Config, invocation: &config::Invocation) -> Result<()> {
    let base = match (config.chroot(), config.force_cwd()) {
        (Some(_), _) => Path::new("/").to_owned(),
        (None, Some(directory)) if invocation.reloading => invocation.cwd.join(directory),
        (None, _) => invocation.cwd.clone(),
    };
    let directory = base.join(config.chdir().unwrap_or_default());
    std::env::set_current_dir(&directory).map_err(|error| {
        let reason = path_error::reason(&directory, &error);
        anyhow::anyhow!(
            "the directory {} cannot be entered (chdir): {reason}",
            directory.display()
        )
    })
}
