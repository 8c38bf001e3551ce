//! The mode and the owner of Unix socket files (`chmod-socket`, `chown-socket`): reads the options and applies them.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};

use crate::config::Config;
use crate::sys::socket::FileId;
use crate::sys::user;

use super::error::{BindError, PlaceError};

/// Mode and owner of a socket file. A field of `None` keeps the kernel's default: mode 0777 less the umask, and the
/// user and group of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SocketPermissions {
    /// The permission bits.
    pub(crate) mode: Option<u32>,
    /// The user id of the owner.
    pub(crate) uid: Option<u32>,
    /// The group id.
    pub(crate) gid: Option<u32>,
}

impl SocketPermissions {
    /// Reads the options of a configuration, and looks up the user and group names.
    ///
    /// # Errors
    /// [`BindError::Owner`] for an unknown user or group.
    pub(super) fn new(config: &Config) -> Result<Self, BindError> {
        let (uid, gid) = owner(config)?;
        Ok(Self {
            mode: config.chmod_socket(),
            uid,
            gid,
        })
    }

    /// Sets mode and owner of the socket file at `path`, and checks that the file at the path is still the file `id`.
    ///
    /// # Errors
    /// [`PlaceError::Access`]; [`PlaceError::NotASocket`] if another file is at the path. If the other file is a socket
    /// too, this function notices it only after it has set the file's mode and owner.
    pub(super) fn apply_to(self, path: &Path, id: FileId) -> Result<(), PlaceError> {
        match self.apply(path)? == id {
            true => Ok(()),
            false => Err(PlaceError::NotASocket("another socket")),
        }
    }

    /// Sets owner and mode of the socket file at `path`, and returns the file. Uses a descriptor of the file, because
    /// another user who owns the directory may replace the name by a link to another file.
    pub(super) fn apply(self, path: &Path) -> Result<FileId, PlaceError> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        let stat = fstat(&file).map_err(io::Error::from)?;
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() {
            return Err(PlaceError::NotASocket("another file"));
        }
        // if the file already has the right owner, no change is made, because the kernel could refuse it
        let has_owner = self.uid.is_none_or(|uid| uid == stat.st_uid)
            && self.gid.is_none_or(|gid| gid == stat.st_gid);
        if !has_owner {
            let (uid, gid) = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
            fchownat(&file, "", uid, gid, AtFlags::AT_EMPTY_PATH)
                .map_err(|e| PlaceError::Access("the owner (chown-socket)", e.into()))?;
        }
        if let Some(mode) = self.mode
            && mode != stat.st_mode & 0o7777
        {
            let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
            std::fs::set_permissions(by_descriptor, Permissions::from_mode(mode))
                .map_err(|e| PlaceError::Access("the mode (chmod-socket)", e))?;
        }
        Ok(FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// The user and group id for Unix socket files: `chown-socket`, or otherwise `uid` and `gid`, to which the instance
/// changes.
fn owner(config: &Config) -> Result<(Option<u32>, Option<u32>), BindError> {
    if let Some(owner) = config.chown_socket() {
        let find_user = |name: &str| user::find_user_of("chown-socket", name);
        let find_group = |name: &str| user::find_group_of("chown-socket", name);
        let uid = owner.user.as_deref().map(find_user).transpose()?;
        let gid = owner.group.as_deref().map(find_group).transpose()?;
        return Ok((uid.map(|user| user.uid), gid));
    }
    let configured_gid = || {
        let gid = config.gid();
        gid.map(|name| user::find_group_of("gid", name)).transpose()
    };
    if !user::is_root() {
        // if `uid` is another user, the drop of privileges refuses it later; `gid` is used if this process is a member
        // of the group
        let gid = configured_gid()?;
        return Ok((None, gid.filter(|gid| user::is_member(*gid))));
    }
    let target_user = config.uid();
    let target_user = target_user
        .map(|name| user::find_user_of("uid", name))
        .transpose()?;
    let primary_group = target_user
        .as_ref()
        .and_then(|user| user.entry.as_ref())
        .map(|(_, gid)| *gid);
    let gid = configured_gid()?;
    Ok((target_user.map(|user| user.uid), gid.or(primary_group)))
}
