//! The signals by which the master asks a process that has not finished its start for its Python stack.

use crate::sys::thread;

/// A Python handler of the process takes note of this one: its Python code advances.
pub fn step_signal() -> i32 {
    thread::first_realtime_signal() + 7
}

/// The process writes the Python stack of its main thread to the log, also while native code runs.
pub fn stack_signal() -> i32 {
    thread::first_realtime_signal() + 8
}
