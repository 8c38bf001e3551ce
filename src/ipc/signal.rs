//! Requests of the application about its signals. The module `uwsgi` has 256 signals, which are numbered.

use serde::{Deserialize, Serialize};

/// Maximum number of timers that an application can add. The same maximum applies to cron entries, and to watched
/// files.
pub const MAX_TRIGGERS: usize = 64;

/// The processes that run the handler of a signal.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum SignalTarget {
    /// One worker: the first worker that is free.
    AnyWorker,
    /// Every worker.
    Workers,
    /// The worker with this id.
    Worker(u32),
    /// One mule: the first mule that is free.
    AnyMule,
    /// Every mule.
    Mules,
    /// The mule with this id.
    Mule(u32),
    /// One mule of the farm with this name.
    Farm(String),
    /// Other processes, which this version does not have. The signal has no effect.
    Unknown(String),
}

impl SignalTarget {
    /// Parses the second argument of `uwsgi.register_signal`.
    pub fn parse(text: &str) -> Self {
        let number = |prefix| text.strip_prefix(prefix).map(str::parse::<u32>);
        match text {
            "" | "worker" | "worker0" => return Self::AnyWorker,
            "workers" | "active-workers" => return Self::Workers,
            "mule" | "mule0" => return Self::AnyMule,
            "mules" => return Self::Mules,
            _ => {}
        }
        if let Some(Ok(id)) = number("worker") {
            return Self::Worker(id);
        }
        if let Some(Ok(id)) = number("mule") {
            return Self::Mule(id);
        }
        match text.strip_prefix("farm") {
            Some(name) if !name.is_empty() => {
                Self::Farm(name.strip_prefix('_').unwrap_or(name).to_owned())
            }
            _ => Self::Unknown(text.to_owned()),
        }
    }
}

/// A request of the application, from the zygote during the import or from a worker.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum SignalRequest {
    /// The sending process has a handler for the signal. If the sender is the zygote, all workers have the handler.
    Register {
        /// The signal.
        number: u8,
        /// The processes that run the handler.
        target: SignalTarget,
    },
    /// Raise the signal at intervals.
    Timer {
        /// The signal.
        number: u8,
        /// The interval, milliseconds.
        every_ms: u64,
        /// Maximum number of times that the signal is raised; `None` without a limit.
        runs: Option<u64>,
    },
    /// Raise the signal at times of the local clock.
    Cron {
        /// The signal.
        number: u8,
        /// Minute, hour, day of the month, month and day of the week. -1 stands for any value, and -N for the multiples
        /// of N.
        fields: [i32; 5],
    },
    /// Raise the signal when a file, or a file in a directory, changes.
    Watch {
        /// The signal.
        number: u8,
        /// The absolute path of the file or directory.
        path: String,
    },
    /// Raise the signal now.
    Raise {
        /// The signal.
        number: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_of_uwsgi_is_known() {
        for (text, target) in [
            ("", SignalTarget::AnyWorker),
            ("worker", SignalTarget::AnyWorker),
            ("workers", SignalTarget::Workers),
            ("active-workers", SignalTarget::Workers),
            ("worker3", SignalTarget::Worker(3)),
            ("mule", SignalTarget::AnyMule),
            ("mule0", SignalTarget::AnyMule),
            ("mules", SignalTarget::Mules),
            ("mule2", SignalTarget::Mule(2)),
            ("farm_mail", SignalTarget::Farm("mail".to_owned())),
            ("farm1", SignalTarget::Farm("1".to_owned())),
            ("spooler", SignalTarget::Unknown("spooler".to_owned())),
            ("workerx", SignalTarget::Unknown("workerx".to_owned())),
        ] {
            assert_eq!(SignalTarget::parse(text), target, "{text}");
        }
    }
}
