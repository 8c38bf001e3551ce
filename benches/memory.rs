//! A Django site with four workers, compared with uWSGI's.
//!
//! It measures the memory (PSS of the process tree) after 300 pages from each worker, first of the login page and
//! then of the admin pages for a logged-in user, and the time from the start to the first page.
//!
//! `cargo bench --bench memory -- --rounds 5 --pages 300`; needs a virtual environment with Django (`make bench`
//! creates one).

mod kit;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ArgMatches;

use kit::server::{self, Program, Server};
use kit::{load, median, number, packet, processes, ratio};

const WORKERS: usize = 4;

/// Pages without a login; the first one is also the warmup page.
const LOGIN: &[&str] = &["/admin/login/"];

/// Pages of the admin, requested in turn.
const ADMIN: &[&str] = &[
    "/admin/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/group/",
];

/// Figures of one server in one round.
struct Figures {
    /// Milliseconds from the start to the first page.
    start: f64,
    /// MiB of the process tree after the login pages.
    login: f64,
    /// MiB of the process tree after the admin pages.
    admin: f64,
}

fn main() -> ExitCode {
    kit::finish(bench())
}

fn bench() -> Result<()> {
    let flags = clap::Command::new("memory")
        .about("Measures the memory of a Django site's workers, and its start, beside uWSGI's")
        .arg(kit::number_flag(
            "rounds",
            "rounds, one turn of each server in each [default: 5]",
        ))
        .arg(kit::number_flag(
            "pages",
            "pages served by each worker [default: 300]",
        ))
        .args(server::flags())
        .get_matches();
    let programs = server::programs(&flags)?;
    let rounds = number(&flags, "rounds", 5);
    let site = Site::prepare(&flags)?;
    println!(
        "\ndjango: {WORKERS} workers, memory after {} pages from each, one page as warmup ({rounds} rounds)",
        site.pages
    );
    let mut figures: Vec<Vec<Figures>> = programs.iter().map(|_| Vec::new()).collect();
    // the first start compiles the Python files and fills the page cache
    for program in &programs {
        site.start(program)?;
    }
    for _ in 0..rounds {
        for (program, figures) in programs.iter().zip(&mut figures) {
            figures.push(site.measure(program)?);
        }
    }
    print_table(&programs, &figures);
    Ok(())
}

/// The Django site: its database, and the session of a logged-in user.
struct Site {
    scratch: tempfile::TempDir,
    database: PathBuf,
    session: String,
    pages: usize,
}

impl Site {
    fn prepare(flags: &ArgMatches) -> Result<Self> {
        let venv = kit::venv(flags).context(
            "no virtual environment with Django: run `make bench`, or name one with --home",
        )?;
        let scratch = tempfile::tempdir()?;
        let database = scratch.path().join("db.sqlite3");
        let output = Command::new(venv.join("bin/python"))
            .arg(kit::apps().join("django_site.py"))
            .env("BENCH_DB", &database)
            .output()?;
        ensure!(
            output.status.success(),
            "cannot create the database of the site: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let session = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok(Self {
            scratch,
            database,
            session,
            pages: usize::try_from(number(flags, "pages", 300))?,
        })
    }

    /// Starts a server. Returns it, and the time until the first page.
    fn start(&self, program: &Program) -> Result<(Server, Duration)> {
        let workers = WORKERS.to_string();
        let apps = kit::apps().display().to_string();
        let mut arguments = vec!["--processes", &workers, "--disable-logging"];
        arguments.extend(["--pythonpath", &apps, "--module", "django_site"]);
        if program.is_ours() {
            arguments.extend(["--warmup", LOGIN[0]]);
        }
        let arguments: Vec<String> = arguments.into_iter().map(String::from).collect();
        let variables: [(&str, &Path); 1] = [("BENCH_DB", &self.database)];
        let begun = Instant::now();
        let mut server = Server::start(program, &arguments, self.scratch.path(), &variables)?;
        server.wait()?;
        load::ask(&server.socket, &self.request(LOGIN[0]))?;
        Ok((server, begun.elapsed()))
    }

    fn measure(&self, program: &Program) -> Result<Figures> {
        let (server, start) = self.start(program)?;
        self.browse(&server, LOGIN)?;
        let login = processes::memory(server.pid())?;
        self.browse(&server, ADMIN)?;
        let admin = processes::memory(server.pid())?;
        Ok(Figures {
            start: start.as_secs_f64() * 1000.0,
            login: login as f64 / 1024.0,
            admin: admin as f64 / 1024.0,
        })
    }

    /// Requests these pages until every worker has served the configured number.
    fn browse(&self, server: &Server, pages: &[&str]) -> Result<()> {
        let mut served: HashMap<String, usize> = HashMap::new();
        let most = self.pages * WORKERS * 20;
        let mut asked = 0;
        while served.len() < WORKERS || served.values().any(|count| *count < self.pages) {
            ensure!(
                asked < most,
                "{}: the workers share the pages unevenly: {served:?} of {asked}",
                server.name
            );
            for process in self.ask_at_once(server, pages, asked)? {
                *served.entry(process).or_default() += 1;
                asked += 1;
            }
        }
        Ok(())
    }

    /// Sends one request per worker at the same time. Returns the processes that answered.
    fn ask_at_once(&self, server: &Server, pages: &[&str], asked: usize) -> Result<Vec<String>> {
        std::thread::scope(|scope| {
            let ask = |number: usize| {
                let page = pages[(asked + number) % pages.len()];
                move || load::ask(&server.socket, &self.request(page))
            };
            let threads: Vec<_> = (0..WORKERS)
                .map(|number| scope.spawn(ask(number)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    let joined = thread.join();
                    let answer =
                        joined.map_err(|_| anyhow::anyhow!("a client thread panicked"))??;
                    process_of(&answer).context("a response has no X-Process header")
                })
                .collect()
        })
    }

    fn request(&self, page: &str) -> Vec<u8> {
        let cookie = if LOGIN.contains(&page) {
            String::new()
        } else {
            format!("sessionid={}", self.session)
        };
        packet::request("GET", page, &cookie, b"")
    }
}

/// The value of the header `X-Process`.
fn process_of(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("X-Process: "))?;
    Some(line.to_owned())
}

fn print_table(programs: &[Program], figures: &[Vec<Figures>]) {
    println!(
        "  {:<14}{:>16}{:>16}{:>22}",
        "", "after the login", "after the admin", "start to first page"
    );
    for (program, figures) in programs.iter().zip(figures) {
        let middle = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
        println!(
            "  {:<14}{:>12.1} MiB{:>12.1} MiB{:>19.0} ms",
            program.name,
            middle(|figures| figures.login),
            middle(|figures| figures.admin),
            middle(|figures| figures.start)
        );
    }
    if let [ours, theirs] = figures {
        println!(
            "  {:<14}{:>16.2}{:>16.2}{:>22.2}    (median of the rounds)",
            "ratio",
            ratio(ours, theirs, |figures| figures.login),
            ratio(ours, theirs, |figures| figures.admin),
            ratio(ours, theirs, |figures| figures.start)
        );
    }
}
