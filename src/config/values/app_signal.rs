//! Options that raise signals of the application (`uwsgi.signal`): the values of `timer`, `touch-signal` and
//! `fs-signal`.

use std::time::Duration;

use crate::config::finding::{Fault, shortened};

use super::setting::{Parsed, Value};

/// A timer: the signal and the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalTimer {
    /// The number of the signal.
    pub(crate) number: u8,
    /// The interval.
    pub(crate) every: Duration,
}

/// A file whose change raises a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignalFile {
    /// The path of the file.
    pub(crate) path: String,
    /// The number of the signal.
    pub(crate) number: u8,
}

fn number(text: &str) -> Result<u8, Fault> {
    text.parse().map_err(|_| {
        Fault::new(format!("{} is not a signal", shortened(text))).hint(
            "write a number from 0 to 255, which the application passes to uwsgi.register_signal",
        )
    })
}

/// The type of `timer`: `SIGNAL SECONDS`.
pub(crate) struct TimerText;

impl Value for TimerText {
    type Stored = SignalTimer;
    type Ref<'a> = SignalTimer;
    const ARG: &'static str = "SIGNAL SECONDS";

    fn parse(text: &str) -> Parsed<SignalTimer> {
        let hint = "write the signal and the interval in seconds: 17 60";
        let (signal, seconds) = text
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(|| Fault::new("the interval is missing").hint(hint))?;
        let seconds: u64 = match seconds.trim().parse() {
            Ok(seconds @ 1..) => seconds,
            _ => {
                let fault = format!("{} is not a number of seconds", shortened(seconds.trim()));
                return Err(Fault::new(fault).hint(hint));
            }
        };
        let timer = SignalTimer {
            number: number(signal)?,
            every: Duration::from_secs(seconds),
        };
        Ok((timer, None))
    }

    fn get(stored: &SignalTimer) -> SignalTimer {
        *stored
    }
}

/// The type of `touch-signal` and `fs-signal`: `FILE SIGNAL`.
pub(crate) struct FileText;

impl Value for FileText {
    type Stored = SignalFile;
    type Ref<'a> = &'a SignalFile;
    const ARG: &'static str = "FILE SIGNAL";

    fn parse(text: &str) -> Parsed<SignalFile> {
        let (path, signal) = text
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(|| {
                Fault::new("the signal is missing")
                    .hint("write the file and the signal: /run/refresh 17")
            })?;
        let file = SignalFile {
            path: path.trim_end().to_owned(),
            number: number(signal)?,
        };
        Ok((file, None))
    }

    fn get(stored: &SignalFile) -> &SignalFile {
        stored
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_a_signal_and_an_interval() {
        let (timer, _) = TimerText::parse("17  60").unwrap();
        assert_eq!((timer.number, timer.every), (17, Duration::from_secs(60)));
        for text in ["17", "17 0", "17 x", "256 1", "x 1"] {
            assert!(TimerText::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_a_signal() {
        let (file, _) = FileText::parse("/run/a b 7").unwrap();
        assert_eq!((file.path.as_str(), file.number), ("/run/a b", 7));
        assert!(FileText::parse("/run/a").is_err());
    }
}
