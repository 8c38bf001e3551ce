//! Options of uWSGI that are not supported: each is an error at the start. The message names the alternative.
//!
//! To support such an option, add its row to `options.rs` and remove its name here.

use crate::config::values::setting::Takes::{Maybe, Nothing, Value};

use super::row::Row;

/// The rows of the options that are not supported.
#[rustfmt::skip] // one group per row
pub(crate) static ABSENT: &[Row] = &[
    Row::absent(&[
        "suwsgi-socket", "ssl-socket", "https-socket", "https-socket-modifier1", "https-socket-modifier2",
        "ssl-sessions-timeout", "ssl-session-timeout", "sni", "sni-dir", "sni-dir-ciphers", "sni-regexp", "ssl-tmp-dir",
        "https", "https2", "https-session-context", "http-to-https",
    ], Value, "TLS is not supported: use nginx for TLS"),
    Row::absent(&[
        "http-stud-prefix",
    ], Value, "the PROXY protocol is not supported: use nginx"),
    Row::absent(&[
        "fastcgi-socket", "fastcgi-nph-socket", "fastcgi-modifier1", "fastcgi-modifier2", "scgi-socket", "scgi-nph-socket",
        "scgi-modifier1", "scgi-modifier2", "raw-socket", "raw-modifier1", "raw-modifier2", "puwsgi-socket",
    ], Value, "use socket or http-socket, with nginx in front for other protocols"),
    Row::absent(&["spooler-harakiri"], Value, "the spooler is not supported; remove this option"),
    Row::absent(&["connect-and-read"], Value, "connect by nc -U SOCKET, for example to the sockets of py-tracebacker"),
    Row::absent(&["get", "extract"], Value, "read the file or the URL by a command of the shell"),
    Row::absent(&[
        "print-sym", "print-symbol", "privileged-binary-patch", "unprivileged-binary-patch",
        "privileged-binary-patch-arg", "unprivileged-binary-patch-arg", "dlopen", "remap-modifier", "binary-append-data",
        "build-plugin",
    ], Value, "it concerns the program file of uWSGI and its plugins in C; a site needs no replacement"),
    Row::absent(&["resolve"], Value, "write the address in place of the placeholder, or set-placeholder = NAME=@(exec://getent hosts NAME)"),
    Row::absent(&["inject-before", "inject-after"], Value, "write ini = FILE at the place where the lines of FILE are to be"),
    Row::absent(&["dump-options", "cflags", "dot-h", "config-py"], Nothing, "ruwsgi --help prints the options"),
    Row::absent(&["pause", "suspend", "resume"], Value, "write p to the pipe of master-fifo: it pauses the instance, and the next p resumes it"),
    Row::absent(&["cgi-mode"], Nothing, "ruwsgi serves Python applications only").short('c'),
    Row::absent(&["abstract-socket"], Nothing, "write the name as @name").short('a'),
    Row::absent(&["emperor-proxy-socket"], Value, "let nginx forward requests to the socket of each vassal"),
    Row::absent(&[
        "emperor-use-clone",
    ], Value, "namespaces for vassals are not supported: confine all vassals by the systemd unit of the emperor, or one instance by ruwsgi@.service"),
    Row::absent(&[
        "add-cache-item", "load-file-in-cache",
        "load-file-in-cache-gzip", "queue-store", "queue-store-sync",
        "spooler-external", "spooler-chdir", "spooler-processes", "spooler-max-tasks", "spooler-frequency", "spooler-freq",
        "signal",
        "rpc-max", "py-sharedarea", "webdav-lock-cache", "spooler-import", "spooler-py-import", "spooler-pyimport",
        "spooler-python-import",
    ], Value, "use a separate task queue or cache, for example Celery or Redis"),
    Row::absent(&[
        "persistent-ipcsem", "spooler-ordered",
        "spooler-quiet",
    ], Nothing, "use a separate task queue or cache, for example Celery or Redis"),
    Row::absent(&["cache-udp-server", "cache-udp-node", "cache-sync"], Value,
        "caches are shared within one instance only: use Redis or memcached between hosts"),
    Row::absent(&["spooler"], Value, "use a separate task queue or cache, for example Celery or Redis").short('Q'),
    Row::absent(&["check-cache"], Maybe, "use a separate task queue or cache, for example Celery or Redis"),
    Row::absent(&[
        "hook-as-vassal", "exec-as-vassal",
    ], Value, "use vassals-start-hook: it runs as the user of the vassal, before the vassal reads its file"),
    Row::absent(&[
        "hook-as-emperor", "exec-as-emperor",
    ], Value, "use vassals-start-hook, or a hook in the file of the vassal such as hook-master-start; neither runs as the user of the emperor"),
    Row::absent(&["hook-emperor-stop"], Value, "use hook-as-user-atexit in the file of the vassal, or vassals-stop-hook in its emperor"),
    Row::absent(&["hook-emperor-lost"], Value, "use hook-as-user-atexit: a vassal stops when its emperor is gone"),
    Row::absent(&["hook-emperor-reload"], Value, "use hook-pre-app or hook-post-app: a reload runs them for the new generation"),
    Row::absent(&[
        "hook-emperor-start", "hook-as-mule", "after-request-hook", "after-request-call",
    ], Value, "run it before the instance starts, for example in ExecStartPre= of the systemd unit"),
    Row::absent(&[
        "cgroup", "cgroup-opt", "cgroup-dir-mode",
    ], Value, "limit vassals by cgroup-memory-max, cgroup-cpu-max and cgroup-pids-max, other instances by their systemd unit"),
    Row::absent(&[
        "jailed", "refork", "re-fork", "refork-as-root", "re-fork-as-root", "refork-post-jail", "re-fork-post-jail",
    ], Nothing, "use systemd to confine the instance"),
    Row::absent(&[
        "touch-spoolers-reload",
    ], Value, "spoolers are not supported; touch-reload and fs-reload reload the instance"),
    Row::absent(&[
        "enable-metrics", "metrics-dir-restore", "metric-dir-restore", "metrics-no-cores",
        "carbon-no-workers", "carbon-name-resolve", "carbon-resolve-names", "carbon-use-metrics", "nagios",
    ], Nothing, "metrics and alarms are not supported; remove this option"),
    Row::absent(&[
        "metric", "metric-threshold", "metric-alarm", "alarm-metric", "metrics-dir", "metric-dir", 
        "alarm-fd", 
        
        "carbon", "carbon-timeout", "carbon-freq", "carbon-id", "carbon-max-retry", "carbon-retry-delay",
        "carbon-root", "carbon-hostname-dots", "carbon-idle-avg", "rrdtool", "rrdtool-freq", "rrdtool-lib",
    ], Value, "metrics and alarms are not supported; remove this option"),
    Row::absent(&[
        "ssl-verbose", "ssl-enable3", "ssl-enable-sslv3", "ssl-enable-tlsv1", "ssl-option", "https-export-cert",
    ], Nothing, "TLS is not supported: use nginx for TLS"),
    Row::absent(&["ssl-verify-depth", "ssl-sessions-use-cache", "ssl-session-use-cache"], Maybe, "TLS is not supported: use nginx for TLS"),
    Row::absent(&[
        "async", "loop", "asyncio", "coroae", "goroutines", "gevent", "tornado", "ugreen-stacksize",
    ], Value, "requests are served by threads: use threads"),
    Row::absent(&["log-zeromq"], Value, "use logger = pipe:COMMAND with a program that forwards the lines"),
    Row::absent(&[
        "error-route", "error-route-status", "error-route-host", "error-route-uri", "error-route-qs",
        "error-route-remote-addr", "error-route-user-agent", "error-route-remote-user", "error-route-referer",
        "error-route-label", "error-route-if", "error-route-if-not", "error-route-run", "response-route",
        "response-route-status", "response-route-host", "response-route-uri", "response-route-qs",
        "response-route-remote-addr", "response-route-user-agent", "response-route-remote-user", "response-route-referer",
        "response-route-label", "response-route-if", "response-route-if-not", "response-route-run",
    ], Value, "use add-header, del-header or route, or let nginx change responses"),
    Row::absent(&["enable-proxy-protocol"], Nothing, "the PROXY protocol is not supported: use nginx"),
    Row::absent(&[
        "forkptyrouter", "forkpty-router", "forkptyurouter", "forkpty-urouter", "zeromq", "zmq", "zeromq-socket",
        "zmq-socket", "mongrel2", "tuntap-router", "tuntap-device",
    ], Value, "routers are not supported: use nginx"),
    Row::absent(&[
        "fiber", "gevent-monkey-patch", "gevent-early-monkey-patch", "gevent-wait-for-hub",
        "greenlet", "rbthreads", "rb-threads", "rbthread", "rb-thread", "stackless", "ugreen",
    ], Nothing, "requests are served by threads: use threads"),
    Row::absent(&[
        "cgi", "cgi-map-helper", "cgi-helper", "cgi-buffer-size", "cgi-timeout", "cgi-index", "cgi-allowed-ext", "cgi-unset",
        "cgi-loadlib", "cgi-safe", "dumbloop-modifier1", "dumbloop-code", "dumbloop-function", "go-load", "gccgo-load",
        "go-args", "gccgo-args", "geoip-country", "geoip-city", "glusterfs-mount", "glusterfs-timeout", "jvm-main-class",
        "jvm-opt", "jvm-class", "jvm-classpath", "jwsgi", "ldap", "lua", "lua-load", "mono-app", "mono-gc-freq", "mono-key",
        "mono-version", "mono-config", "mono-assembly", "mono-exec", "mono-index", "pam", "pam-user", "php-ini",
        "php-config", "php-ini-append", "php-config-append", "php-set", "php-index", "php-docroot", "php-allowed-docroot",
        "php-allowed-ext", "php-allowed-script", "php-server-software", "php-app", "php-app-qs", "php-fallback",
        "php-fallback2", "php-fallback-qs", "php-app-bypass", "php-var", "php-constant", "php-exec-before", "php-exec-begin",
        "php-exec-after", "php-exec-end", "php-sapi-name", "ping", "ping-timeout", "psgi", "perl-local-lib", "perl-args",
        "perl-arg", "perl-exec", "perl-exec-post-fork", "perl-auto-reload", "perl-auto-reload-ignore", "pty-socket",
        "pty-connect", "pty-uconnect", "pty-exec", "pypy-lib", "pypy-setup", "pypy-home", "pypy-wsgi", "pypy-wsgi-file",
        "pypy-ini-paste", "pypy-paste", "pypy-eval", "pypy-eval-post-fork", "pypy-exec", "pypy-exec-post-fork", "pypy-pp",
        "pypy-python-path", "pypy-pythonpath", "rails", "rack", "ruby-gc-freq", "rb-gc-freq", "rb-lib", "ruby-lib",
        "rb-require", "ruby-require", "rbrequire", "rubyrequire", "require", "shared-rb-require", "shared-ruby-require",
        "shared-rbrequire", "shared-rubyrequire", "shared-require", "gemset", "rvm", "rvm-path", "rados-mount",
        "rados-timeout", "ring-load", "clojure-load", "ring-app", "sqlite3", "sqlite", "symcall", "symcall-register-rpc",
        "symcall-post-fork", "webdav-mount", "webdav-css", "webdav-javascript", "webdav-js", "webdav-class-directory",
        "webdav-div", "webdav-principal-base", "webdav-add-option", "webdav-add-prop", "webdav-add-collection-prop",
        "webdav-add-object-prop", "webdav-add-prop-href", "webdav-add-collection-prop-href", "webdav-add-object-prop-href",
        "webdav-add-prop-comp", "webdav-add-collection-prop-comp", "webdav-add-object-prop-comp", "webdav-add-rtype-prop",
        "webdav-add-rtype-collection-prop", "webdav-add-rtype-object-prop", "webdav-skip-prop", "xslt-docroot", "xslt-ext",
        "xslt-var", "xslt-stylesheet", "xslt-content-type",
    ], Value, "ruwsgi serves Python applications only"),
    Row::absent(&[
        "cgi-from-docroot", "cgi-optimize", "cgi-optimized", "cgi-path-info", "cgi-do-not-kill-on-error",
        "cgi-async-max-attempts", "cgi-close-stdin-on-eof", "geoip-use-disk", "ldap-schema", "ldap-schema-ldif", "lua-shell",
        "luashell", "lua-gc-freq", "notfound-log", "php-dump-config", "psgi-enable-psgix-io", "perl-no-die-catch",
        "perl-version", "plshell-oneshot", "perl-no-plack", "pty-log", "pty-input", "pty-no-isig", "rbshell-oneshot",
        "symcall-use-next",
    ], Nothing, "ruwsgi serves Python applications only"),
    Row::absent(&["http-enable-proxy-protocol"], Maybe, "the PROXY protocol is not supported: use nginx"),
    Row::absent(&["plshell", "rbshell"], Maybe, "ruwsgi serves Python applications only"),
    Row::absent(&["web3", "pump", "wsgi-lite", "python-raw"], Value, "use module with a WSGI callable"),
    Row::absent(&["test"], Value, "use module with a WSGI callable").short('J'),
    Row::absent(&["python-version"], Nothing, "run the Python interpreter with --version"),
    Row::absent(&["zabbix-template"], Maybe, "metrics and alarms are not supported; remove this option"),
    Row::absent(&[
        "fastrouter", "rawrouter", "sslrouter", "sslrouter2", "http-zerg", "http-fallback", "http-use-pattern",
        "http-use-base", "http-subscription-server", "http-subscription-fallback-key", "http-use-code-string",
    ], Value, "nginx routes requests: a server block with location / { uwsgi_pass unix:/run/site.sock; } for each site"),
    Row::absent(&[
        "http-use-cache", "http-use-socket",
    ], Maybe, "nginx routes requests: a server block with location / { uwsgi_pass unix:/run/site.sock; } for each site"),
    Row::absent(&[
        "zerg",
    ], Value, "nginx balances between instances: upstream site { server unix:/run/a.sock; server unix:/run/b.sock; } and uwsgi_pass site; one instance scales by processes and cheaper"),
    Row::absent(&[
        "legion-cron", "cron-legion", "unique-legion-cron", "unique-cron-legion", "legion-curl-cron", "legion-cron-curl",
        "curl-cron-legion", "cron-curl-legion",
    ], Value, "use cron on one host, or take a lock in the command: cron = 0 3 -1 -1 -1 flock -n /run/lock/job command"),
    Row::absent(&[
        "legion-lord", "legion-unlord", "legion-setup", "legion-death", "legion-join", "legion-node-joined",
        "legion-node-left",
    ], Value, "ruwsgi elects no lord: use keepalived for a floating address and a failover command"),
    Row::absent(&[
        "legion-attach-daemon", "legion-smart-attach-daemon", "legion-smart-attach-daemon2",
    ], Value, "ruwsgi elects no lord: use attach-daemon on one host"),
    Row::absent(&[
        "mount-asap", "mount-pre-jail", "mount-post-jail", "mount-in-jail", "mount-as-root", "mount-as-vassal",
        "mount-as-emperor", "umount-asap", "umount-pre-jail", "umount-post-jail", "umount-in-jail", "umount-as-root",
        "umount-as-vassal", "umount-as-emperor", "mount-check",
    ], Value, "mount in the systemd unit: BindPaths=, BindReadOnlyPaths= or TemporaryFileSystem=, with PrivateMounts=yes"),
    Row::absent(&[
        "unshare", "unshare2", "namespace", "namespace-keep-mount", "ns",
    ], Value, "confine the instance by its systemd unit: PrivateMounts=, PrivateNetwork=, PrivateUsers=, PrivatePIDs="),
    Row::absent(&[
        "namespace-net", "ns-net",
    ], Value, "confine the instance by its systemd unit: PrivateNetwork=yes, or NetworkNamespacePath=/run/netns/NAME"),
    Row::absent(&[
        "setns", "setns-socket", "setns-socket-skip", "setns-skip",
    ], Value, "join namespaces by the systemd unit: JoinsNamespaceOf=, or NetworkNamespacePath=/run/netns/NAME"),
    Row::absent(&["setns-preopen"], Nothing, "join namespaces by the systemd unit: JoinsNamespaceOf=, or NetworkNamespacePath=/run/netns/NAME"),
    Row::absent(&["pivot-root", "pivot_root"], Value, "change the root directory by the systemd unit: RootDirectory=, or by chroot"),
    Row::absent(&[
        "call-asap", "call-pre-jail", "call-post-jail", "call-in-jail", "call-as-root", "call-as-user",
        "call-as-user-atexit", "call-pre-app", "call-post-app", "call-as-vassal", "call-as-vassal1", "call-as-vassal3",
        "call-as-emperor", "call-as-emperor1", "call-as-emperor2", "call-as-emperor4",
    ], Value, "it calls a function of a uWSGI plugin written in C: use the hook of the same name with exec:command"),
    Row::absent(&["file-write"], Value, "use hook-as-root = write:FILE TEXT"),
    Row::absent(&["worker-exec", "worker-exec2"], Value, "use attach-daemon, which runs a command beside the workers"),
    Row::absent(&["reload-on-fd", "brutal-reload-on-fd"], Value, "use touch-reload or fs-reload with a file"),
];
