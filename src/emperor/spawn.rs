//! Starts vassals: executes ruwsgi with a channel to the emperor and the vassal's sockets, and with no other descriptor
//! of the emperor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::{Config, Invocation, VassalFile};
use crate::process::interpreter::Shim;
use crate::process::{AddressRule, OnDemand, VassalEnvironment, cgroup_limits};
use crate::sys::capability::Capabilities;
use crate::sys::process::Pid;
use crate::sys::spawn::{self, LeaderSetup};
use crate::sys::user::Identity;
use crate::sys::{packet, path_error, socket, user};

use super::file_rules::is_tyrant;
use super::kept_sockets::KeptSockets;
use super::source::Definition;

/// Time for which the interpreter behind the shim on PATH stays valid. After this time the shim may select another
/// interpreter.
const SHIM_TTL: Duration = Duration::from_secs(300);

/// The descriptors and settings that a vassal inherits when it is started, in addition to its channel.
pub(super) struct Handover<'a> {
    /// The sockets that the emperor keeps for the vassal.
    pub(super) sockets: &'a KeptSockets,
    /// For a vassal on demand: whether it serves. Otherwise it hands its sockets over and exits. Any other vassal
    /// ignores the field and serves.
    pub(super) serve: bool,
    /// The open file through which the vassal enters its cgroup.
    pub(super) cgroup: Option<OwnedFd>,
}

/// Starts vassals with the settings that are the same for all vassals.
pub(super) struct Launcher {
    /// The programs to try, in this order: the wrappers, then ruwsgi itself. The path of ruwsgi is resolved once; an
    /// upgrade in place takes effect at the next start.
    programs: Vec<PathBuf>,
    /// The arguments before and after the arguments that name the vassal's file.
    before: Vec<OsString>,
    after: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// The capabilities of each vassal (`emperor-cap`); `None` means the default capabilities of its user.
    capabilities: Option<Capabilities>,
    stop_hook: Option<PathBuf>,
    /// Whether an executable file of a vassal is run (`emperor-magic-exec`).
    magic_exec: bool,
    /// Whether a vassal checks the owner of its file when it reads the file.
    check_owner: bool,
    /// The part of the vassals' environment that is the same for all vassals.
    vassal: VassalEnvironment,
    /// The emperor's terminal, opened for writing only: vassals of other users write to it, and must not read from it.
    terminal: Option<File>,
    /// The interpreter behind the shim on PATH, and when it was found.
    shim: Option<(Shim, Instant)>,
}

impl Launcher {
    /// Creates the launcher that the emperor's configuration describes.
    ///
    /// # Errors
    /// Fails if the path of the ruwsgi program cannot be found.
    pub(super) fn new(
        config: &Config,
        invocation: &Invocation,
        capabilities: Option<Capabilities>,
    ) -> io::Result<Self> {
        let absolute = |program: &String| invocation.cwd.join(program);
        let mut programs: Vec<PathBuf> = config
            .emperor_wrapper_override()
            .iter()
            .map(absolute)
            .collect();
        programs.push(match config.emperor_wrapper() {
            Some(wrapper) => invocation.cwd.join(wrapper),
            None => std::env::current_exe()?,
        });
        programs.extend(config.emperor_wrapper_fallback().iter().map(absolute));
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let flag = |to: &mut Vec<OsString>, flag: &str, values: &[String]| {
            for value in values {
                to.extend([flag.into(), value.into()]);
            }
        };
        flag(&mut before, "--inherit", config.vassals_inherit_before());
        flag(&mut before, "--include", config.vassals_include_before());
        for (name, value) in config.vassal_set() {
            before.extend(["--set".into(), format!("{name}={value}").into()]);
        }
        flag(&mut after, "--inherit", config.vassals_inherit());
        flag(&mut after, "--include", config.vassals_include());
        let vassal = VassalEnvironment {
            outlives_emperor: !config.emperor_no_orphans(),
            in_cgroup: cgroup_limits(config).is_some(),
            start_hook: config.vassals_start_hook().map(OsString::from),
            address_rule: address_rule(config, invocation),
            ..VassalEnvironment::default()
        };
        Ok(Self {
            programs,
            before,
            after,
            environment: environment(std::env::vars_os()),
            capabilities,
            stop_hook: config.vassals_stop_hook().map(PathBuf::from),
            magic_exec: config.emperor_magic_exec(),
            check_owner: !config.emperor_tyrant_nofollow(),
            vassal,
            terminal: terminal(),
            shim: shim(config),
        })
    }

    /// Starts a vassal, as the user `identity` if it is set. Returns the process id and the emperor's end of the
    /// channel.
    ///
    /// # Errors
    /// Returns the errors of [`spawn::spawn_leader`].
    pub(super) fn spawn(
        &self,
        definition: &Definition,
        identity: Option<&Identity>,
        handover: &Handover<'_>,
    ) -> io::Result<(Pid, OwnedFd)> {
        let (own_end, channel) = packet::pair()?;
        // a vassal that does not read its channel must not block the emperor
        socket::set_nonblocking(&own_end, true)?;
        let setup = LeaderSetup {
            inherited: handover
                .sockets
                .descriptors()
                .chain([channel.as_fd()])
                .collect(),
            identity,
            capabilities: self.capabilities,
            cgroup: handover.cgroup.as_ref().map(AsFd::as_fd),
            // in a new session a vassal has no access to the emperor's terminal
            new_session: true,
            ..LeaderSetup::default()
        };
        let mut spawned = Err(io::ErrorKind::NotFound.into());
        for program in &self.programs {
            let command = self.command(program, definition, identity, handover, &channel);
            spawned = spawn::spawn_leader(command, &setup);
            match &spawned {
                Err(error) if is_not_executable(error) => {
                    spawned = Err(named(program, &definition.directory, error));
                }
                _ => break,
            }
        }
        spawned.map(|pid| (pid, own_end))
    }

    fn command(
        &self,
        program: &Path,
        definition: &Definition,
        identity: Option<&Identity>,
        handover: &Handover<'_>,
        channel: &OwnedFd,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(&self.before)
            .args(arguments(
                definition.file_name(),
                definition.section.as_deref(),
            ))
            .args(&self.after)
            .current_dir(&definition.directory)
            .env_clear()
            .envs(self.environment_for(identity))
            .envs(
                self.vassal_environment(definition, identity, handover, channel)
                    .variables(),
            )
            .stdin(Stdio::null());
        if let (Some(_), Some(terminal)) = (identity, &self.terminal) {
            // if no descriptor is free, the vassal's output is discarded
            let output = || terminal.try_clone().map_or(Stdio::null(), Stdio::from);
            command.stdout(output()).stderr(output());
        }
        if let Some((name, home)) = identity.and_then(|it| user::name_and_home(it.uid)) {
            command
                .env("USER", &name)
                .env("LOGNAME", name)
                .env("HOME", home);
        }
        command
    }

    /// The part of the environment that describes this vassal and the descriptors that it inherits.
    fn vassal_environment(
        &self,
        definition: &Definition,
        identity: Option<&Identity>,
        handover: &Handover<'_>,
        channel: &OwnedFd,
    ) -> VassalEnvironment {
        let shim = self.shim.as_ref();
        let shim = shim.filter(|(_, since)| since.elapsed() < SHIM_TTL);
        let identity = identity.filter(|_| self.check_owner);
        VassalEnvironment {
            name: definition.name.clone(),
            channel: Some(channel.as_raw_fd()),
            on_demand: Some(if handover.serve {
                OnDemand::Serve
            } else {
                OnDemand::HandOver
            }),
            sockets: handover.sockets.inherited(),
            file: Some(VassalFile {
                name: definition.file_name().to_owned(),
                executable: self.magic_exec,
                owner: identity.map(|identity| identity.uid),
            }),
            shim: shim.map(|(shim, _)| shim.clone()),
            ..self.vassal.clone()
        }
    }

    /// The environment of a process that runs as the user `identity`, or as the emperor's user if `identity` is `None`.
    fn environment_for(
        &self,
        identity: Option<&Identity>,
    ) -> impl Iterator<Item = (&OsString, &OsString)> {
        let all = self.environment.iter();
        let is_other_user = identity.is_some();
        all.filter(move |(name, _)| !is_other_user || is_for_other_users(name))
            .map(|(name, value)| (name, value))
    }

    /// Starts the stop hook of a vassal, if a stop hook is configured, and returns its process id without waiting.
    ///
    /// # Errors
    /// Returns the errors of [`spawn::spawn_leader`].
    pub(super) fn run_stop_hook(&self, definition: &Definition) -> io::Result<Option<Pid>> {
        let Some(hook) = &self.stop_hook else {
            return Ok(None);
        };
        let mut command = Command::new(hook);
        command
            .arg(&definition.name)
            .current_dir(&definition.directory)
            .env_clear()
            .envs(self.environment_for(None))
            .env("UWSGI_VASSALS_DIR", &definition.directory)
            .stdin(Stdio::null());
        spawn::spawn_leader(command, &LeaderSetup::default()).map(Some)
    }
}

/// Whether the error means that the vassal's user cannot execute the program. The next program is tried then.
fn is_not_executable(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    ) || error.raw_os_error() == Some(libc::ENOEXEC)
}

/// The rule that finds the address of a vassal on demand; `None` if the vassal's configuration contains the address.
fn address_rule(config: &Config, invocation: &Invocation) -> Option<AddressRule> {
    let extension = config.emperor_on_demand_extension();
    let directory = config.emperor_on_demand_directory();
    let command = config.emperor_on_demand_exec();
    let extension = extension.map(|extension| AddressRule::Extension(extension.to_owned()));
    extension
        .or(directory.map(|path| AddressRule::Directory(invocation.cwd.join(path))))
        .or(command.map(|command| AddressRule::Exec(command.to_owned())))
}

/// The terminal that the emperor's log goes to, opened for writing only.
fn terminal() -> Option<File> {
    let log = std::io::stderr();
    let is_terminal = std::io::IsTerminal::is_terminal(&log);
    let mut options = File::options();
    options.write(true).custom_flags(libc::O_NOCTTY);
    is_terminal.then(|| options.open("/proc/self/fd/2").ok())?
}

/// The interpreter behind the shim on PATH. The emperor finds it once, because the search is slow and each vassal
/// without `home` and `python` needs the result. Vassals of other users do not get it, because for them the shim may
/// select another interpreter.
fn shim(config: &Config) -> Option<(Shim, Instant)> {
    let path = std::env::var_os("PATH").filter(|_| !is_tyrant(config))?;
    Some((Shim::on_path(&path)?, Instant::now()))
}

/// The error of a program that cannot be executed, with the name of the program or of the missing directory.
fn named(program: &Path, directory: &Path, error: &io::Error) -> io::Error {
    let reason = match directory.is_dir() {
        true => path_error::reason(program, error),
        false => format!("its directory {} does not exist", directory.display()),
    };
    io::Error::new(error.kind(), format!("{}: {reason}", program.display()))
}

/// The arguments that name the vassal's file on the command line of its process.
pub(super) fn arguments(name: &str, section: Option<&str>) -> [OsString; 2] {
    let flag = match Path::new(name).extension().and_then(|it| it.to_str()) {
        Some("ini") | None => "--ini",
        Some(_) => "--include",
    };
    let name = match section {
        Some(section) => format!("{name}:{section}"),
        // `:uwsgi` names the default section, so that a colon in the file name is not read as the colon before a
        // section
        None if name.contains(':') => format!("{name}:uwsgi"),
        None => name.to_owned(),
    };
    [flag.into(), name.into()]
}

/// The environment of the vassals: the emperor's environment without the emperor's options and the variables of its
/// service manager. `UWSGI_VASSAL_X` becomes `UWSGI_X`.
fn environment(own: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    const SERVICE_MANAGER: [&str; 9] = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "MAINPID",
        "INVOCATION_ID",
        "RUNTIME_DIRECTORY",
    ];
    let mut environment = Vec::new();
    for (name, value) in own {
        let Some(text) = name.to_str() else {
            environment.push((name, value));
            continue;
        };
        if let Some(option) = text.strip_prefix("UWSGI_VASSAL_") {
            environment.push((format!("UWSGI_{option}").into(), value));
            continue;
        }
        let for_processes = ["RUWSGI_LOG", "RUWSGI_MODULE"].contains(&text);
        let option = text.starts_with("UWSGI_") || text.starts_with("RUWSGI_");
        if for_processes || !(option || SERVICE_MANAGER.contains(&text)) {
            environment.push((name, value));
        }
    }
    environment
}

/// Whether a variable is passed to vassals of other users. These are the variables that every login has, the variables
/// of the log, and the options of vassals. Other variables may contain secrets of the emperor's operator.
fn is_for_other_users(name: &OsStr) -> bool {
    const NAMES: [&str; 6] = ["PATH", "LANG", "LANGUAGE", "TZ", "TERM", "JOURNAL_STREAM"];
    const PREFIXES: [&str; 3] = ["LC_", "UWSGI_", "RUWSGI_"];
    name.to_str()
        .is_some_and(|name| NAMES.contains(&name) || PREFIXES.iter().any(|it| name.starts_with(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emperors_own_variables_are_not_passed_on() {
        let given = [
            ("PATH", "/bin"),
            ("UWSGI_EMPEROR", "/etc/uwsgi"),
            ("UWSGI_VASSAL_SOCKET", ":3031"),
            ("RUWSGI_LOG", "debug"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("DATABASE_PASSWORD", "x"),
            ("LC_ALL", "C.UTF-8"),
        ];
        let kept = |by: fn(&OsStr) -> bool| {
            let given = given
                .iter()
                .map(|(name, value)| (name.into(), value.into()));
            let kept = environment(given);
            let names = kept.iter().filter(|(name, _)| by(name));
            let names = names.filter_map(|(name, _)| name.to_str());
            names.map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            kept(|_| true),
            "PATH UWSGI_SOCKET RUWSGI_LOG DATABASE_PASSWORD LC_ALL"
        );
        assert_eq!(
            kept(is_for_other_users),
            "PATH UWSGI_SOCKET RUWSGI_LOG LC_ALL"
        );
    }

    #[test]
    fn a_colon_in_a_file_name_starts_no_section() {
        assert_eq!(arguments("a.ini", None), ["--ini", "a.ini"]);
        assert_eq!(arguments("a:b.ini", None), ["--ini", "a:b.ini:uwsgi"]);
        assert_eq!(arguments("a.conf", None), ["--include", "a.conf"]);
        assert_eq!(arguments("a.ini", Some("b")), ["--ini", "a.ini:b"]);
    }
}
