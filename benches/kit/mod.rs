//! What the benches share: servers to start, a load to put on them, figures to read from `/proc`.

#![allow(dead_code, reason = "each bench uses its own part of the kit")]

pub mod load;
pub mod packet;
pub mod processes;
pub mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, value_parser};

/// The middle value; of an even number, the mean of the two middle ones. 0 for none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// One figure of ours over theirs in the same round, the median over the rounds.
pub fn ratio<F>(ours: &[F], theirs: &[F], pick: impl Fn(&F) -> f64) -> f64 {
    let rounds = ours.iter().zip(theirs);
    median(
        rounds
            .map(|(ours, theirs)| pick(ours) / pick(theirs))
            .collect(),
    )
}

/// A flag that takes a number, at least 1.
pub fn figure(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .help(help)
        .value_parser(value_parser!(u64).range(1..))
}

/// A flag's number, or what it is without the flag.
pub fn number(flags: &ArgMatches, name: &str, otherwise: u64) -> u64 {
    flags.get_one::<u64>(name).copied().unwrap_or(otherwise)
}

/// The directory of the applications that the benches serve.
pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/apps")
}

/// The virtualenv that `make bench` makes, if it is there: both servers run its interpreter.
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

/// A bench's exit status; what went wrong is said in one line.
pub fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
