//! The two signals that the master sends to a zygote or worker whose start takes long. They show whether its Python
//! code advances, and which code it runs.

use crate::sys::thread;

/// Returns the number of the probe signal. A Python handler of the process records its arrival, which shows that Python
/// code advances.
pub fn step_signal() -> i32 {
    thread::first_realtime_signal() + 7
}

/// Returns the number of the stack signal. The process then writes the Python stack of its main thread to the log, even
/// while native code runs.
pub fn stack_signal() -> i32 {
    thread::first_realtime_signal() + 8
}
