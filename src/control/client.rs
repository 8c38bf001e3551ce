//! `ruwsgi ls`, `status`, `reload`, `stop`, `start` and `retry`: asking an emperor.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::place;
use super::talk::{Answer, Request, Row, Verb};

/// What to ask.
pub(crate) struct Question {
    /// `ls`, `status`, `reload`, `stop`, `start` or `retry`.
    pub(crate) verb: String,
    /// The vassal; none for all.
    pub(crate) name: Option<String>,
    /// Answer when it is done.
    pub(crate) wait: bool,
    /// The emperor's control socket; without it all that are found are asked.
    pub(crate) control: Option<PathBuf>,
    /// Print what the emperor said, for machines.
    pub(crate) json: bool,
}

/// Asks; gives what to print.
///
/// # Errors
/// A sentence that says why nothing was done, or what went wrong.
pub(crate) fn ask(question: &Question) -> Result<String, String> {
    let request = Request {
        verb: match question.verb.as_str() {
            "reload" => Verb::Reload,
            "stop" => Verb::Stop,
            "start" => Verb::Start,
            "retry" => Verb::Retry,
            _ => Verb::List,
        },
        name: question.name.clone(),
        wait: question.wait,
    };
    let sockets = match &question.control {
        Some(path) => vec![path.clone()],
        None => sockets(),
    };
    let (mut rows, mut refusal, mut reached) = (Vec::new(), None, false);
    for socket in sockets {
        match exchange(&socket, &request) {
            Ok(answer) => {
                reached = true;
                rows.extend(answer.vassals);
                refusal = refusal.or(answer.error);
            }
            Err(error) if question.control.is_some() => {
                return Err(format!(
                    "no emperor answers at {}: {error}",
                    socket.display()
                ));
            }
            // left by one that was killed
            Err(_) => {}
        }
    }
    if !reached {
        return Err("no emperor runs here that you may ask; name its control socket with --control if it has one of its own".into());
    }
    if let (Some(refusal), true) = (refusal, rows.is_empty()) {
        return Err(refusal);
    }
    if question.json {
        return serde_json::to_string_pretty(&rows)
            .map(|text| text + "\n")
            .map_err(|error| error.to_string());
    }
    if request.verb != Verb::List && question.wait {
        failed(&request, &rows)?;
    }
    Ok(match (request.verb, &question.name) {
        (Verb::List, None) => table(&rows),
        (Verb::List, Some(_)) => rows.iter().map(details).collect(),
        _ => rows
            .iter()
            .map(|row| format!("{}: {}\n", row.name, row.state))
            .collect(),
    })
}

/// Whether the order that was waited for failed.
fn failed(request: &Request, rows: &[Row]) -> Result<(), String> {
    let wanted: &[&str] = match request.verb {
        Verb::Stop => &["stopped"],
        _ => &["ready", "on demand"],
    };
    match rows.first() {
        Some(row) if !wanted.contains(&row.state.as_str()) || row.reason.is_some() => Err(format!(
            "{} is {}: {}",
            row.name,
            row.state,
            row.reason.as_deref().unwrap_or("see the emperor's log")
        )),
        _ => Ok(()),
    }
}

fn sockets() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in place::directories() {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        found.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|it| it == "sock")),
        );
    }
    found.sort();
    found
}

fn exchange(socket: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// All vassals, one to a line.
fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        [
            "NAME", "STATE", "PID", "UPTIME", "WORKERS", "REQUESTS", "MEMORY", "",
        ]
        .map(str::to_owned),
    ];
    for row in rows {
        let number =
            |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
        lines.push([
            row.name.clone(),
            row.state.clone(),
            number(row.pid.map(|pid| u64::from(pid.unsigned_abs()))),
            row.uptime.map_or_else(|| "-".to_owned(), age),
            number(row.workers.map(u64::from)),
            number(row.requests),
            row.memory_kib.map_or_else(|| "-".to_owned(), memory),
            remark(row),
        ]);
    }
    let mut text = String::new();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let mut told = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(told, "{cell:width$}  ");
        }
        told.push_str(&line[7]);
        let _ = writeln!(text, "{}", told.trim_end());
    }
    text
}

/// What is wrong, and when it is tried again.
fn remark(row: &Row) -> String {
    let reason = row.reason.clone().unwrap_or_default();
    match row.next_try {
        Some(left) => format!("next try in {left:.0} s: {reason}"),
        None => reason,
    }
}

/// Everything of one vassal.
fn details(row: &Row) -> String {
    let mut text = format!("{}: {}\n", row.name, row.state);
    let mut line = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {what:<9} {value}");
        }
    };
    line("file", Some(row.path.clone()));
    line("pid", row.pid.map(|pid| pid.to_string()));
    line("ready for", row.uptime.map(age));
    line("workers", row.workers.map(|count| count.to_string()));
    line("requests", row.requests.map(|count| count.to_string()));
    line("memory", row.memory_kib.map(memory));
    line(
        "failures",
        (row.failures > 0).then(|| row.failures.to_string()),
    );
    line(
        "next try",
        row.next_try.map(|left| format!("in {left:.1} s")),
    );
    line("reason", row.reason.clone());
    text
}

/// `12 s`, `5 min`, `3 h`, `40 d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn memory(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_tells_what_is_wrong() {
        let ready = Row {
            name: "blog.ini".into(),
            state: "ready".into(),
            pid: Some(7),
            uptime: Some(200),
            workers: Some(2),
            requests: Some(12),
            memory_kib: Some(2048),
            ..Row::default()
        };
        let failed = Row {
            name: "a.ini".into(),
            state: "backing off".into(),
            reason: Some("no module named b".into()),
            next_try: Some(3.6),
            ..Row::default()
        };
        let expected = "\
NAME      STATE        PID  UPTIME  WORKERS  REQUESTS  MEMORY
blog.ini  ready        7    3 min   2        12        2.0 MiB
a.ini     backing off  -    -       -        -         -        next try in 4 s: no module named b
";
        assert_eq!(table(&[ready, failed]), expected);
    }
}
