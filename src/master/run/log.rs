//! Reopening of the log file after it was renamed: in the master, the zygotes and the workers.

use std::os::fd::AsFd;

use crate::log;
use crate::sys::stdio;

use super::master::Master;

impl Master {
    /// Reopens the log file; on an error the log stays where it is.
    pub(super) fn reopen_log(&mut self) {
        if log::thread::is_running() {
            log::thread::reopen();
            return tracing::info!("the log files were reopened");
        }
        let Some(path) = &self.instance.resources().log else {
            return tracing::warn!(
                "the log cannot be reopened: it is not a file of this instance (logto, logto2, daemonize)"
            );
        };
        let shown = path.display();
        let opened = stdio::open_log(path).and_then(|log| {
            stdio::write_output_to(&log)?;
            Ok(log)
        });
        match opened {
            Ok(log) => {
                tracing::info!("the log {shown} was reopened");
                for generation in &self.generations {
                    generation.redirect_log(log.as_fd());
                }
            }
            Err(error) => tracing::error!("the log {shown} cannot be reopened: {error}"),
        }
    }
}
