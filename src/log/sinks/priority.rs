//! The priority of an event for the systemd journal, read from its text.

/// Length of the start of an event that is searched for a level, bytes. Time and level are at the start of a line.
const HEAD: usize = 160;

/// The levels as they appear in text lines and in JSON, with their priorities of syslog(3).
const LEVELS: [(&[u8], u8); 4] = [
    (b" [error] ", 3),
    (b" [warn] ", 4),
    (b"\"severity_number\":17,", 3),
    (b"\"severity_number\":13,", 4),
];

/// Returns the priority of an event. If the start of the event contains a level, the priority is that of the level.
/// Otherwise the priority is error for an event with a Python traceback, and informational for any other event.
pub(super) fn of(event: &[u8]) -> u8 {
    let head = event.get(..HEAD).unwrap_or(event);
    let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|it| it == part);
    if let Some((_, priority)) = LEVELS.iter().find(|(mark, _)| has(head, mark)) {
        return *priority;
    }
    match has(event, b"Traceback (most recent call last):") {
        true => 3,
        false => 6,
    }
}

/// Returns the event with its priority `<N>` before each line, as the journal expects on a stream; see sd-daemon(3).
pub(super) fn prefixed(event: &[u8]) -> Vec<u8> {
    let mark = format!("<{}>", of(event));
    let mut out = Vec::with_capacity(event.len() + 16);
    for line in event.split_inclusive(|byte| *byte == b'\n') {
        // a line that begins with a priority keeps that priority
        let has_one = matches!(line, [b'<', b'0'..=b'7', b'>', ..]);
        if !has_one {
            out.extend_from_slice(mark.as_bytes());
        }
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_line_is_its_priority() {
        assert_eq!(of(b"2026-11-28 09:06:15.123 [error] master[7]: x\n"), 3);
        assert_eq!(of(b"2026-11-28 09:06:15.123 [warn] master[7]: x\n"), 4);
        assert_eq!(
            of(b"{\"timestamp\":\"x\",\"severity_number\":17,\"b\":1}\n"),
            3
        );
        assert_eq!(of(b"said [error]\n"), 6);
        assert_eq!(of(b"oops\nTraceback (most recent call last):\n"), 3);
    }

    #[test]
    fn every_line_has_a_priority_once() {
        assert_eq!(prefixed(b"one\n<4>two\n"), b"<6>one\n<4>two\n");
    }
}
