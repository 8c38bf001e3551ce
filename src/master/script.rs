//! Runs a Python script in the environment of an instance (`pyrun`): its directory, user, environment and interpreter.
//! No socket is bound, and no file of a running instance is touched.

use std::path::Path;
use std::rc::Rc;

use anyhow::Error;

use crate::config::{self, Config};
use crate::sys::{privileges, process, user};

use super::extension_module::ExtensionModule;
use super::instance::enter;
use super::interpreter::InterpreterCache;
use super::plan::Plan;
use super::start::{configured_privileges, limit_descriptors};
use super::zygote;

/// Replaces this process by the interpreter that runs the script. Returns only if that fails.
pub(super) fn exec(config: &Config, invocation: &config::Invocation) -> Error {
    match prepare(config, invocation) {
        Ok(plan) => zygote::exec_script(&plan).into(),
        Err(error) => error,
    }
}

fn prepare(config: &Config, invocation: &config::Invocation) -> Result<Plan, Error> {
    let wanted = configured_privileges(config);
    wanted.check_rights()?;
    if let Some(mask) = config.umask() {
        process::set_umask(mask);
    }
    limit_descriptors(config.max_fd());
    let module = Rc::new(ExtensionModule::find()?);
    if let Some(root) = config.chroot() {
        user::chroot(Path::new(root))?;
    }
    enter(config, invocation)?;
    privileges::drop_privileges(&wanted)?;
    Plan::new(
        config,
        0,
        Vec::new(),
        module,
        &mut InterpreterCache::new(None),
    )
}
