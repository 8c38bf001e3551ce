//! Event source: watched files. A change of such a file requests a reload, or reopens or rotates the log.

use std::io;
use std::time::Instant;

use crate::master::reload_files::FileChange;
use crate::master::signals::ReloadMode;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        master
            .files
            .descriptor()
            .map(Descriptor::from)
            .into_iter()
            .collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        let due = master.files.deadline();
        due.filter(|_| master.phase.is_started())
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        master.files.read(now);
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if master.phase.is_started() {
            master.check_files(now);
        }
    }
}

impl Master {
    fn check_files(&mut self, now: Instant) {
        let interval = self.instance.config().py_autoreload();
        for generation in &mut self.generations {
            if let (Some(interval), Some((files, since))) = (interval, generation.take_new_files())
            {
                self.files.add_modules(files, since, interval, now);
            }
        }
        for change in self.files.changes(now) {
            match change {
                FileChange::Log(path) => {
                    tracing::info!("{} was touched: reopening the log", path.display());
                    self.reopen_log();
                }
                FileChange::Rotation(path) => {
                    tracing::info!("{} was touched: rotating the log", path.display());
                    self.rotate_log(now);
                }
                FileChange::Mules(path) => {
                    tracing::info!("{} was touched: replacing the mules", path.display());
                    if let Some(current) = self.current_mut() {
                        current.reload_mules(now);
                    }
                }
                FileChange::Touched(path) => {
                    tracing::info!("{} was touched: reloading", path.display());
                    self.reloads.request(ReloadMode::Graceful);
                }
                FileChange::Module(path) => {
                    tracing::info!("{} was changed: reloading", path.display());
                    self.reloads.request(ReloadMode::Graceful);
                }
                FileChange::Watched(path, mode) => {
                    tracing::info!("{} has changed: reloading", path.display());
                    self.reloads.request(mode);
                }
            }
        }
    }
}
