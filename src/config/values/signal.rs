//! Signals by name or number: signal(7).

use crate::config::finding::Fault;

/// The number of a signal that is given by number or by name, with or without `SIG`.
pub(crate) fn signal(text: &str) -> Result<i32, Fault> {
    const NAMES: &[(&str, i32)] = &[
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("WINCH", 28),
    ];
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(name, _)| *name == bare);
    let number = named
        .map(|(_, number)| *number)
        .or_else(|| bare.parse().ok());
    number
        .filter(|number| (1..=31).contains(number))
        .ok_or_else(|| Fault::new("unknown signal").hint("write a name or a number: TERM or 15"))
}
