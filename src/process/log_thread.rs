//! The log thread of a master or an emperor: its settings from the configuration.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::log::{self, FileEngine, Flow, LogThreadSettings};

/// Starts the log thread, if an option needs it. `file` is the log file of this process, if it has one. Returns whether
/// loggers take the lines.
///
/// # Errors
/// When a logger cannot be opened.
pub(crate) fn start(config: &Config, file: Option<&Path>) -> Result<bool> {
    if let Some(settings) = settings(config, file) {
        log::thread::start(settings).context("the log cannot be written")?;
    }
    Ok(has_loggers(config))
}

/// Whether the log of this configuration has loggers.
fn has_loggers(config: &Config) -> bool {
    !config.logger().is_empty()
        || !config.log_socket().is_empty()
        || !config.log_syslog().is_empty()
}

/// The settings of the thread; `None` if no option needs it.
fn settings(config: &Config, file: Option<&Path>) -> Option<LogThreadSettings> {
    let is_needed = has_loggers(config)
        || !config.req_logger().is_empty()
        || !config.log_req_route().is_empty()
        || !config.log_filter().is_empty()
        || !config.log_drain().is_empty()
        || !config.log_encoder().is_empty()
        || !config.log_req_encoder().is_empty();
    if !is_needed {
        return None;
    }
    let shorthands = config.log_socket().iter().chain(config.log_syslog());
    Some(LogThreadSettings {
        lines: Flow {
            loggers: config.logger().iter().chain(shorthands).cloned().collect(),
            routes: config.log_route().to_vec(),
            encoders: config.log_encoder().to_vec(),
        },
        requests: Flow {
            loggers: config.req_logger().to_vec(),
            routes: config.log_req_route().to_vec(),
            encoders: config.log_req_encoder().to_vec(),
        },
        filters: config.log_filter().to_vec(),
        drains: config.log_drain().to_vec(),
        default_file: file.map(|path| FileEngine {
            path: path.to_owned(),
            ..FileEngine::default()
        }),
        stream: config.log_master_stream(),
        packet_size: config.rsyslog_packet_size() as usize,
        split_messages: config.rsyslog_split_messages(),
        ..LogThreadSettings::default()
    })
}

/// Whether two configurations need different log threads.
pub(crate) fn differs(one: &Config, other: &Config) -> bool {
    settings(one, None) != settings(other, None)
}
