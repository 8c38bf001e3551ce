//! THE TABLE: one row makes an option a key, a flag, a variable, a line of the help and a page.
//!
//! A served row makes a private field of [`Config`] and its getter, so that an option no code reads is a compiler
//! warning. Rows without effect are in `accepted.rs`, what uWSGI has and we have not in `absent.rs`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::config::finding::{Fault, Finding, Place};
use crate::config::table::row::{Row, State};
use crate::config::values::companion::{Attached, Controlling, Keyed, Smart, Smart2};
use crate::config::values::hook::{
    AppHook, Exec, LiveHook, LoadedHook, MasterHook, StartHook, TouchCommand, TouchHook,
};
use crate::config::values::limit::{CpuMost, MemoryMost, TasksMost};
use crate::config::values::schedule::{Cron, Cron2, UniqueCron};
use crate::config::values::setting::{Many, Maybe, One, Setting};
use crate::config::values::value::{
    Assignment, BlockSize, Buffering, Bytes, Capabilities, Count, Era, Keepalive, LineFormat,
    Listening, Mask, Megabytes, Mount, Number, OptionalSwitch, Ownership, Path, Percent, Protocol,
    Scaling, Seconds, SocketMode, Switch, Text, Variable, Words, Workers,
};

/// Makes the configuration and the table's served rows.
macro_rules! options {
    ($( $section:literal {
        $( $field:ident $name:literal $([$($alias:literal),+])? $(-$short:literal)? : $kind:ty $(= $default:literal)?, $doc:literal; )+
    } )+) => {
        /// The checked configuration of one instance.
        #[derive(Debug, Clone)]
        pub(crate) struct Config {
            pub(crate) entries: Vec<(String, String, Option<Place>)>,
            pub(crate) name: String,
            pub(crate) warnings: Vec<Finding>,
            $($( $field: <$kind as Setting>::Stored, )+)+
        }

        impl Config {
            /// A configuration in which every option has its default.
            pub(crate) fn defaults() -> Config {
                #[allow(unused_mut)]
                let mut config = Config {
                    entries: Vec::new(),
                    name: String::new(),
                    warnings: Vec::new(),
                    $($( $field: <$kind as Setting>::unset(), )+)+
                };
                // a default is read like any other text; a test holds that each of them parses
                $($( $( let _ = <$kind as Setting>::set(&mut config.$field, $default); )? )+)+
                config
            }

            /// Gives one option a value; a remark is something to tell the operator about it.
            pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<Option<Fault>, Fault> {
                match name {
                    $($( $name => <$kind as Setting>::set(&mut self.$field, text), )+)+
                    _ => Ok(None),
                }
            }

            $($(
                #[doc = $doc]
                pub(crate) fn $field(&self) -> <$kind as Setting>::Got<'_> {
                    <$kind as Setting>::get(&self.$field)
                }
            )+)+
        }

        /// The options that work, in the order of the help.
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

        /// Each served option's name and field.
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
        socket "socket" ["uwsgi-socket"] -'s': Many<Listening>,
            "Listen here and speak the uwsgi protocol: a path, @name, :port, host:port, [v6]:port or fd://number.";
        http_socket "http-socket" ["http11-socket"]: Many<Listening>,
            "Listen here and speak HTTP.";
        http "http" ["httprouter"]: Many<Listening>,
            "Listen here and speak HTTP; the workers do it themselves, there is no router process.";
        protocol "protocol" ["socket-protocol"]: One<Protocol> = "uwsgi",
            "The protocol of socket and of inherited sockets: uwsgi or http.";
        listen "listen" -'l': Maybe<Number>,
            "How many connections may wait to be accepted; without it as many as the kernel allows.";
        chmod_socket "chmod-socket" ["chmod"] -'C': Maybe<SocketMode>,
            "The permissions of Unix sockets, three octal digits; bare it means 666.";
        chown_socket "chown-socket": Maybe<Ownership>,
            "The owner of Unix sockets, user:group, by name or number.";
        vacuum "vacuum": One<Switch> = "true",
            "Remove sockets and pid files when the instance stops.";
        so_keepalive "so-keepalive": One<Switch>,
            "Let the kernel probe TCP connections that are silent.";
        reuse_port "reuse-port": One<Switch>,
            "Bind with SO_REUSEPORT, so that several instances can share a TCP port.";
    }
    "Requests" {
        buffer_size "buffer-size" -'b': One<BlockSize> = "65535",
            "The largest block of request variables, in bytes.";
        post_buffering "post-buffering": Maybe<Buffering>,
            "Bodies of more bytes than this are read into a temporary file before the application is called.";
        limit_post "limit-post": One<Bytes> = "0",
            "The largest request body in bytes; 0 is no limit.";
        socket_timeout "socket-timeout" -'z': One<Seconds> = "4",
            "How long a peer may be silent in the middle of a request or an answer.";
        http_keepalive "http-keepalive": One<Keepalive> = "5",
            "How long an idle HTTP connection is kept open; 0 closes it after each answer, bare or 1 means 5.";
    }
    "Processes" {
        processes "processes" ["workers"] -'p': One<Workers> = "1",
            "How many workers serve requests; auto is one for each CPU that the instance may use.";
        threads "threads": One<Count> = "1",
            "How many threads each worker serves requests with.";
        lazy_apps "lazy-apps": One<Switch>,
            "Load the application in each worker instead of once before they are forked.";
        lazy "lazy": One<Switch>,
            "As lazy-apps.";
        reload_mercy "reload-mercy": Maybe<Seconds>,
            "A stop or a reload is over after so many seconds: what then still works is killed. Of an emperor: how long vassals may take to stop (30).";
        worker_reload_mercy "worker-reload-mercy": One<Seconds> = "60",
            "How long a worker may take to finish its requests when it is asked to leave; then it is killed.";
        harakiri "harakiri" -'t': Maybe<Seconds>,
            "How long a request may take: then its client gets a 504, its thread an exception, and if that does not help its worker is replaced.";
        max_requests "max-requests" -'R': Maybe<Number>,
            "Replace a worker after so many requests; each further worker is allowed a little more.";
        max_requests_delta "max-requests-delta": Maybe<Number>,
            "How many requests each further worker is allowed more than the one before.";
        min_worker_lifetime "min-worker-lifetime": One<Seconds> = "10",
            "No younger worker is replaced because of max-requests, reload-on-rss or reload-on-as.";
        max_worker_lifetime "max-worker-lifetime": Maybe<Seconds>,
            "Replace a worker after this time; each further worker is allowed a little more.";
        max_worker_lifetime_delta "max-worker-lifetime-delta": Maybe<Seconds>,
            "How much longer each further worker may live than the one before.";
        reload_on_rss "reload-on-rss": Maybe<Megabytes>,
            "Replace a worker that has so much resident memory, in MiB, or is about to.";
        reload_on_as "reload-on-as": Maybe<Megabytes>,
            "Replace a worker that has so much address space, in MiB.";
        evil_reload_on_rss "evil-reload-on-rss": Maybe<Megabytes>,
            "Kill a worker that has so much resident memory, in MiB, with the requests it works on.";
        evil_reload_on_as "evil-reload-on-as": Maybe<Megabytes>,
            "Kill a worker that has so much address space, in MiB, with the requests it works on.";
        cheaper "cheaper": Maybe<Number>,
            "Let the number of workers follow the load, from this up to processes; 0 is off.";
        cheaper_algo "cheaper-algo": One<Scaling> = "spare",
            "What cheaper goes by: spare, backlog, busyness, or manual for the operator's word alone.";
        cheaper_initial "cheaper-initial": Maybe<Number>,
            "How many workers there are at the start under cheaper; without it as many as cheaper says.";
        cheaper_step "cheaper-step": One<Count> = "1",
            "How many workers cheaper adds at once.";
        cheaper_overload "cheaper-overload": One<Number> = "3",
            "Seconds of full or little load before spare acts, waiting connections before backlog does, or seconds of a cycle of busyness.";
        cheaper_busyness_max "cheaper-busyness-max": One<Percent> = "50",
            "Above this percentage of busy threads, on average of a cycle, busyness adds workers.";
        cheaper_busyness_min "cheaper-busyness-min": One<Percent> = "25",
            "Below this percentage a cycle counts as idle.";
        cheaper_busyness_multiplier "cheaper-busyness-multiplier": One<Count> = "10",
            "After so many idle cycles busyness lets a worker go.";
        cheaper_busyness_penalty "cheaper-busyness-penalty": One<Number> = "2",
            "So many more cycles, each time that a worker was missed soon after it went.";
        cheaper_busyness_backlog_alert "cheaper-busyness-backlog-alert": One<Number> = "33",
            "When more connections wait, busyness adds workers at once.";
        cheaper_busyness_backlog_step "cheaper-busyness-backlog-step": One<Number> = "1",
            "How many it adds then; 0 is none.";
        cheaper_busyness_backlog_multiplier "cheaper-busyness-backlog-multiplier": One<Count> = "3",
            "After so many idle cycles such a worker may go again.";
        cheaper_busyness_backlog_nonzero "cheaper-busyness-backlog-nonzero": One<Number> = "60",
            "They come as well when any connection has waited for so many seconds on end; 0 is never.";
        cheaper_rss_limit_soft "cheaper-rss-limit-soft": Maybe<Bytes>,
            "Under cheaper no worker is added while all have so much resident memory together, in bytes.";
        cheaper_rss_limit_hard "cheaper-rss-limit-hard": Maybe<Bytes>,
            "Under cheaper a worker leaves each second while all have so much resident memory together, in bytes.";
        cheap "cheap": One<Switch>,
            "Start without workers; the first connection brings them.";
        idle "idle": Maybe<Seconds>,
            "Let the workers go when there was no request for so long; the next connection brings them back.";
        die_on_idle "die-on-idle": One<Switch>,
            "After idle seconds without a request the whole instance ends, with status 0.";
        die_on_term "die-on-term": Maybe<Switch>,
            "SIGTERM stops the instance, which is so anyway; false makes SIGTERM reload it as in uWSGI.";
        auto_procname "auto-procname": One<Switch>,
            "Name the processes after what they do.";
        procname "procname": Maybe<Words>,
            "The name of every process.";
        procname_master "procname-master": Maybe<Words>,
            "The name of the master.";
        procname_prefix "procname-prefix": Maybe<Words>,
            "Put this before the names of processes.";
        procname_prefix_spaced "procname-prefix-spaced": Maybe<Words>,
            "Put this and a space before the names of processes.";
        procname_append "procname-append": Maybe<Words>,
            "Put this behind the names of processes.";
        max_fd "max-fd": Maybe<Number>,
            "How many descriptors each process may have open; more than the system's hard limit needs root.";
        limit_as "limit-as": Maybe<Megabytes>,
            "The most address space a process may have, in MiB.";
    }
    "Application" {
        module "module" ["wsgi"] -'w': Maybe<Text>,
            "The module of the application, as package.module, package.module:callable or package.module:factory().";
        wsgi_file "wsgi-file" ["file"]: Maybe<Path>,
            "The Python file of the application.";
        callable "callable": Maybe<Text>,
            "The name of the application in its module or file; without it application.";
        mount "mount": Many<Mount>,
            "Serve another application below a path: /point=module:callable or /point=file.py.";
        manage_script_name "manage-script-name": One<Switch>,
            "Move the mount point from PATH_INFO to SCRIPT_NAME.";
        need_app "need-app": One<OptionalSwitch> = "true",
            "Stop with status 22 when the application cannot be loaded; false answers 500 instead.";
        chdir "chdir": Maybe<Path>,
            "Change to this directory before binding and loading.";
        chdir2 "chdir2": Maybe<Path>,
            "Change to this directory after loading.";
        pythonpath "pythonpath" ["python-path", "pp"]: Many<Path>,
            "Put this directory first in sys.path; the last one given comes first.";
        home "home" ["virtualenv", "venv", "pyhome"] -'H': Maybe<Path>,
            "The virtual environment of the application.";
        python "python": Maybe<Path>,
            "The interpreter that runs the application; without it that of home, else python3 from PATH.";
        pyargv "pyargv": Maybe<Words>,
            "What follows the program's name in sys.argv, separated by spaces.";
        pyimport "pyimport" ["import", "py-import", "python-import"]: Many<Text>,
            "Import this module as well.";
        warmup "warmup": Many<Text>,
            "Request this path once before workers are forked, so that they share what it loads.";
        env "env": Many<Variable>,
            "Set an environment variable: NAME=value.";
        unenv "unenv": Many<Text>,
            "Remove an environment variable.";
    }
    "Privileges" {
        uid "uid": Maybe<Text>,
            "The user to become after binding, by name or number.";
        gid "gid": Maybe<Text>,
            "The group to become after binding, by name or number.";
        add_gid "add-gid": Many<Text>,
            "A supplementary group, by name or number.";
        no_initgroups "no-initgroups": One<Switch>,
            "Do not take the supplementary groups of uid.";
        cap "cap": Many<Capabilities>,
            "Capabilities to keep when privileges are dropped, and no others; by name or number, separated by commas.";
        umask "umask": Maybe<Mask>,
            "The mask for new files, in octal.";
        chroot "chroot": Maybe<Path>,
            "Confine the instance to this directory.";
    }
    "Running" {
        daemonize "daemonize" -'d': Maybe<Path>,
            "Go to the background and log to this file.";
        daemonize2 "daemonize2": Maybe<Path>,
            "As daemonize, but only after the application is loaded, with its exit status.";
        pidfile "pidfile": Maybe<Path>,
            "Write the master's process id here, before privileges are dropped.";
        pidfile2 "pidfile2": Maybe<Path>,
            "Write the master's process id here, after privileges are dropped.";
        safe_pidfile "safe-pidfile": Maybe<Path>,
            "Write the master's process id here once the instance is ready.";
        safe_pidfile2 "safe-pidfile2": Maybe<Path>,
            "As safe-pidfile, after privileges are dropped.";
        logto "logto": Maybe<Path>,
            "Log to this file.";
        logto2 "logto2": Maybe<Path>,
            "As logto, opened after privileges are dropped.";
        log_reopen "log-reopen": One<Switch>,
            "Open the log's file anew at each reload.";
        touch_logreopen "touch-logreopen": Many<Path>,
            "Open the log's file (logto, logto2, daemonize) anew when this file is touched, made or removed, for logrotate.";
        disable_logging "disable-logging" -'L': One<Switch>,
            "Write no line per request, except for those that the options below name.";
        log_4xx "log-4xx": One<Switch>,
            "With disable-logging: log requests answered with a status of 400 to 499.";
        log_5xx "log-5xx": One<Switch>,
            "With disable-logging: log requests answered with a status of 500 to 599.";
        log_slow "log-slow": Maybe<Number>,
            "With disable-logging: log requests that took so many milliseconds or longer.";
        log_big "log-big": Maybe<Bytes>,
            "With disable-logging: log requests whose answer is larger than this, in bytes.";
        log_zero "log-zero": One<Switch>,
            "With disable-logging: log requests whose answer has no body.";
        log_sendfile "log-sendfile": One<OptionalSwitch>,
            "With disable-logging: log requests answered by sendfile.";
        log_ioerror "log-ioerror": One<OptionalSwitch>,
            "With disable-logging: log requests whose client was gone before it had the whole answer.";
        log_format "log-format" ["logformat"]: Maybe<LineFormat>,
            "What the line of a request holds: text with %(name) for what docs/configuration.md lists, %(var.NAME) for a variable.";
        log_micros "log-micros": One<Switch>,
            "Count microseconds in the line of a request.";
        log_x_forwarded_for "log-x-forwarded-for": One<Switch>,
            "Log the address that X-Forwarded-For holds as the client's.";
        memory_report "memory-report" -'m': One<Switch>,
            "Begin the line of a request with the worker's memory.";
        control_socket "control-socket": Maybe<Path>,
            "The socket by which ruwsgi status and its kin reach this instance; without it one in the runtime directory.";
        master_fifo "master-fifo": Many<Path>,
            "A named pipe; letters written to it tell the master what to do (docs/workers.md). Several: the first is read, a digit chooses another one.";
        fs_reload "fs-reload": Many<Path>,
            "Reload when this file, or a file in this directory, changes; the kernel tells of it at once.";
        fs_brutal_reload "fs-brutal-reload": Many<Path>,
            "As fs-reload, and the old workers are killed with their requests.";
        py_autoreload "py-autoreload" ["py-auto-reload", "python-autoreload", "python-auto-reload"]: Maybe<Seconds>,
            "For development: look so often at the files of the modules that are loaded, and reload when one has changed.";
        py_auto_reload_ignore "py-auto-reload-ignore": Many<Text>,
            "py-autoreload leaves this module out.";
        touch_reload "touch-reload": Many<Path>,
            "Reload when this file is touched, made or removed.";
        touch_workers_reload "touch-workers-reload": Many<Path>,
            "As touch-reload: a reload never interrupts service.";
        touch_chain_reload "touch-chain-reload": Many<Path>,
            "As touch-reload: a reload never interrupts service.";
        stop "stop": Maybe<Path>,
            "Stop the instance whose process id is in this file.";
        reload "reload": Maybe<Path>,
            "Reload the instance whose process id is in this file.";
        show_config "show-config": One<Switch>,
            "Print the effective configuration and exit.";
        compat "compat": Maybe<Era>,
            "Whose defaults hold: uwsgi brings back those of uWSGI that ruwsgi changes.";
        strict "strict": One<Switch>,
            "Make an unknown name an error.";
    }
    "Helpers" {
        attach_daemon "attach-daemon": Many<Attached>,
            "Keep this command running beside the workers; it must stay in the foreground.";
        attach_control_daemon "attach-control-daemon": Many<Controlling>,
            "As attach-daemon, and the instance stops when the command ends.";
        smart_attach_daemon "smart-attach-daemon": Many<Smart>,
            "A pidfile and a command that writes it: started unless that process runs, and left running when the instance ends.";
        smart_attach_daemon2 "smart-attach-daemon2": Many<Smart2>,
            "As smart-attach-daemon for a command that stays in the foreground and writes no pidfile.";
        attach_daemon2 "attach-daemon2": Many<Keyed>,
            "A command to keep running, by keys: cmd, name, pidfile, daemonize, freq, control, touch, stopsignal, reloadsignal, notifypid, stdin, uid, gid, chdir, max_throttle, mercy.";
        cron "cron": Many<Cron>,
            "Run a command at certain times: minute hour day month week command, with -1 for any and -5 for every fifth, or @daily command and its like.";
        unique_cron "unique-cron": Many<UniqueCron>,
            "As cron, but not while the command still runs.";
        cron2 "cron2": Many<Cron2>,
            "As cron, by keys: minute, hour, day, month, week, unique, harakiri, name.";
        cron_harakiri "cron-harakiri": Maybe<Seconds>,
            "How long a command of cron may run; then it is killed.";
        exec_asap "exec-asap": Many<Exec>,
            "Run this command as soon as the configuration is read, before the instance goes to the background.";
        exec_pre_jail "exec-pre-jail": Many<Exec>,
            "Run this command before chroot, while the instance is still what started it.";
        exec_post_jail "exec-post-jail": Many<Exec>,
            "Run this command as in-jail, before it.";
        exec_in_jail "exec-in-jail": Many<Exec>,
            "Run this command after chroot, before privileges are dropped.";
        exec_as_root "exec-as-root": Many<Exec>,
            "Run this command last before privileges are dropped; left out unless the instance is started by root.";
        exec_as_user "exec-as-user": Many<Exec>,
            "Run this command when privileges have been dropped.";
        exec_pre_app "exec-pre-app": Many<Exec>,
            "Run this command before the application is loaded, for each generation.";
        exec_post_app "exec-post-app": Many<Exec>,
            "Run this command when the application is loaded, before it serves, for each generation.";
        exec_as_user_atexit "exec-as-user-atexit": Many<Exec>,
            "Run this command when everything else of the instance has stopped.";
        hook_asap "hook-asap": Many<StartHook>,
            "Do this as soon as the configuration is read, before the instance goes to the background.";
        hook_pre_jail "hook-pre-jail": Many<StartHook>,
            "Do this before chroot, while the instance is still what started it.";
        hook_post_jail "hook-post-jail": Many<StartHook>,
            "Do this as in-jail, before it.";
        hook_in_jail "hook-in-jail": Many<StartHook>,
            "Do this after chroot, before privileges are dropped.";
        hook_as_root "hook-as-root": Many<StartHook>,
            "Do this last before privileges are dropped; left out unless the instance is started by root.";
        hook_as_user "hook-as-user": Many<StartHook>,
            "Do this when privileges have been dropped.";
        hook_pre_app "hook-pre-app": Many<AppHook>,
            "Do this before the application is loaded, for each generation.";
        hook_post_app "hook-post-app": Many<LoadedHook>,
            "Do this when the application is loaded, before it serves, for each generation.";
        hook_harakiri "hook-harakiri": One<Seconds> = "600",
            "How long the hooks may take that a reload waits for (pre-app, post-app): then the command is killed and the reload given up; 0: for ever.";
        hook_as_user_atexit "hook-as-user-atexit": Many<LiveHook>,
            "Do this when everything else of the instance has stopped.";
        hook_master_start "hook-master-start": Many<MasterHook>,
            "Do this when the first generation serves; unix_signal:15 gracefully_kill_them_all gives a signal a meaning.";
        hook_post_fork "hook-post-fork": Many<LiveHook>,
            "Do this in the master for each worker that is forked.";
        hook_accepting "hook-accepting": Many<LiveHook>,
            "Do this in the master for each worker that begins to accept requests.";
        hook_accepting_once "hook-accepting-once": Many<LiveHook>,
            "As hook-accepting, but not for workers that replace another one of their generation.";
        hook_accepting1 "hook-accepting1": Many<LiveHook>,
            "As hook-accepting, for worker 1 alone.";
        hook_accepting1_once "hook-accepting1-once": Many<LiveHook>,
            "As hook-accepting-once, for worker 1 alone.";
        touch_exec "touch-exec": Many<TouchCommand>,
            "A file, and a command that is run by /bin/sh when it is touched, made or removed.";
        hook_touch "hook-touch": Many<TouchHook>,
            "A file, and what is done in the master when it is touched, made or removed.";
    }
    "Emperor" {
        emperor "emperor": Many<Text>,
            "Keep an instance running for each configuration file in this directory, or that matches this pattern.";
        emperor_freq "emperor-freq": One<Seconds> = "3",
            "How often the emperor looks for itself, where the kernel does not tell it of changes.";
        emperor_throttle "emperor-throttle": One<Number> = "1000",
            "Milliseconds before a vassal that failed is started again; doubled with each further failure.";
        emperor_max_throttle "emperor-max-throttle": One<Number> = "180000",
            "The longest such pause, in milliseconds.";
        emperor_tyrant "emperor-tyrant": One<Switch>,
            "Run each vassal as the owner of its file; the emperor must be root.";
        emperor_tyrant_nofollow "emperor-tyrant-nofollow": One<Switch>,
            "Of a symbolic link, the link's own owner counts for emperor-tyrant.";
        emperor_tyrant_root "emperor-tyrant-root": One<Switch>,
            "Let emperor-tyrant also run files that belong to root or to root's group, as root.";
        emperor_cap "emperor-cap" ["vassals-cap", "vassal-cap"]: Many<Capabilities>,
            "Capabilities that every vassal has, and no others: given to one that runs as another user, left to one that runs as root.";
        emperor_nofollow "emperor-nofollow": One<Switch>,
            "Symbolic links are no vassals.";
        emperor_extra_extension "emperor-extra-extension" ["emperor-extra-ext"]: Many<Text>,
            "Files that end in this are vassals too, for example .conf; they are read as ini.";
        emperor_pidfile "emperor-pidfile": Maybe<Path>,
            "Write the emperor's process id here.";
        emperor_procname "emperor-procname": Maybe<Words>,
            "The emperor's name in ps.";
        emperor_wrapper "emperor-wrapper": Maybe<Path>,
            "Start vassals by this program, which gets ruwsgi's own arguments.";
        emperor_wrapper_override "emperor-wrapper-override": Many<Path>,
            "As emperor-wrapper; the first of these that can be executed is taken, and the usual program if none can.";
        emperor_wrapper_fallback "emperor-wrapper-fallback": Many<Path>,
            "Programs to try where neither these nor the usual one can be executed.";
        emperor_magic_exec "emperor-magic-exec": One<Switch>,
            "A vassal's file that is executable is run, as the vassal's user; what it prints is the configuration.";
        emperor_required_heartbeat "emperor-required-heartbeat": One<Seconds> = "30",
            "A vassal that has sent a heartbeat and then none for so long is killed and started again; 0: never.";
        heartbeat "heartbeat": Maybe<Seconds>,
            "In a vassal's file: its master tells the emperor so often that it is not frozen.";
        emperor_no_orphans "emperor-no-orphans": One<OptionalSwitch> = "true",
            "Vassals stop when their emperor is gone; false lets them serve on without it.";
        emperor_control "emperor-control": Maybe<Path>,
            "The socket by which ruwsgi ls and its kin reach the emperor; without it one in the runtime directory.";
        emperor_stats "emperor-stats" ["emperor-stats-server"]: Maybe<Listening>,
            "Tell everyone who connects to this address how the vassals are, as JSON in uWSGI's form.";
        on_demand "on-demand": One<Switch>,
            "In a vassal's file: the emperor listens for it, and starts it when somebody connects; idle with die-on-idle lets it go again.";
        emperor_on_demand_extension "emperor-on-demand-extension" ["emperor-on-demand-ext"]: Maybe<Text>,
            "A vassal beside whose file there is one with this added to its name is on demand; that file's first line is its address.";
        emperor_on_demand_directory "emperor-on-demand-directory" ["emperor-on-demand-dir"]: Maybe<Path>,
            "All vassals are on demand, each at a socket of its name in this directory.";
        emperor_on_demand_exec "emperor-on-demand-exec": Maybe<Text>,
            "A command that prints the address of the vassal whose name it gets; one with an address is on demand.";
        vassal_set "vassal-set" ["vassals-set"]: Many<Assignment>,
            "Set an option of every vassal: name=value.";
        vassals_include "vassals-include": Many<Path>,
            "Every vassal reads this file after its own.";
        vassals_include_before "vassals-include-before": Many<Path>,
            "Every vassal reads this file before its own.";
        vassals_inherit "vassals-inherit": Many<Path>,
            "Every vassal inherits from this file.";
        vassals_inherit_before "vassals-inherit-before": Many<Path>,
            "Every vassal inherits from this file, asked for before its own is read.";
        cgroup_memory_max "cgroup-memory-max": Maybe<MemoryMost>,
            "The most memory of each vassal, with K, M or G, or max; in a vassal's own file: of this one, if that is less.";
        cgroup_cpu_max "cgroup-cpu-max": Maybe<CpuMost>,
            "The most CPU time of each vassal, in percent of one CPU (150%), as quota and period in microseconds, or max; in a vassal's own file: of this one, if that is less.";
        cgroup_pids_max "cgroup-pids-max": Maybe<TasksMost>,
            "The most processes and threads of each vassal, or max; in a vassal's own file: of this one, if that is less.";
        vassals_start_hook "vassals-start-hook": Maybe<Path>,
            "A program to run before a vassal is started; it gets the vassal's name.";
        vassals_stop_hook "vassals-stop-hook": Maybe<Path>,
            "A program to run after a vassal has stopped; it gets the vassal's name.";
    }
}

/// Every row, by each of its names.
static BY_NAME: LazyLock<HashMap<&'static str, &'static Row>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for row in rows() {
        for name in row.names {
            names.entry(*name).or_insert(row);
        }
    }
    names
});

/// All rows: served, directives, accepted and absent.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    SERVED
        .iter()
        .chain(crate::config::table::directives::DIRECTIVES)
        .chain(crate::config::table::accepted::ACCEPTED)
        .chain(crate::config::table::absent::ABSENT)
}

/// The row with this name.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    BY_NAME.get(name).copied()
}

/// The row with this short flag.
pub(crate) fn find_short(short: char) -> Option<&'static Row> {
    rows().find(|row| row.short == Some(short))
}

/// The rows one of whose names begins with this; for the abbreviations of flags.
pub(crate) fn beginning_with(prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = BY_NAME
        .keys()
        .copied()
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    names
}
