//! The worker's socket to its master. Commands of the master arrive on it, and reports to the master are sent on it.
//! End of file means that the master is gone.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ruwsgi::http::engine::Engine;
use ruwsgi::http::io_thread::Control;
use ruwsgi::ipc::{self, FromWorker, ToWorker};
use ruwsgi::sys::thread;

use crate::api::signals;
use crate::deadline;
use crate::import_resources;
use crate::worker::Worker;

/// Receives the master's commands on the engine's I/O thread, and carries them out.
pub struct ParentLink {
    worker: Arc<Worker>,
    /// Time at which the worker noticed that the master is gone.
    orphaned: Option<Instant>,
}

impl ParentLink {
    /// Creates the link of `worker` to its master.
    pub fn new(worker: &Arc<Worker>) -> Self {
        Self {
            worker: worker.clone(),
            orphaned: None,
        }
    }

    fn on_master_lost(&mut self, engine: &Engine, why: &str) {
        tracing::info!("finishing the requests that have begun, then exiting: {why}");
        self.orphaned = Some(Instant::now());
        engine.take_over_lines();
        engine.stop();
    }
}

impl Control for ParentLink {
    fn descriptor(&self) -> RawFd {
        self.worker.link().as_raw_fd()
    }

    fn receive(&mut self, engine: &Engine) -> bool {
        match ipc::receive::<ToWorker>(self.worker.link().as_fd()) {
            Ok(Some((ToWorker::Begin, _))) => {}
            Ok(Some((ToWorker::Serve, _))) => engine.start_accepting(),
            Ok(Some((ToWorker::Retire, _))) => {
                engine.retire();
                engine.accept_announced();
            }
            Ok(Some((ToWorker::Stop, _))) => engine.stop(),
            Ok(Some((ToWorker::Expire { thread, since }, _))) => {
                deadline::expire(&self.worker, thread, since);
            }
            Ok(Some((ToWorker::Release, _))) => {
                import_resources::release();
                self.worker.send(&FromWorker::Released);
            }
            Ok(Some((ToWorker::Log, fds))) => ruwsgi::sys::stdio::write_output_to_first(fds),
            Ok(Some((ToWorker::Signals, _))) => signals::arrived(&self.worker),
            Ok(None) => {
                self.on_master_lost(engine, "the master is gone");
                return false;
            }
            Err(error) => {
                self.on_master_lost(engine, &error.to_string());
                return false;
            }
        }
        true
    }

    /// Tells the master why the worker leaves, if the worker leaves on its own. The worker retires before it sends the
    /// message. When the master receives the message, the worker accepts no more connections.
    fn woken(&mut self, engine: &Engine) {
        let reasons = &self.worker.exit_reasons;
        if reasons.memory.swap(false, SeqCst) {
            engine.retire();
            self.worker.send(&FromWorker::Large);
        }
        let thread = reasons.stuck_thread.swap(0, SeqCst);
        if thread != 0 && !engine.is_leaving() {
            engine.retire();
            self.worker.send(&FromWorker::Stuck { thread });
        }
        let requested = reasons.requested.swap(false, SeqCst) | thread::take_recorded();
        if requested && !engine.is_leaving() {
            engine.retire();
            self.worker.send(&FromWorker::Retiring);
        }
    }

    fn listeners_closed(&mut self) {
        self.worker.send(&FromWorker::Closed);
    }

    fn orphaned(&mut self) {
        let mercy = Duration::from_millis(self.worker.spec.serving.mercy_ms);
        if self.orphaned.is_some_and(|since| since.elapsed() > mercy) {
            tracing::error!(
                "worker {}: a request did not end within worker-reload-mercy ({} s) after the master was gone; exiting",
                self.worker.id,
                mercy.as_secs()
            );
            thread::exit_now(ruwsgi::exit::FAILED);
        }
    }
}
