//! How a server is to be started.

use std::fmt::Write as _;
use std::io::PipeReader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::connection::Address;
use super::log::Log;
use super::server::Server;
use super::{Site, proc, under_uwsgi, wait};

/// Binds the addresses that follow `--`, puts them from descriptor 3 on, and becomes the server, as
/// systemd does it for a socket unit (`LISTEN_PID` only if asked: `fd://` needs none).
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
const LOADERS: [&str; 5] = ["module", "wsgi", "wsgi-file", "file", "mount"];

/// A server that is not started yet: options, environment, inherited sockets.
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

/// A start that failed.
pub struct Refusal {
    /// The exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All it wrote.
    pub log: String,
}

/// Where the control socket of a site's server is.
pub const RUNTIME_DIRECTORY: &str = ".run";

impl Launch {
    /// A server for this site: a uwsgi socket `app.sock` and `app.py`, unless options say otherwise.
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

    /// Sets a variable of the server's environment.
    pub fn envvar(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts it by these words, which execute what follows them.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Gives the options as flags, not in an ini file.
    pub fn by_flags(mut self) -> Self {
        self.as_flags = true;
        self
    }

    /// Passes sockets bound by somebody else, from descriptor 3 on; `announced` as systemd does it.
    pub fn inheriting(mut self, addresses: &[&str], announced: bool) -> Self {
        self.inherited = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        self.announced = announced;
        self
    }

    /// Only these words on the command line: no option but what they say.
    pub fn only(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        self.bare = true;
        self
    }

    /// The log that counts is written to this file of the site.
    pub fn logging_to(mut self, name: &str) -> Self {
        self.log_file = Some(self.site.file(name));
        self
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        server.wait_until_ready();
        server
    }

    /// Starts it, sees it fail, and gives how.
    #[track_caller]
    pub fn refused(self) -> Refusal {
        self.spawn().refusal()
    }

    /// Starts it without waiting.
    pub fn spawn(self) -> Server {
        // orphans become children of the tests, where they are seen and reaped
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let options = self.complete();
        let (child, pipe) = self.exec(&options);
        let log = Log::of_pipe(pipe);
        let log = match &self.log_file {
            Some(file) => log.and_file(file.clone()),
            None => log,
        };
        let session = child.id().cast_signed();
        // setsid has to have happened, or the server would not be found as its own session's leader
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

    /// The options, with those that every test needs.
    fn complete(&self) -> Vec<(String, String)> {
        if self.bare {
            return flags_read(&self.arguments);
        }
        let mut all: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: String| all.push((key.to_owned(), value));
        if under_uwsgi() {
            // what is always so here
            for key in ["master", "need-app", "die-on-term", "vacuum"] {
                add(key, "true".into());
            }
            add("buffer-size", "65535".into());
            // a worker that is told to stop while it starts does not hear it
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
        // a test that is killed takes its server along
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
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let ours = [
                "NOTIFY_SOCKET",
                "LISTEN_FDS",
                "LISTEN_PID",
                "VIRTUAL_ENV",
                "RUWSGI_UNDER_TEST",
            ];
            if name.starts_with("UWSGI_") || ours.contains(&&*name) {
                command.env_remove(&*name);
            }
        }
        if !under_uwsgi() {
            // each server and its clients have a runtime directory of their own
            command.env(
                "RUWSGI_RUNTIME_DIRECTORY",
                self.site.file(RUNTIME_DIRECTORY),
            );
        }
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

/// `--key value` and `--key=value` as pairs, as far as the kit needs to know them.
fn flags_read(arguments: &[String]) -> Vec<(String, String)> {
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
