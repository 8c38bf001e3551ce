//! Shared code of the benches: servers, a load generator, and figures from `/proc`.

#![allow(dead_code, reason = "each bench uses its own part of the kit")]

pub mod load;
pub mod packet;
pub mod processes;
pub mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, value_parser};

/// The median; of an even number of values, the mean of the two middle ones. 0 without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The ratio of our figure to theirs in the same round, as the median over the rounds.
pub fn ratio<F>(ours: &[F], theirs: &[F], pick: impl Fn(&F) -> f64) -> f64 {
    let rounds = ours.iter().zip(theirs);
    median(
        rounds
            .map(|(ours, theirs)| pick(ours) / pick(theirs))
            .collect(),
    )
}

/// A flag with a number, at least 1.
pub fn number_flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .help(help)
        .value_parser(value_parser!(u64).range(1..))
}

/// The number of a flag, or its default.
pub fn number(flags: &ArgMatches, name: &str, default: u64) -> u64 {
    flags.get_one::<u64>(name).copied().unwrap_or(default)
}

/// The directory of the benches' applications.
pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/apps")
}

/// The virtual environment of both servers, if it exists: the one of `--home`, or the one that `make bench` creates.
pub fn venv(flags: &ArgMatches) -> Option<PathBuf> {
    let given = flags.get_one::<PathBuf>("home").cloned();
    let made = Path::new(env!("CARGO_BIN_EXE_ruwsgi"))
        .ancestors()
        .nth(2)
        .map(|target| target.join("bench-venv"));
    given
        .or(made)
        .filter(|venv| venv.join("bin/python").exists())
}

/// The exit status of a bench; prints an error in one line.
pub fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
