//! A running server, and the invariants checked when it has ended.

use std::path::PathBuf;
use std::process::{Child, ExitStatus, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::http::Http;
use super::launch::Refusal;
use super::log::Log;
use super::packet::{Request, get};
use super::proc::{self, Process};
use super::wait::{DEADLINE, PROMPTLY, within};
use super::{Address, Answer, Connection, Site, under_uwsgi};

/// A server on a site. Dropping it sends SIGTERM and then checks the invariants: it exits with status 0, no process
/// and no zombie of its session is left, its Unix sockets are removed, and its log has no line with `panicked`,
/// `Traceback` or `ERROR`, unless the test expects errors in the log.
pub struct Server {
    pub site: Site,
    child: Child,
    /// Process id of the master. With `daemonize` it is not the process that the kit started.
    pub master: i32,
    log: Log,
    uwsgi: Vec<Address>,
    http: Vec<Address>,
    sessions: Vec<i32>,
    status: Option<ExitStatus>,
    ended: bool,
    any_exit_allowed: bool,
    errors_allowed: bool,
    panics_allowed: bool,
    socket_file_allowed: bool,
    reloaded: AtomicBool,
}

impl Server {
    pub(super) fn new(
        site: Site,
        child: Child,
        log: Log,
        uwsgi: Vec<Address>,
        http: Vec<Address>,
    ) -> Self {
        let master = child.id().cast_signed();
        Self {
            site,
            child,
            master,
            log,
            uwsgi,
            http,
            sessions: vec![master],
            status: None,
            ended: false,
            any_exit_allowed: false,
            errors_allowed: false,
            panics_allowed: false,
            socket_file_allowed: false,
            reloaded: AtomicBool::new(false),
        }
    }

    /// Waits until a worker responds: to a ping on a uwsgi socket, or to a connection on an HTTP socket.
    #[track_caller]
    pub(super) fn wait_until_ready(&mut self) {
        let ready = within(DEADLINE * 2, || self.exited().is_some() || self.answers());
        assert!(
            ready && self.exited().is_none(),
            "the server did not become ready; its log:\n{}",
            self.log()
        );
    }

    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        if let Some(address) = self.uwsgi.first() {
            let Ok(mut connection) = address.try_connect() else {
                return false;
            };
            connection.set_timeout(Duration::from_secs(5));
            let mut reply = [0; 4];
            return connection.write_all(&[100, 0, 0, 0]).is_ok()
                && connection.read_exact(&mut reply).is_ok();
        }
        self.http
            .iter()
            .all(|address| address.try_connect().is_ok())
    }

    /// Waits until all workers have reported that they are ready. Before that the master has not opened all its
    /// descriptors.
    #[track_caller]
    pub fn wait_until_complete(&self) {
        if !under_uwsgi() {
            self.wait_for_log("ready: ");
        }
    }

    /// Continues with the daemon that the started process became. Its master has this id and is stopped too.
    pub fn adopt_daemon(&mut self, master: i32) {
        let daemon = proc::process(master).expect("the daemon is there");
        self.master = master;
        self.sessions.push(daemon.session);
        self.status = None;
        self.ended = false;
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The lines of the log that contain `text`.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        self.log.lines_with(text)
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for_lines(text, 1);
    }

    /// Waits until `count` lines of the log contain `text`.
    #[track_caller]
    pub fn wait_for_lines(&self, text: &str, count: usize) {
        let there = within(DEADLINE, || self.log_lines(text).len() >= count);
        assert!(
            there,
            "{text:?} is not {count} times in the log:\n{}",
            self.log()
        );
    }

    /// Waits until the log contains `text`, and allows errors and tracebacks in the log; with "panicked" panics, too.
    #[track_caller]
    pub fn expect_log(&mut self, text: &str) {
        self.errors_allowed = true;
        self.panics_allowed |= text == "panicked";
        self.wait_for_log(text);
    }

    /// Waits until `condition` is true; fails with `what` and the log after the deadline.
    #[track_caller]
    pub fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            within(DEADLINE, condition),
            "condition not met in time: {what}; the log:\n{}",
            self.log()
        );
    }

    /// The address of the first uwsgi socket.
    #[track_caller]
    pub fn address(&self) -> &Address {
        self.uwsgi.first().expect("the server has a uwsgi socket")
    }

    /// Connects to the uwsgi socket.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        self.address()
            .try_connect()
            .unwrap_or_else(|e| panic!("{e}; the log:\n{}", self.log()))
    }

    /// Sends a request and reads the response.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Answer {
        self.exchange(&request.bytes())
    }

    /// Sends raw bytes and reads the response, which is empty if the worker dies before it sends one.
    #[track_caller]
    pub fn exchange(&self, bytes: &[u8]) -> Answer {
        self.connect().put(bytes).answer()
    }

    /// Sends a GET request over the uwsgi socket and reads the response.
    #[track_caller]
    pub fn get(&self, uri: &str) -> Answer {
        self.send(&get(uri))
    }

    /// Sends a request; the caller reads the response.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Connection {
        let mut connection = self.connect();
        connection.put(&request.bytes());
        connection
    }

    /// Connects an HTTP client to the first HTTP socket.
    #[track_caller]
    pub fn http(&self) -> Http {
        let address = self.http.first().expect("the server has an HTTP socket");
        Http::on(
            address
                .try_connect()
                .unwrap_or_else(|e| panic!("{e}; the log:\n{}", self.log())),
        )
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: Signal) {
        self.reloaded
            .fetch_or(signal == Signal::SIGHUP, Ordering::Relaxed);
        send(self.master, signal);
    }

    /// Sends a second signal to stop until the server exits: one that follows the first at once belongs to it.
    #[track_caller]
    pub fn insist(&mut self, signal: Signal) {
        let gone = within(DEADLINE * 2, || {
            let running = self.exited().is_none();
            if running {
                self.signal(signal);
            }
            !running
        });
        assert!(gone, "the server did not exit; its log:\n{}", self.log());
        self.wait_for_exit();
    }

    /// Runs `ruwsgi WORDS` with the runtime directory of this site.
    pub fn command(&self, words: &[&str]) -> Output {
        self.site.command(words)
    }

    /// The processes of the server, without zombies.
    pub fn processes(&self) -> Vec<Process> {
        self.sessions
            .iter()
            .flat_map(|&session| proc::of_session(session))
            .filter(|p| p.state != 'Z')
            .collect()
    }

    /// Process ids of the workers: children of the master with more than one thread. The zygote has one thread.
    pub fn workers(&self) -> Vec<i32> {
        let children = proc::children(self.master)
            .into_iter()
            .filter(|p| p.state != 'Z');
        children
            .filter(|p| under_uwsgi() || p.threads > 1)
            .map(|p| p.pid)
            .collect()
    }

    /// Process ids of the zygotes.
    pub fn zygotes(&self) -> Vec<i32> {
        let children = proc::children(self.master)
            .into_iter()
            .filter(|p| p.state != 'Z');
        children.filter(|p| p.threads == 1).map(|p| p.pid).collect()
    }

    /// Waits until there are `count` workers, and returns their ids.
    #[track_caller]
    pub fn wait_for_workers(&self, count: usize) -> Vec<i32> {
        self.eventually(&format!("there are {count} workers"), || {
            self.workers().len() == count
        });
        self.workers()
    }

    /// Numbers of open descriptors: of the master, and of the workers in ascending order.
    pub fn descriptors(&self) -> (usize, Vec<usize>) {
        let mut workers: Vec<usize> = self.workers().into_iter().map(proc::descriptors).collect();
        workers.sort_unstable();
        (proc::descriptors(self.master), workers)
    }

    /// The exit status of the started process, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Waits until the master has ended. Returns its exit status if it is the process that the kit started.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Option<ExitStatus> {
        let gone = within(DEADLINE * 2, || {
            self.exited();
            self.reap_orphans();
            !proc::is_running(self.master)
        });
        assert!(gone, "the server did not exit; its log:\n{}", self.log());
        if self.master == self.sessions[0] {
            // a process can be reaped only when its last thread has ended, which may follow the end of its main thread
            within(PROMPTLY, || self.exited().is_some());
        }
        within(DEADLINE, || self.log.is_read());
        self.ended = true;
        self.exited()
    }

    /// Stops the server with SIGTERM and checks the invariants, like dropping it.
    #[track_caller]
    pub fn stop(mut self) {
        self.stop_and_check();
    }

    /// Allows another end than by SIGTERM and another exit status than 0.
    pub fn allow_any_exit(&mut self) {
        self.any_exit_allowed = true;
    }

    /// Kills the master and waits until it has ended. Its socket files may stay.
    #[track_caller]
    pub fn kill_master(&mut self) {
        self.allow_any_exit();
        self.allow_socket_file();
        self.signal(Signal::SIGKILL);
        self.wait_for_exit();
    }

    /// Allows socket files to stay.
    pub fn allow_socket_file(&mut self) {
        self.socket_file_allowed = true;
    }

    #[track_caller]
    pub(super) fn refusal(mut self) -> Refusal {
        self.any_exit_allowed = true;
        self.errors_allowed = true;
        self.socket_file_allowed = true;
        let code = self.wait_for_exit().and_then(|status| status.code());
        self.stop_and_check();
        Refusal {
            code,
            log: self.log(),
        }
    }

    fn reap_orphans(&self) {
        let own = self.child.id().cast_signed();
        let here = std::process::id().cast_signed();
        for &session in &self.sessions {
            for orphan in proc::of_session(session) {
                if orphan.state == 'Z' && orphan.parent == here && orphan.pid != own {
                    let _ = waitpid(Pid::from_raw(orphan.pid), Some(WaitPidFlag::WNOHANG));
                }
            }
        }
    }

    #[track_caller]
    fn stop_and_check(&mut self) {
        if !self.ended {
            assert!(
                self.exited().is_none() || self.master != self.sessions[0],
                "the server exited by itself:\n{}",
                self.log()
            );
            self.signal(Signal::SIGTERM);
            let status = self.wait_for_exit();
            let fine = self.any_exit_allowed
                || self.master != self.sessions[0]
                || status.is_some_and(|s| s.success());
            assert!(fine, "the server exited with {status:?}:\n{}", self.log());
        }
        self.ended = true;
        let empty = within(DEADLINE, || {
            self.reap_orphans();
            self.sessions
                .iter()
                .all(|&session| proc::of_session(session).is_empty())
        });
        let left: Vec<_> = self
            .sessions
            .iter()
            .flat_map(|&session| proc::of_session(session))
            .collect();
        assert!(
            empty,
            "processes still run: {left:?}; the log:\n{}",
            self.log()
        );
        self.check_sockets();
        self.check_log();
    }

    fn check_sockets(&self) {
        // uWSGI does not remove its sockets after a reload
        let reloaded = under_uwsgi() && self.reloaded.load(Ordering::Relaxed);
        if self.socket_file_allowed || reloaded {
            return;
        }
        for address in self.uwsgi.iter().chain(&self.http) {
            if let Address::Unix(path) = address {
                assert!(!path.exists(), "{} still exists", path.display());
            }
        }
    }

    fn check_log(&self) {
        within(DEADLINE, || self.log.is_read());
        let log = self.log();
        // a uWSGI worker that is stopped while it starts logs a KeyboardInterrupt
        let reloaded = under_uwsgi() && self.reloaded.load(Ordering::Relaxed);
        let bad = ["panicked", "Traceback", "ERROR"];
        let bad = if self.panics_allowed {
            &[]
        } else if self.errors_allowed || reloaded {
            &bad[..1]
        } else {
            &bad[..]
        };
        let line = log
            .lines()
            .find(|line| bad.iter().any(|word| line.contains(word)));
        assert!(
            line.is_none(),
            "unexpected line in the log: {line:?}; the log:\n{log}"
        );
    }

    /// The path of the first uwsgi socket.
    #[track_caller]
    pub fn socket_path(&self) -> PathBuf {
        match self.address() {
            Address::Unix(path) => path.clone(),
            other => panic!("{other:?} is not a path"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- the server's log ----\n{}\n---- end of the log ----",
                self.log()
            );
        } else if !self.ended {
            // a failed check fails the test, but the processes are killed first
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stop_and_check()));
            self.kill_all();
            if let Err(failure) = outcome {
                std::panic::resume_unwind(failure);
            }
        }
        self.kill_all();
    }
}

impl Server {
    fn kill_all(&mut self) {
        for &session in &self.sessions {
            for process in proc::of_session(session) {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
        self.reap_orphans();
    }
}

/// Sends a signal to a process.
pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|e| panic!("{signal} to {pid}: {e}"));
}
