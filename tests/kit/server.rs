//! A running server, and what must hold when it has ended.

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
use super::wait::{DEADLINE, within};
use super::{Address, Answer, Connection, Site, under_uwsgi};

/// A server on a site. When it goes out of scope it is stopped with SIGTERM, and then: it exited with 0,
/// no process and no zombie of its session is left, its Unix sockets are gone, and its log has no line
/// with `panicked`, `Traceback` or `ERROR`, unless the test expected something there.
pub struct Server {
    pub site: Site,
    child: Child,
    /// The master, which is another process than the one started under `daemonize`.
    pub master: i32,
    log: Log,
    uwsgi: Vec<Address>,
    http: Vec<Address>,
    sessions: Vec<i32>,
    status: Option<ExitStatus>,
    ended: bool,
    any_status: bool,
    expects_errors: bool,
    socket_may_stay: bool,
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
            any_status: false,
            expects_errors: false,
            socket_may_stay: false,
            reloaded: AtomicBool::new(false),
        }
    }

    /// Waits until a worker answers: a ping on the uwsgi socket, a connection on an HTTP one.
    #[track_caller]
    pub(super) fn wait_until_ready(&mut self) {
        let ready = within(DEADLINE * 2, || self.exited().is_some() || self.answers());
        assert!(
            ready && self.exited().is_none(),
            "the server did not get ready; its log:\n{}",
            self.log()
        );
    }

    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        if let Some(address) = self.uwsgi.first() {
            let Ok(mut connection) = address.try_connect() else {
                return false;
            };
            connection.patience(Duration::from_secs(5));
            let mut reply = [0; 4];
            return connection.write_all(&[100, 0, 0, 0]).is_ok()
                && connection.read_exact(&mut reply).is_ok();
        }
        self.http
            .iter()
            .all(|address| address.try_connect().is_ok())
    }

    /// Waits until every worker has said that it is ready: until then the master's descriptors are not all there.
    #[track_caller]
    pub fn wait_until_complete(&self) {
        if !under_uwsgi() {
            self.wait_for_log("ready: ");
        }
    }

    /// Takes over what became a daemon: its master is the process of this id, which is to be stopped too.
    pub fn now_is(&mut self, master: i32) {
        let daemon = proc::process(master).expect("the daemon is there");
        self.master = master;
        self.sessions.push(daemon.session);
        self.status = None;
        self.ended = false;
    }

    /// All it wrote until now.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The lines of the log with this text.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        self.log.lines_with(text)
    }

    /// Waits until the log holds this text.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for_lines(text, 1);
    }

    /// Waits until the log holds this text in so many lines.
    #[track_caller]
    pub fn wait_for_lines(&self, text: &str, count: usize) {
        let there = within(DEADLINE, || self.log_lines(text).len() >= count);
        assert!(
            there,
            "{text:?} is not {count} times in the log:\n{}",
            self.log()
        );
    }

    /// Waits until the log holds this text, and takes errors and tracebacks in it for part of the test.
    #[track_caller]
    pub fn expect_log(&mut self, text: &str) {
        self.expects_errors = true;
        self.wait_for_log(text);
    }

    /// Waits until this is so; fails with the log.
    #[track_caller]
    pub fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            within(DEADLINE, condition),
            "it did not come about that {what}; the log:\n{}",
            self.log()
        );
    }

    /// The first uwsgi socket.
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

    /// Sends a request and reads the answer.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Answer {
        self.exchange(&request.bytes())
    }

    /// Sends any bytes and reads the answer, which is empty if the worker dies before it has given one.
    #[track_caller]
    pub fn exchange(&self, bytes: &[u8]) -> Answer {
        self.connect().put(bytes).answer()
    }

    /// The answer to a GET over the uwsgi socket.
    #[track_caller]
    pub fn get(&self, uri: &str) -> Answer {
        self.send(&get(uri))
    }

    /// Sends a request and leaves the answer to be read.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Connection {
        let mut connection = self.connect();
        connection.put(&request.bytes());
        connection
    }

    /// A client of the HTTP socket.
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

    /// What `ruwsgi WORDS` says to the operator of this site.
    pub fn operator(&self, words: &[&str]) -> Output {
        self.site.operator(words)
    }

    /// All processes of the server that live.
    pub fn processes(&self) -> Vec<Process> {
        self.sessions
            .iter()
            .flat_map(|&session| proc::of_session(session))
            .filter(|p| p.state != 'Z')
            .collect()
    }

    /// The workers' ids: the master's children, without the zygote, which has one thread only.
    pub fn workers(&self) -> Vec<i32> {
        let children = proc::children(self.master)
            .into_iter()
            .filter(|p| p.state != 'Z');
        children
            .filter(|p| under_uwsgi() || p.threads > 1)
            .map(|p| p.pid)
            .collect()
    }

    /// The zygotes' ids.
    pub fn zygotes(&self) -> Vec<i32> {
        let children = proc::children(self.master)
            .into_iter()
            .filter(|p| p.state != 'Z');
        children.filter(|p| p.threads == 1).map(|p| p.pid).collect()
    }

    /// Waits until there are so many workers, and gives their ids.
    #[track_caller]
    pub fn wait_for_workers(&self, count: usize) -> Vec<i32> {
        self.eventually(&format!("there are {count} workers"), || {
            self.workers().len() == count
        });
        self.workers()
    }

    /// Open descriptors of the master and of all workers, in ascending order of the workers'.
    pub fn descriptors(&self) -> (usize, Vec<usize>) {
        let mut workers: Vec<usize> = self.workers().into_iter().map(proc::descriptors).collect();
        workers.sort_unstable();
        (proc::descriptors(self.master), workers)
    }

    /// The exit status of the process that was started, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Waits until the master is gone; gives its exit status if it is the process that was started.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Option<ExitStatus> {
        let gone = within(DEADLINE * 2, || {
            self.exited();
            self.reap_orphans();
            !proc::lives(self.master)
        });
        assert!(gone, "the server did not end; its log:\n{}", self.log());
        // its last words may still be on their way through the pipe, which workers may hold open for longer
        within(Duration::from_secs(1), || self.log.has_ended());
        self.ended = true;
        self.exited()
    }

    /// Stops it with SIGTERM and checks what must hold after that. Dropping it does the same.
    #[track_caller]
    pub fn stop(mut self) {
        self.stop_and_check();
    }

    /// The server is meant to end in another way than by SIGTERM and with 0.
    pub fn ends_otherwise(&mut self) {
        self.any_status = true;
    }

    /// The socket file may stay.
    pub fn leaves_its_socket(&mut self) {
        self.socket_may_stay = true;
    }

    #[track_caller]
    pub(super) fn refusal(mut self) -> Refusal {
        self.any_status = true;
        self.expects_errors = true;
        self.socket_may_stay = true;
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
                "ended by itself:\n{}",
                self.log()
            );
            self.signal(Signal::SIGTERM);
            let status = self.wait_for_exit();
            let fine = self.any_status
                || self.master != self.sessions[0]
                || status.is_some_and(|s| s.success());
            assert!(fine, "ended with {status:?}:\n{}", self.log());
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
            "processes are left: {left:?}; the log:\n{}",
            self.log()
        );
        self.check_sockets();
        self.check_log();
    }

    fn check_sockets(&self) {
        // the original does not remove it after a reload
        let reloaded = under_uwsgi() && self.reloaded.load(Ordering::Relaxed);
        if self.socket_may_stay || reloaded {
            return;
        }
        for address in self.uwsgi.iter().chain(&self.http) {
            if let Address::Unix(path) = address {
                assert!(!path.exists(), "{} is still there", path.display());
            }
        }
    }

    fn check_log(&self) {
        within(DEADLINE, || self.log.has_ended());
        let log = self.log();
        // the original's workers take a stop in mid-start for a KeyboardInterrupt
        let reloaded = under_uwsgi() && self.reloaded.load(Ordering::Relaxed);
        let bad = ["panicked", "Traceback", "ERROR"];
        let bad = if self.expects_errors || reloaded {
            &bad[..1]
        } else {
            &bad[..]
        };
        let line = log
            .lines()
            .find(|line| bad.iter().any(|word| line.contains(word)));
        assert!(
            line.is_none(),
            "unexpected in the log: {line:?}; all of it:\n{log}"
        );
    }

    /// The path of a Unix socket.
    #[track_caller]
    pub fn socket_path(&self) -> PathBuf {
        match self.address() {
            Address::Unix(path) => path.clone(),
            other => panic!("{other:?} is no path"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- the server's log ----\n{}\n---- end of it ----",
                self.log()
            );
        } else if !self.ended {
            // a failure here is the test's, and the processes have to go all the same
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stop_and_check()));
            self.end_by_force();
            if let Err(failure) = outcome {
                std::panic::resume_unwind(failure);
            }
        }
        self.end_by_force();
    }
}

impl Server {
    fn end_by_force(&mut self) {
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
