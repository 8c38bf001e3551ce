//! Formats responses as text: the table of `ls` and the details of `status`.

use std::fmt::Write as _;

use crate::log::counted;

use crate::ipc::control::{Emperor, Instance, Mule, RequestStatus, Row, Worker};

/// A table with one line for each vassal or instance.
pub(super) fn all(rows: &[Row]) -> String {
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
        let mut text_line = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text_line, "{cell:width$}  ");
        }
        text_line.push_str(&line[7]);
        let _ = writeln!(text, "{}", text_line.trim_end());
    }
    text
}

/// The reason of the last failure, with the time until the next start if one is scheduled.
fn remark(row: &Row) -> String {
    let reason = row.reason.clone().unwrap_or_default();
    match row.next_try {
        Some(left) => format!("next try in {left:.0} s: {reason}"),
        None => reason,
    }
}

/// The details of one vassal or instance, one fact per line.
pub(super) fn details(row: &Row) -> String {
    let mut text = format!("{}: {}\n", row.name, row.state);
    let mut line = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {what:<9} {value}");
        }
    };
    line(
        "file",
        Some(row.path.clone()).filter(|path| !path.is_empty()),
    );
    line("pid", row.pid.map(|pid| pid.to_string()));
    line("ready for", row.uptime.map(age));
    line("workers", row.workers.map(|count| count.to_string()));
    line("requests", row.requests.map(|count| count.to_string()));
    line("memory", row.memory_kib.map(memory));
    line("limits", row.limits.clone());
    if let Some(emperor) = &row.emperor {
        line("version", Some(emperor.version.clone()));
        line("user", Some(emperor.user.clone()));
        for source in &emperor.sources {
            line("source", Some(source.clone()));
        }
        line("vassals", Some(vassals(emperor)));
        for (name, value) in &emperor.options {
            line("option", Some(format!("{name} = {value}")));
        }
    }
    line(
        "failures",
        (row.failures > 0).then(|| row.failures.to_string()),
    );
    line(
        "next try",
        row.next_try.map(|left| format!("in {left:.1} s")),
    );
    line("reason", row.reason.clone());
    if let Some(instance) = &row.instance {
        describe(&mut text, instance);
    }
    text
}

/// The vassals of an emperor as text: `3, with 60.0 MiB: 2 ready, 1 backing off`.
fn vassals(emperor: &Emperor) -> String {
    let count: u32 = emperor.vassals.values().sum();
    if count == 0 {
        return "none".to_owned();
    }
    let states = emperor.vassals.iter();
    let states: Vec<String> = states
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let memory = memory(emperor.vassals_kib);
    format!("{count}, with {memory}: {}", states.join(", "))
}

/// Appends the sockets, the generations and their workers to `text`. Writing to a string cannot fail.
fn describe(text: &mut String, instance: &Instance) {
    for socket in &instance.sockets {
        let queue = match (socket.queue, socket.longest_queue) {
            (Some(queue), Some(longest)) => format!(", {queue} of {longest} wait"),
            _ => String::new(),
        };
        let _ = writeln!(text, "  {} on {}{queue}", socket.protocol, socket.name);
    }
    for generation in &instance.generations {
        let zygote = match generation.zygote {
            Some(pid) => format!("zygote {pid}"),
            None => "no zygote".to_owned(),
        };
        let (number, state) = (generation.number, &generation.state);
        let requests = generation.requests;
        let _ = writeln!(
            text,
            "  generation {number}: {state}, {zygote}, {}",
            counted(requests, "request")
        );
        for mule in &generation.mules {
            let _ = writeln!(text, "    mule {}", mule_line(mule));
        }
        for worker in &generation.workers {
            let _ = writeln!(text, "    worker {}", worker_line(worker));
            for doing in &worker.doing {
                let _ = writeln!(text, "      {}", request_line(doing));
            }
        }
    }
}

fn worker_line(worker: &Worker) -> String {
    let mut line = format!("{}: {}", worker.slot, worker.state);
    let Some(pid) = worker.pid else { return line };
    let age = worker.age.unwrap_or_default() as u64;
    let _ = write!(
        line,
        ", pid {pid}, {}, {} old",
        counted(worker.requests, "request"),
        self::age(age)
    );
    if let Some(kib) = worker.memory_kib {
        let _ = write!(line, ", {}", memory(kib));
    }
    if worker.signals > 0 {
        let _ = write!(line, ", {}", counted(worker.signals, "signal"));
    }
    if worker.cut_responses > 0 {
        let _ = write!(line, ", {} cut", counted(worker.cut_responses, "response"));
    }
    line
}

fn mule_line(mule: &Mule) -> String {
    let pid = mule
        .pid
        .map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let memory = mule
        .memory_kib
        .map_or_else(String::new, |kib| format!(", {}", memory(kib)));
    format!(
        "{}{pid}: {}, {} handled{memory}",
        mule.id, mule.state, mule.handled
    )
}

fn request_line(doing: &RequestStatus) -> String {
    let client = match doing.client.as_str() {
        "" => String::new(),
        client => format!(" from {client}"),
    };
    format!(
        "{}{client} for {:.1} s (thread {})",
        doing.request, doing.age, doing.thread
    )
}

/// A duration as text: `12 s`, `5 min`, `3 h`, `40 d`.
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
    fn the_table_is_aligned_and_shows_failures() {
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
        assert_eq!(all(&[ready, failed]), expected);
    }
}
