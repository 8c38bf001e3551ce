//! Messages between the master and a worker.

use serde::{Deserialize, Serialize};

use super::load_failure::LoadFailure;
use super::signal::SignalRequest;

/// A message from the master to a worker. The worker's leash carries the message.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWorker {
    /// The worker id is free, and the worker starts. It runs no Python code before this message.
    Begin,
    /// Start accepting connections. Sent to a worker that was forked with `hold`.
    Serve,
    /// Accept no more connections, finish the requests in flight, then exit. Idle connections are closed after a short
    /// delay.
    Retire,
    /// Same as [`ToWorker::Retire`], but close idle connections at once. Sent when the instance stops.
    Stop,
    /// A request has exceeded its deadline (`harakiri`): respond to the client and raise an exception in the request's
    /// thread.
    Expire {
        /// Thread index, from 0.
        thread: u32,
        /// Start of the request: the value of `busy_since` in the thread's row of the scoreboard. It identifies the
        /// request.
        since: u64,
    },
    /// Release the ports and locks that the import of the application has taken. The import of another generation needs
    /// them. The response is [`FromWorker::Released`].
    Release,
    /// Redirect standard output and error to another file. The message carries the file's descriptor.
    Log,
    /// Signals of the application wait: run their handlers. The counters are in the scoreboard.
    Signals,
}

/// A message from a worker to the master. The worker's leash carries the message.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum FromWorker {
    /// The application is loaded; the worker accepts connections, or waits for [`ToWorker::Serve`]. The message carries
    /// the memfd for the stacks of the worker's threads, if the worker has one.
    Ready,
    /// The application cannot be loaded (`lazy-apps`). The worker exits after this message.
    Failed(LoadFailure),
    /// The worker exits on its own, because of a signal or because of the application (`sys.exit`,
    /// `reload-on-exception`). It accepts no more connections and exits soon.
    Retiring,
    /// Source files that the application has loaded since the last such message. The master watches these files.
    Files(Vec<String>),
    /// The application has set a deadline for a request (`uwsgi.set_user_harakiri`). The deadline is in the scoreboard.
    Deadline {
        /// Time until the deadline.
        seconds: u32,
    },
    /// The application registers, schedules or raises a signal.
    Signal(SignalRequest),
    /// The worker has released the ports and locks that it inherited from the import of the application.
    Released,
    /// Application code no longer runs in the worker. The worker only sends responses to clients that read slowly. Its
    /// worker id is free.
    Finished,
    /// The application raises an alarm (`uwsgi.alarm()`).
    Alarm {
        /// The name of the alarm.
        name: String,
        /// The message, at most 8 KiB.
        message: String,
    },
    /// The worker has closed its listeners.
    Closed,
    /// The worker's memory has reached `reload-on-rss`. The worker accepts no more connections and exits soon.
    Large,
    /// A thread whose request has exceeded its deadline cannot be interrupted, because native code holds the
    /// interpreter. The worker accepts no more connections.
    Stuck {
        /// Thread index, from 0.
        thread: u32,
    },
}
