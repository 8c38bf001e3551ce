//! Looks up users and groups by name and number, and reads the identity and the rights of this process.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{self, AccessFlags, Gid, Group, Uid, User, faccessat};

use super::capability::Capabilities;
use super::path_error;

/// A user that [`find_user`] has found by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId {
    /// The user id.
    pub uid: u32,
    /// The user's name and primary group; `None` if the user database has no entry for the uid.
    pub entry: Option<(String, u32)>,
}

/// The user and group ids with which a process runs or files are accessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// Why a user or group cannot be used, or privileges cannot be dropped. Displays as one sentence.
#[derive(thiserror::Error, Debug)]
pub enum DropError {
    /// The user name was not found in the user database.
    #[error("{0}: there is no such user; give the name of an existing user, or a number")]
    NoUser(String),
    /// The group name was not found in the group database.
    #[error("{0}: there is no such group; give the name of an existing group, or a number")]
    NoGroup(String),
    /// The uid has no entry in the user database, so its primary group is unknown.
    #[error("user {0} has no entry in the user database, so its group is unknown: set gid too")]
    NoPrimaryGroup(u32),
    /// A change of user, group or root directory needs root, but this process is not root.
    #[error(
        "cannot become {wanted}: this process runs as uid {uid}, not as root; start it as root, or remove the option"
    )]
    NotRoot {
        /// The requested change: a user, a group, or a chroot.
        wanted: String,
        /// The effective user of this process.
        uid: u32,
    },
    /// A requested capability is not permitted to this process.
    #[error(
        "cap = {0}: this process does not have that itself; start it as root, or, if it is a vassal, add it to its emperor's emperor-cap"
    )]
    CapabilityMissing(Capabilities),
    /// This process is root, but lacks `CAP_SETUID` or `CAP_SETGID`.
    #[error(
        "cannot become another user or group: this process is root, but without {0}; if it is a vassal, add that to its emperor's emperor-cap"
    )]
    Powerless(Capabilities),
    /// A system call failed.
    #[error("{call} failed: {reason}")]
    Kernel {
        /// The call.
        call: String,
        /// The system's error.
        reason: String,
    },
    /// The process could become root again after the change.
    #[error("root could be regained after setuid to {0}; refusing to go on")]
    Regained(u32),
}

/// Whether this process has root's user id.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Finds a user by name or number. A number need not be in the user database.
///
/// # Errors
/// [`DropError::NoUser`], [`DropError::Kernel`].
pub fn find_user(text: &str) -> Result<UserId, DropError> {
    let database = |e: Errno| kernel(format!("looking up user {text}"), e);
    let known = User::from_name(text).map_err(database)?;
    let found = match (known, text.parse::<u32>()) {
        (Some(user), _) => Some(user),
        (None, Ok(uid)) if uid != u32::MAX => {
            let Some(user) = User::from_uid(Uid::from_raw(uid)).map_err(database)? else {
                return Ok(UserId { uid, entry: None });
            };
            Some(user)
        }
        (None, _) => None,
    };
    let user = found.ok_or_else(|| DropError::NoUser(format!("user {text}")))?;
    Ok(UserId {
        uid: user.uid.as_raw(),
        entry: Some((user.name, user.gid.as_raw())),
    })
}

/// Finds the id of a group by name or number. A number need not be in the group database.
///
/// # Errors
/// [`DropError::NoGroup`], [`DropError::Kernel`].
pub fn find_group(text: &str) -> Result<u32, DropError> {
    let database = |e: Errno| kernel(format!("looking up group {text}"), e);
    match (
        Group::from_name(text).map_err(database)?,
        text.parse::<u32>(),
    ) {
        (Some(group), _) => Ok(group.gid.as_raw()),
        (None, Ok(gid)) if gid != u32::MAX => Ok(gid),
        (None, _) => Err(DropError::NoGroup(format!("group {text}"))),
    }
}

/// Finds a user as [`find_user`] does, for the value of an option. The text of [`DropError::NoUser`] names the option.
///
/// # Errors
/// Those of [`find_user`].
pub fn find_user_of(option: &str, text: &str) -> Result<UserId, DropError> {
    find_user(text).map_err(|error| match error {
        DropError::NoUser(_) => DropError::NoUser(format!("{option} = {text}")),
        error => error,
    })
}

/// Finds a group as [`find_group`] does, for the value of an option. The text of [`DropError::NoGroup`] names the
/// option.
///
/// # Errors
/// Those of [`find_group`].
pub fn find_group_of(option: &str, text: &str) -> Result<u32, DropError> {
    find_group(text).map_err(|error| match error {
        DropError::NoGroup(_) => DropError::NoGroup(format!("{option} = {text}")),
        error => error,
    })
}

/// Looks up all groups of a user, with `gid` as the primary group. Only `gid` if the user database does not know the
/// user.
///
/// # Errors
/// [`DropError::Kernel`] when the database cannot be read.
pub fn groups_of_user(uid: u32, gid: u32) -> Result<Vec<u32>, DropError> {
    let user = User::from_uid(Uid::from_raw(uid));
    let user = user.map_err(|e| kernel(format!("looking up user {uid}"), e))?;
    match user {
        Some(user) => groups_of(&user.name, gid),
        None => Ok(vec![gid]),
    }
}

/// Whether `gid` is the effective group or a supplementary group of this process.
pub fn is_member(gid: u32) -> bool {
    Gid::effective().as_raw() == gid || current_groups().contains(&gid)
}

/// Whether the effective user may execute a file, or enter a directory: faccessat(2). Symbolic links are followed.
pub fn may_execute(path: &Path) -> bool {
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_ok()
}

/// Looks up a user's name and home directory; `None` if the user database does not know the user.
pub fn name_and_home(uid: u32) -> Option<(String, std::path::PathBuf)> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    Some((user.name, user.dir))
}

/// The effective user id of this process.
pub fn current_uid() -> u32 {
    Uid::effective().as_raw()
}

/// The name of the effective user, or `uid NUMBER`, for messages.
pub fn current_name() -> String {
    name_of(Uid::effective().as_raw())
}

/// The name of a user, or `uid NUMBER`, for messages.
pub fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// Makes `path` the root directory and the working directory of this process: chroot(2).
///
/// # Errors
/// [`DropError::NotRoot`], [`DropError::Kernel`].
pub fn chroot(path: &Path) -> Result<(), DropError> {
    if !is_root() {
        let wanted = format!("confined to {} (chroot)", path.display());
        return Err(DropError::NotRoot {
            wanted,
            uid: Uid::effective().as_raw(),
        });
    }
    unistd::chroot(path).map_err(|e| DropError::Kernel {
        call: format!("chroot to {}", path.display()),
        reason: path_error::reason(path, &e.into()),
    })?;
    unistd::chdir("/")
        .map_err(|e| kernel(format!("entering / of the chroot {}", path.display()), e))
}

impl UserId {
    pub(super) fn describe(&self) -> String {
        match &self.entry {
            Some((name, _)) => format!("{name} (uid {})", self.uid),
            None => self.uid.to_string(),
        }
    }
}

pub(super) fn groups_of(name: &str, gid: u32) -> Result<Vec<u32>, DropError> {
    let c_name = CString::new(name).map_err(|_| DropError::NoUser(name.to_owned()))?;
    let groups = unistd::getgrouplist(&c_name, Gid::from_raw(gid))
        .map_err(|e| kernel(format!("looking up the groups of {name}"), e))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

pub(super) fn current_groups() -> Vec<u32> {
    unistd::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(Gid::as_raw)
        .collect()
}

pub(super) fn kernel(call: impl Into<String>, errno: Errno) -> DropError {
    let reason = io::Error::from(errno).to_string();
    DropError::Kernel {
        call: call.into(),
        reason,
    }
}

pub(super) fn kernel_text(call: &str, error: &impl fmt::Display) -> DropError {
    DropError::Kernel {
        call: call.to_owned(),
        reason: error.to_string(),
    }
}
