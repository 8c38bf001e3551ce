//! One worker on a Unix socket, compared with uWSGI's: requests per second, CPU time per request and system calls per
//! request.
//!
//! `cargo bench --bench hello -- --case hello --case post8k --rounds 5 --seconds 3`; docs/performance.md explains the
//! figures.

mod kit;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};

use kit::load::{self, Load, Until};
use kit::server::{self, Program, Server};
use kit::{median, number, packet, processes, ratio};

/// A scenario to measure.
struct Case {
    name: &'static str,
    about: &'static str,
    /// The file in benches/apps.
    app: &'static str,
    /// Arguments of both servers, besides the application.
    arguments: &'static [&'static str],
    /// Size of the request body in bytes.
    body: usize,
    /// Client threads, and requests in flight of each.
    clients: (usize, usize),
    /// Number of requests under strace.
    traced: u64,
}

const QUIET: &[&str] = &["--disable-logging"];
const MEBIBYTE: usize = 1024 * 1024;

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "hello", about: "hello world", app: "hello.py", arguments: QUIET, body: 0, clients: (1, 32), traced: 4000 },
    Case { name: "hello-log", about: "hello world, requests logged to a file", app: "hello.py", arguments: &[], body: 0, clients: (1, 32), traced: 4000 },
    Case { name: "threads4", about: "hello world, four threads", app: "hello.py", arguments: &["--disable-logging", "--threads", "4"], body: 0, clients: (1, 32), traced: 4000 },
    Case { name: "chunks100", about: "a generator of 100 blocks", app: "chunks.py", arguments: QUIET, body: 0, clients: (1, 32), traced: 500 },
    Case { name: "post8k", about: "a request body of 8 KiB", app: "post.py", arguments: QUIET, body: 8192, clients: (1, 32), traced: 2000 },
    Case { name: "post1m", about: "a request body of 1 MiB", app: "post.py", arguments: QUIET, body: MEBIBYTE, clients: (8, 1), traced: 200 },
    Case { name: "django", about: "a Django page", app: "django_page.py", arguments: QUIET, body: 0, clients: (1, 8), traced: 500 },
    Case { name: "bytes10m", about: "a response of 10 MiB from bytes", app: "big.py", arguments: QUIET, body: 0, clients: (4, 1), traced: 50 },
    Case { name: "file10m", about: "a response of 10 MiB from a file", app: "file.py", arguments: QUIET, body: 0, clients: (4, 1), traced: 50 },
];

/// Figures of one server in one round.
#[derive(Clone, Copy, Default)]
struct Figures {
    rate: f64,
    /// Microseconds of CPU time per request.
    user: f64,
    system: f64,
    p99: f64,
}

impl Figures {
    fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

fn main() -> ExitCode {
    kit::finish(bench())
}

fn bench() -> Result<()> {
    let flags = command().get_matches();
    let programs = server::programs(&flags)?;
    let names: Vec<&String> = flags.get_many("case").into_iter().flatten().collect();
    for case in CASES {
        let chosen = names
            .iter()
            .any(|name| *name == case.name || *name == "all");
        if chosen || (names.is_empty() && case.name == "hello") {
            measure(case, &programs, &flags)?;
        }
    }
    Ok(())
}

fn command() -> Command {
    let names = CASES.iter().map(|case| case.name).chain(["all"]);
    let case = Arg::new("case")
        .long("case")
        .help("what to measure; may be repeated [default: hello]");
    Command::new("hello")
        .about("Measures one ruwsgi worker beside one of uWSGI's, taking turns")
        .arg(
            case.action(ArgAction::Append)
                .value_parser(names.collect::<Vec<_>>()),
        )
        .arg(kit::number_flag(
            "rounds",
            "rounds, one turn of each server in each [default: 7]",
        ))
        .arg(kit::number_flag("seconds", "length of a turn [default: 2]"))
        .arg(kit::number_flag(
            "clients",
            "requests in flight [default: the case's own]",
        ))
        .args(server::flags())
}

fn measure(case: &Case, programs: &[Program], flags: &ArgMatches) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("10m");
    File::create(&file)?.write_all(&vec![b'x'; 10 * MEBIBYTE])?;
    let mut arguments: Vec<String> = ["--processes", "1", "--wsgi-file"].map(String::from).into();
    arguments.push(kit::apps().join(case.app).display().to_string());
    arguments.extend(case.arguments.iter().map(ToString::to_string));
    let mut servers = Vec::new();
    for program in programs {
        let mut server = Server::start(
            program,
            &arguments,
            scratch.path(),
            &[("BENCH_FILE", &file)],
        )?;
        server.wait()?;
        servers.push(server);
    }
    let load = load(case, flags);
    let turn = Duration::from_secs(number(flags, "seconds", 2));
    let rounds = number(flags, "rounds", 7);
    println!(
        "\n{}: {} ({} in flight, {rounds} rounds of {} s, one worker each)",
        case.name,
        case.about,
        load.threads * load.in_flight,
        turn.as_secs()
    );
    let mut figures = vec![Vec::new(); servers.len()];
    for server in &servers {
        load::run(&server.socket, &load, Until::Time(turn / 5))?;
    }
    for _ in 0..rounds {
        for (server, figures) in servers.iter().zip(&mut figures) {
            figures.push(measure_turn(server, &load, turn)?);
        }
    }
    print_table(&servers, &figures);
    for server in &servers {
        print_system_calls(server, &load, case.traced, scratch.path());
    }
    Ok(())
}

fn load(case: &Case, flags: &ArgMatches) -> Load {
    let request = match case.body {
        0 => packet::get(),
        size => packet::request("POST", "/", "", &vec![b'x'; size]),
    };
    let (mut threads, mut in_flight) = case.clients;
    if let Some(clients) = flags.get_one::<u64>("clients") {
        let clients = usize::try_from(*clients).unwrap_or(1);
        (threads, in_flight) = if threads == 1 {
            (1, clients)
        } else {
            (clients, 1)
        };
    }
    Load {
        request,
        threads,
        in_flight,
    }
}

/// Measures one server for the duration of a turn.
fn measure_turn(server: &Server, load: &Load, turn: Duration) -> Result<Figures> {
    let before = processes::cpu_time(server.pid());
    let tally = load::run(&server.socket, load, Until::Time(turn))?;
    let spent = processes::cpu_time(server.pid()).since(before);
    if tally.served == 0 {
        bail!("{} sent no response in {turn:?}", server.name);
    }
    let per_request = 1e6 / tally.served as f64;
    Ok(Figures {
        rate: tally.rate,
        user: spent.user * per_request,
        system: spent.system * per_request,
        p99: tally.p99(),
    })
}

fn print_table(servers: &[Server], figures: &[Vec<Figures>]) {
    println!(
        "  {:<14}{:>12}{:>17}{:>9}{:>9}{:>11}",
        "", "requests/s", "CPU per request", "user", "system", "p99"
    );
    for (server, figures) in servers.iter().zip(figures) {
        let middle = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
        println!(
            "  {:<14}{:>12.0}{:>14.1} us{:>9.1}{:>9.1}{:>8.0} us",
            server.name,
            middle(|figures| figures.rate),
            middle(Figures::cpu),
            middle(|figures| figures.user),
            middle(|figures| figures.system),
            middle(|figures| figures.p99)
        );
    }
    if let [ours, theirs] = figures {
        println!(
            "  {:<14}{:>12.2}{:>14.2}{:>29.2}      (median of the rounds)",
            "ratio",
            ratio(ours, theirs, |figures| figures.rate),
            ratio(ours, theirs, Figures::cpu),
            ratio(ours, theirs, |figures| figures.p99)
        );
    }
}

fn print_system_calls(server: &Server, load: &Load, requests: u64, scratch: &Path) {
    let mut served = 0;
    let counted = processes::system_calls(server.pid(), scratch, || {
        // the run sends one more request to determine the length of the response
        served = load::run(&server.socket, load, Until::Served(requests))?.served + 1;
        Ok(())
    });
    match counted {
        Ok(calls) => {
            let per_request = |count: u64| count as f64 / served as f64;
            let mut rows: Vec<_> = calls
                .iter()
                .filter(|(_, count)| per_request(**count) >= 0.005)
                .collect();
            rows.sort_by(|one, other| other.1.cmp(one.1));
            let list: Vec<_> = rows
                .into_iter()
                .map(|(name, count)| format!("{name} {:.2}", per_request(*count)))
                .collect();
            let sum = per_request(calls.values().sum());
            println!(
                "  {}: {sum:.2} system calls per request: {}",
                server.name,
                list.join(", ")
            );
        }
        Err(error) => println!("  {}: system calls not counted: {error:#}", server.name),
    }
}
