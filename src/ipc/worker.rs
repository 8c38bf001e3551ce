//! Messages between the master and a worker.

use serde::{Deserialize, Serialize};

use super::load_failure::LoadFailure;

/// A message of the master to a worker, over the leash.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWorker {
    /// The worker id is free: start. A worker runs no Python before.
    Begin,
    /// Start accepting (it was forked with `hold`).
    Serve,
    /// Accept no more connections, finish the requests in flight, exit. Idle connections are closed after a moment.
    Retire,
    /// As [`ToWorker::Retire`], for the stop of the instance: idle connections are closed at once.
    Stop,
    /// A request is over its deadline (`harakiri`): respond to its client and raise an exception in its thread.
    Expire {
        /// Thread index, from 0.
        thread: u32,
        /// Start of the request: `busy_since` of the thread's row on the scoreboard.
        since: u64,
    },
    /// Give up what the import of the application has taken: the import of another generation takes it. The answer is
    /// [`FromWorker::Released`].
    Release,
    /// Redirect standard output and error to another file. Carries its descriptor.
    Log,
}

/// A message of a worker to the master, over the leash.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum FromWorker {
    /// The application is loaded; the worker accepts connections, or waits for [`ToWorker::Serve`]. Carries the memfd to
    /// which the worker writes the stacks of its threads, if there is one.
    Ready,
    /// The application cannot be loaded (`lazy-apps`); the worker exits after this.
    Failed(LoadFailure),
    /// The worker got a signal: it accepts no more connections and exits soon.
    Retiring,
    /// Files of the application loaded since the last message, for the master to watch.
    Files(Vec<String>),
    /// The worker has given up what it inherited from the import of the application.
    Released,
    /// No code of the application runs in the worker any more; it only sends responses to clients that read slowly. Its id is
    /// free.
    Finished,
    /// The worker has closed its listeners.
    Closed,
    /// The worker has reached `reload-on-rss`: it accepts no more connections and exits soon.
    Large,
    /// A thread over its deadline cannot be interrupted, because native code holds the interpreter. The worker accepts no
    /// more connections.
    Stuck {
        /// Thread index, from 0.
        thread: u32,
    },
}
