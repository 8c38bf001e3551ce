//! The specifications of a configuration's daemons. They are checked before a daemon is started.

use anyhow::{Context, Result, bail};

use crate::config::{Companion, Config};
use crate::sys::user::{self, Identity};

/// The settings of a daemon, and the user that the daemon runs as.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::master) struct DaemonSpec {
    pub(super) settings: Companion,
    /// The user and groups; `None` for those of the master.
    pub(super) identity: Option<Identity>,
}

/// Returns the specifications of the daemons of a configuration (`attach-daemon` and related options).
///
/// # Errors
/// If a user or group does not exist, or the master may not run a process as the configured user.
pub(in crate::master) fn daemon_specs(config: &Config) -> Result<Vec<DaemonSpec>> {
    let specs = config.companions().into_iter().map(|settings| {
        let identity = identity(&settings)
            .with_context(|| format!("service {} cannot be started", settings.name))?;
        Ok(DaemonSpec { settings, identity })
    });
    specs.collect()
}

/// Returns the user and groups that a daemon runs as. Returns `None` for those of the master.
fn identity(settings: &Companion) -> Result<Option<Identity>> {
    let named = settings.uid.as_deref().map(user::find_user).transpose()?;
    let group = settings.gid.as_deref().map(user::find_group).transpose()?;
    if named.is_none() && group.is_none() {
        return Ok(None);
    }
    let uid = named.as_ref().map_or_else(user::current_uid, |it| it.uid);
    let primary = named.and_then(|it| it.entry).map(|(_, gid)| gid);
    let Some(gid) = group.or(primary) else {
        bail!("user {uid} has no entry in the user database: set gid too");
    };
    if !user::is_root() {
        if uid == user::current_uid() && user::is_member(gid) {
            return Ok(None);
        }
        bail!(
            "uid and gid of a service require a master that runs as root; this one runs as {}",
            user::current_name()
        );
    }
    let groups = user::groups_of_user(uid, gid)?;
    Ok(Some(Identity { uid, gid, groups }))
}
