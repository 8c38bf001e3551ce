//! The invocation of ruwsgi: command line, environment and working directory. A reload reads the configuration again
//! from the same invocation.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::values::accounts;

use super::limits::MAX_FILE;

/// The inputs of a configuration other than its files.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The command line; the first item is the program's name.
    pub(crate) argv: Vec<String>,
    /// The environment.
    pub(crate) env: Vec<(String, String)>,
    /// The directory in which ruwsgi was started; relative names of configuration files are resolved there.
    pub(crate) cwd: PathBuf,
    /// Whether the instance is reloading, for `if-reload`.
    pub(crate) reloading: bool,
    /// The configuration file of a vassal; `None` if the process is not a vassal.
    pub(crate) vassal_file: Option<VassalFile>,
    pub(crate) host: Host,
    /// The content of standard input, read once and kept for reloads.
    stdin: Arc<OnceLock<Vec<u8>>>,
}

/// The configuration file of a vassal, and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VassalFile {
    /// The name on the command line.
    pub(crate) name: String,
    /// Whether the file is run if it is executable (`emperor-magic-exec`). The output is then the configuration.
    pub(crate) executable: bool,
    /// The user id that must own the file when the vassal reads it (`emperor-tyrant`); `None` accepts every owner.
    pub(crate) owner: Option<u32>,
}

impl Invocation {
    /// The invocation of this process. Bytes that are not UTF-8 are replaced.
    pub(crate) fn from_process() -> Invocation {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Invocation::new(
            std::env::args_os().map(text).collect(),
            std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        )
    }

    /// Creates an invocation from these inputs. It is neither a reload nor the invocation of a vassal.
    pub(crate) fn new(argv: Vec<String>, env: Vec<(String, String)>, cwd: PathBuf) -> Invocation {
        Invocation {
            argv,
            env,
            cwd,
            reloading: false,
            vassal_file: None,
            host: Host::here(),
            stdin: Arc::default(),
        }
    }

    /// The value of an environment variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The content of standard input. The first call reads standard input to its end, and blocks until then.
    pub(crate) fn standard_input(&self) -> &[u8] {
        self.stdin.get_or_init(|| {
            let mut bytes = Vec::new();
            // an error leaves the content empty or incomplete; the missing section is reported later
            let _ = std::io::stdin().take(MAX_FILE).read_to_end(&mut bytes);
            bytes
        })
    }
}

/// Facts about the machine, the user and the process, for the magic variables.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) cpus: usize,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) user: String,
    pub(crate) group: String,
    pub(crate) binary: PathBuf,
    pub(crate) started: Duration,
}

impl Host {
    fn here() -> Host {
        let (uid, gid) =
            fs::metadata("/proc/self").map_or((0, 0), |metadata| (metadata.uid(), metadata.gid()));
        Host {
            name: fs::read_to_string("/proc/sys/kernel/hostname")
                .map(|name| name.trim_end().to_owned())
                .unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            uid,
            gid,
            user: accounts::name_of("/etc/passwd", uid),
            group: accounts::name_of("/etc/group", gid),
            binary: std::env::current_exe().unwrap_or_default(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Host {
        Host {
            cpus: 2,
            uid: 33,
            user: "www-data".into(),
            ..Host::here()
        }
    }
}
