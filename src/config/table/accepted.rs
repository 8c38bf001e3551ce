//! What uWSGI needs to be told and ruwsgi does anyway: taken without effect, each with the reason.

use crate::config::table::row::{Row, Takes::Maybe, Takes::Nothing, Takes::Value};

/// The rows.
pub(crate) static ACCEPTED: &[Row] = &[
    Row::accepted(&["master"], Nothing, "there is always a master").short('M'),
    Row::accepted(
        &["single-interpreter"],
        Nothing,
        "there is always one interpreter per process",
    )
    .short('i'),
    Row::accepted(&["enable-threads"], Nothing, "threads always work").short('T'),
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
        "a vassal that fails is retried with pauses of its own",
    ),
    Row::accepted(
        &["emperor-curse-tolerance"],
        Value,
        "a vassal that is told to stop has half a minute",
    ),
    Row::accepted(&["no-threads-wait"], Nothing, "threads always work"),
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
        "nothing is loaded: what is here is built in",
    ),
    Row::accepted(
        &["autoload"],
        Nothing,
        "nothing is loaded: what is here is built in",
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
        "harakiri always says all it knows: the request, its client and the stacks of all threads",
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
        "memory is looked at the more often the faster it grows",
    ),
    Row::accepted(
        &["http-harakiri"],
        Value,
        "http is spoken by the workers, and harakiri is the deadline of their requests",
    ),
    Row::accepted(
        &["harakiri-graceful-timeout"],
        Value,
        "a request that is over its deadline always has two seconds to come back",
    ),
    Row::accepted(
        &[
            "harakiri-no-arh",
            "no-harakiri-arh",
            "no-harakiri-after-req-hook",
        ],
        Nothing,
        "there is no hook after requests",
    ),
    Row::accepted(
        &["max-vars"],
        Value,
        "the number of request variables is bounded by buffer-size alone",
    )
    .short('v'),
    Row::accepted(
        &["max-apps"],
        Value,
        "the number of applications is not bounded",
    ),
    Row::accepted(
        &[
            "ignore-sigpipe",
            "ignore-write-errors",
            "write-errors-exception-only",
            "disable-write-exception",
        ],
        Nothing,
        "a client that goes away is no error",
    ),
    Row::accepted(
        &["write-errors-tolerance"],
        Value,
        "a client that goes away is no error",
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
        "the application answers with bytes, as PEP 3333 wants it",
    ),
    Row::accepted(
        &["py-call-osafterfork", "py-call-uwsgi-fork-hooks"],
        Nothing,
        "Python's own hooks are always called around a fork",
    ),
    Row::accepted(
        &["no-defer-accept"],
        Nothing,
        "TCP_DEFER_ACCEPT is not used",
    ),
    Row::accepted(
        &["tcp-nodelay"],
        Nothing,
        "an answer's head and its first block leave together",
    ),
    Row::accepted(&["pcre-jit"], Nothing, "there are no regular expressions"),
    Row::accepted(
        &[
            "log-master",
            "log-master-stream",
            "log-master-req-stream",
            "threaded-logger",
        ],
        Nothing,
        "every process writes its own whole lines",
    ),
    Row::accepted(
        &["log-master-bufsize"],
        Value,
        "every process writes its own whole lines",
    ),
    Row::accepted(
        &["offload-threads", "offload-thread"],
        Value,
        "files are sent by the kernel and bodies are buffered without a thread",
    ),
    Row::accepted(
        &["http-processes", "http-workers"],
        Value,
        "the workers speak HTTP themselves",
    ),
    Row::accepted(
        &[
            "http-timeout",
            "http-headers-timeout",
            "http-connect-timeout",
        ],
        Value,
        "there is no router between client and worker: socket-timeout bounds a silent client, harakiri a slow application",
    ),
    Row::accepted(
        &["log-date", "logdate"],
        Maybe,
        "every line of the log has its date",
    ),
    Row::accepted(
        &["http-auto-chunked"],
        Nothing,
        "an HTTP/1.1 answer without a length is always sent in chunks",
    ),
    Row::accepted(
        &["http-chunked-input"],
        Nothing,
        "a body in chunks is always decoded",
    ),
    Row::accepted(
        &["http-raw-body"],
        Nothing,
        "bodies are always read by the workers",
    ),
    Row::accepted(&["http-events"], Value, "there is no router process"),
    Row::accepted(
        &["no-orphans"],
        Nothing,
        "workers always leave when the master is gone",
    ),
    Row::accepted(
        &[
            "py-programname",
            "py-program-name",
            "py-executable",
            "py-sys-executable",
        ],
        Value,
        "the application runs in its own interpreter, which knows its name",
    ),
    Row::accepted(&["binary-path"], Value, "the program finds itself"),
    Row::accepted(
        &["lock-engine", "ftok"],
        Value,
        "there are no locks between workers",
    ),
    Row::accepted(
        &["safe-fd", "fd-safe"],
        Value,
        "a descriptor that is handed over is never closed by accident",
    ),
    Row::accepted(
        &["honour-stdin"],
        Nothing,
        "standard input is left as it is",
    ),
    Row::accepted(&["wsgi-strict"], Nothing, "responses are always checked"),
    Row::accepted(
        &["reload-os-env"],
        Nothing,
        "the application's interpreter always starts with the instance's environment",
    ),
    Row::accepted(
        &["forkbomb-delay", "check-interval"],
        Value,
        "pauses between restarts grow by themselves",
    ),
];
