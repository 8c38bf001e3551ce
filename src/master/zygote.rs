//! Spawning of a zygote: the application's interpreter, which loads the extension module and waits for messages on the
//! channel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::ipc::LoadFailure;
use crate::process::interpreter;
use crate::sys::oom::OomScope;
use crate::sys::packet;
use crate::sys::process::{Exit, Pid};
use crate::sys::spawn::{self, ChildSetup};

use super::plan::Plan;

/// Maximum wait for the result of a pending fork when all processes are killed.
pub(super) const FORK_TIMEOUT: Duration = Duration::from_secs(1);

/// Exit status of the bootstrap program under Python 3.0. The status under Python 3.N is N higher, and the status under
/// Python 2 is one lower.
const TOO_OLD: i32 = 40;

/// The bootstrap program that the interpreter runs. Python 2 and every Python 3 can parse it.
///
/// Its arguments are the descriptors of the extension module's file and of the channel. The module is loaded by
/// descriptor, because an unprivileged process may not be able to reach the path of the file. The program imports the
/// private modules behind `importlib.util` and `importlib.machinery`. The public modules would also import
/// `contextlib`, `collections` and others, which would cost memory in each vassal.
const BOOTSTRAP: &str = "\
import sys
if sys.version_info < (3, 10):
    raise SystemExit(39 if sys.version_info < (3,) else 40 + sys.version_info[1])
from _frozen_importlib import ModuleSpec, module_from_spec
from _frozen_importlib_external import ExtensionFileLoader
file = '/proc/self/fd/' + sys.argv[1]
loader = ExtensionFileLoader('_ruwsgi', file)
module = module_from_spec(ModuleSpec('_ruwsgi', loader, origin=file))
loader.exec_module(module)
sys.modules['_ruwsgi'] = module
channel = int(sys.argv[2])
sys.argv[1:] = []
del file, loader, ExtensionFileLoader, ModuleSpec, module_from_spec
module.main(channel)
";

/// The call in [`BOOTSTRAP`] that runs a zygote.
const CALL: &str = "module.main(";

/// Spawns a zygote. Returns its pid and the master's end of its channel.
///
/// # Errors
/// When the channel cannot be created or the interpreter cannot be executed.
pub(super) fn spawn(plan: &Plan) -> io::Result<(Pid, OwnedFd)> {
    let (ours, theirs) = packet::pair()?;
    let mut command = command(plan, BOOTSTRAP, theirs.as_fd());
    if !plan.gives_stdin {
        command.stdin(Stdio::null());
    }
    let setup = ChildSetup {
        inherited: vec![plan.module.file(), theirs.as_fd()],
        address_space: plan.address_space,
    };
    let pid = spawn::spawn(command, &setup)?;
    Ok((pid, ours))
}

/// Replaces this process by the interpreter, which runs the script of `pyrun`. Returns only if that fails.
pub(super) fn exec_script(plan: &Plan) -> io::Error {
    let settings = match plan.app.to_memory() {
        Ok(settings) => settings,
        Err(error) => return error,
    };
    let bootstrap = BOOTSTRAP.replace(CALL, "module.script(");
    let command = command(plan, &bootstrap, settings.as_fd());
    let setup = ChildSetup {
        inherited: vec![plan.module.file(), settings.as_fd()],
        address_space: plan.address_space,
    };
    spawn::exec(command, &setup)
}

/// Returns the command of the interpreter with a bootstrap program. The program gets two descriptors: the extension
/// module and `argument`.
fn command(plan: &Plan, bootstrap: &str, argument: BorrowedFd<'_>) -> Command {
    let module = plan.module.file();
    let mut command = Command::new(&plan.interpreter);
    // `PYTHONOPTIMIZE` would also affect the programs that the application starts, so the options -O and -OO are used
    for _ in 0..plan.optimize.min(2) {
        command.arg("-O");
    }
    if !plan.has_site {
        command.arg("-S");
    }
    command
        .arg("-c")
        .arg(bootstrap)
        .arg(module.as_raw_fd().to_string())
        .arg(argument.as_raw_fd().to_string())
        .current_dir(&plan.directory)
        .env_clear()
        .envs(plan.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Returns the load failure for a zygote that could not be spawned.
pub(super) fn not_spawned(plan: &Plan, error: &io::Error) -> LoadFailure {
    let interpreter = plan.interpreter.display();
    let directory = plan.directory.display();
    LoadFailure::from(format!(
        "the interpreter {interpreter} cannot be started in {directory}: {error}"
    ))
}

/// Returns the load failure for a zygote that exited during the load without a report. `want` is the scope of the OOM
/// kill that may have caused the exit.
pub(super) fn died_while_loading(plan: &Plan, pid: Pid, exit: Exit, want: OomScope) -> LoadFailure {
    let interpreter = plan.interpreter.display().to_string();
    let sentence = match too_old(exit) {
        Some(version) => interpreter::too_old_sentence(&version, &interpreter),
        None => format!(
            "the interpreter {interpreter} (pid {pid}) {exit} while it loaded the application{}",
            match want {
                OomScope::Cgroup =>
                    ": the kernel's kill, because the memory of its cgroup was used up",
                _ => "",
            }
        ),
    };
    sentence.into()
}

/// Returns the version of an interpreter that exited because it is too old. Returns `None` for any other exit.
fn too_old(exit: Exit) -> Option<String> {
    match exit {
        Exit::Status(status) if status == TOO_OLD - 1 => Some("2".to_owned()),
        Exit::Status(status) if (TOO_OLD..TOO_OLD + 10).contains(&status) => {
            Some(format!("3.{}", status - TOO_OLD))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_of_an_old_interpreter_is_its_version() {
        assert_eq!(too_old(Exit::Status(39)).as_deref(), Some("2"));
        assert_eq!(too_old(Exit::Status(49)).as_deref(), Some("3.9"));
        assert_eq!(too_old(Exit::Status(50)), None);
        assert_eq!(too_old(Exit::Signal(9)), None);
    }
}
