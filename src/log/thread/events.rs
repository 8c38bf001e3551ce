//! Splits the output of the application into events. The text of one write is an event if it ends with a line feed. A
//! line written in several parts is one event. A traceback is also one event, although the interpreter writes its lines
//! separately.

use std::time::{Duration, Instant};

/// Maximum bytes of an unfinished event. A longer event is passed on at once, which splits its text.
const MAX_EVENT: usize = 256 << 10;
/// Maximum number of unfinished events (one per process). If there are more, the event whose last write is the oldest
/// is passed on.
const MAX_PENDING: usize = 256;
/// Time that an unfinished event waits for the next write of its process.
const PATIENCE: Duration = Duration::from_millis(200);

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
const CHAINS: [&[u8]; 2] = [
    b"During handling of the above exception",
    b"The above exception was the direct cause",
];

/// The unfinished events, at most one per process.
#[derive(Debug, Default)]
pub(super) struct Events {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    pid: i32,
    text: Vec<u8>,
    /// Whether an empty line was written after the complete traceback. The line belongs to the event if a chained
    /// exception follows; otherwise the line is a separate event.
    blank: bool,
    state: State,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The text does not end with a line feed.
    Partial,
    /// The text ends within a traceback: the line with the exception is missing.
    Traceback,
    /// The traceback is complete; a chained exception may follow.
    Raised,
}

/// Callback for a finished event: the id of the process that wrote it, and the text.
type Emit<'a> = &'a mut dyn FnMut(i32, &[u8]);

impl Events {
    /// Adds the text of one write of the process `pid`. Calls `emit` for each event that is complete then.
    pub(super) fn push(&mut self, pid: i32, written: &[u8], now: Instant, emit: Emit<'_>) {
        if written.is_empty() {
            return;
        }
        let known = self.pending.iter().position(|it| it.pid == pid);
        let before = known.map(|index| self.pending.remove(index));
        let Some(left) = step(before, pid, written, now, emit) else {
            return;
        };
        if self.pending.len() >= MAX_PENDING {
            self.pending.remove(0).pass_on(emit);
        }
        self.pending.push(left);
    }

    /// Passes on each event whose waiting time has expired at `now`; all events if `all` is set.
    pub(super) fn expire(&mut self, now: Instant, all: bool, emit: Emit<'_>) {
        self.pending.retain_mut(|it| {
            let keep = !all && now < it.since + PATIENCE;
            if !keep {
                it.pass_on(emit);
            }
            keep
        });
    }

    /// Returns the time at which [`Events::expire`] must be called next; `None` if no event is unfinished.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|it| it.since + PATIENCE).min()
    }
}

impl Pending {
    fn pass_on(&mut self, emit: Emit<'_>) {
        if self.state == State::Partial {
            self.text.push(b'\n');
        }
        emit(self.pid, &self.text);
        if self.blank {
            emit(self.pid, b"\n");
        }
    }
}

/// Adds the text of a write to `before`, the unfinished event of its process. Returns the event that is unfinished
/// after the write.
fn step(
    before: Option<Pending>,
    pid: i32,
    written: &[u8],
    now: Instant,
    emit: Emit<'_>,
) -> Option<Pending> {
    let mut text = Vec::new();
    if let Some(mut before) = before {
        match before.state {
            State::Partial => text = before.text,
            State::Traceback => {
                before.text.extend_from_slice(written);
                return classify(before.text, pid, now, emit);
            }
            State::Raised if !before.blank && written == b"\n" => {
                before.blank = true;
                before.since = now;
                return Some(before);
            }
            State::Raised if begins_chain(written) => {
                if before.blank {
                    before.text.push(b'\n');
                }
                before.text.extend_from_slice(written);
                return held_back(before.text, State::Traceback, pid, now, emit);
            }
            State::Raised => before.pass_on(emit),
        }
    }
    text.extend_from_slice(written);
    classify(text, pid, now, emit)
}

/// Whether the text begins with a sentence of [`CHAINS`], which announces a chained exception.
fn begins_chain(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    CHAINS.iter().any(|chain| text.starts_with(chain))
}

/// Passes the text on if the text is a complete event; otherwise holds it back.
fn classify(text: Vec<u8>, pid: i32, since: Instant, emit: Emit<'_>) -> Option<Pending> {
    match state(&text) {
        Some(state) => held_back(text, state, pid, since, emit),
        None => {
            emit(pid, &text);
            None
        }
    }
}

/// Returns the unfinished event with this text and state. Passes the text on if it is longer than [`MAX_EVENT`].
fn held_back(
    text: Vec<u8>,
    state: State,
    pid: i32,
    since: Instant,
    emit: Emit<'_>,
) -> Option<Pending> {
    if text.len() > MAX_EVENT {
        emit(pid, &text);
        return None;
    }
    Some(Pending {
        pid,
        text,
        blank: false,
        state,
        since,
    })
}

/// Returns the state of an unfinished event; `None` if the text is a finished event.
fn state(text: &[u8]) -> Option<State> {
    let Some(complete) = text.strip_suffix(b"\n") else {
        return Some(match is_in_traceback(text) {
            true => State::Traceback,
            false => State::Partial,
        });
    };
    if is_in_traceback(complete) {
        return Some(State::Traceback);
    }
    // the text begins with the title, so the interpreter has written it; a traceback inside of a log message is already
    // complete
    text.starts_with(TRACEBACK).then_some(State::Raised)
}

/// Whether the text ends within a traceback: all lines after the title, or after a sentence of [`CHAINS`], are indented
/// or empty.
fn is_in_traceback(text: &[u8]) -> bool {
    for line in text.rsplit(|byte| *byte == b'\n') {
        if line.starts_with(TRACEBACK) || CHAINS.iter().any(|chain| line.starts_with(chain)) {
            return true;
        }
        if !line.is_empty() && !line.starts_with(b" ") {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the events for successive writes of one process.
    fn events(writes: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut emit = |_, event: &[u8]| found.push(String::from_utf8_lossy(event).into_owned());
        let (mut events, now) = (Events::default(), Instant::now());
        for written in writes {
            events.push(7, written.as_bytes(), now, &mut emit);
        }
        events.expire(now + PATIENCE, false, &mut emit);
        found
    }

    #[test]
    fn an_event_is_what_one_write_has_written() {
        assert_eq!(
            events(&["one\ntwo\n", "three\n"]),
            ["one\ntwo\n", "three\n"]
        );
        let logged =
            "ERROR:root:oops\nTraceback (most recent call last):\n  File x\nValueError: y\n";
        assert_eq!(events(&[logged, "next\n"]), [logged, "next\n"]);
    }

    #[test]
    fn a_line_in_parts_is_one_event() {
        assert_eq!(events(&["a", "b", "c\n", "d"]), ["abc\n", "d\n"]);
    }

    #[test]
    fn a_traceback_line_by_line_is_one_event() {
        let lines = [
            "Traceback (most recent call last):\n",
            "  File \"x\", line 1\n    1/0\n",
            "ZeroDivisionError: division by zero\n",
            "\n",
            "During handling of the above exception, another exception occurred:\n",
            "\n",
            "Traceback (most recent call last):\n",
            "  File \"x\", line 3\n",
            "KeyError: 'a'\n",
            "\nThe above exception was the direct cause of the following exception:\n\n",
            "Traceback (most recent call last):\n",
            "  File \"x\", line 5\n",
            "TypeError\n",
        ];
        let mut writes = vec!["before\n"];
        writes.extend(lines);
        writes.push("after\n");
        assert_eq!(events(&writes), ["before\n", &lines.concat(), "after\n"]);
    }

    #[test]
    fn a_process_does_not_end_the_event_of_another() {
        let mut found = Vec::new();
        let mut emit = |_, event: &[u8]| found.push(String::from_utf8_lossy(event).into_owned());
        let (mut events, now) = (Events::default(), Instant::now());
        events.push(1, b"a", now, &mut emit);
        events.push(2, b"b\n", now, &mut emit);
        events.push(1, b"c\n", now, &mut emit);
        assert_eq!(found, ["b\n", "ac\n"]);
    }
}
