//! What is done at certain moments: the values of `exec-*` and `hook-*`.

use crate::config::finding::{Fault, shortened};
use crate::config::values::companion::signal;
use crate::config::values::parse::full;
use crate::config::values::setting::{Read, Value};

/// One action of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run a command by `/bin/sh -c`; that it fails is a failure.
    Exec(String),
    /// The same, but it may fail.
    SafeExec(String),
    /// Write a line to the log.
    Print(String),
    /// Enter a directory.
    ChangeDirectory(String),
    /// Set an environment variable.
    PutEnv(String, String),
    /// End the instance with this status.
    Exit(i32),
    /// Give a signal to the master a meaning.
    UnixSignal(i32, Meaning),
    /// Make a directory.
    MakeDirectory(String),
    /// Set the permissions of a file.
    ChangeMode(String, u32),
    /// Add the sticky bit to the permissions of a file.
    Sticky(String),
    /// Set the owner of a file: user and group, by name or number.
    ChangeOwner(String, String, String),
    /// Remove a file.
    Unlink(String),
    /// Make a file, or empty it.
    Create(String),
    /// Write a text to a file, in the place of what is in it.
    Write(String, String),
    /// Write a text to the end of a file.
    Append(String, String),
    /// Write a text to a FIFO; without effect where nobody reads it.
    WriteFifo(String, String),
    /// Wait until a path exists.
    WaitFor(Awaited, String),
}

/// What a signal can be made to mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// `gracefully_kill_them_all`, `kill_them_all`: stop, the requests in flight first.
    Stop,
    /// `grace_them_all`: reload.
    Reload,
    /// `reap_them_all`: reload, and kill the old workers.
    BrutalReload,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Anything of this name.
    Anything,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Somebody who accepts connections.
    Socket,
}

impl Action {
    /// `action:arguments`
    fn read(text: &str) -> Result<Action, Fault> {
        let Some((name, rest)) = text.split_once(':') else {
            return Err(Fault::new("there is no action in it")
                .hint("write action:arguments, such as exec:command"));
        };
        let one = || match rest.trim() {
            "" => Err(Fault::new(format!("{name} has nothing to act on"))),
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
                Action::ChangeMode(path, mode_of(&mode)?)
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
            "wait_for_fs" => Action::WaitFor(Awaited::Anything, one()?),
            "wait_for_file" => Action::WaitFor(Awaited::File, one()?),
            "wait_for_dir" => Action::WaitFor(Awaited::Directory, one()?),
            "wait_for_socket" => Action::WaitFor(Awaited::Socket, one()?),
            other => return Err(absent(other)),
        })
    }

    /// Whether the action changes the process that performs it, or holds it up.
    fn is_for_the_start(&self) -> bool {
        matches!(
            self,
            Action::ChangeDirectory(_) | Action::PutEnv(..) | Action::Exit(_) | Action::WaitFor(..)
        )
    }
}

/// Why there is no such action.
fn absent(name: &str) -> Fault {
    let fault = Fault::new(format!("there is no action {}", shortened(name)));
    match name {
        "mount" | "umount" => fault.hint("mount before the instance starts, by systemd or fstab"),
        "hostname" => fault.hint("set the host's name before the instance starts"),
        "call" | "callret" | "callint" | "callintret" | "ffi" => {
            fault.hint("functions of the binary cannot be called; use exec:command")
        }
        "rpc" | "retryrpc" | "alarm" => fault.hint("use exec:command"),
        "spinningfifo" => fault.hint("use writefifo, or exec:command"),
        _ => fault.hint(
            "the actions are exec, safeexec, print, cd, putenv, exit, unix_signal, mkdir, chmod, sticky, chown, unlink, \
             create, write, writen, append, appendn, writefifo, wait_for_fs, wait_for_file, wait_for_dir, wait_for_socket",
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

fn mode_of(text: &str) -> Result<u32, Fault> {
    u32::from_str_radix(text.trim(), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| Fault::new("chmod needs permissions in octal, such as 664"))
}

fn unix_signal(text: &str) -> Result<Action, Fault> {
    const LISTENED: &[i32] = &[1, 2, 3, 10, 12, 14, 15];
    let Some((number, function)) = text.trim().split_once(' ') else {
        return Err(Fault::new(
            "unix_signal needs a signal, a space and what it means",
        ));
    };
    let number = signal(number)?;
    if !LISTENED.contains(&number) {
        return Err(Fault::new("the master does not listen to this signal")
            .hint("use HUP, INT, QUIT, USR1, USR2, ALRM or TERM"));
    }
    let meaning = match function.trim() {
        "gracefully_kill_them_all" | "kill_them_all" => Meaning::Stop,
        "grace_them_all" => Meaning::Reload,
        "reap_them_all" => Meaning::BrutalReload,
        other => {
            return Err(
                Fault::new(format!("a signal cannot mean {}", shortened(other))).hint(
                    "it can mean gracefully_kill_them_all, kill_them_all, grace_them_all or reap_them_all",
                ),
            );
        }
    };
    Ok(Action::UnixSignal(number, meaning))
}

/// Declares a type of option whose values are actions.
macro_rules! action {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Is = Action;
            type Got<'a> = &'a Action;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Read<Action> {
                ($parse)(text)
            }

            fn got(is: &Action) -> &Action {
                is
            }
        }
    };
}

action!(
    /// A command.
    Exec, "COMMAND", |text| full(text).map(|(command, remark)| (Action::Exec(command), remark))
);
action!(
    /// An action of the start, where the instance can still be changed and held up.
    StartHook, "ACTION:ARGUMENTS", |text| match without_signal(Action::read(text)?)? {
        Action::ChangeDirectory(_) => {
            Err(Fault::new("chdir is followed later, and by every reload").hint("use chdir, or hook-pre-app"))
        }
        action => Ok((action, None)),
    }
);
action!(
    /// An action before the application is loaded.
    AppHook, "ACTION:ARGUMENTS", |text| Ok((without_signal(Action::read(text)?)?, None))
);
action!(
    /// An action when the application is loaded, which may still hold it up.
    LoadedHook, "ACTION:ARGUMENTS", |text| match without_signal(Action::read(text)?)? {
        Action::ChangeDirectory(_) | Action::PutEnv(..) => Err(too_late()),
        action => Ok((action, None)),
    }
);
action!(
    /// An action of the running master.
    MasterHook, "ACTION:ARGUMENTS", |text| Ok((while_running(Action::read(text)?)?, None))
);
action!(
    /// An action beside the workers.
    LiveHook, "ACTION:ARGUMENTS", |text| Ok((beside_workers(text)?, None))
);

fn while_running(action: Action) -> Result<Action, Fault> {
    if action.is_for_the_start() {
        return Err(too_late());
    }
    Ok(action)
}

fn too_late() -> Fault {
    Fault::new("the action comes too late to have an effect on the workers")
        .hint("use hook-pre-app")
}

fn without_signal(action: Action) -> Result<Action, Fault> {
    match action {
        Action::UnixSignal(..) => Err(Fault::new(
            "only the master that has started can give a signal a meaning",
        )
        .hint("use hook-master-start")),
        action => Ok(action),
    }
}

fn beside_workers(text: &str) -> Result<Action, Fault> {
    without_signal(while_running(Action::read(text)?)?)
}

/// A file, and what stands behind it: a `kind`, to be written in this `form`.
fn after_file<'a>(text: &'a str, kind: &str, form: &str) -> Result<(String, &'a str), Fault> {
    match text.split_once(char::is_whitespace) {
        Some((path, rest)) => Ok((path.to_owned(), rest.trim())),
        None => Err(Fault::new(format!("there is no {kind} in it"))
            .hint(format!("write the file, a space and {form}"))),
    }
}

/// A file, and what is done when it is touched.
pub(crate) struct TouchHook;

impl Value for TouchHook {
    type Is = (String, Action);
    type Got<'a> = &'a (String, Action);
    const ARG: &'static str = "FILE ACTION:ARGUMENTS";

    fn parse(text: &str) -> Read<(String, Action)> {
        let (path, action) = after_file(text, "action", "action:arguments")?;
        Ok(((path, beside_workers(action)?), None))
    }

    fn got(is: &(String, Action)) -> &(String, Action) {
        is
    }
}

/// A file, and the command that is run when it is touched.
pub(crate) struct TouchCommand;

impl Value for TouchCommand {
    type Is = (String, Action);
    type Got<'a> = &'a (String, Action);
    const ARG: &'static str = "FILE COMMAND";

    fn parse(text: &str) -> Read<(String, Action)> {
        let (path, command) = after_file(text, "command", "the command")?;
        Ok(((path, Action::Exec(command.to_owned())), None))
    }

    fn got(is: &(String, Action)) -> &(String, Action) {
        is
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
    fn a_signal_is_given_a_meaning_in_the_master_alone() {
        let text = "unix_signal:15 gracefully_kill_them_all";
        let action = Action::UnixSignal(15, Meaning::Stop);
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
            ("mount:proc none /proc", "no action mount"),
            ("call:uwsgi_log x", "no action call"),
            ("hostname:x", "no action hostname"),
            ("exce:x", "no action exce"),
            ("echo hello", "no action in it"),
            ("chmod:/f rwx", "octal"),
            ("exec:", "nothing to act on"),
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
