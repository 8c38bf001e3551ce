//! The option table: one row defines the key, the flag, the environment variable, the help and the documentation.
//!
//! The row of a served option generates a private field of [`Config`] and its getter, so the compiler warns of an
//! option that no code reads. The mark `worker(TYPE)` also generates a public field of [`WorkerOptions`], which is sent
//! to each worker. An option for the handling of requests therefore needs only its row here, and code in the worker
//! that reads the field.
//!
//! Options that are accepted without effect are in `accepted.rs` and `ignored.rs`, unsupported options in `absent.rs`.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::finding::{Fault, Finding, Place};
use crate::config::values::alarm::NamedAlarm;
use crate::config::values::app_signal::{FileText, TimerText};
use crate::config::values::area::AreaText;
use crate::config::values::cache::CacheText;
use crate::config::values::companion::{Attached, Controlling, Keyed, Smart, Smart2};
use crate::config::values::envdir::Directories;
use crate::config::values::hook::{
    AppHook, AwaitedDirectory, AwaitedFile, AwaitedInterface, AwaitedMountPoint, AwaitedPath,
    AwaitedSocket, Exec, LiveHook, LoadedHook, MasterHook, StartHook, TouchCommand, TouchHook,
};
use crate::config::values::kinds::{
    AccessFormat, AnyText, Assignment, BlockSize, BufferThreshold, Bytes, CacheItems, Capabilities,
    CompatMode, Count, ExitStatus, HeaderLine, HeaderVariable, Keepalive, LineFormat,
    ListenAddress, Megabytes, Mount, Number, OptionalSwitch, OptionalText, Ownership, Path,
    Percent, Priority, Protocol, Scaling, Seconds, SocketMode, Switch, Text, Umask, Variable,
    Workers,
};
use crate::config::values::limit::{CpuLimit, MemoryLimit, TasksLimit};
use crate::config::values::logging::{
    EncoderText, FileMode, FileOwnerText, LoggerText, Regex, RouteText, SocketText, SyslogText,
};
use crate::config::values::mule::{FarmText, MuleText};
use crate::config::values::pusher::PusherText;
use crate::config::values::routing::{
    ActionRule, AddressRule, AgentRule, HostRule, IfRule, LabelRule, PathRule, QueryRule,
    RefererRule, StatusRule, UnlessRule, UriRule, UserRule,
};
use crate::config::values::schedule::{Cron, Cron2, CurlCron, UniqueCron};
use crate::config::values::setting::{Many, Maybe, One, Setting};
use crate::config::values::static_files::{
    ExpiryOfNames, ExpiryOfTypes, Expression, FileServeMode, StaticMap,
};

use super::absent::ABSENT;
use super::accepted::ACCEPTED;
use super::directives::DIRECTIVES;
use super::ignored::IGNORED;
use super::row::{Row, State};

/// Generates [`Config`] and the rows of the served options.
macro_rules! options {
    ($( $section:literal {
        $( $field:ident $name:literal $([$($alias:literal),+])? $(-$short:literal)? $(worker($worker:ty))? : $kind:ty $(= $default:literal)?, $doc:literal; )+
    } )+) => {
        /// The checked configuration of one instance.
        #[derive(Debug, Clone)]
        pub(crate) struct Config {
            /// The given options in their order: the name, the value after its placeholders are replaced, and the place.
            pub(crate) entries: Vec<(String, String, Option<Place>)>,
            /// See [`Config::name`].
            pub(crate) name: String,
            /// The findings that do not prevent the start.
            pub(crate) warnings: Vec<Finding>,
            /// The variables of `early-envdir` and `envdir`.
            pub(crate) directories: Directories,
            $($( $field: <$kind as Setting>::Stored, )+)+
        }

        impl Config {
            /// The configuration of the defaults.
            pub(crate) fn defaults() -> Config {
                #[allow(unused_mut)]
                let mut config = Config {
                    entries: Vec::new(),
                    name: String::new(),
                    warnings: Vec::new(),
                    directories: Directories::default(),
                    $($( $field: <$kind as Setting>::unset(), )+)+
                };
                // a default is parsed like any other value; a test ensures that every default parses
                $($( $( let _ = <$kind as Setting>::set(&mut config.$field, $default); )? )+)+
                config
            }

            /// Sets an option. Returns a remark if the value is accepted but should be changed.
            pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<Option<Fault>, Fault> {
                match name {
                    $($( $name => <$kind as Setting>::set(&mut self.$field, text), )+)+
                    _ => Ok(None),
                }
            }

            $($(
                #[doc = $doc]
                $(
                    #[doc = concat!("Workers get it as `", stringify!($worker), "`.")]
                    #[allow(dead_code)]
                )?
                pub(crate) fn $field(&self) -> <$kind as Setting>::Ref<'_> {
                    <$kind as Setting>::get(&self.$field)
                }
            )+)+
        }

        /// The effective values of the options that workers use.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct WorkerOptions {
            $($( $(
                #[doc = $doc]
                pub $field: $worker,
            )? )+)+
        }

        impl Config {
            /// The effective values of the options that workers use.
            pub(crate) fn worker_options(&self) -> WorkerOptions {
                WorkerOptions {
                    $($( $( $field: <$worker>::from(self.$field.clone()), )? )+)+
                }
            }
        }

        /// The rows of the served options, in the order of the help.
        pub(crate) static SERVED: &[Row] = &[
            $($( Row {
                names: &[$name $(, $($alias),+)?],
                short: options!(@short $($short)?),
                takes: <$kind as Setting>::TAKES,
                arg: <$kind as Setting>::ARG,
                many: <$kind as Setting>::MANY,
                default: options!(@default $($default)?),
                section: $section,
                state: State::Served,
                doc: $doc,
            }, )+)+
        ];

        /// The name and the field of each served option.
        #[cfg(test)]
        pub(crate) static FIELDS: &[(&str, &str)] = &[$($( ($name, stringify!($field)), )+)+];
    };
    (@short) => { None };
    (@short $short:literal) => { Some($short) };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

options! {
    "Sockets" {
        socket "socket" ["uwsgi-socket"] -'s': Many<ListenAddress>,
            "Listening socket of the uwsgi protocol: a path, @name, :port, host:port, [v6]:port or fd://number.";
        http_socket "http-socket" ["http11-socket"]: Many<ListenAddress>,
            "Listening socket of HTTP/1.1.";
        http "http" ["httprouter"]: Many<ListenAddress>,
            "Listening socket of HTTP/1.1. The workers serve it themselves; there is no router process.";
        http_to "http-to": Many<ListenAddress>,
            "Address to which the router of uWSGI sends the requests of http: it must be a socket of this instance.";
        protocol "protocol" ["socket-protocol"]: One<Protocol> = "uwsgi",
            "Protocol of socket and of inherited sockets: uwsgi or http.";
        listen "listen" -'l': Maybe<Number>,
            "Length of the accept queue; default: the limit of the kernel.";
        chmod_socket "chmod-socket" ["chmod"] -'C': Maybe<SocketMode>,
            "Permissions of Unix sockets, three octal digits; without a value 666.";
        chown_socket "chown-socket": Maybe<Ownership>,
            "Owner of Unix sockets, user:group, by name or number.";
        vacuum "vacuum": One<Switch> = "true",
            "Removes sockets and pid files when the instance stops.";
        so_keepalive "so-keepalive": One<Switch>,
            "Enables TCP keep-alive probes (SO_KEEPALIVE).";
        shared_socket "shared-socket" ["undeferred-shared-socket"]: Many<ListenAddress>,
            "Address that socket, http-socket and http refer to by its position: socket = =0 is the first one.";
        skip_zero "skip-zero": One<Switch>,
            "Does not serve on descriptor 0, which is otherwise used if it is a listening socket.";
        freebind "freebind": One<Switch>,
            "Binds addresses that no interface of the machine has yet (IP_FREEBIND).";
        reuse_port "reuse-port": One<Switch>,
            "Binds TCP sockets with SO_REUSEPORT, so that several instances can share a port.";
    }
    "Requests" {
        buffer_size "buffer-size" -'b' worker(u32): One<BlockSize> = "65535",
            "Maximum size of the block of request variables, in bytes.";
        limit_headers "limit-headers" worker(u32): One<Count> = "100",
            "Maximum number of header lines of an HTTP request; more get 431.";
        limit_connections "limit-connections" worker(u32): One<Number> = "0",
            "Maximum number of connections that wait in a worker, for a request or for a slow client; beyond it the oldest unfinished ones are closed. 0 is three quarters of max-fd, at most 10000.";
        post_buffering "post-buffering" worker(Option<u64>): Maybe<BufferThreshold>,
            "Request bodies of more bytes than this are written to a temporary file before the application is called.";
        limit_buffers "limit-buffers" worker(u64): One<Bytes> = "134217728",
            "Maximum memory in a worker for requests that are not complete and responses that are not sent, in bytes; beyond it bodies and responses go to files, and the oldest unfinished connections are closed. 0 is no limit.";
        limit_spool "limit-spool" worker(Option<u64>): Maybe<Bytes>,
            "Maximum size of the temporary files of a worker with request bodies and unsent responses, in bytes; one of them gets at most half, and a body in chunks 1/16 unless limit-post is set. A body that is too large gets 413 or 503, a response waits for its client. The free space of the disk limits them too (docs/limits.md). Default: 2147483648, or twice limit-post if that is more; 0 is no limit.";
        limit_post "limit-post" worker(u64): One<Bytes> = "0",
            "Maximum size of a request body in bytes; 0 is no limit.";
        socket_timeout "socket-timeout" -'z' worker(Duration): One<Seconds> = "4",
            "Maximum time in which a client takes nothing while its application waits to write more; then the response is cut.";
        client_header_timeout "client-header-timeout" ["http-headers-timeout"] worker(Option<Duration>): Maybe<Seconds>,
            "Timeout of a request head, from the first byte or from the connection; 60, or socket-timeout if that is longer. The client gets 408. 0 is no timeout.";
        client_body_timeout "client-body-timeout" worker(Option<Duration>): Maybe<Seconds>,
            "Maximum time without data within a request body; 300, or socket-timeout if that is longer. The client gets 408. 0 is no timeout.";
        client_send_timeout "client-send-timeout" ["so-send-timeout", "socket-send-timeout", "so-write-timeout", "socket-write-timeout"] worker(Option<Duration>): Maybe<Seconds>,
            "Maximum time in which a client takes nothing of its response while no thread waits; 300, or socket-timeout if that is longer. The response is cut. 0 is no timeout.";
        add_header "add-header" worker(Vec<(String, String)>): Many<HeaderLine>,
            "Header to add to every response: NAME: VALUE. Over HTTP, Connection: close closes each connection after its response.";
        del_header "del-header" ["rem-header"] worker(Vec<String>): Many<Text>,
            "Name of a header to remove from the responses of the application.";
        collect_header "collect-header" ["response-header-collect"] worker(Vec<(String, String)>): Many<HeaderVariable>,
            "A response header and a request variable that gets its value, for the request log: %(var.NAME).";
        pull_header "pull-header" worker(Vec<(String, String)>): Many<HeaderVariable>,
            "As collect-header, and removes the header from the response.";
        http_var "http-var" worker(Vec<(String, String)>): Many<Assignment>,
            "Request variable of every HTTP request: NAME=VALUE. A client cannot set it.";
        http_keepalive "http-keepalive" worker(Duration): One<Keepalive> = "5",
            "Timeout of an idle HTTP connection; 0 closes it after each response, 1 or no value means 5.";
    }
    "Static files" {
        static_map "static-map" worker(Vec<(String, String)>): Many<StaticMap>,
            "Directory whose files are served below a prefix of PATH_INFO, or the file for that path: /static=/srv/site/static.";
        static_map2 "static-map2" worker(Vec<(String, String)>): Many<StaticMap>,
            "As static-map, but the prefix stays in the path below the directory: /static=/srv/site serves /srv/site/static.";
        check_static "check-static" ["static-check"] worker(Vec<String>): Many<Path>,
            "Directory in which the file of every PATH_INFO is looked for before the application is called.";
        check_static_docroot "check-static-docroot" worker(bool): One<Switch>,
            "Looks for files in DOCUMENT_ROOT of the web server.";
        static_index "static-index" worker(Vec<String>): Many<Text>,
            "Name of the file that is served for a directory, such as index.html. A path without its final slash is redirected.";
        static_skip_ext "static-skip-ext" worker(Vec<String>): Many<Text>,
            "End of the names of files that are never served, such as .php.";
        static_safe "static-safe" worker(Vec<String>): Many<Path>,
            "Directory outside those of static files to which symbolic links in them may lead.";
        static_expires "static-expires" worker(Vec<(String, u32)>): Many<ExpiryOfNames>,
            "Expression for the real path of a file, and the seconds for which clients may keep it: \\.css$ 3600.";
        static_expires_mtime "static-expires-mtime" worker(Vec<(String, u32)>): Many<ExpiryOfNames>,
            "As static-expires, with the seconds counted from the modification of the file.";
        static_expires_type "static-expires-type" worker(Vec<(String, u32)>): Many<ExpiryOfTypes>,
            "Media type of files, and the seconds for which clients may keep them: text/css=3600.";
        static_expires_type_mtime "static-expires-type-mtime" worker(Vec<(String, u32)>): Many<ExpiryOfTypes>,
            "As static-expires-type, with the seconds counted from the modification of the file.";
        static_expires_uri "static-expires-uri" worker(Vec<(String, u32)>): Many<ExpiryOfNames>,
            "Expression for REQUEST_URI, and the seconds for which clients may keep the file.";
        static_expires_uri_mtime "static-expires-uri-mtime" worker(Vec<(String, u32)>): Many<ExpiryOfNames>,
            "As static-expires-uri, with the seconds counted from the modification of the file.";
        static_expires_path_info "static-expires-path-info" worker(Vec<(String, u32)>): Many<ExpiryOfNames>,
            "Expression for PATH_INFO, and the seconds for which clients may keep the file.";
        static_expires_path_info_mtime "static-expires-path-info-mtime" worker(Vec<(String, u32)>): Many<ExpiryOfNames>,
            "As static-expires-path-info, with the seconds counted from the modification of the file.";
        static_immutable "static-immutable" worker(bool): One<Switch>,
            "Lets clients keep files with a hash in their name for a year without asking again: app.55e7cbb9ba48.css.";
        static_gzip_all "static-gzip-all" worker(bool): One<Switch>,
            "Serves FILE.br, FILE.zst or FILE.gz in place of FILE to clients that accept the encoding.";
        static_gzip_dir "static-gzip-dir" ["static-gzip-prefix"] worker(Vec<String>): Many<Path>,
            "As static-gzip-all, for files whose real path begins with this.";
        static_gzip_ext "static-gzip-ext" ["static-gzip-suffix"] worker(Vec<String>): Many<Text>,
            "As static-gzip-all, for files whose name ends with this.";
        static_gzip "static-gzip" worker(Vec<String>): Many<Expression>,
            "As static-gzip-all, for files whose real path matches this expression.";
        mimefile "mimefile" ["mime-file"] worker(Vec<String>): Many<Path>,
            "File with media types, in place of /etc/mime.types.";
        file_serve_mode "file-serve-mode" ["fileserve-mode"] worker(Option<String>): Maybe<FileServeMode>,
            "Lets the web server in front send the files: nginx (X-Accel-Redirect) or x-sendfile.";
        honour_range "honour-range" worker(bool): One<OptionalSwitch> = "true",
            "Answers requests for parts of static files.";
        disable_sendfile "disable-sendfile" worker(bool): One<Switch>,
            "Reads files and sends what was read, in place of sendfile(2).";
    }
    "Routes" {
        route "route": Many<PathRule>,
            "Rule for requests whose path (PATH_INFO) matches a regular expression: REGEX ACTION:ARGUMENTS (docs/routing.md). Rules run in the order of the configuration, before static files and the application.";
        route_host "route-host": Many<HostRule>,
            "As route, for the header Host.";
        route_uri "route-uri": Many<UriRule>,
            "As route, for REQUEST_URI.";
        route_qs "route-qs": Many<QueryRule>,
            "As route, for the query string.";
        route_remote_addr "route-remote-addr": Many<AddressRule>,
            "As route, for the address of the client.";
        route_remote_user "route-remote-user": Many<UserRule>,
            "As route, for the user name (REMOTE_USER).";
        route_user_agent "route-user-agent": Many<AgentRule>,
            "As route, for the header User-Agent.";
        route_referer "route-referer": Many<RefererRule>,
            "As route, for the header Referer.";
        route_if "route-if": Many<IfRule>,
            "Rule with a condition: CONDITION:ARGUMENTS ACTION:ARGUMENTS, for example equal:${HTTP_HOST};example.org break:403 Forbidden.";
        route_if_not "route-if-not": Many<UnlessRule>,
            "As route-if, if the condition is false.";
        route_run "route-run": Many<ActionRule>,
            "Rule for every request: ACTION:ARGUMENTS.";
        route_label "route-label": Many<LabelRule>,
            "A name to which the action goto leads.";
        final_route "final-route": Many<PathRule>,
            "As route, after the request is answered; for the actions log and donotlog.";
        final_route_status "final-route-status": Many<StatusRule>,
            "As final-route, for the status of the response.";
        final_route_host "final-route-host": Many<HostRule>,
            "As final-route, for the header Host.";
        final_route_uri "final-route-uri": Many<UriRule>,
            "As final-route, for REQUEST_URI.";
        final_route_qs "final-route-qs": Many<QueryRule>,
            "As final-route, for the query string.";
        final_route_remote_addr "final-route-remote-addr": Many<AddressRule>,
            "As final-route, for the address of the client.";
        final_route_remote_user "final-route-remote-user": Many<UserRule>,
            "As final-route, for the user name (REMOTE_USER).";
        final_route_user_agent "final-route-user-agent": Many<AgentRule>,
            "As final-route, for the header User-Agent.";
        final_route_referer "final-route-referer": Many<RefererRule>,
            "As final-route, for the header Referer.";
        final_route_if "final-route-if": Many<IfRule>,
            "As route-if, after the request is answered.";
        final_route_if_not "final-route-if-not": Many<UnlessRule>,
            "As route-if-not, after the request is answered.";
        final_route_run "final-route-run": Many<ActionRule>,
            "As route-run, after the request is answered.";
        final_route_label "final-route-label": Many<LabelRule>,
            "A name to which the action goto of a final route leads.";
    }
    "Processes" {
        processes "processes" ["workers"] -'p' worker(u32): One<Workers> = "1",
            "Number of workers; auto is one worker per CPU that the instance may use.";
        threads "threads" worker(u32): One<Count> = "1",
            "Number of threads per worker; each thread serves one request at a time.";
        lazy_apps "lazy-apps": One<Switch>,
            "Loads the application in each worker, instead of once before the workers are forked.";
        lazy "lazy": One<Switch>,
            "Alias of lazy-apps.";
        reload_mercy "reload-mercy": Maybe<Seconds>,
            "Timeout of a stop or a reload; then the remaining workers are killed. In an emperor: timeout of the stop of vassals (30).";
        worker_reload_mercy "worker-reload-mercy": One<Seconds> = "60",
            "Timeout of a worker that stops: it finishes its requests, then it is killed.";
        worker_id_timeout "worker-id-timeout": One<Seconds> = "5",
            "Maximum wait of a replacement for the exit of the worker whose worker_id it gets; then two processes have this id for a while.";
        harakiri "harakiri" -'t' worker(Option<Duration>): Maybe<Seconds>,
            "Timeout of a request. The client gets a 504 and the thread an exception; if the thread does not end, its worker is replaced.";
        harakiri_graceful_signal "harakiri-graceful-signal" worker(Option<u32>): Maybe<Number>,
            "Number of a signal whose handler in Python is called when a request exceeds harakiri, before the exception.";
        harakiri_graceful_timeout "harakiri-graceful-timeout": Maybe<Seconds>,
            "Time that a request over its timeout has to end before its worker is replaced; default: 2.";
        harakiri_queue_threshold "harakiri-queue-threshold": Maybe<Number>,
            "A request exceeds harakiri only while more connections than this wait to be accepted.";
        max_requests "max-requests" -'R': Maybe<Number>,
            "Replaces a worker after this number of requests; each further worker has a slightly higher limit.";
        max_requests_delta "max-requests-delta": Maybe<Number>,
            "Difference of max-requests between one worker and the next.";
        min_worker_lifetime "min-worker-lifetime" worker(Duration): One<Seconds> = "10",
            "Minimum age of a worker that max-requests, reload-on-rss or reload-on-as replaces.";
        max_worker_lifetime "max-worker-lifetime": Maybe<Seconds>,
            "Replaces a worker of this age; each further worker has a slightly higher limit.";
        max_worker_lifetime_delta "max-worker-lifetime-delta": Maybe<Seconds>,
            "Difference of max-worker-lifetime between one worker and the next.";
        reload_on_exception "reload-on-exception" worker(bool): One<Switch>,
            "Replaces a worker after an exception of the application; requests that have begun are finished.";
        reload_on_exception_type "reload-on-exception-type" worker(Vec<String>): Many<Text>,
            "As reload-on-exception, for exceptions of this class.";
        reload_on_exception_value "reload-on-exception-value" worker(Vec<String>): Many<Text>,
            "As reload-on-exception, for exceptions with this text.";
        reload_on_exception_repr "reload-on-exception-repr" worker(Vec<String>): Many<Text>,
            "As reload-on-exception, for exceptions with this repr().";
        reload_on_rss "reload-on-rss" worker(Option<u64>): Maybe<Megabytes>,
            "Replaces a worker whose resident memory reaches this size, or is about to, in MiB.";
        reload_on_as "reload-on-as": Maybe<Megabytes>,
            "Replaces a worker whose address space reaches this size, in MiB.";
        evil_reload_on_rss "evil-reload-on-rss": Maybe<Megabytes>,
            "Kills a worker whose resident memory reaches this size, in MiB; its requests are lost.";
        evil_reload_on_as "evil-reload-on-as": Maybe<Megabytes>,
            "Kills a worker whose address space reaches this size, in MiB; its requests are lost.";
        cheaper "cheaper": Maybe<Number>,
            "Adapts the number of workers to the load, from this number up to processes; 0 is off.";
        cheaper_algo "cheaper-algo": One<Scaling> = "spare",
            "Algorithm of cheaper: spare, backlog, busyness, or manual (only commands change the number).";
        cheaper_initial "cheaper-initial": Maybe<Number>,
            "Number of workers at the start under cheaper; default: the value of cheaper.";
        cheaper_step "cheaper-step": One<Count> = "1",
            "Number of workers that cheaper adds at once.";
        cheaper_overload "cheaper-overload": One<Number> = "3",
            "spare: seconds of full or low load before it acts. backlog: waiting connections before it acts. busyness: seconds of a cycle.";
        cheaper_busyness_max "cheaper-busyness-max": One<Percent> = "50",
            "busyness adds workers above this average percentage of busy threads in a cycle.";
        cheaper_busyness_min "cheaper-busyness-min": One<Percent> = "25",
            "A cycle below this average percentage of busy threads is idle.";
        cheaper_busyness_multiplier "cheaper-busyness-multiplier": One<Count> = "10",
            "Number of idle cycles after which busyness stops a worker.";
        cheaper_busyness_penalty "cheaper-busyness-penalty": One<Number> = "2",
            "Number of cycles added to cheaper-busyness-multiplier each time a worker is needed again soon after its stop.";
        cheaper_busyness_backlog_alert "cheaper-busyness-backlog-alert": One<Number> = "33",
            "busyness adds workers at once when more connections than this wait.";
        cheaper_busyness_backlog_step "cheaper-busyness-backlog-step": One<Number> = "1",
            "Number of workers that cheaper-busyness-backlog-alert adds; 0 is none.";
        cheaper_busyness_backlog_multiplier "cheaper-busyness-backlog-multiplier": One<Count> = "3",
            "Number of idle cycles after which a worker added for the backlog stops.";
        cheaper_busyness_backlog_nonzero "cheaper-busyness-backlog-nonzero": One<Number> = "60",
            "Adds workers for the backlog also when connections have waited for this number of seconds without a break; 0 is never.";
        cheaper_rss_limit_soft "cheaper-rss-limit-soft": Maybe<Bytes>,
            "cheaper adds no worker while the resident memory of all workers is at least this, in bytes.";
        cheaper_rss_limit_hard "cheaper-rss-limit-hard": Maybe<Bytes>,
            "cheaper stops one worker per second while the resident memory of all workers is at least this, in bytes.";
        cheap "cheap": One<Switch>,
            "Starts without workers; the first connection starts them.";
        idle "idle": Maybe<Seconds>,
            "Stops the workers after this time without a request; the next connection starts them.";
        die_on_idle "die-on-idle": One<Switch>,
            "Stops the instance with status 0 after idle seconds without a request.";
        die_on_term "die-on-term": Maybe<Switch>,
            "SIGTERM stops the instance; this is the default. false: SIGTERM reloads it, as in uWSGI.";
        auto_procname "auto-procname": One<Switch>,
            "Names the processes after their role.";
        procname "procname": Maybe<AnyText>,
            "Name of all processes.";
        procname_master "procname-master": Maybe<AnyText>,
            "Name of the master.";
        procname_prefix "procname-prefix": Maybe<AnyText>,
            "Prefix of process names.";
        procname_prefix_spaced "procname-prefix-spaced": Maybe<AnyText>,
            "Prefix of process names, followed by a space.";
        procname_append "procname-append": Maybe<AnyText>,
            "Suffix of process names.";
        max_fd "max-fd" worker(Option<u32>): Maybe<Number>,
            "Maximum number of open descriptors per process; more than the hard limit needs root. Default: the hard limit, for the processes of ruwsgi; commands and forks of the application keep the soft limit.";
        cpu_affinity "cpu-affinity" worker(u32): One<Number> = "0",
            "Number of CPUs for each worker: worker 1 runs on the first ones, worker 2 on the next ones; 0 is all CPUs.";
        thread_stacksize "thread-stacksize" ["threads-stacksize", "thread-stack-size", "threads-stack-size"] worker(u32): One<Number> = "0",
            "Stack size of the threads beside the first one, in KiB; 0 is that of the system.";
        limit_nproc "limit-nproc": Maybe<Number>,
            "Maximum number of processes and threads of the user of the instance (RLIMIT_NPROC).";
        prio "prio": Maybe<Priority>,
            "Nice value of the processes, from -20 to 19; less than 0 needs root.";
        limit_as "limit-as": Maybe<Megabytes>,
            "Maximum address space of a process, in MiB.";
    }
    "Application" {
        module "module" ["wsgi"] -'w': Maybe<Text>,
            "Module of the application: package.module, package.module:callable or package.module:factory().";
        wsgi_file "wsgi-file" ["file"]: Maybe<Path>,
            "Python file of the application.";
        callable "callable": Maybe<Text>,
            "Name of the application in its module or file; default: application.";
        mount "mount" ["worker-mount"]: Many<Mount>,
            "Application below a path: /point=module:callable or /point=file.py. With vhost also HOST/point=APP, or HOST|/point=APP as in uWSGI.";
        no_default_app "no-default-app": One<Switch>,
            "A request for no mount point gets a 404; by default the first application serves it.";
        manage_script_name "manage-script-name": One<Switch>,
            "Moves the mount point from PATH_INFO to SCRIPT_NAME.";
        honour_stdin "honour-stdin": One<Switch>,
            "Give the application the standard input of the instance, such as a terminal for pdb; use processes = 1 then. Otherwise it is /dev/null.";
        need_app "need-app": One<OptionalSwitch> = "true",
            "Stops with status 22 if the application cannot be loaded; false: requests get a 500 instead.";
        eval "eval": Maybe<AnyText>,
            "Python code that defines the application.";
        paste "paste": Maybe<Text>,
            "PasteDeploy application: config:/path/to/file.ini, or another URI of PasteDeploy.";
        paste_logger "paste-logger": One<OptionalSwitch>,
            "Configures logging from the file of paste.";
        pecan "pecan": Maybe<Path>,
            "Configuration file of a Pecan application.";
        pymodule_alias "pymodule-alias" ["post-pymodule-alias"] worker(Vec<(String, String)>): Many<Assignment>,
            "Imports a module, or a file if the value has a slash, and makes it known under another name: NAME=MODULE.";
        python_worker_override "python-worker-override": Maybe<Path>,
            "Python file that each worker runs instead of serving requests. It finds the descriptors of the sockets in uwsgi.sockets, and gets SIGTERM when the worker has to exit.";
        pyshell "pyshell": Maybe<OptionalText>,
            "Worker 1 is an interactive Python shell on the terminal of the instance; a value is Python code to run instead. It starts again when it ends.";
        pyshell_oneshot "pyshell-oneshot": Maybe<OptionalText>,
            "As pyshell, but worker 1 serves requests when the shell has ended.";
        pyrun "pyrun" ["py"]: Maybe<Path>,
            "Runs this Python file in the environment of the instance (chdir, uid, env, home, the module uwsgi) with the arguments pyargv, and exits with its status; nothing is served.";
        no_site "no-site": One<Switch>,
            "Starts the interpreter without the module site (-S).";
        chdir "chdir": Maybe<Path>,
            "Changes to this directory before binding and loading.";
        chdir2 "chdir2": Maybe<Path>,
            "Changes to this directory after loading.";
        pythonpath "pythonpath" ["python-path", "pp"]: Many<Path>,
            "Directory to insert at the start of sys.path; the last one given comes first.";
        home "home" ["virtualenv", "venv", "pyhome"] -'H': Maybe<Path>,
            "Virtual environment of the application.";
        python "python": Maybe<Path>,
            "Interpreter of the application; default: that of home, else python3 from PATH.";
        pyargv "pyargv": Maybe<AnyText>,
            "Arguments in sys.argv after the program name, separated by spaces.";
        pyimport "pyimport" ["import", "py-import", "python-import"]: Many<Text>,
            "Additional module to import.";
        optimize "optimize" -'O': One<Number> = "0",
            "Optimization level of the interpreter: 1 removes assertions, 2 also docstrings.";
        shared_import "shared-import" ["shared-pyimport", "shared-py-import", "shared-python-import"]: Many<Text>,
            "As pyimport, but once before the workers are forked, also with lazy-apps.";
        force_cwd "force-cwd": Maybe<Path>,
            "Directory that a reload begins in, instead of the one in which the instance was started; chdir is relative to it.";
        warmup "warmup": Many<Text>,
            "Path to request once before the workers are forked, so that they share the memory of what it loads.";
        env "env": Many<Variable>,
            "Sets an environment variable: NAME=value.";
        envdir "envdir": Many<Path>,
            "Directory with one file per environment variable: its name and its value. An empty file removes the variable. They win over env.";
        unenv "unenv": Many<Text>,
            "Removes an environment variable.";
    }
    "Privileges" {
        uid "uid" ["immediate-uid"]: Maybe<Text>,
            "User to change to after binding, by name or number.";
        gid "gid" ["immediate-gid"]: Maybe<Text>,
            "Group to change to after binding, by name or number.";
        add_gid "add-gid": Many<Text>,
            "Supplementary group, by name or number.";
        no_initgroups "no-initgroups": One<Switch>,
            "Does not set the supplementary groups of uid.";
        cap "cap": Many<Capabilities>,
            "Capabilities to keep when privileges are dropped; all others are dropped. By name or number, separated by commas.";
        umask "umask": Maybe<Umask>,
            "Umask of the instance, in octal.";
        chroot "chroot": Maybe<Path>,
            "Root directory of the instance: chroot(2).";
    }
    "Running" {
        daemonize "daemonize" -'d': Maybe<Path>,
            "Runs in the background and logs to this file.";
        daemonize2 "daemonize2": Maybe<Path>,
            "As daemonize, but only after the application is loaded; the command exits with the status of the load.";
        pidfile "pidfile": Maybe<Path>,
            "File for the master's process id, written before privileges are dropped.";
        pidfile2 "pidfile2": Maybe<Path>,
            "File for the master's process id, written after privileges are dropped.";
        safe_pidfile "safe-pidfile": Maybe<Path>,
            "File for the master's process id, written when the instance is ready.";
        safe_pidfile2 "safe-pidfile2": Maybe<Path>,
            "As safe-pidfile, written after privileges are dropped.";
        logto "logto": Maybe<Path>,
            "Log file.";
        logto2 "logto2": Maybe<Path>,
            "As logto, opened after privileges are dropped.";
        log_reopen "log-reopen": One<Switch>,
            "Reopens the log file at each reload.";
        touch_logreopen "touch-logreopen": Many<Path>,
            "Reopens the log file (logto, logto2, daemonize) when this file is touched, created or removed; for logrotate.";
        touch_logrotate "touch-logrotate": Many<Path>,
            "Rotates the log file, and the files of loggers, when this file is touched, created or removed.";
        log_maxsize "log-maxsize": Maybe<Bytes>,
            "Size at which the log file (logto, logto2, daemonize), and a file of a logger, is rotated, in bytes.";
        log_backupname "log-backupname": Maybe<Path>,
            "Name that the full log file gets; a former file of this name is lost. Default: the name of the log and the time, in seconds since 1970.";
        log_backups "log-backups": Maybe<Count>,
            "Keeps this number of full log files as FILE.1 (the newest), FILE.2 and so on.";
        log_truncate "log-truncate": One<Switch>,
            "Empties the log file at the start.";
        logfile_chown "logfile-chown": Maybe<FileOwnerText>,
            "Owner of log files; without a value the user and group of the instance.";
        logfile_chmod "logfile-chmod": Maybe<FileMode>,
            "Permissions of log files; default: 640, less the umask.";
        logger "logger": Many<LoggerText>,
            "Where the log goes: stdio, fd:N, file:PATH, socket:ADDRESS, syslog, rsyslog:ADDRESS, pipe:COMMAND or systemd (docs/logging.md). A logger with a name gets the lines of its routes only.";
        req_logger "req-logger" ["logger-req"]: Many<LoggerText>,
            "As logger, for request lines; they do not go to other loggers then.";
        log_route "log-route": Many<RouteText>,
            "Lines with a match go to the loggers of this name, and to no others.";
        log_req_route "log-req-route": Many<RouteText>,
            "As log-route, for req-logger.";
        log_filter "log-filter": Many<Regex>,
            "Logs only lines with a match.";
        log_drain "log-drain": Many<Regex>,
            "Does not log lines with a match.";
        log_encoder "log-encoder": Many<EncoderText>,
            "Changes each line before it is written: prefix, suffix, nl, format, json, gzip or compress; with a name behind the colon, for loggers of this name only.";
        log_req_encoder "log-req-encoder": Many<EncoderText>,
            "As log-encoder, for req-logger.";
        log_socket "log-socket": Many<SocketText>,
            "As logger = socket:ADDRESS.";
        log_syslog "log-syslog": Many<SyslogText>,
            "As logger = syslog.";
        rsyslog_packet_size "rsyslog-packet-size": One<Count> = "1024",
            "Maximum bytes of a message of logger = rsyslog:ADDRESS; a longer one is cut.";
        rsyslog_split_messages "rsyslog-split-messages": One<Switch>,
            "Splits messages that exceed rsyslog-packet-size.";
        log_master_stream "log-master-stream": One<Switch>,
            "With loggers: writes of the application may arrive together, and none is too large.";
        disable_logging "disable-logging" -'L': One<Switch>,
            "Writes no request lines, except those that the options below select.";
        log_4xx "log-4xx": One<Switch>,
            "With disable-logging: logs requests with a status from 400 to 499.";
        log_5xx "log-5xx": One<Switch>,
            "With disable-logging: logs requests with a status from 500 to 599.";
        log_slow "log-slow": Maybe<Number>,
            "With disable-logging: logs requests that take at least this number of milliseconds.";
        log_big "log-big": Maybe<Bytes>,
            "With disable-logging: logs requests with a response of more bytes than this.";
        log_zero "log-zero": One<Switch>,
            "With disable-logging: logs requests with a response without a body.";
        log_sendfile "log-sendfile": One<OptionalSwitch>,
            "With disable-logging: logs requests that sendfile(2) answered.";
        log_ioerror "log-ioerror": One<OptionalSwitch>,
            "With disable-logging: logs requests whose client disconnected before the end of the response.";
        log_format "log-format" ["logformat"]: Maybe<LineFormat>,
            "Format of request lines: text with %(name) and, for request variables, %(var.NAME); docs/configuration.md lists the names.";
        access_log_format "access-log-format": Maybe<AccessFormat>,
            "Format of request lines with gunicorn's names, such as %(h)s and %({x-request-id}i)s.";
        logformat_strftime "logformat-strftime" ["log-format-strftime"]: One<Switch>,
            "Writes %(ftime) of log-format in the format of log-date.";
        log_date "log-date" ["logdate"]: Maybe<AnyText>,
            "Format of %(ftime) for logformat-strftime, as in strftime(3). The lines of ruwsgi always have a date.";
        log_json "log-json": One<Switch>,
            "Writes every line as a JSON object with OpenTelemetry's field names (docs/logging.md): server, requests and the output of the application.";
        log_micros "log-micros": One<Switch>,
            "Logs request times in microseconds.";
        log_x_forwarded_for "log-x-forwarded-for": One<Switch>,
            "Logs the address in X-Forwarded-For as the client address.";
        vhost "vhost" worker(bool): One<Switch>,
            "Mounts may begin with a host: mount = example.org/shop=shop:app. It is compared with the Host header, then with SERVER_NAME. Request lines in the default format begin with the Host header.";
        vhost_host "vhost-host" worker(bool): One<Switch>,
            "As vhost, but compares with the Host header only.";
        memory_report "memory-report" -'m': One<Switch>,
            "Begins request lines with the worker's memory use.";
        control_socket "control-socket": Maybe<Path>,
            "Control socket of the instance, used by commands such as ruwsgi status; default: a socket in the runtime directory.";
        master_fifo "master-fifo": Many<Path>,
            "Named pipe for one-letter commands to the master (docs/workers.md). With several pipes the first is active; a digit selects another one.";
        fs_reload "fs-reload": Many<Path>,
            "Reloads when this file, or a file in this directory, changes (inotify).";
        fs_brutal_reload "fs-brutal-reload": Many<Path>,
            "As fs-reload, but the old workers are killed with their requests.";
        py_autoreload "py-autoreload" ["py-auto-reload", "python-autoreload", "python-auto-reload"]: Maybe<Seconds>,
            "For development: interval at which the files of the loaded modules are checked; a change reloads the instance.";
        py_auto_reload_ignore "py-auto-reload-ignore": Many<Text>,
            "Module that py-autoreload ignores.";
        py_tracebacker "py-tracebacker" worker(Option<String>): Maybe<Path>,
            "Prefix of a Unix socket of each worker, which the worker's number completes; a client gets the Python stacks of all threads.";
        touch_reload "touch-reload": Many<Path>,
            "Reloads when this file is touched, created or removed.";
        touch_workers_reload "touch-workers-reload": Many<Path>,
            "Alias of touch-reload: no reload interrupts service.";
        touch_chain_reload "touch-chain-reload": Many<Path>,
            "Alias of touch-reload: no reload interrupts service.";
        exit_on_reload "exit-on-reload": One<Switch>,
            "A reload stops the instance with status 0, so that its service manager starts it again.";
        stop "stop": Maybe<Path>,
            "Stops the instance whose process id is in this file.";
        reload "reload": Maybe<Path>,
            "Reloads the instance whose process id is in this file.";
        show_config "show-config": One<Switch>,
            "Prints the options as given. The verb show-config prints the effective ones and exits.";
        flock "flock": Many<Path>,
            "File to lock before the instance goes to the background; if another process holds the lock, the start fails.";
        flock_wait "flock-wait": Many<Path>,
            "As flock, but waits for the lock.";
        flock2 "flock2": Many<Path>,
            "As flock, in the background.";
        flock_wait2 "flock-wait2": Many<Path>,
            "As flock-wait, in the background.";
        exit "exit": Maybe<ExitStatus>,
            "Exits with this status when the configuration is read.";
        no_server "no-server": One<Switch>,
            "Exits with status 0 when the configuration is read; with show-config it is printed.";
        compat "compat": Maybe<CompatMode>,
            "Server whose defaults apply: uwsgi restores the defaults that ruwsgi changes.";
        strict "strict": One<Switch>,
            "Makes an unknown name an error.";
    }
    "Statistics" {
        stats "stats" ["stats-server"]: Many<ListenAddress>,
            "Address at which the instance serves its statistics as uWSGI's JSON; may be given several times. docs/statistics.md lists the tools that read it.";
        prometheus "prometheus": Many<ListenAddress>,
            "Address at which the instance serves metrics for Prometheus, as text or OpenMetrics; not an option of uWSGI. Requests are then counted by duration and status.";
        stats_push "stats-push": Many<PusherText>,
            "Sends the statistics to another program: statsd:HOST:PORT[,PREFIX], dogstatsd:..., socket:..., zabbix:HOST[:PORT][,PREFIX] or file:path=PATH[,freq=S]. docs/statistics.md describes the formats.";
        stats_pusher_default_freq "stats-pusher-default-freq" ["stats-pushers-default-freq"]: One<Seconds> = "3",
            "Interval at which the statistics are sent (stats-push).";
        stats_http "stats-http": One<Switch>,
            "Serves the statistics (stats) as an HTTP response.";
        stats_minified "stats-minified" ["stats-min"]: One<Switch>,
            "Writes the statistics without line breaks.";
        stats_no_cores "stats-no-cores": One<Switch>,
            "Leaves the threads of the workers out of the statistics.";
    }
    "Helpers" {
        attach_daemon "attach-daemon": Many<Attached>,
            "Command that runs beside the workers and is restarted when it exits; it must stay in the foreground.";
        attach_control_daemon "attach-control-daemon": Many<Controlling>,
            "As attach-daemon; the instance stops when the command exits.";
        smart_attach_daemon "smart-attach-daemon": Many<Smart>,
            "A pidfile and a command that writes it. The command is started unless its process runs, and keeps running after the instance stops.";
        smart_attach_daemon2 "smart-attach-daemon2": Many<Smart2>,
            "As smart-attach-daemon, for a command that stays in the foreground and writes no pidfile.";
        attach_daemon2 "attach-daemon2": Many<Keyed>,
            "Command that runs beside the workers, given by keys: cmd, name, pidfile, daemonize, freq, control, touch, stopsignal, reloadsignal, notifypid, stdin, uid, gid, chdir, max_throttle, mercy.";
        cron "cron": Many<Cron>,
            "Command on a schedule: minute hour day month week command, where -1 is any value and -5 every fifth; or a name such as @daily and a command.";
        unique_cron "unique-cron": Many<UniqueCron>,
            "As cron; a run is skipped while the previous run is active.";
        cron2 "cron2": Many<Cron2>,
            "As cron, given by keys: minute, hour, day, month, week, unique, harakiri, name.";
        timer "timer" ["signal-timer", "rbtimer", "signal-rbtimer"]: Many<TimerText>,
            "Timer that raises a signal of the application: the signal's number and the interval in seconds (docs/uwsgi-module.md).";
        touch_signal "touch-signal": Many<FileText>,
            "File whose touch raises a signal of the application.";
        fs_signal "fs-signal": Many<FileText>,
            "File, or directory of files, whose change raises a signal of the application (inotify).";
        curl_cron "curl-cron" ["cron-curl"]: Many<CurlCron>,
            "As cron, with a URL in place of the command: curl requests it.";
        mule "mule": Many<MuleText>,
            "Process without requests that handles messages and signals of the application, or that runs this program: a Python file or module:function (docs/workers.md).";
        mules "mules": Maybe<Number>,
            "Number of mules without a program.";
        farm "farm": Many<FarmText>,
            "Name of a group of mules, and their numbers, such as mail:1,2: one of them gets each message to the farm.";
        mule_msg_size "mule-msg-size" worker(u32): One<Number> = "65536",
            "Maximum size of a message to a mule, bytes.";
        mule_harakiri "mule-harakiri": Maybe<Seconds>,
            "Time limit of the handling of a message or a signal in a mule; then the mule is killed and replaced.";
        mule_reload_mercy "mule-reload-mercy": One<Seconds> = "60",
            "Time that a mule has to finish its message at a reload or a stop; then it is killed.";
        touch_mules_reload "touch-mules-reload": Many<Path>,
            "Replaces the mules when this file is touched, created or removed.";
        cron_harakiri "cron-harakiri": Maybe<Seconds>,
            "Timeout of a cron command; then it is killed.";
        wait_for_interface "wait-for-interface" ["wait-interface", "wait-for-iface", "wait-iface"]: Many<AwaitedInterface>,
            "Network interface that must exist before the sockets are bound.";
        wait_for_fs "wait-for-fs": Many<AwaitedPath>,
            "Path that must exist before the sockets are bound.";
        wait_for_file "wait-for-file": Many<AwaitedFile>,
            "File that must exist before the sockets are bound.";
        wait_for_dir "wait-for-dir": Many<AwaitedDirectory>,
            "Directory that must exist before the sockets are bound.";
        wait_for_mountpoint "wait-for-mountpoint": Many<AwaitedMountPoint>,
            "Directory that must be a mount point before the sockets are bound.";
        wait_for_socket "wait-for-socket": Many<AwaitedSocket>,
            "Socket that must accept connections before the sockets are bound.";
        wait_for_interface_timeout "wait-for-interface-timeout" ["wait-interface-timeout", "wait-for-iface-timeout", "wait-iface-timeout"]: One<Seconds> = "60",
            "Timeout of wait-for-interface; then the start fails.";
        wait_for_fs_timeout "wait-for-fs-timeout": One<Seconds> = "60",
            "Timeout of wait-for-fs, wait-for-file, wait-for-dir and wait-for-mountpoint; then the start fails.";
        wait_for_socket_timeout "wait-for-socket-timeout": One<Seconds> = "60",
            "Timeout of wait-for-socket; then the start fails.";
        exec_asap "exec-asap": Many<Exec>,
            "Command to run when the configuration is read, before the instance goes to the background.";
        exec_pre_jail "exec-pre-jail": Many<Exec>,
            "Command to run before chroot, with the privileges at the start.";
        exec_post_jail "exec-post-jail": Many<Exec>,
            "As exec-in-jail, run before it.";
        exec_in_jail "exec-in-jail": Many<Exec>,
            "Command to run after chroot, before privileges are dropped.";
        exec_as_root "exec-as-root": Many<Exec>,
            "Last command to run before privileges are dropped; skipped unless root starts the instance.";
        exec_as_user "exec-as-user": Many<Exec>,
            "Command to run after privileges are dropped.";
        exec_pre_app "exec-pre-app": Many<Exec>,
            "Command to run before the application is loaded, in each generation.";
        exec_post_app "exec-post-app": Many<Exec>,
            "Command to run after the application is loaded and before it serves, in each generation.";
        exec_as_user_atexit "exec-as-user-atexit": Many<Exec>,
            "Command to run after the rest of the instance has stopped.";
        hook_asap "hook-asap": Many<StartHook>,
            "Action when the configuration is read, before the instance goes to the background.";
        hook_pre_jail "hook-pre-jail": Many<StartHook>,
            "Action before chroot, with the privileges at the start.";
        hook_post_jail "hook-post-jail": Many<StartHook>,
            "As hook-in-jail, run before it.";
        hook_in_jail "hook-in-jail": Many<StartHook>,
            "Action after chroot, before privileges are dropped.";
        hook_as_root "hook-as-root": Many<StartHook>,
            "Last action before privileges are dropped; skipped unless root starts the instance.";
        hook_as_user "hook-as-user": Many<StartHook>,
            "Action after privileges are dropped.";
        hook_pre_app "hook-pre-app": Many<AppHook>,
            "Action before the application is loaded, in each generation.";
        hook_post_app "hook-post-app": Many<LoadedHook>,
            "Action after the application is loaded and before it serves, in each generation.";
        hook_harakiri "hook-harakiri": One<Seconds> = "600",
            "Timeout of the hooks that a reload waits for (pre-app, post-app): the command is killed and the reload is cancelled; 0 is no timeout.";
        hook_as_user_atexit "hook-as-user-atexit": Many<LiveHook>,
            "Action after the rest of the instance has stopped.";
        hook_master_start "hook-master-start": Many<MasterHook>,
            "Action when the first generation serves; unix_signal:15 gracefully_kill_them_all sets the action of a signal.";
        hook_post_fork "hook-post-fork": Many<LiveHook>,
            "Action in the master for each worker that is forked.";
        hook_accepting "hook-accepting": Many<LiveHook>,
            "Action in the master for each worker that begins to accept requests.";
        hook_accepting_once "hook-accepting-once": Many<LiveHook>,
            "As hook-accepting, except for workers that replace another worker of their generation.";
        hook_accepting1 "hook-accepting1": Many<LiveHook>,
            "As hook-accepting, for worker 1 only.";
        hook_accepting1_once "hook-accepting1-once": Many<LiveHook>,
            "As hook-accepting-once, for worker 1 only.";
        daemons_honour_stdin "daemons-honour-stdin": One<Switch>,
            "Commands that run beside the workers read the standard input of the instance, as with attach-daemon2 = stdin=true.";
        alarm "alarm": Many<NamedAlarm>,
            "Alarm for the options below and for uwsgi.alarm(): NAME cmd:COMMAND (the command reads the message), NAME log:, NAME udp:ADDRESS:PORT (one datagram), or NAME webhook:URL (JSON, sent by curl).";
        alarm_freq "alarm-freq": One<Seconds> = "3",
            "Time in which an alarm is not raised again with the same message.";
        alarm_segfault "alarm-segfault" ["segfault-alarm"]: Many<Text>,
            "Alarm to raise when a process of the application crashes (SIGSEGV, SIGBUS, SIGFPE, SIGILL).";
        alarm_backlog "alarm-backlog" ["backlog-alarm", "lq-alarm", "alarm-lq", "alarm-listen-queue", "listen-queue-alarm"]: Many<Text>,
            "Alarm to raise when the accept queue of a socket is full; checked every second.";
        log_alarm "log-alarm" ["alarm-log"]: Many<RouteText>,
            "Names of alarms, separated by commas, and a regular expression: a log line with a match raises these alarms.";
        not_log_alarm "not-log-alarm" ["not-alarm-log"]: Many<RouteText>,
            "As log-alarm, for exceptions: a line with a match raises no alarm of the log-alarm options behind this one.";
        touch_exec "touch-exec": Many<TouchCommand>,
            "A file and a command; /bin/sh runs the command when the file is touched, created or removed.";
        hook_touch "hook-touch": Many<TouchHook>,
            "A file and an action of the master when the file is touched, created or removed.";
    }
    "Shared memory" {
        cache2 "cache2": Many<CacheText>,
            "Cache of the workers for uwsgi.cache_get and similar functions: name=NAME,items=NUMBER and the keys in docs/shared-memory.md.";
        cache "cache": Maybe<CacheItems>,
            "As cache2 with the name default and this number of items.";
        cache_blocksize "cache-blocksize": Maybe<Bytes>,
            "Maximum size of a value in the cache of the option cache.";
        cache_store "cache-store": Maybe<Path>,
            "File in which the items of the option cache outlive the instance.";
        cache_store_sync "cache-store-sync": One<Number> = "0",
            "Interval in seconds between two writes of that file; 0: every minute, and at the end of the instance.";
        cache_no_expire "cache-no-expire": One<Switch>,
            "Items of the option cache do not expire.";
        cache_expire_freq "cache-expire-freq": One<Seconds> = "3",
            "Interval in which the memory of expired items is released.";
        locks "locks": Maybe<Number>,
            "Number of locks for uwsgi.lock besides lock 0. Without it lock 0 is not shared between the old and the new workers of a reload.";
        queue "queue": Maybe<Number>,
            "Number of slots of the queue for uwsgi.queue_push and similar functions.";
        queue_blocksize "queue-blocksize": One<Number> = "8192",
            "Maximum size of an item in the queue, bytes.";
        sharedarea "sharedarea" -'A': Many<AreaText>,
            "Memory for uwsgi.sharedarea_read and similar functions: a number of pages of 4096 bytes, or pages=NUMBER or size=BYTES.";
    }
    "Emperor" {
        emperor "emperor": Many<Text>,
            "Runs one instance for each configuration file in this directory or matching this pattern.";
        emperor_freq "emperor-freq": One<Seconds> = "3",
            "Scan interval of the emperor for sources without change notification of the kernel.";
        emperor_throttle "emperor-throttle": One<Number> = "1000",
            "Initial restart delay of a vassal that failed, in milliseconds; doubled at each further failure.";
        emperor_max_throttle "emperor-max-throttle": One<Number> = "180000",
            "Maximum restart delay of a vassal, in milliseconds.";
        emperor_tyrant "emperor-tyrant": One<Switch>,
            "Runs each vassal as the owner of its file; the emperor must be root.";
        emperor_tyrant_nofollow "emperor-tyrant-nofollow": One<Switch>,
            "For emperor-tyrant, the owner of a symbolic link is the owner of the link itself.";
        emperor_tyrant_root "emperor-tyrant-root": One<Switch>,
            "Lets emperor-tyrant run files of root or of the group root, as root.";
        emperor_cap "emperor-cap" ["vassals-cap", "vassal-cap"]: Many<Capabilities>,
            "Capabilities of every vassal; all others are dropped. A vassal of another user gets them, a vassal of root keeps them.";
        emperor_nofollow "emperor-nofollow": One<Switch>,
            "Ignores symbolic links: they are not vassals.";
        emperor_extra_extension "emperor-extra-extension" ["emperor-extra-ext"]: Many<Text>,
            "Additional extension of vassal files, for example .conf; such files are read as ini.";
        emperor_pidfile "emperor-pidfile": Maybe<Path>,
            "File for the emperor's process id.";
        emperor_procname "emperor-procname": Maybe<AnyText>,
            "Process name of the emperor.";
        emperor_wrapper "emperor-wrapper": Maybe<Path>,
            "Program that starts vassals; it gets ruwsgi's arguments.";
        emperor_wrapper_override "emperor-wrapper-override": Many<Path>,
            "As emperor-wrapper; the first of these programs that is executable is used, else the default.";
        emperor_wrapper_fallback "emperor-wrapper-fallback": Many<Path>,
            "Programs to try if neither the overrides nor the default program is executable.";
        emperor_magic_exec "emperor-magic-exec": One<Switch>,
            "Runs a vassal's file if it is executable, as the vassal's user; the output is the configuration.";
        emperor_required_heartbeat "emperor-required-heartbeat": One<Seconds> = "30",
            "Kills and restarts a vassal whose last heartbeat is older than this; 0 is never. It applies after the first heartbeat.";
        heartbeat "heartbeat": Maybe<Seconds>,
            "In the file of a vassal: interval of the heartbeats that its master sends to the emperor.";
        emperor_no_orphans "emperor-no-orphans": One<OptionalSwitch> = "true",
            "Stops the vassals when their emperor is gone; false: they continue to serve.";
        emperor_control "emperor-control": Maybe<Path>,
            "Control socket of the emperor, used by commands such as ruwsgi ls; default: a socket in the runtime directory.";
        emperor_stats "emperor-stats" ["emperor-stats-server"]: Maybe<ListenAddress>,
            "Address at which the emperor serves the state of its vassals, as JSON in uWSGI's format.";
        on_demand "on-demand": One<Switch>,
            "In the file of a vassal: the emperor listens on its sockets and starts it at the first connection; idle with die-on-idle stops it again.";
        emperor_on_demand_extension "emperor-on-demand-extension" ["emperor-on-demand-ext"]: Maybe<Text>,
            "Extension of address files: a vassal with such a file beside its own file is on demand; the file's first line is the address.";
        emperor_on_demand_directory "emperor-on-demand-directory" ["emperor-on-demand-dir"]: Maybe<Path>,
            "Makes all vassals on demand; the socket of each is in this directory and has its name.";
        emperor_on_demand_exec "emperor-on-demand-exec": Maybe<Text>,
            "Command that gets the name of a vassal and prints its address; a vassal with an address is on demand.";
        vassal_set "vassal-set" ["vassals-set"]: Many<Assignment>,
            "Sets an option of every vassal: name=value.";
        vassals_include "vassals-include": Many<Path>,
            "File that every vassal reads after its own file.";
        vassals_include_before "vassals-include-before": Many<Path>,
            "File that every vassal reads before its own file.";
        vassals_inherit "vassals-inherit": Many<Path>,
            "File that every vassal inherits from.";
        vassals_inherit_before "vassals-inherit-before": Many<Path>,
            "File that every vassal inherits from, requested before its own file is read.";
        cgroup_memory_max "cgroup-memory-max": Maybe<MemoryLimit>,
            "Memory limit of each vassal in bytes, with K, M or G, or max. In the file of a vassal: its own limit, if that is lower.";
        cgroup_cpu_max "cgroup-cpu-max": Maybe<CpuLimit>,
            "CPU limit of each vassal: percent of one CPU (150%), quota and period in microseconds, or max. In the file of a vassal: its own limit, if that is lower.";
        cgroup_pids_max "cgroup-pids-max": Maybe<TasksLimit>,
            "Maximum number of processes and threads of each vassal, or max. In the file of a vassal: its own limit, if that is lower.";
        vassals_start_hook "vassals-start-hook": Maybe<Path>,
            "Program to run before a vassal starts; it gets the name of the vassal.";
        vassals_stop_hook "vassals-stop-hook": Maybe<Path>,
            "Program to run after a vassal has stopped; it gets the name of the vassal.";
    }
}

/// All rows by name.
static BY_NAME: LazyLock<HashMap<&'static str, &'static Row>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for row in rows() {
        for name in row.names {
            names.entry(*name).or_insert(row);
        }
    }
    names
});

/// All rows: served, directives, accepted, ignored and absent.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    SERVED
        .iter()
        .chain(DIRECTIVES)
        .chain(ACCEPTED)
        .chain(IGNORED)
        .chain(ABSENT)
}

/// The row of a name.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    BY_NAME.get(name).copied()
}

/// The row of a short flag.
pub(crate) fn find_short(short: char) -> Option<&'static Row> {
    rows().find(|row| row.short == Some(short))
}

/// The names that begin with a prefix, sorted.
pub(crate) fn with_prefix(prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = BY_NAME
        .keys()
        .copied()
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    names
}
