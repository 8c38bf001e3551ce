//! The fields of /proc/PID/stat: proc_pid_stat(5).

use std::fs;

/// The text of the /proc/PID/stat of one process.
#[derive(Debug, Clone)]
pub(super) struct Stat(String);

impl Stat {
    /// Reads the stat file of a process; `None` when there is no such process, or /proc does not show it.
    pub(super) fn of(pid: i32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .map(Self)
    }

    /// Reads the stat file of this process; `None` without /proc.
    pub(super) fn own() -> Option<Self> {
        fs::read_to_string("/proc/self/stat").ok().map(Self)
    }

    /// Whether the process has ended: it is a zombie or dead.
    pub(super) fn has_ended(&self) -> bool {
        self.fields(3)
            .next()
            .is_some_and(|state| ["Z", "X", "x"].contains(&state))
    }

    /// The time at which the process started, in clock ticks since the machine booted.
    pub(super) fn start_ticks(&self) -> Option<u64> {
        self.fields(22).next()?.parse().ok()
    }

    /// The start and end address of the argument strings; `None` when the kernel reports none.
    pub(super) fn argument_area(&self) -> Option<(usize, usize)> {
        let mut fields = self.fields(48);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        (start != 0 && end > start).then_some((start, end))
    }

    /// The fields from number `first` on, counted from 1 as in the man page. `first` must be at least 3.
    fn fields(&self, first: usize) -> impl Iterator<Item = &str> {
        // field 2, the name, stands in parentheses and may contain blanks and parentheses
        let after_name = self.0.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name
            .split_ascii_whitespace()
            .skip(first.saturating_sub(3))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_any_name() {
        let fields: Vec<String> = (4..=52).map(|field| (field * 10).to_string()).collect();
        let stat = Stat(format!("7 (a ) Z name) S {}", fields.join(" ")));
        assert!(!stat.has_ended());
        assert_eq!(stat.start_ticks(), Some(220));
        assert_eq!(stat.argument_area(), Some((480, 490)));
        assert!(Stat("7 (name) Z 1 2".to_owned()).has_ended());
    }

    #[test]
    fn a_text_that_is_too_short_has_no_fields() {
        for text in ["", "7 (name", "7 (name) R 1 2"] {
            let stat = Stat(text.to_owned());
            assert!(!stat.has_ended());
            assert_eq!((stat.start_ticks(), stat.argument_area()), (None, None));
        }
    }

    #[test]
    fn this_process_lives_and_has_arguments() {
        let stat = Stat::of(std::process::id().cast_signed()).unwrap();
        assert!(!stat.has_ended() && stat.start_ticks() > Some(0));
        assert!(Stat::own().unwrap().argument_area().is_some());
        assert!(Stat::of(i32::MAX).is_none());
    }
}
