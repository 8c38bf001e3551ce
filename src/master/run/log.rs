//! The file of the log is opened anew, after it was renamed: by the master, and by all that write to it too.

use std::os::fd::AsFd;

use crate::sys::stdio;

use super::Master;

impl Master {
    /// Opens the log's file anew; what cannot be opened leaves the log where it is.
    pub(super) fn reopen_log(&mut self) {
        let Some(path) = &self.instance.resources().log else {
            return tracing::warn!(
                "the log is no file of this instance (logto, logto2, daemonize): it is not opened anew"
            );
        };
        let shown = path.display();
        let opened = stdio::open_log(path).and_then(|log| {
            stdio::write_output_to(&log)?;
            Ok(log)
        });
        match opened {
            Ok(log) => {
                tracing::info!("the log {shown} was opened anew");
                for generation in &mut self.generations {
                    generation.tell_log(log.as_fd());
                }
            }
            Err(error) => {
                tracing::error!("the log {shown} cannot be opened anew: {error}");
            }
        }
    }
}
