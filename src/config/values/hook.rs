//! Hooks: the values of `exec-*`, `hook-*` and `touch-exec`.

use std::time::Duration;

use crate::config::finding::{Fault, shortened};

use super::setting::{Parsed, Value};
use super::signal::signal;
use super::text::non_empty;

/// An action of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run a command by `/bin/sh -c`; a status other than 0 is a failure of the hook.
    Exec(String),
    /// Run a command by `/bin/sh -c`; its status is ignored.
    SafeExec(String),
    /// Write a line to the log.
    Print(String),
    /// Change the working directory.
    ChangeDirectory(String),
    /// Set an environment variable.
    PutEnv(String, String),
    /// Stop the instance. The number is the exit status.
    Exit(i32),
    /// Set the action that the master performs for a signal.
    UnixSignal(i32, SignalFunction),
    /// Create a directory.
    MakeDirectory(String),
    /// Set the permissions of a file.
    ChangeMode(String, u32),
    /// Set the sticky bit of a file.
    Sticky(String),
    /// Set the owner of a file: user and group, by name or number.
    ChangeOwner(String, String, String),
    /// Remove a file.
    Unlink(String),
    /// Create a file, or truncate it.
    Create(String),
    /// Replace the content of a file by a text.
    Write(String, String),
    /// Append a text to a file.
    Append(String, String),
    /// Write a text to a FIFO; no effect if no process reads the FIFO.
    WriteFifo(String, String),
    /// Wait until the target exists, at most for the timeout. `None` is the default timeout.
    WaitFor(WaitTarget, String, Option<Duration>),
}

/// The master's action for a signal, as set by `unix_signal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalFunction {
    /// `gracefully_kill_them_all`, `kill_them_all`: finish the requests in flight and stop.
    Stop,
    /// `grace_them_all`: reload.
    Reload,
    /// `reap_them_all`: reload and kill the old workers.
    BrutalReload,
}

/// The kind of target that a hook waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitTarget {
    /// Any file.
    Anything,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A directory that is the root of a mounted file system.
    MountPoint,
    /// A Unix socket that accepts connections.
    Socket,
    /// A network interface.
    Interface,
}

/// Parses `TARGET` or `TARGET SECONDS`.
fn wait_for(kind: WaitTarget, text: &str) -> Action {
    let timed = text
        .rsplit_once(' ')
        .and_then(|(target, seconds)| Some((target, seconds.parse().ok()?)));
    match timed {
        Some((target, seconds)) => {
            let timeout = Some(Duration::from_secs(seconds));
            Action::WaitFor(kind, target.trim_end().to_owned(), timeout)
        }
        None => Action::WaitFor(kind, text.to_owned(), None),
    }
}

impl Action {
    /// Parses `action:arguments`.
    fn parse(text: &str) -> Result<Action, Fault> {
        let Some((name, rest)) = text.split_once(':') else {
            return Err(Fault::new("the value has no action")
                .hint("write action:arguments, such as exec:command"));
        };
        let one = || match rest.trim() {
            "" => Err(Fault::new(format!("{name} has no argument"))),
            path => Ok(path.to_owned()),
        };
        let two = || match rest.trim_start().split_once(' ') {
            Some((path, text)) => Ok((path.to_owned(), text.to_owned())),
            None => Err(Fault::new(format!(
                "{name} needs a file, a space and a text"
            ))),
        };
        Ok(match name.trim() {
            "exec" => Action::Exec(one()?),
            "safeexec" => Action::SafeExec(one()?),
            "print" | "log" => Action::Print(rest.to_owned()),
            "cd" | "chdir" => Action::ChangeDirectory(one()?),
            "putenv" => match rest.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    Action::PutEnv(name.trim().to_owned(), value.to_owned())
                }
                _ => return Err(Fault::new("putenv needs NAME=value")),
            },
            "exit" => Action::Exit(exit_status(rest)?),
            "unix_signal" => unix_signal(rest)?,
            "mkdir" => Action::MakeDirectory(one()?),
            "chmod" => {
                let (path, mode) = two()?;
                Action::ChangeMode(path, parse_mode(&mode)?)
            }
            "sticky" => Action::Sticky(one()?),
            "chown" | "chown2" => match rest.split_whitespace().collect::<Vec<_>>()[..] {
                [path, user, group] => {
                    Action::ChangeOwner(path.to_owned(), user.to_owned(), group.to_owned())
                }
                _ => return Err(Fault::new("chown needs a file, a user and a group")),
            },
            "unlink" => Action::Unlink(one()?),
            "creat" | "create" => Action::Create(one()?),
            "write" => two().map(|(path, text)| Action::Write(path, text))?,
            "writen" => two().map(|(path, text)| Action::Write(path, text + "\n"))?,
            "append" => two().map(|(path, text)| Action::Append(path, text))?,
            "appendn" => match two() {
                Ok((path, text)) => Action::Append(path, text + "\n"),
                Err(_) => Action::Append(one()?, "\n".to_owned()),
            },
            "writefifo" => two().map(|(path, text)| Action::WriteFifo(path, text))?,
            "wait_for_fs" => wait_for(WaitTarget::Anything, &one()?),
            "wait_for_file" => wait_for(WaitTarget::File, &one()?),
            "wait_for_dir" => wait_for(WaitTarget::Directory, &one()?),
            "wait_for_mountpoint" => wait_for(WaitTarget::MountPoint, &one()?),
            "wait_for_socket" => wait_for(WaitTarget::Socket, &one()?),
            "wait_for_iface" | "wait_for_interface" => wait_for(WaitTarget::Interface, &one()?),
            other => return Err(unknown_action(other)),
        })
    }

    /// Whether the action changes or blocks the process that performs it. Such an action is allowed only before the
    /// workers start.
    fn is_start_only(&self) -> bool {
        matches!(
            self,
            Action::ChangeDirectory(_) | Action::PutEnv(..) | Action::Exit(_) | Action::WaitFor(..)
        )
    }
}

/// The fault for an unknown action.
fn unknown_action(name: &str) -> Fault {
    let fault = Fault::new(format!("unknown action {}", shortened(name)));
    match name {
        "mount" | "umount" => fault.hint("mount before the instance starts, by systemd or fstab(5)"),
        "hostname" => fault.hint("set the host name before the instance starts"),
        "call" | "callret" | "callint" | "callintret" | "ffi" => {
            fault.hint("calling functions of the binary is not supported; use exec:command")
        }
        "rpc" | "retryrpc" | "alarm" => fault.hint("use exec:command"),
        "spinningfifo" => fault.hint("use writefifo, or exec:command"),
        _ => fault.hint(
            "the actions are exec, safeexec, print, cd, putenv, exit, unix_signal, mkdir, chmod, sticky, chown, unlink, \
             create, write, writen, append, appendn, writefifo, wait_for_fs, wait_for_file, wait_for_dir, wait_for_mountpoint, wait_for_socket, wait_for_interface",
        ),
    }
}

fn exit_status(text: &str) -> Result<i32, Fault> {
    match text.trim() {
        "" => Ok(0),
        text => text
            .parse()
            .ok()
            .filter(|status| (0..=255).contains(status))
            .ok_or_else(|| Fault::new("exit needs a status from 0 to 255")),
    }
}

fn parse_mode(text: &str) -> Result<u32, Fault> {
    u32::from_str_radix(text.trim(), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| Fault::new("chmod needs permissions in octal, such as 664"))
}

fn unix_signal(text: &str) -> Result<Action, Fault> {
    const HANDLED: &[i32] = &[1, 2, 3, 10, 12, 14, 15];
    let Some((number, function)) = text.trim().split_once(' ') else {
        return Err(Fault::new(
            "unix_signal needs a signal, a space and a function",
        ));
    };
    let number = signal(number)?;
    if !HANDLED.contains(&number) {
        return Err(Fault::new("the master does not handle this signal")
            .hint("use HUP, INT, QUIT, USR1, USR2, ALRM or TERM"));
    }
    let action = match function.trim() {
        "gracefully_kill_them_all" | "kill_them_all" => SignalFunction::Stop,
        "grace_them_all" => SignalFunction::Reload,
        "reap_them_all" => SignalFunction::BrutalReload,
        other => {
            return Err(
                Fault::new(format!("unknown function {}", shortened(other))).hint(
                    "the functions are gracefully_kill_them_all, kill_them_all, grace_them_all and reap_them_all",
                ),
            );
        }
    };
    Ok(Action::UnixSignal(number, action))
}

/// Declares an option type whose values are actions.
macro_rules! action {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = Action;
            type Ref<'a> = &'a Action;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<Action> {
                ($parse)(text)
            }

            fn get(stored: &Action) -> &Action {
                stored
            }
        }
    };
}

action!(
    /// A command that a hook runs.
    Exec, "COMMAND", |text| non_empty(text).map(|(command, remark)| (Action::Exec(command), remark))
);
action!(
    /// A network interface to wait for.
    AwaitedInterface, "NAME", |text| awaited(WaitTarget::Interface, text)
);
action!(
    /// A path to wait for.
    AwaitedPath, "PATH", |text| awaited(WaitTarget::Anything, text)
);
action!(
    /// A file to wait for.
    AwaitedFile, "PATH", |text| awaited(WaitTarget::File, text)
);
action!(
    /// A directory to wait for.
    AwaitedDirectory, "PATH", |text| awaited(WaitTarget::Directory, text)
);
action!(
    /// A mount point to wait for.
    AwaitedMountPoint, "PATH", |text| awaited(WaitTarget::MountPoint, text)
);
action!(
    /// A socket to wait for.
    AwaitedSocket, "ADDRESS", |text| awaited(WaitTarget::Socket, text)
);
action!(
    /// An action that runs before the workers start. The action may change or block the instance.
    StartHook, "ACTION:ARGUMENTS", |text| match reject_signal(Action::parse(text)?)? {
        Action::ChangeDirectory(_) => {
            Err(Fault::new("the instance changes to chdir after this hook, and at every reload").hint("use chdir, or hook-pre-app"))
        }
        action => Ok((action, None)),
    }
);
action!(
    /// An action that runs before the application is loaded.
    AppHook, "ACTION:ARGUMENTS", |text| Ok((reject_signal(Action::parse(text)?)?, None))
);
action!(
    /// An action that runs after the application is loaded. The action may block the start.
    LoadedHook, "ACTION:ARGUMENTS", |text| match reject_signal(Action::parse(text)?)? {
        Action::ChangeDirectory(_) | Action::PutEnv(..) => Err(too_late()),
        action => Ok((action, None)),
    }
);
action!(
    /// An action that the master runs while the workers serve. A `unix_signal` action is allowed.
    MasterHook, "ACTION:ARGUMENTS", |text| Ok((reject_start_only(Action::parse(text)?)?, None))
);
action!(
    /// An action that the master runs while the workers serve. A `unix_signal` action is refused.
    LiveHook, "ACTION:ARGUMENTS", |text| Ok((live_action(text)?, None))
);

fn awaited(kind: WaitTarget, text: &str) -> Parsed<Action> {
    let (target, remark) = non_empty(text)?;
    Ok((Action::WaitFor(kind, target, None), remark))
}

fn reject_start_only(action: Action) -> Result<Action, Fault> {
    if action.is_start_only() {
        return Err(too_late());
    }
    Ok(action)
}

fn too_late() -> Fault {
    Fault::new("the workers have started, so the action has no effect on them")
        .hint("use hook-pre-app")
}

fn reject_signal(action: Action) -> Result<Action, Fault> {
    match action {
        Action::UnixSignal(..) => Err(Fault::new(
            "unix_signal works only after the master has started",
        )
        .hint("use hook-master-start")),
        action => Ok(action),
    }
}

fn live_action(text: &str) -> Result<Action, Fault> {
    reject_signal(reject_start_only(Action::parse(text)?)?)
}

/// Splits a value into a file and the argument that follows the file. In the messages, `kind` names the argument and
/// `form` is the expected notation.
fn split_file<'a>(text: &'a str, kind: &str, form: &str) -> Result<(String, &'a str), Fault> {
    match text.split_once(char::is_whitespace) {
        Some((path, rest)) => Ok((path.to_owned(), rest.trim())),
        None => Err(Fault::new(format!("the value has no {kind}"))
            .hint(format!("write the file, a space and {form}"))),
    }
}

/// A file, and the action that runs when the file is touched.
pub(crate) struct TouchHook;

impl Value for TouchHook {
    type Stored = (String, Action);
    type Ref<'a> = &'a (String, Action);
    const ARG: &'static str = "FILE ACTION:ARGUMENTS";

    fn parse(text: &str) -> Parsed<(String, Action)> {
        let (path, action) = split_file(text, "action", "action:arguments")?;
        Ok(((path, live_action(action)?), None))
    }

    fn get(stored: &(String, Action)) -> &(String, Action) {
        stored
    }
}

/// A file, and the command that runs when the file is touched.
pub(crate) struct TouchCommand;

impl Value for TouchCommand {
    type Stored = (String, Action);
    type Ref<'a> = &'a (String, Action);
    const ARG: &'static str = "FILE COMMAND";

    fn parse(text: &str) -> Parsed<(String, Action)> {
        let (path, command) = split_file(text, "command", "the command")?;
        Ok(((path, Action::Exec(command.to_owned())), None))
    }

    fn get(stored: &(String, Action)) -> &(String, Action) {
        stored
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Action {
        StartHook::parse(text).unwrap().0
    }

    #[test]
    fn actions_are_read_as_uwsgi_reads_them() {
        assert_eq!(read("exec:echo a:b"), Action::Exec("echo a:b".into()));
        assert_eq!(
            read("writen:/f a b"),
            Action::Write("/f".into(), "a b\n".into())
        );
        assert_eq!(read("appendn:/f"), Action::Append("/f".into(), "\n".into()));
        assert_eq!(
            read("chmod:/f 0664"),
            Action::ChangeMode("/f".into(), 0o664)
        );
        assert_eq!(
            read("chown2:/f 33 33"),
            Action::ChangeOwner("/f".into(), "33".into(), "33".into())
        );
        assert_eq!(read("exit:"), Action::Exit(0));
        assert_eq!(
            read("putenv:A=b c"),
            Action::PutEnv("A".into(), "b c".into())
        );
    }

    #[test]
    fn a_signal_action_is_set_in_the_master_only() {
        let text = "unix_signal:15 gracefully_kill_them_all";
        let action = Action::UnixSignal(15, SignalFunction::Stop);
        assert_eq!(MasterHook::parse(text).unwrap().0, action);
        assert!(StartHook::parse(text).is_err() && LiveHook::parse(text).is_err());
        for text in [
            "unix_signal:15 exit",
            "unix_signal:9 kill_them_all",
            "unix_signal:15",
        ] {
            assert!(MasterHook::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for (text, part) in [
            ("mount:proc none /proc", "unknown action mount"),
            ("call:uwsgi_log x", "unknown action call"),
            ("hostname:x", "unknown action hostname"),
            ("exce:x", "unknown action exce"),
            ("echo hello", "the value has no action"),
            ("chmod:/f rwx", "octal"),
            ("exec:", "has no argument"),
            ("chown:/f me", "a user and a group"),
            ("write:/f", "a text"),
        ] {
            let fault = StartHook::parse(text).unwrap_err();
            assert!(fault.what.contains(part), "{text}: {}", fault.what);
        }
        for text in ["cd:/", "putenv:A=b"] {
            assert!(
                AppHook::parse(text).is_ok() && LoadedHook::parse(text).is_err(),
                "{text}"
            );
        }
        assert!(StartHook::parse("cd:/").is_err() && LoadedHook::parse("exit:1").is_ok());
        for text in ["cd:/", "putenv:A=b", "exit:1", "wait_for_fs:/f"] {
            assert!(
                LiveHook::parse(text).is_err() && MasterHook::parse(text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_touch_hook_has_a_file_and_an_action() {
        let ((path, action), _) = TouchHook::parse("/tmp/f exec:echo x").unwrap();
        assert_eq!(
            (path.as_str(), action),
            ("/tmp/f", Action::Exec("echo x".into()))
        );
        assert!(TouchHook::parse("/tmp/f").is_err());
    }
}
