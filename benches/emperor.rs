//! An emperor with many vassals of one worker each, compared with uWSGI's.
//!
//! It measures the time until all vassals are ready, the CPU time of a vassal from start to stop, the memory (PSS)
//! per vassal and of the emperor, the CPU time while idle, and the time until all have stopped.
//!
//! `cargo bench --bench emperor -- --vassals 300 --rounds 3 --idle 60`

mod kit;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ArgMatches;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use kit::server::{self, Program};
use kit::{load, median, number, packet, processes, ratio};

/// Timeout of the start and of the stop of all vassals.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Interval between requests to vassals that are not ready.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Figures of one server in one round.
struct Figures {
    /// Seconds until every vassal has answered a request.
    ready: f64,
    /// Milliseconds of CPU time per vassal, of all its processes from start to stop.
    cpu: f64,
    /// MiB per vassal.
    memory: f64,
    /// MiB of the emperor process.
    emperor: f64,
    /// CPU time of all processes while idle, in percent of one core.
    idle: f64,
    /// Seconds until no process is left.
    stop: f64,
}

fn main() -> ExitCode {
    kit::finish(bench())
}

fn bench() -> Result<()> {
    let flags = clap::Command::new("emperor")
        .about("Measures an emperor over many small vassals beside uWSGI's")
        .arg(kit::number_flag("vassals", "vassals [default: 300]"))
        .arg(kit::number_flag(
            "rounds",
            "rounds, one turn of each server in each [default: 3]",
        ))
        .arg(kit::number_flag(
            "idle",
            "seconds of idle time [default: 10]",
        ))
        .args(server::flags())
        .get_matches();
    let programs = server::programs(&flags)?;
    let rounds = number(&flags, "rounds", 3);
    let idle = Duration::from_secs(number(&flags, "idle", 10));
    let directory = VassalDirectory::prepare(&flags)?;
    println!(
        "\nemperor: {} vassals of one worker each ({rounds} rounds, {} s of idling)",
        directory.sockets.len(),
        idle.as_secs()
    );
    let mut figures: Vec<Vec<Figures>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (program, figures) in programs.iter().zip(&mut figures) {
            figures.push(directory.measure(program, idle)?);
        }
    }
    print_table(&programs, &figures);
    Ok(())
}

/// The directory of vassals and their sockets.
struct VassalDirectory {
    scratch: tempfile::TempDir,
    vassals: PathBuf,
    sockets: Vec<PathBuf>,
}

impl VassalDirectory {
    fn prepare(flags: &ArgMatches) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let vassals = scratch.path().join("vassals");
        fs::create_dir(&vassals)?;
        let home = kit::venv(flags)
            .map_or_else(String::new, |venv| format!("home = {}\n", venv.display()));
        let mut sockets = Vec::new();
        for vassal in 1..=number(flags, "vassals", 300) {
            let socket = scratch.path().join(format!("{vassal}.sock"));
            let text = format!(
                "[uwsgi]\nsocket = {}\nchdir = {}\nwsgi-file = hello.py\nmaster = true\nprocesses = 1\n\
                 vacuum = true\ndisable-logging = true\n{home}",
                socket.display(),
                kit::apps().display()
            );
            fs::write(vassals.join(format!("{vassal}.ini")), text)?;
            sockets.push(socket);
        }
        Ok(Self {
            scratch,
            vassals,
            sockets,
        })
    }

    fn measure(&self, program: &Program, idle: Duration) -> Result<Figures> {
        let dead = processes::cpu_time_of_reaped_children()?;
        let begun = Instant::now();
        let mut emperor = Emperor::start(program, &self.vassals, self.scratch.path())?;
        self.wait(&mut emperor)?;
        let ready = begun.elapsed().as_secs_f64();
        let all = self.sockets.len() as f64;
        let own = processes::memory_of(emperor.pid())? as f64 / 1024.0;
        let memory = processes::memory(emperor.pid())? as f64 / 1024.0;
        let before = processes::cpu_time_of_threads(emperor.pid());
        let asleep = Instant::now();
        sleep(idle);
        let spent = processes::cpu_time_of_threads(emperor.pid()) - before;
        let slept = asleep.elapsed().as_secs_f64();
        let stop = emperor.stop()?.as_secs_f64();
        Ok(Figures {
            ready,
            cpu: (processes::cpu_time_of_reaped_children()? - dead) * 1000.0 / all,
            memory: (memory - own) / all,
            emperor: own,
            idle: spent / slept * 100.0,
            stop,
        })
    }

    /// Waits until every vassal has answered a request.
    fn wait(&self, emperor: &mut Emperor) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let mut waiting: Vec<&PathBuf> = self.sockets.iter().collect();
        loop {
            // a vassal that listens but is not ready answers when it is
            waiting.retain(|socket| !socket.exists() || load::ask(socket, &packet::get()).is_err());
            if waiting.is_empty() {
                return Ok(());
            }
            let alive = emperor.child.try_wait()?.is_none();
            ensure!(
                alive && Instant::now() < deadline,
                "{} vassals of {} are not ready; see {}",
                waiting.len(),
                emperor.name,
                self.keep_log(&emperor.log)?.display()
            );
            sleep(RETRY_INTERVAL);
        }
    }

    /// Copies the log to a path that the bench does not remove.
    fn keep_log(&self, log: &Path) -> Result<PathBuf> {
        let kept = std::env::temp_dir().join("emperor-bench.log");
        fs::copy(log, &kept).context("the log cannot be kept")?;
        Ok(kept)
    }
}

/// A running emperor; dropping it stops it.
struct Emperor {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Emperor {
    fn start(program: &Program, vassals: &Path, scratch: &Path) -> Result<Self> {
        let log = scratch.join("emperor.log");
        let output = File::create(&log)?;
        let child = server::command_with_death_signal(&program.path)
            .arg("--emperor")
            .arg(vassals)
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.path.display()))?;
        Ok(Self {
            name: program.name.clone(),
            log,
            child,
        })
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Stops the emperor. Returns the time until no process is left.
    fn stop(&mut self) -> Result<Duration> {
        let processes_to_stop = processes::tree(self.pid());
        let begun = Instant::now();
        kill(Pid::from_raw(self.pid()), Signal::SIGINT)?;
        while self.child.try_wait()?.is_none()
            || processes_to_stop
                .iter()
                .any(|pid| processes::is_running(*pid))
        {
            if begun.elapsed() > TIMEOUT {
                bail!("{} does not stop", self.name);
            }
            sleep(RETRY_INTERVAL);
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Emperor {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.stop().is_err() {
            for pid in processes::tree(self.pid()) {
                // a process that has already ended needs no signal
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}

fn print_table(programs: &[Program], figures: &[Vec<Figures>]) {
    /// A column: heading, unit and figure.
    type Column = (&'static str, &'static str, fn(&Figures) -> f64);
    let columns: [Column; 6] = [
        ("all ready", "s", |figures| figures.ready),
        ("CPU/vassal", "ms", |figures| figures.cpu),
        ("PSS/vassal", "MiB", |figures| figures.memory),
        ("emperor", "MiB", |figures| figures.emperor),
        ("idle", "% CPU", |figures| figures.idle),
        ("all stopped", "s", |figures| figures.stop),
    ];
    let heads = columns.map(|(head, _, _)| format!("{head:>17}"));
    println!("  {:<14}{}", "", heads.concat());
    for (program, figures) in programs.iter().zip(figures) {
        let cells = columns.map(|(_, unit, pick)| {
            let middle = median(figures.iter().map(pick).collect());
            format!("{:>17}", format!("{middle:.2} {unit}"))
        });
        println!("  {:<14}{}", program.name, cells.concat());
    }
    if let [ours, theirs] = figures {
        let cells = columns.map(|(_, _, pick)| format!("{:>17.2}", ratio(ours, theirs, pick)));
        println!(
            "  {:<14}{}    (median of the rounds)",
            "ratio",
            cells.concat()
        );
    }
}
