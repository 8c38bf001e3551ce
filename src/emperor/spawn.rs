//! Starting a vassal: ruwsgi executed afresh, with a channel to its emperor and nothing else of ours.

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
use crate::sys::{packet, socket, user};

use super::on_demand_sockets::Keep;
use super::source::Found;

/// So long the vassals are told what the shim on PATH stands for: later it may stand for something else.
const SHIM_TIME: Duration = Duration::from_secs(300);

/// What is lent to a vassal that is started.
pub(super) struct Lending<'a> {
    /// The sockets that are kept for it.
    pub(super) keep: &'a Keep,
    /// It is to serve on them; else only to say whether it is on demand.
    pub(super) serve: bool,
    /// The entrance of its cgroup, if it has one.
    pub(super) group: Option<OwnedFd>,
}

/// How every vassal is started.
pub(super) struct Recipe {
    /// The programs to try, in their order: wrappers, and our own, resolved once: an upgrade in place takes effect with
    /// the next start.
    programs: Vec<PathBuf>,
    before: Vec<OsString>,
    after: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// How many descriptors a vassal may open.
    descriptors: Option<u64>,
    /// The capabilities that a vassal has (`emperor-cap`).
    capabilities: Option<Capabilities>,
    stop_hook: Option<PathBuf>,
    /// A vassal's file that is executable is run.
    magic_exec: bool,
    /// A vassal's file has to belong to its user also when it is read.
    owned: bool,
    /// The part of a vassal's environment that is the same for all vassals.
    vassal: VassalEnvironment,
    /// Where other users' vassals write instead of to our terminal, which they could read.
    terminal: Option<File>,
    /// What the shim on PATH stands for, and since when that is known.
    shim: Option<(Shim, Instant)>,
}

impl Recipe {
    /// What the emperor's configuration says of all vassals.
    ///
    /// # Errors
    /// When our own program cannot be found.
    pub(super) fn new(
        config: &Config,
        invocation: &Invocation,
        descriptors: Option<u64>,
        capabilities: Option<Capabilities>,
    ) -> io::Result<Self> {
        let at = |program: &String| invocation.cwd.join(program);
        let mut programs: Vec<PathBuf> = config.emperor_wrapper_override().iter().map(at).collect();
        programs.push(match config.emperor_wrapper() {
            Some(wrapper) => invocation.cwd.join(wrapper),
            None => std::env::current_exe()?,
        });
        programs.extend(config.emperor_wrapper_fallback().iter().map(at));
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
            descriptors,
            capabilities,
            stop_hook: config.vassals_stop_hook().map(PathBuf::from),
            magic_exec: config.emperor_magic_exec(),
            owned: !config.emperor_tyrant_nofollow(),
            vassal,
            terminal: terminal(),
            shim: shim(config),
        })
    }

    /// Starts a vassal, as another user if that is asked for; returns our end of its channel too.
    ///
    /// # Errors
    /// Those of [`spawn::spawn_leader`].
    pub(super) fn spawn(
        &self,
        found: &Found,
        identity: Option<&Identity>,
        lending: &Lending<'_>,
    ) -> io::Result<(Pid, OwnedFd)> {
        let (ours, theirs) = packet::pair()?;
        // one that does not listen must not hold us up
        socket::set_nonblocking(&ours, true)?;
        let setup = LeaderSetup {
            inherited: lending.keep.descriptors().chain([theirs.as_fd()]).collect(),
            identity,
            capabilities: self.capabilities,
            max_descriptors: self.descriptors,
            cgroup: lending.group.as_ref().map(AsFd::as_fd),
            // out of reach of the emperor's terminal
            new_session: true,
            ..LeaderSetup::default()
        };
        let mut spawned = Err(io::ErrorKind::NotFound.into());
        for program in &self.programs {
            let command = self.command(program, found, identity, lending, &theirs);
            spawned = spawn::spawn_leader(command, &setup);
            match &spawned {
                Err(error) if is_no_program(error) => {}
                _ => break,
            }
        }
        spawned.map(|pid| (pid, ours))
    }

    fn command(
        &self,
        program: &Path,
        found: &Found,
        identity: Option<&Identity>,
        lending: &Lending<'_>,
        channel: &OwnedFd,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(&self.before)
            .args(arguments(found.file_name(), found.section.as_deref()))
            .args(&self.after)
            .current_dir(&found.directory)
            .env_clear()
            .envs(self.environment_for(identity))
            .envs(
                self.vassal_environment(found, identity, lending, channel)
                    .variables(),
            )
            .stdin(Stdio::null());
        if let (Some(_), Some(terminal)) = (identity, &self.terminal) {
            // none of these can fail for want of rights, only of descriptors: then they have no output
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

    /// What this vassal is told of itself and of what it inherits.
    fn vassal_environment(
        &self,
        found: &Found,
        identity: Option<&Identity>,
        lending: &Lending<'_>,
        channel: &OwnedFd,
    ) -> VassalEnvironment {
        let shim = self.shim.as_ref();
        let shim = shim.filter(|(_, since)| since.elapsed() < SHIM_TIME);
        let identity = identity.filter(|_| self.owned);
        VassalEnvironment {
            name: found.name.clone(),
            channel: Some(channel.as_raw_fd()),
            on_demand: Some(if lending.serve {
                OnDemand::Serve
            } else {
                OnDemand::HandOver
            }),
            sockets: lending.keep.lent(),
            file: Some(VassalFile {
                name: found.file_name().to_owned(),
                executable: self.magic_exec,
                owner: identity.map(|identity| identity.uid),
            }),
            shim: shim.map(|(shim, _)| shim.clone()),
            ..self.vassal.clone()
        }
    }

    /// The environment of a process of this user; `None`: of the emperor's own.
    fn environment_for(
        &self,
        identity: Option<&Identity>,
    ) -> impl Iterator<Item = (&OsString, &OsString)> {
        let all = self.environment.iter();
        let others = identity.is_some();
        all.filter(move |(name, _)| !others || is_for_others(name))
            .map(|(name, value)| (name, value))
    }

    /// Runs the hook of a vassal that has stopped, if there is one.
    ///
    /// # Errors
    /// Those of [`spawn::spawn_leader`].
    pub(super) fn run_stop_hook(&self, found: &Found) -> io::Result<Option<Pid>> {
        let Some(hook) = &self.stop_hook else {
            return Ok(None);
        };
        let mut command = Command::new(hook);
        command
            .arg(&found.name)
            .current_dir(&found.directory)
            .env_clear()
            .envs(self.environment_for(None))
            .env("UWSGI_VASSALS_DIR", &found.directory)
            .stdin(Stdio::null());
        let setup = LeaderSetup {
            max_descriptors: self.descriptors,
            ..LeaderSetup::default()
        };
        spawn::spawn_leader(command, &setup).map(Some)
    }
}

/// Whether there is no such program for the vassal's user, so that another one is to be tried.
fn is_no_program(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    ) || error.raw_os_error() == Some(libc::ENOEXEC)
}

/// Where the address of a vassal on demand comes from, if not from its configuration.
fn address_rule(config: &Config, invocation: &Invocation) -> Option<AddressRule> {
    let extension = config.emperor_on_demand_extension();
    let directory = config.emperor_on_demand_directory();
    let command = config.emperor_on_demand_exec();
    let extension = extension.map(|extension| AddressRule::Extension(extension.to_owned()));
    extension
        .or(directory.map(|path| AddressRule::Directory(invocation.cwd.join(path))))
        .or(command.map(|command| AddressRule::Exec(command.to_owned())))
}

/// The terminal that our log goes to, for writing only.
fn terminal() -> Option<File> {
    let log = std::io::stderr();
    let is_terminal = std::io::IsTerminal::is_terminal(&log);
    let mut options = File::options();
    options.write(true).custom_flags(libc::O_NOCTTY);
    is_terminal.then(|| options.open("/proc/self/fd/2").ok())?
}

/// What the shim on PATH stands for: asked once, because each vassal without `home` and `python` would wait for it.
/// Not for other users, who may have another answer.
fn shim(config: &Config) -> Option<(Shim, Instant)> {
    let path = std::env::var_os("PATH").filter(|_| !super::is_tyrant(config))?;
    Some((Shim::on_path(&path)?, Instant::now()))
}

/// How a vassal is told which file it is.
fn arguments(name: &str, section: Option<&str>) -> [OsString; 2] {
    let flag = match Path::new(name).extension().and_then(|it| it.to_str()) {
        Some("ini") | None => "--ini",
        Some(_) => "--include",
    };
    let name = match section {
        Some(section) => format!("{name}:{section}"),
        // a colon in a name would be read as the beginning of a section's
        None if name.contains(':') => format!("{name}:uwsgi"),
        None => name.to_owned(),
    };
    [flag.into(), name.into()]
}

/// The environment of the vassals: ours, without what was meant for us; `UWSGI_VASSAL_X` is a vassal's `UWSGI_X`.
fn environment(ours: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    const MANAGERS: [&str; 9] = [
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
    for (name, value) in ours {
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
        if for_processes || !(option || MANAGERS.contains(&text)) {
            environment.push((name, value));
        }
    }
    environment
}

/// Whether a variable of the vassals' environment is for other users too: what every login has, how the log is to be
/// written, and what is meant for vassals. The rest may be our operator's secret.
fn is_for_others(name: &OsStr) -> bool {
    const EVERYBODYS: [&str; 6] = ["PATH", "LANG", "LANGUAGE", "TZ", "TERM", "JOURNAL_STREAM"];
    const BEGINNINGS: [&str; 3] = ["LC_", "UWSGI_", "RUWSGI_"];
    name.to_str().is_some_and(|name| {
        EVERYBODYS.contains(&name) || BEGINNINGS.iter().any(|it| name.starts_with(it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emperors_own_variables_stay_with_it() {
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
        assert_eq!(kept(is_for_others), "PATH UWSGI_SOCKET RUWSGI_LOG LC_ALL");
    }

    #[test]
    fn a_colon_in_a_name_begins_no_section() {
        assert_eq!(arguments("a.ini", None), ["--ini", "a.ini"]);
        assert_eq!(arguments("a:b.ini", None), ["--ini", "a:b.ini:uwsgi"]);
        assert_eq!(arguments("a.conf", None), ["--include", "a.conf"]);
        assert_eq!(arguments("a.ini", Some("b")), ["--ini", "a.ini:b"]);
    }
}
