//! The servers that are measured: this one and, where it is to be had, the original.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgMatches, value_parser};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::processes::{pin, tree};

/// How long a server may take to start, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the tables.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// What it is always given.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// Whether it is this project's.
    pub fn is_ours(&self) -> bool {
        self.name == "ruwsgi"
    }
}

/// The flags that choose the programs.
pub fn flags() -> Vec<Arg> {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("PATH")
            .help(help)
            .value_parser(value_parser!(PathBuf))
    };
    vec![
        path(
            "ruwsgi",
            "the ruwsgi to measure (default: the one just built)",
        ),
        path(
            "uwsgi",
            "the uWSGI to measure beside it (default: target/bench-venv's, else PATH's)",
        ),
        path(
            "home",
            "the virtualenv for both (default: target/bench-venv)",
        ),
        // cargo bench passes it to every bench
        Arg::new("bench").long("bench").num_args(0).hide(true),
    ]
}

/// The programs to measure: this one, and the original if it is found.
pub fn programs(flags: &ArgMatches) -> Result<Vec<Program>> {
    let venv = super::venv(flags);
    let home = |venv: &PathBuf| vec![OsString::from("--home"), venv.into()];
    let arguments = venv.as_ref().map(home).unwrap_or_default();
    let ours = flags
        .get_one::<PathBuf>("ruwsgi")
        .cloned()
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_ruwsgi").into());
    let beside = ours.with_file_name("lib_ruwsgi.so");
    if !flags.contains_id("ruwsgi") {
        ensure!(
            beside.exists(),
            "{} is missing: run `cargo build --release --workspace` first",
            beside.display()
        );
    }
    let mut programs = vec![Program {
        name: "ruwsgi".into(),
        path: ours,
        arguments: arguments.clone(),
    }];
    match original(flags, venv.as_deref()) {
        Some((path, name)) => {
            let arguments = arguments.into_iter().chain(["--master".into()]).collect();
            programs.push(Program {
                name,
                path,
                arguments,
            });
        }
        None => {
            eprintln!("uWSGI was not found (`make bench` installs it): ruwsgi is measured alone.")
        }
    }
    Ok(programs)
}

/// The original's path and name with version.
fn original(flags: &ArgMatches, venv: Option<&Path>) -> Option<(PathBuf, String)> {
    let given = flags.get_one::<PathBuf>("uwsgi").cloned();
    let candidates = given
        .into_iter()
        .chain(venv.map(|venv| venv.join("bin/uwsgi")))
        .chain([PathBuf::from("uwsgi")]);
    candidates.into_iter().find_map(|path| {
        let output = Command::new(&path).arg("--version").output().ok()?;
        Some((
            path,
            format!("uWSGI {}", String::from_utf8_lossy(&output.stdout).trim()),
        ))
    })
}

/// A running server; it is stopped when this is dropped.
pub struct Server {
    /// Its name in the tables.
    pub name: String,
    /// The Unix socket on which it speaks the uwsgi protocol.
    pub socket: PathBuf,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts the program on the server's core, in `scratch`; returns at once.
    pub fn start(
        program: &Program,
        arguments: &[String],
        scratch: &Path,
        variables: &[(&str, &Path)],
    ) -> Result<Self> {
        let word = program
            .name
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        let socket = scratch.join(format!("{word}.sock"));
        let log = scratch.join(format!("{word}.log"));
        let output = File::create(&log)?;
        pin(false)?;
        let child = leashed(&program.path)
            .args(&program.arguments)
            .arg("--socket")
            .arg(&socket)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.path.display()))?;
        pin(true)?;
        Ok(Self {
            name: program.name.clone(),
            socket,
            child,
            log,
        })
    }

    /// The master's process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits until the socket takes connections.
    pub fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(_) => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => return Err(error.into()),
            }
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} did not start; its log:\n{log}", self.name);
            }
            sleep(Duration::from_micros(200));
        }
    }
}

/// The program, to be stopped by the kernel if the bench is killed (where util-linux's setpriv is there).
pub fn leashed(path: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(path);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "INT", "--"]).arg(path);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        let everyone = tree(self.pid());
        let master = Pid::from_raw(self.pid());
        // what is gone already needs no stopping
        let _ = kill(master, Signal::SIGINT);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in everyone {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}
