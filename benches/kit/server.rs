//! The measured servers: this project's and, if it is found, uWSGI.

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

/// Timeout of the start and of the stop of a server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name in the tables.
    pub name: String,
    /// Path of the program.
    pub path: PathBuf,
    /// Arguments of every start.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// Whether the program is this project's.
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
            "the uWSGI to measure beside it (default: the one in target/bench-venv, else in PATH)",
        ),
        path(
            "home",
            "the virtual environment of both (default: target/bench-venv)",
        ),
        // cargo bench passes this flag to every bench
        Arg::new("bench").long("bench").num_args(0).hide(true),
    ]
}

/// The programs to measure: this project's, and uWSGI if it is found.
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
            eprintln!("uWSGI is not found (`make bench` installs it); only ruwsgi is measured")
        }
    }
    Ok(programs)
}

/// The path of uWSGI, and its name with the version.
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

/// A running server; dropping it stops it.
pub struct Server {
    /// Name in the tables.
    pub name: String,
    /// The Unix socket of the uwsgi protocol.
    pub socket: PathBuf,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts the program in `scratch`, on the core of the server, without waiting.
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
        let child = command_with_death_signal(&program.path)
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

    /// Process id of the master.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits until the socket accepts connections.
    pub fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
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

/// The command for a program. If setpriv (util-linux) is installed, the kernel stops the program when the bench is
/// killed.
pub fn command_with_death_signal(path: &Path) -> Command {
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
        let processes_to_stop = tree(self.pid());
        let master = Pid::from_raw(self.pid());
        // a process that has already ended needs no signal
        let _ = kill(master, Signal::SIGINT);
        let deadline = Instant::now() + TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in processes_to_stop {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}
