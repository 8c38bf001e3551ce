//! Plugins of uWSGI whose features are built into ruwsgi.

/// Whether ruwsgi has the feature of a uWSGI plugin built in; the name may be a path or a file name.
pub(crate) fn is_built_in(plugin: &str) -> bool {
    let plugin = plugin.trim().rsplit('/').next().unwrap_or_default();
    let plugin = plugin.strip_suffix(".so").unwrap_or(plugin);
    let plugin = plugin.strip_suffix("_plugin").unwrap_or(plugin);
    plugin.starts_with("python") || plugin.starts_with("router_") || BUILT_IN.contains(&plugin)
}

/// Plugins whose options, if any, have their own rows in the table.
const BUILT_IN: &[&str] = &[
    "0",
    "http",
    "corerouter",
    "ping",
    "logfile",
    "logsocket",
    "logpipe",
    "syslog",
    "rsyslog",
    "systemd_logger",
    "cheaper_busyness",
    "cheaper_backlog2",
    "signal",
    "rpc",
    "cache",
    "carbon",
    "stats_pusher_statsd",
    "stats_pusher_file",
    "stats_pusher_socket",
    "transformation_gzip",
    "transformation_chunked",
    "transformation_offload",
    "transformation_tofile",
    "transformation_toupper",
    "zabbix",
    "notfound",
    "graylog2",
    "sslrouter",
    "rawrouter",
    "fastrouter",
    "emperor_pg",
    "alarm_curl",
    "alarm_speech",
    "spooler",
    "echo",
    "dummy",
    "nagios",
    "rrdtool",
    "ugreen",
    "symcall",
    "dumbloop",
];
