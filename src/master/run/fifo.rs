//! Event source: the commands written to `master-fifo`.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::exit;
use crate::ipc::control::Count;
use crate::log;
use crate::master::fifo::{self, FifoCommand};
use crate::master::generation::Generation;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::{Master, Phase};

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let fifos = master.instance.resources().fifos.iter();
        fifos.map(|fifos| fifos.as_fd().into()).collect()
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        let letters = match &master.instance.resources().fifos {
            Some(fifos) => fifos.take(),
            None => return Ok(()),
        };
        for byte in letters {
            let shown = log::escape(&[byte]).to_string();
            master.run_command(fifo::command(byte), &shown, now);
        }
        Ok(())
    }
}

impl Master {
    fn run_command(&mut self, command: FifoCommand, shown: &str, now: Instant) {
        match command {
            FifoCommand::Ignored => return,
            FifoCommand::Unsupported(instead) => {
                return tracing::warn!("master-fifo: {shown} is not supported; {instead}");
            }
            FifoCommand::Unknown => {
                return tracing::warn!("master-fifo: {shown} is unknown; see docs/workers.md");
            }
            _ => tracing::info!("master-fifo: {shown}"),
        }
        match command {
            FifoCommand::SwitchFifo(number) => self.switch_fifo(number),
            FifoCommand::Report => self.log_status(now),
            FifoCommand::StopNow => self.stop_now(exit::OK, now),
            // during a stop the commands below have no effect; a repeated `q` must not kill the processes, because that
            // is the task of `Q`
            _ if self.phase.is_stopping() => {}
            FifoCommand::Stop => self.stop("master-fifo", now),
            FifoCommand::Reload(mode) => self.reloads.request(mode),
            FifoCommand::Pidfiles => self.rewrite_pidfiles(),
            FifoCommand::Scale(workers) => self.scale_by_letter(Count::By(workers), now),
            FifoCommand::Cheap => self.scale_by_letter(Count::To(0), now),
            FifoCommand::Pause => self.toggle_pause(now),
            FifoCommand::ReopenLog => self.reopen_log(),
            FifoCommand::Ignored | FifoCommand::Unsupported(_) | FifoCommand::Unknown => {}
        }
    }

    fn switch_fifo(&mut self, number: usize) {
        let fifos = self.instance.resources_mut().fifos.as_mut();
        match fifos.map(|fifos| fifos.switch(number)) {
            Some(Ok(path)) => tracing::info!("master-fifo: reading {} now", path.display()),
            Some(Err(sentence)) => tracing::error!("{sentence}"),
            None => {}
        }
    }

    fn rewrite_pidfiles(&self) {
        if let Err(error) = self.instance.resources().pidfiles.rewrite() {
            tracing::error!("{error:#}");
        }
    }

    fn scale_by_letter(&mut self, count: Count, now: Instant) {
        if let Err(sentence) = self.scale(count, now) {
            tracing::warn!("master-fifo: {sentence}");
        }
    }

    /// Pauses the instance, or ends the pause. During a pause the workers exit and connections wait. A connection does
    /// not start the workers, unlike with `idle`.
    fn toggle_pause(&mut self, now: Instant) {
        if let Phase::Paused { workers } = self.phase {
            self.phase = Phase::Running;
            tracing::info!("the pause ends: starting the workers");
            if let Some(idle) = &mut self.idle {
                idle.restart(now);
            }
            for generation in &mut self.generations {
                generation.scale(workers, now);
            }
            return;
        }
        let Some(workers) = self.current().map(Generation::wanted) else {
            return tracing::warn!("the instance cannot be paused: it does not serve yet");
        };
        for generation in &mut self.generations {
            generation.scale(0, now);
        }
        self.phase = Phase::Paused { workers };
        tracing::info!("paused: the workers exit, and connections wait until p is written again");
    }
}
