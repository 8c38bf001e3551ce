//! Checks at the start that the instance has a socket to serve on.

use std::rc::Rc;

use anyhow::{Result, bail};

use crate::config::Config;
use crate::net::BoundSocket;

/// Returns an error if the instance needs a socket and has none. An instance that runs only services or cron commands
/// needs no socket. Logs a warning if such an instance has an application, because the application is not served.
pub(super) fn check_sockets(config: &Config, sockets: &[Rc<BoundSocket>]) -> Result<()> {
    if !sockets.is_empty() {
        return Ok(());
    }
    if !config.works_without_socket() {
        bail!(
            "no socket is configured: set socket = 127.0.0.1:8001 for nginx (uwsgi_pass), or http-socket = 127.0.0.1:8000 for HTTP"
        );
    }
    if config.has_application() {
        tracing::warn!(
            "the application is loaded but not served: no socket is configured, so only services and cron commands run"
        );
    }
    Ok(())
}
