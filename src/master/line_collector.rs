//! Writes the request lines of a generation's workers to the log.
//!
//! Workers leave their lines in rings of shared memory. The first line wakes the master. The master then reads the
//! rings every 20 ms until they are empty. Under load one write(2) writes many lines; without load a line is written at
//! once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::log;
use crate::log::request_log::{self, RequestLogSettings};
use crate::shared::line_rings::LineRings;
use crate::sys::stdio;
use crate::sys::wakeup::Wakeup;

/// Time between two reads of the rings while lines arrive.
const INTERVAL: Duration = Duration::from_millis(20);

/// The rings of one generation, and the state of their reader.
pub(super) struct LineCollector {
    rings: LineRings,
    wakeup: Wakeup,
    /// The time at which the rings are read next; `None` while the collector waits for a wake-up.
    due: Option<Instant>,
    buffer: Vec<u8>,
}

impl LineCollector {
    /// Creates `count` empty rings, and waits for the first line. `None` if the lines of these settings are not collected:
    /// no request is logged, or descriptor 2 is no file. A worker itself writes the line for a terminal or a pipe, because
    /// a slow reader would delay the master.
    ///
    /// # Errors
    /// Those of [`LineRings::create`] and eventfd(2).
    pub(super) fn for_log(settings: &RequestLogSettings, count: u32) -> io::Result<Option<Self>> {
        let is_useful = settings.selection.selects_any()
            && !log::thread::is_running()
            && stdio::stderr_size().is_some();
        if !is_useful {
            return Ok(None);
        }
        Ok(Some(Self {
            rings: LineRings::create(count)?,
            wakeup: Wakeup::new()?,
            due: None,
            buffer: Vec::new(),
        }))
    }

    /// The descriptors that a worker needs: the rings, and the eventfd that wakes the master.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.rings.fd(), self.wakeup.as_fd()]
    }

    /// The descriptor that becomes readable when a worker wakes the collector.
    pub(super) fn wakeup(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// The time at which [`LineCollector::tick`] must be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the lines after a wake-up.
    pub(super) fn woken(&mut self, now: Instant) {
        self.wakeup.clear();
        self.write_out();
        self.due = Some(now + INTERVAL);
    }

    /// Writes the lines that have arrived, if the time of the next read has come. If there are no lines, waits for a
    /// wake-up again.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = Some(now + INTERVAL);
        if self.write_out() == 0 {
            self.rings.await_lines();
            // no wake-up follows for a line that arrived before the collector announced that it waits, so the rings are
            // read again
            if self.write_out() == 0 {
                self.due = None;
            }
        }
    }

    /// Writes all lines of the rings to the log. Returns the number of bytes.
    pub(super) fn write_out(&mut self) -> usize {
        let Self { rings, buffer, .. } = self;
        let written = rings
            .rows()
            .map(|row| rings.read(row, buffer, request_log::write));
        written.sum()
    }

    /// Whether a line that ends at `end` was written to the ring of the scoreboard row `row`.
    pub(super) fn contains(&self, row: u32, end: u64) -> bool {
        self.rings.contains(row, end)
    }
}

impl Drop for LineCollector {
    /// Writes the last lines of workers that have exited.
    fn drop(&mut self) {
        self.write_out();
    }
}
