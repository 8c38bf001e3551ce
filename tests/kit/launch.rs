//! Options, environment and sockets of a server to start.

use std::fmt::Write as _;
use std::io::PipeReader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::connection::Address;
use super::log::Log;
use super::server::Server;
use super::{Site, proc, under_uwsgi, wait};

/// Python program that binds the addresses after `--`, passes the sockets from descriptor 3 on, and executes the
/// server, as systemd does for a socket unit. It sets `LISTEN_PID` and `LISTEN_FDS` if its first argument is
/// `announce`; `fd://` does not need them.
const ACTIVATION: &str = r#"
import os, socket, sys
announce, at = sys.argv[1] == "announce", sys.argv.index("--")
kept = []
for address in sys.argv[at + 1:]:
    if ":" in address and "/" not in address:
        host, port = address.rsplit(":", 1)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
    listener.listen(100)
    kept.append(os.dup(os.dup(os.dup(listener.fileno()))))
high = [os.dup2(fd, 50 + n) for n, fd in enumerate(kept)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n, inheritable=True)
os.closerange(3 + len(high), 200)
if announce:
    os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), str(len(high))
os.execv(sys.argv[2], sys.argv[2:at])
"#;

const SOCKETS: [&str; 4] = ["socket", "uwsgi-socket", "http", "http-socket"];
const LOADERS: [&str; 8] = [
    "module",
    "wsgi",
    "wsgi-file",
    "file",
    "mount",
    "eval",
    "paste",
    "ini-paste",
];

/// A server that is not started: its options, environment and inherited sockets.
#[derive(Clone)]
pub struct Launch {
    site: Site,
    options: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    inherited: Vec<String>,
    announced: bool,
    as_flags: bool,
    bare: bool,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    log_file: Option<PathBuf>,
}

/// A failed start.
pub struct Refusal {
    /// The exit status; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The output.
    pub log: String,
}

impl Launch {
    /// A server for this site. Unless options replace them, it has a uwsgi socket `app.sock` and loads `app.py`.
    pub fn on(site: &Site) -> Self {
        Self {
            site: site.clone(),
            options: Vec::new(),
            environment: Vec::new(),
            inherited: Vec::new(),
            announced: false,
            as_flags: false,
            bare: false,
            arguments: Vec::new(),
            wrapper: Vec::new(),
            log_file: None,
        }
    }

    /// Adds an option.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.options.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds options.
    pub fn set_all(self, options: &[(&str, &str)]) -> Self {
        options
            .iter()
            .fold(self, |launch, (key, value)| launch.set(key, value))
    }

    /// Sets an environment variable of the server.
    pub fn envvar(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server through a wrapper: a command that executes its arguments.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Passes the options as flags, not in an ini file.
    pub fn by_flags(mut self) -> Self {
        self.as_flags = true;
        self
    }

    /// Passes bound sockets from descriptor 3 on. If `announced`, it also sets the variables that systemd sets.
    pub fn inheriting(mut self, addresses: &[&str], announced: bool) -> Self {
        self.inherited = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        self.announced = announced;
        self
    }

    /// Replaces the command line: the kit adds no option.
    pub fn only(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        self.bare = true;
        self
    }

    /// Names the site's file to which the server writes its log.
    pub fn logging_to(mut self, name: &str) -> Self {
        self.log_file = Some(self.site.file(name));
        self
    }

    /// Starts the server and waits until it responds.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        server.wait_until_ready();
        server
    }

    /// Starts the server, waits until it exits, and returns the failure.
    #[track_caller]
    pub fn refused(self) -> Refusal {
        self.spawn().refusal()
    }

    /// Starts the server without waiting.
    pub fn spawn(self) -> Server {
        // orphans become children of this process, which sees and reaps them
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let options = self.complete();
        let (child, pipe) = self.exec(&options);
        let log = Log::of_pipe(pipe);
        let log = match &self.log_file {
            Some(file) => log.and_file(file.clone()),
            None => log,
        };
        let session = child.id().cast_signed();
        // after setsid the kit finds the server as the leader of its session
        wait::eventually("the server leads a session", || {
            proc::process(session).is_none_or(|p| p.session == session || p.state == 'Z')
        });
        let chdir = options
            .iter()
            .rfind(|(key, _)| key == "chdir")
            .map(|(_, value)| self.site.file(value));
        let below = chdir.unwrap_or_else(|| self.site.path().to_owned());
        let addresses = |keys: &[&str]| -> Vec<Address> {
            options
                .iter()
                .filter(|(key, value)| keys.contains(&key.as_str()) && !value.starts_with("fd://"))
                .map(|(_, value)| Address::parse(value, &below))
                .collect()
        };
        let mut uwsgi = addresses(&["socket", "uwsgi-socket"]);
        uwsgi.extend(
            self.inherited
                .iter()
                .map(|text| Address::parse(text, self.site.path())),
        );
        Server::new(
            self.site.clone(),
            child,
            log,
            uwsgi,
            addresses(&["http", "http-socket", "http11-socket"]),
        )
    }

    /// The options, with the defaults of the kit.
    fn complete(&self) -> Vec<(String, String)> {
        if self.bare {
            return parse_flags(&self.arguments);
        }
        let mut all: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: String| all.push((key.to_owned(), value));
        if under_uwsgi() {
            // ruwsgi's defaults
            for key in ["master", "need-app", "die-on-term", "vacuum"] {
                add(key, "true".into());
            }
            add("buffer-size", "65535".into());
            // a worker of uWSGI ignores a stop signal while it starts
            add("worker-reload-mercy", "5".into());
        } else if let Some(python) = std::env::var_os("KIT_PYTHON") {
            add("python", python.to_str().unwrap().to_owned());
        }
        let has = |keys: &[&str]| {
            self.options
                .iter()
                .any(|(key, _)| keys.contains(&key.as_str()))
        };
        if !has(&SOCKETS) && !self.announced {
            add("socket", self.site.at("app.sock"));
        }
        if !has(&LOADERS) {
            add("wsgi-file", "app.py".into());
        }
        all.extend(self.options.iter().cloned());
        all
    }

    fn exec(&self, options: &[(String, String)]) -> (Child, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let binary = super::binary();
        // if the test process is killed, the kernel stops the server
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "setsid"])
            .args(&self.wrapper);
        if self.inherited.is_empty() {
            command.arg(&binary);
        } else {
            let announce = if self.announced { "announce" } else { "silent" };
            command
                .args(["/usr/bin/env", "python3", "-c", ACTIVATION, announce])
                .arg(&binary);
        }
        if self.bare {
            command.args(&self.arguments);
        } else if self.as_flags {
            command.args(options.iter().map(|(key, value)| match value.as_str() {
                "true" => format!("--{key}"),
                _ => format!("--{key}={value}"),
            }));
        } else {
            let mut ini = String::from("[uwsgi]\n");
            for (key, value) in options {
                writeln!(ini, "{key} = {value}").unwrap();
            }
            self.site.write("site.ini", &ini);
            command.args(["--ini", "site.ini"]);
        }
        if !self.inherited.is_empty() {
            command.arg("--").args(&self.inherited);
        }
        self.site.isolate(&mut command);
        let child = command
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(self.site.path())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap_or_else(|e| panic!("{} cannot be started: {e}", binary.display()));
        (child, reader)
    }
}

/// The `--key value` and `--key=value` pairs of a command line.
fn parse_flags(arguments: &[String]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (n, word) in arguments.iter().enumerate() {
        let Some(flag) = word.strip_prefix("--") else {
            continue;
        };
        match flag.split_once('=') {
            Some((key, value)) => pairs.push((key.to_owned(), value.to_owned())),
            None => {
                let value = arguments.get(n + 1).cloned().unwrap_or_default();
                pairs.push((flag.to_owned(), value));
            }
        }
    }
    pairs
}
