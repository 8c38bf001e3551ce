//! What the letters in `master-fifo` ask for is done.

use std::time::Instant;

use crate::exit;
use crate::log;
use crate::master::fifo::{self, Letter};
use crate::master::start;

use super::{Master, Phase};

impl Master {
    /// Reads what was written, and does it.
    pub(super) fn hear_fifo(&mut self, now: Instant) {
        let letters = match &self.instance.resources().fifos {
            Some(fifos) => fifos.take(),
            None => return,
        };
        for byte in letters {
            let shown = log::escape(&[byte]).to_string();
            self.follow_letter(fifo::letter(byte), &shown, now);
        }
    }

    fn follow_letter(&mut self, letter: Letter, shown: &str, now: Instant) {
        match letter {
            Letter::Nothing => return,
            Letter::Absent(instead) => {
                return tracing::warn!("master-fifo: {shown} is not here; {instead}");
            }
            Letter::Unknown => {
                return tracing::warn!("master-fifo: {shown} means nothing; see docs/workers.md");
            }
            _ => tracing::info!("master-fifo: {shown}"),
        }
        let leaving = matches!(self.phase, Phase::Stopping { .. });
        match letter {
            Letter::Fifo(number) => self.switch_fifo(number),
            Letter::Report => self.report(now),
            Letter::StopNow => {
                self.instance.stop_begins();
                self.kill_all(exit::OK, now);
            }
            // a second word to stop would mean: at once, which is another letter
            _ if leaving => {}
            Letter::Stop => self.stop("master-fifo", now),
            Letter::Reload(mode) => self.wanted = self.wanted.max(Some(mode)),
            Letter::Pidfiles => self.write_pidfiles(),
            Letter::More(workers) => self.scale_by_letter(Some(workers), now),
            Letter::Cheap => self.scale_by_letter(None, now),
            Letter::Pause => self.pause(now),
            Letter::ReopenLog => self.reopen_log(),
            Letter::Nothing | Letter::Absent(_) | Letter::Unknown => {}
        }
    }

    fn switch_fifo(&mut self, number: usize) {
        let fifos = self.instance.resources_mut().fifos.as_mut();
        match fifos.map(|fifos| fifos.switch(number)) {
            Some(Ok(path)) => tracing::info!("master-fifo: {} is read now", path.display()),
            Some(Err(sentence)) => tracing::error!("{sentence}"),
            None => {}
        }
    }

    fn write_pidfiles(&self) {
        for path in &self.instance.resources().pidfiles {
            if let Err(error) = start::rewrite_pidfile(path) {
                tracing::error!("{error}");
            }
        }
    }

    fn scale_by_letter(&mut self, more: Option<i32>, now: Instant) {
        let by = match more {
            Some(more) => crate::control::messages::Count::By(more),
            None => crate::control::messages::Count::To(0),
        };
        if let Err(sentence) = self.scale(by, now) {
            tracing::warn!("master-fifo: {sentence}");
        }
    }
}
