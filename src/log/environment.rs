//! The settings of the log that come from environment variables.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;

use crate::sys::stdio;

/// The environment variable with the name of the vassal that this process belongs to.
pub const VASSAL_NAME: &str = "RUWSGI_VASSAL";

/// The environment variables of the log, read once.
pub(super) struct Environment {
    /// `RUWSGI_LOG`: the least severe level that is logged.
    pub(super) max_level: LevelFilter,
    /// `JOURNAL_STREAM`: device and inode of the stream that leads to the systemd journal; see systemd.exec(5).
    journal: Option<(u64, u64)>,
    /// The value of [`VASSAL_NAME`] and a space; empty in a process of no vassal. The text precedes the process name in
    /// log lines, because vassals share the emperor's log.
    pub(super) vassal: String,
}

/// Returns the settings of the log. The first call reads the environment variables.
pub(super) fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(Environment::read)
}

impl Environment {
    fn read() -> Self {
        let max_level = std::env::var("RUWSGI_LOG").map_or(LevelFilter::INFO, |name| level(&name));
        let journal = std::env::var("JOURNAL_STREAM").ok().and_then(|stream| {
            let (device, inode) = stream.split_once(':')?;
            Some((device.parse().ok()?, inode.parse().ok()?))
        });
        let vassal = std::env::var(VASSAL_NAME).map_or_else(|_| String::new(), |name| name + " ");
        Self {
            max_level,
            journal,
            vassal,
        }
    }

    /// Whether descriptor 2 leads to the journal. Checked for each line, because descriptor 2 can be redirected.
    pub(super) fn is_journal(&self) -> bool {
        self.journal.is_some() && self.is_journal_stream(stdio::identity(std::io::stderr()))
    }

    /// Whether a descriptor with this device and inode leads to the journal.
    pub(super) fn is_journal_stream(&self, identity: Option<(u64, u64)>) -> bool {
        self.journal.is_some() && self.journal == identity
    }
}

/// Returns the level for a value of `RUWSGI_LOG`; info for an unknown value.
fn level(name: &str) -> LevelFilter {
    match name.trim() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_level_means_info() {
        assert_eq!(level("warn"), LevelFilter::WARN);
        assert_eq!(level("loud"), LevelFilter::INFO);
    }
}
