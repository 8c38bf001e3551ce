//! The way of a request line from the engine to the log.
//!
//! If the log is a file, a line goes to the worker's ring in shared memory, and the master writes the lines of the
//! rings to the file ([`LineRings`]). A request then costs no write(2), and no line is lost when a worker is killed.
//! Otherwise the engine writes each line itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::request_log;
use crate::shared::line_rings::{Appended, LineRings};
use crate::shared::scoreboard::ThreadRow;
use crate::sys::private_fd::PrivateFd;
use crate::sys::wakeup;

/// The ring of a worker.
pub struct RequestLines {
    rings: LineRings,
    row: u32,
    /// The eventfd for which the master waits.
    wakeup: PrivateFd,
    state: Mutex<Reader>,
}

/// The process that reads the ring.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The master writes the lines to the log.
    Master,
    /// The master has exited. The ring is empty, and the engine writes its lines itself.
    Nobody,
}

impl RequestLines {
    /// The ring of the worker with this row of the scoreboard.
    pub fn new(rings: LineRings, wakeup: PrivateFd, row: u32) -> Self {
        Self {
            rings,
            row,
            wakeup,
            state: Mutex::new(Reader::Master),
        }
    }

    /// Gives a line, with its line feed, to the log. `thread` is the row of the calling thread, if the line belongs to
    /// the thread's current request. If the ring is full, the line is written at once, before the lines in the ring, so
    /// that the request is not delayed.
    pub fn append(&self, thread: Option<&ThreadRow>, line: &[u8]) {
        let state = self.lock();
        let appended = match *state {
            Reader::Master => self.rings.append(self.row, line, |end| {
                if let Some(thread) = thread {
                    thread.mark_line(end);
                }
            }),
            Reader::Nobody => Appended::Full,
        };
        drop(state);
        match appended {
            Appended::Quietly => {}
            Appended::Wake => wakeup::wake_fd(&self.wakeup),
            Appended::Full => request_log::write(line),
        }
    }

    /// Writes the lines of the ring to the log. Must be called when the master is gone; from then on the engine writes
    /// its lines itself.
    pub fn take_over(&self) {
        let mut state = self.lock();
        self.rings
            .read(self.row, &mut Vec::new(), request_log::write);
        *state = Reader::Nobody;
    }

    fn lock(&self) -> MutexGuard<'_, Reader> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
