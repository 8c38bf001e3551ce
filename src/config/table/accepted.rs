//! Options that are accepted without effect, each with the reason.

use crate::config::values::setting::Takes::{Maybe, Nothing, Value};

use super::row::Row;

/// The rows of the options that are accepted without effect.
pub(crate) static ACCEPTED: &[Row] = &[
    Row::accepted(&["master"], Nothing, "ruwsgi always has a master").short('M'),
    Row::accepted(
        &["single-interpreter"],
        Nothing,
        "every process has one interpreter",
    )
    .short('i'),
    Row::accepted(&["enable-threads"], Nothing, "threads are always enabled").short('T'),
    Row::accepted(
        &["early-emperor"],
        Nothing,
        "an emperor has no application to wait for",
    ),
    Row::accepted(
        &["emperor-graceful-shutdown"],
        Nothing,
        "vassals always finish their requests before they stop",
    ),
    Row::accepted(
        &["emperor-no-blacklist"],
        Nothing,
        "each vassal that fails has its own restart delay",
    ),
    Row::accepted(
        &["emperor-curse-tolerance"],
        Value,
        "the stop of a vassal has a timeout of 30 seconds",
    ),
    Row::accepted(
        &["signal-bufsize", "signals-bufsize"],
        Value,
        "signals that wait are counted and need no buffer",
    ),
    Row::accepted(
        &["stats-no-metrics"],
        Nothing,
        "the statistics have no metrics",
    ),
    Row::accepted(&["no-threads-wait"], Nothing, "threads are always enabled"),
    Row::accepted(
        &["thunder-lock"],
        Nothing,
        "the kernel wakes one worker per connection",
    ),
    Row::accepted(
        &[
            "plugin",
            "plugins",
            "need-plugin",
            "need-plugins",
            "plugin-dir",
            "plugins-dir",
        ],
        Value,
        "plugins are not loaded: all features are built in",
    ),
    Row::accepted(
        &["autoload"],
        Nothing,
        "plugins are not loaded: all features are built in",
    ),
    Row::accepted(&["reaper"], Nothing, "the master always reaps its children").short('r'),
    Row::accepted(
        &["close-on-exec", "close-on-exec2"],
        Nothing,
        "descriptors are always closed on exec",
    ),
    Row::accepted(
        &["harakiri-verbose"],
        Nothing,
        "harakiri always logs the request, its client and the stacks of all threads",
    ),
    Row::accepted(
        &["cheaper-algo-list", "cheaper-algos-list", "cheaper-list"],
        Nothing,
        "the algorithms are spare, backlog, busyness and manual",
    ),
    Row::accepted(
        &["cheaper-busyness-verbose"],
        Nothing,
        "each change of the number of workers is logged with its reason",
    ),
    Row::accepted(
        &["mem-collector-freq"],
        Value,
        "memory is checked more often the faster it grows",
    ),
    Row::accepted(
        &["http-harakiri"],
        Value,
        "the workers serve HTTP, and harakiri is the timeout of their requests",
    ),
    Row::accepted(
        &[
            "harakiri-no-arh",
            "no-harakiri-arh",
            "no-harakiri-after-req-hook",
        ],
        Nothing,
        "hooks after requests are not supported",
    ),
    Row::accepted(
        &["max-vars"],
        Value,
        "only buffer-size limits the number of request variables",
    )
    .short('v'),
    Row::accepted(
        &["max-apps"],
        Value,
        "the number of applications is not limited",
    ),
    Row::accepted(
        &[
            "ignore-sigpipe",
            "ignore-write-errors",
            "write-errors-exception-only",
            "disable-write-exception",
        ],
        Nothing,
        "a client that disconnects is not an error",
    ),
    Row::accepted(
        &["write-errors-tolerance"],
        Value,
        "a client that disconnects is not an error",
    ),
    Row::accepted(
        &["wsgi-disable-file-wrapper"],
        Nothing,
        "wsgi.file_wrapper works with every file-like object",
    ),
    Row::accepted(
        &["wsgi-env-behaviour", "wsgi-env-behavior"],
        Value,
        "every request has its own environ",
    ),
    Row::accepted(
        &["wsgi-accept-buffer", "wsgi-accept-buffers"],
        Nothing,
        "the application responds with bytes, as PEP 3333 requires",
    ),
    Row::accepted(
        &["py-call-osafterfork", "py-call-uwsgi-fork-hooks"],
        Nothing,
        "Python's fork hooks are always called",
    ),
    Row::accepted(
        &["skip-atexit", "skip-atexit-teardown"],
        Nothing,
        "the interpreter is not torn down at exit",
    ),
    Row::accepted(
        &["no-defer-accept"],
        Nothing,
        "TCP_DEFER_ACCEPT is not used",
    ),
    Row::accepted(
        &["tcp-nodelay"],
        Nothing,
        "the response head and the first block of the body are sent together",
    ),
    Row::accepted(
        &["pcre-jit"],
        Nothing,
        "regular expressions are compiled once",
    ),
    Row::accepted(
        &["log-master", "log-master-req-stream", "threaded-logger"],
        Nothing,
        "without loggers every process writes complete lines, and loggers always have a thread",
    ),
    Row::accepted(
        &["logger-list", "loggers-list"],
        Nothing,
        "docs/logging.md lists the engines",
    ),
    Row::accepted(
        &["log-master-bufsize"],
        Value,
        "the buffer has room for the longest line",
    ),
    Row::accepted(
        &["offload-threads", "offload-thread"],
        Value,
        "the I/O thread of each worker sends files and bodies to slow clients",
    ),
    Row::accepted(
        &["static-cache-paths", "static-cache-paths-name"],
        Value,
        "the kernel resolves the path of a static file in one system call",
    ),
    Row::accepted(
        &["http-processes", "http-workers"],
        Value,
        "the workers serve HTTP",
    ),
    Row::accepted(
        &["http-timeout", "http-connect-timeout"],
        Value,
        "there is no router process: client-header-timeout, client-body-timeout and client-send-timeout limit the client, harakiri the application",
    ),
    Row::accepted(
        &["alarm-list", "alarms-list"],
        Nothing,
        "the engines of alarms are cmd, log, udp and webhook",
    ),
    Row::accepted(
        &["alarm-cheap", "alarm-msg-size"],
        Value,
        "alarms have no process of their own, and a message has at most 8 KiB",
    ),
    Row::accepted(
        &["response-headers-limit"],
        Value,
        "the headers of a response have at most 1 MiB",
    ),
    Row::accepted(
        &["log-prefix"],
        Maybe,
        "every log line has a date and names its process; log-encoder = prefix TEXT adds a text",
    ),
    Row::accepted(
        &["http-auto-chunked"],
        Nothing,
        "an HTTP/1.1 response without a length is always chunked",
    ),
    Row::accepted(
        &["http-chunked-input"],
        Nothing,
        "chunked bodies are always decoded",
    ),
    Row::accepted(
        &["http-manage-expect"],
        Maybe,
        "a client that expects 100-continue always gets it, and limit-post limits its body",
    ),
    Row::accepted(
        &["http-server-name-as-http-host"],
        Nothing,
        "SERVER_NAME of an HTTP request is always the name in its Host header",
    ),
    Row::accepted(
        &["http-raw-body"],
        Nothing,
        "the workers always read request bodies",
    ),
    Row::accepted(&["http-events"], Value, "there is no router process"),
    Row::accepted(
        &["no-orphans"],
        Nothing,
        "workers always exit when the master is gone",
    ),
    Row::accepted(
        &[
            "py-programname",
            "py-program-name",
            "py-executable",
            "py-sys-executable",
        ],
        Value,
        "the application runs in its own interpreter, which sets its name",
    ),
    Row::accepted(&["binary-path"], Value, "ruwsgi determines its own path"),
    Row::accepted(
        &["cache-report-freed-items", "cache-use-last-modified"],
        Nothing,
        "the statistics of a cache always have the number of its items and the time of the last change",
    ),
    Row::accepted(
        &["lock-engine", "ftok"],
        Value,
        "there are no locks between workers",
    ),
    Row::accepted(
        &["safe-fd", "fd-safe"],
        Value,
        "inherited descriptors are never closed",
    ),
    Row::accepted(&["wsgi-strict"], Nothing, "responses are always checked"),
    Row::accepted(
        &["reload-os-env"],
        Nothing,
        "the interpreter always starts with the environment of the instance",
    ),
    Row::accepted(
        &["forkbomb-delay", "check-interval"],
        Value,
        "restart delays grow automatically",
    ),
];
