//! The signals of the application that wait for their handlers. Each worker has a row of counters, and one row is for
//! signals that any worker may handle. The master adds to the counters. A worker subtracts from a counter when it runs
//! the handler.

use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

/// Number of signals.
pub const SIGNALS: usize = 256;
/// The beginning of the note of a thread that runs the handler of a signal. A space and the number of the signal
/// follow. There is no client to name.
pub const NOTE: &str = "the handler of signal";

/// For each signal, the number of times that it waits to be handled.
#[repr(C, align(512))]
pub struct SignalRow {
    waiting: [AtomicU16; SIGNALS],
}

impl SignalRow {
    /// Adds `count` to the waiting signals with this number. Returns false if the counter is full, and then adds
    /// nothing.
    pub fn add(&self, number: u8, count: u16) -> bool {
        let sum = |waiting: u16| waiting.checked_add(count);
        self.waiting[number as usize]
            .fetch_update(SeqCst, SeqCst, sum)
            .is_ok()
    }

    /// Takes one waiting signal with this number; false if no such signal waits.
    pub fn take(&self, number: u8) -> bool {
        let rest = |waiting: u16| waiting.checked_sub(1);
        self.waiting[number as usize]
            .fetch_update(SeqCst, SeqCst, rest)
            .is_ok()
    }

    /// Takes all waiting signals with this number, and returns the number of taken signals.
    pub fn take_all(&self, number: u8) -> u16 {
        self.waiting[number as usize].swap(0, SeqCst)
    }

    /// Number of times that the signal waits to be handled.
    pub fn waiting(&self, number: u8) -> u16 {
        self.waiting[number as usize].load(SeqCst)
    }

    /// The numbers of the signals that wait.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|number| self.waiting(*number) > 0)
    }

    /// Removes all waiting signals. Writes only to the counters that are not zero, so that an unused row costs no
    /// memory.
    pub(super) fn clear(&self) {
        for number in self.numbers() {
            self.take_all(number);
        }
    }
}
