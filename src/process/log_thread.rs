//! Starting the log thread of a master or an emperor with settings from the configuration.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::log::{self, AlarmRule, Engine, FileEngine, Flow, LogThreadSettings, Logger};

use super::log_files;

/// Starts the log thread, if an option needs it. `file` is the log file of this process, if it has one. Returns whether
/// the log lines go to loggers.
///
/// # Errors
/// When a logger cannot be opened, or the owner of log files is unknown.
pub(crate) fn start(config: &Config, file: Option<&Path>) -> Result<bool> {
    if is_needed(config) {
        start_with(settings(config, file)?)?;
    }
    Ok(has_loggers(config))
}

/// Starts the log thread of an emperor, as [`start`] does. In addition, starts the thread if the log file is to be
/// rotated. Vassals write to this file, and the emperor cannot make them open it again, so the thread must write for
/// them.
///
/// # Errors
/// When a logger cannot be opened, or the owner of log files is unknown.
pub(crate) fn start_for_emperor(config: &Config, file: Option<&Path>) -> Result<()> {
    let rotates = file.is_some()
        && (log_files::max_size(config).is_some() || !config.touch_logrotate().is_empty());
    if is_needed(config) || rotates {
        start_with(settings(config, file)?)?;
    }
    Ok(())
}

fn start_with(settings: LogThreadSettings) -> Result<()> {
    log::thread::start(settings).context("the log cannot be written")
}

/// Whether the configuration sends the log lines to loggers (`logger`, `log-socket`, `log-syslog`).
fn has_loggers(config: &Config) -> bool {
    !config.logger().is_empty()
        || !config.log_socket().is_empty()
        || !config.log_syslog().is_empty()
}

/// Whether an option of the configuration needs the log thread.
fn is_needed(config: &Config) -> bool {
    has_loggers(config)
        || config.log_json()
        || !config.req_logger().is_empty()
        || !config.log_req_route().is_empty()
        || !config.log_alarm().is_empty()
        || !config.log_filter().is_empty()
        || !config.log_drain().is_empty()
        || !config.log_encoder().is_empty()
        || !config.log_req_encoder().is_empty()
}

/// Builds the settings of the log thread from the configuration.
///
/// # Errors
/// When the owner of log files is unknown.
fn settings(config: &Config, file: Option<&Path>) -> Result<LogThreadSettings> {
    let shorthands = config.log_socket().iter().chain(config.log_syslog());
    let loggers = config.logger().iter().chain(shorthands);
    Ok(LogThreadSettings {
        lines: Flow {
            loggers: loggers
                .map(|logger| with_rotation(logger, config))
                .collect(),
            routes: config.log_route().to_vec(),
            encoders: config.log_encoder().to_vec(),
        },
        requests: Flow {
            loggers: config
                .req_logger()
                .iter()
                .map(|logger| with_rotation(logger, config))
                .collect(),
            routes: config.log_req_route().to_vec(),
            encoders: config.log_req_encoder().to_vec(),
        },
        filters: config.log_filter().to_vec(),
        drains: config.log_drain().to_vec(),
        alarms: alarms(config),
        default_file: file.map(|path| FileEngine {
            path: path.to_owned(),
            max_size: log_files::max_size(config),
            backup: Some(log_files::backup(config)),
        }),
        ownership: log_files::ownership(config)?,
        stream: config.log_master_stream(),
        packet_size: config.rsyslog_packet_size() as usize,
        split_messages: config.rsyslog_split_messages(),
    })
}

/// The rules of `log-alarm` and `not-log-alarm` in the order of the configuration.
fn alarms(config: &Config) -> Vec<AlarmRule> {
    let (mut raising, mut silent) = (config.log_alarm().iter(), config.not_log_alarm().iter());
    let names = config.entries().iter().map(|(name, ..)| name.as_str());
    let rules = names.filter_map(|name| match name {
        "log-alarm" | "alarm-log" => {
            let route = raising.next()?;
            let alarms = route.logger.split(',').filter(|name| !name.is_empty());
            Some(AlarmRule {
                alarms: alarms.map(str::to_owned).collect(),
                pattern: route.pattern.clone(),
            })
        }
        "not-log-alarm" | "not-alarm-log" => Some(AlarmRule {
            alarms: Vec::new(),
            pattern: silent.next()?.pattern.clone(),
        }),
        _ => None,
    });
    rules.collect()
}

/// Returns a copy of the logger. If the logger writes to a file and sets no rotation, the copy gets the rotation of the
/// instance's log.
fn with_rotation(logger: &Logger, config: &Config) -> Logger {
    let mut logger = logger.clone();
    if let Engine::File(file) = &mut logger.engine {
        file.max_size = file.max_size.or_else(|| log_files::max_size(config));
        file.backup
            .get_or_insert_with(|| log_files::backup_of_others(config));
    }
    logger
}

/// Whether two configurations need different log threads. They do if the settings differ, or if only one configuration
/// needs a log thread.
pub(crate) fn differs(one: &Config, other: &Config) -> bool {
    let settings = |config| settings(config, None).ok();
    is_needed(one) != is_needed(other) || (is_needed(one) && settings(one) != settings(other))
}
