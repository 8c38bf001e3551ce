//! Users and groups, and giving up root's privileges for good.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{self, Gid, Group, Uid, User};

/// A user, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId {
    /// The number.
    pub uid: u32,
    /// The name and primary group, if the user database knows the number.
    pub entry: Option<(String, u32)>,
}

/// Why privileges could not be dropped. Fatal, each of them.
#[derive(thiserror::Error, Debug)]
pub enum DropError {
    /// No such user.
    #[error("user {0} not found: give the name of an existing user, or a number")]
    NoUser(String),
    /// No such group.
    #[error("group {0} not found: give the name of an existing group, or a number")]
    NoGroup(String),
    /// A number that the user database does not know has no primary group.
    #[error("user {0} has no entry in the user database, so its group is unknown: set gid too")]
    NoPrimaryGroup(u32),
    /// Not root, and another user or group is wanted.
    #[error(
        "cannot become {wanted}: this process runs as uid {uid}, not as root; start it as root, or remove the option"
    )]
    NotRoot {
        /// The user or group.
        wanted: String,
        /// Our effective user.
        uid: u32,
    },
    /// No such capability.
    #[error("capability {0} is not known (they are named like net_bind_service)")]
    NoCapability(String),
    /// A capability that this process does not have itself.
    #[error("capability {0} cannot be kept: this process does not have it")]
    CapabilityMissing(String),
    /// The kernel refused.
    #[error("{call} failed: {reason}")]
    Kernel {
        /// What was asked of it.
        call: String,
        /// What it said.
        reason: String,
    },
    /// Everything was set, and yet root could be had back.
    #[error("root could be regained after setuid to {0}; refusing to go on")]
    Regained(u32),
}

/// What this process is after [`drop_privileges`]. Displayed for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Our user now.
    pub uid: u32,
    /// Its name, if it has one.
    pub user: Option<String>,
    /// Our group now.
    pub gid: u32,
    /// Our supplementary groups now.
    pub groups: Vec<u32>,
    /// Capabilities kept, named as in the configuration.
    pub caps: Vec<String>,
    /// Whether anything was changed.
    pub changed: bool,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.user {
            Some(name) => write!(f, "runs as {name} (uid {}, gid {}", self.uid, self.gid)?,
            None => write!(f, "runs as uid {} (gid {}", self.uid, self.gid)?,
        }
        let groups: Vec<_> = self.groups.iter().map(u32::to_string).collect();
        match groups.is_empty() {
            true => write!(f, ", no other groups)")?,
            false => write!(f, ", groups {})", groups.join(", "))?,
        }
        if !self.caps.is_empty() {
            write!(f, " with the capabilities {}", self.caps.join(", "))?;
        }
        Ok(())
    }
}

/// Whether this process has root's user id.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Finds a user by name or number. A number need not be in the user database.
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
    let user = found.ok_or_else(|| DropError::NoUser(text.to_owned()))?;
    Ok(UserId {
        uid: user.uid.as_raw(),
        entry: Some((user.name, user.gid.as_raw())),
    })
}

/// Finds a group's number by name or number.
pub fn find_group(text: &str) -> Result<u32, DropError> {
    let database = |e: Errno| kernel(format!("looking up group {text}"), e);
    match (
        Group::from_name(text).map_err(database)?,
        text.parse::<u32>(),
    ) {
        (Some(group), _) => Ok(group.gid.as_raw()),
        (None, Ok(gid)) if gid != u32::MAX => Ok(gid),
        (None, _) => Err(DropError::NoGroup(text.to_owned())),
    }
}

/// All groups of a user whose group is `gid`; that alone for a user that the database does not know.
pub fn groups_of_user(uid: u32, gid: u32) -> Result<Vec<u32>, DropError> {
    let user = User::from_uid(Uid::from_raw(uid));
    let user = user.map_err(|e| kernel(format!("looking up user {uid}"), e))?;
    match user {
        Some(user) => groups_of(&user.name, gid),
        None => Ok(vec![gid]),
    }
}

/// Whether this process is a member of the group.
pub fn is_member(gid: u32) -> bool {
    Gid::effective().as_raw() == gid || current_groups().contains(&gid)
}

/// A user's name and home, if the database knows it.
pub fn name_and_home(uid: u32) -> Option<(String, std::path::PathBuf)> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    Some((user.name, user.dir))
}

/// The user that this process is.
pub fn current_uid() -> u32 {
    Uid::effective().as_raw()
}

/// The user that this process is, for messages.
pub fn current_name() -> String {
    name_of(Uid::effective().as_raw())
}

/// A user's name for messages, or its number.
pub fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// Makes `path` the root directory of this process, and enters it.
pub fn chroot(path: &Path) -> Result<(), DropError> {
    if !is_root() {
        let wanted = format!("confined to {} (chroot)", path.display());
        return Err(DropError::NotRoot {
            wanted,
            uid: Uid::effective().as_raw(),
        });
    }
    unistd::chroot(path).map_err(|e| kernel(format!("chroot to {}", path.display()), e))?;
    unistd::chdir("/")
        .map_err(|e| kernel(format!("entering / of the chroot {}", path.display()), e))
}

/// Becomes another user for good; names or numbers.
///
/// `uid` alone takes that user's primary group and its other groups with it; `gid` replaces the primary group;
/// `add_gids` are added; with `no_initgroups` (or without `uid`) they are the only supplementary groups. `caps`
/// are kept and pass to programs executed later. Nothing is asked: nothing is changed. Not root, but already
/// that user: nothing is changed either.
///
/// Only for a process that has no second thread yet. The kernel forgets a parent-death signal here.
pub fn drop_privileges(
    uid: Option<&str>,
    gid: Option<&str>,
    add_gids: &[String],
    no_initgroups: bool,
    caps: &[String],
) -> Result<Dropped, DropError> {
    let wanted = Wanted::resolve(uid, gid, add_gids, no_initgroups, caps)?;
    let nothing = uid.is_none() && gid.is_none() && add_gids.is_empty() && caps.is_empty();
    if nothing {
        return Ok(current(Vec::new(), false));
    }
    if is_root() {
        wanted.become_it()?;
    } else {
        wanted.be_it_already()?;
    }
    set_ambient(&wanted.caps)?;
    let names = wanted.caps.iter().map(|c| short_name(*c)).collect();
    Ok(current(names, true))
}

/// What was asked, in numbers.
struct Wanted {
    user: Option<UserId>,
    gid: Option<u32>,
    groups: Vec<u32>,
    caps: Vec<Capability>,
}

impl Wanted {
    fn resolve(
        uid: Option<&str>,
        gid: Option<&str>,
        add_gids: &[String],
        no_initgroups: bool,
        caps: &[String],
    ) -> Result<Self, DropError> {
        let user = uid.map(find_user).transpose()?;
        let gid = match (gid, &user) {
            (Some(text), _) => Some(find_group(text)?),
            (
                None,
                Some(UserId {
                    entry: Some((_, primary)),
                    ..
                }),
            ) => Some(*primary),
            (None, Some(user)) if is_root() => return Err(DropError::NoPrimaryGroup(user.uid)),
            (None, _) => None,
        };
        let mut groups = match (&user, gid) {
            (
                Some(UserId {
                    entry: Some((name, _)),
                    ..
                }),
                Some(gid),
            ) if !no_initgroups => groups_of(name, gid)?,
            _ => Vec::new(),
        };
        for text in add_gids {
            groups.push(find_group(text)?);
        }
        groups.sort_unstable();
        groups.dedup();
        let caps = caps
            .iter()
            .map(|name| find_capability(name))
            .collect::<Result<_, _>>()?;
        Ok(Wanted {
            user,
            gid,
            groups,
            caps,
        })
    }

    fn become_it(&self) -> Result<(), DropError> {
        if self.user.is_some() || self.gid.is_some() || !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
            unistd::setgroups(&groups)
                .map_err(|e| kernel(format!("setgroups to {:?}", self.groups), e))?;
        }
        if let Some(number) = self.gid {
            let gid = Gid::from_raw(number);
            unistd::setresgid(gid, gid, gid)
                .map_err(|e| kernel(format!("setgid to {number}"), e))?;
        }
        let Some(user) = &self.user else {
            if !self.caps.is_empty() {
                tracing::warn!("cap takes nothing away from root: set uid too");
            }
            return Ok(());
        };
        if !self.caps.is_empty() {
            prctl::set_keepcaps(true).map_err(|e| kernel("keeping capabilities", e))?;
        }
        let uid = Uid::from_raw(user.uid);
        unistd::setresuid(uid, uid, uid)
            .map_err(|e| kernel(format!("setuid to {}", user.uid), e))?;
        if !self.caps.is_empty() {
            limit_to(&self.caps)?;
        }
        self.verify(user.uid)
    }

    /// Trusts the kernel's answers only after asking again.
    fn verify(&self, uid: u32) -> Result<(), DropError> {
        let is = unistd::getresuid().map_err(|e| kernel("getresuid", e))?;
        let same = [is.real, is.effective, is.saved]
            .iter()
            .all(|id| id.as_raw() == uid);
        if !same {
            return Err(DropError::Regained(uid));
        }
        if let Some(gid) = self.gid {
            let is = unistd::getresgid().map_err(|e| kernel("getresgid", e))?;
            if [is.real, is.effective, is.saved]
                .iter()
                .any(|id| id.as_raw() != gid)
            {
                return Err(kernel(format!("setgid to {gid}"), Errno::EPERM));
            }
        }
        let may_change_users = self.caps.contains(&Capability::CAP_SETUID);
        if uid != 0 && !may_change_users && unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(DropError::Regained(uid));
        }
        Ok(())
    }

    /// Without root: only what we are already can be asked for.
    fn be_it_already(&self) -> Result<(), DropError> {
        let me = Uid::effective().as_raw();
        let refuse = |wanted: String| Err(DropError::NotRoot { wanted, uid: me });
        match &self.user {
            Some(user) if user.uid != me => return refuse(format!("user {}", user.describe())),
            _ => {}
        }
        let mut mine: Vec<_> = current_groups();
        mine.push(Gid::effective().as_raw());
        let groups = self.groups.iter().copied().chain(self.gid);
        for gid in groups {
            if !mine.contains(&gid) {
                return refuse(format!("a member of group {gid}"));
            }
        }
        Ok(())
    }
}

impl UserId {
    fn describe(&self) -> String {
        match &self.entry {
            Some((name, _)) => format!("{name} (uid {})", self.uid),
            None => self.uid.to_string(),
        }
    }
}

fn groups_of(name: &str, gid: u32) -> Result<Vec<u32>, DropError> {
    let c_name = CString::new(name).map_err(|_| DropError::NoUser(name.to_owned()))?;
    let groups = unistd::getgrouplist(&c_name, Gid::from_raw(gid))
        .map_err(|e| kernel(format!("looking up the groups of {name}"), e))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

fn current_groups() -> Vec<u32> {
    unistd::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(Gid::as_raw)
        .collect()
}

fn current(caps: Vec<String>, changed: bool) -> Dropped {
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let gid = Gid::effective().as_raw();
    Dropped {
        uid: uid.as_raw(),
        user,
        gid,
        groups: current_groups(),
        caps,
        changed,
    }
}

fn find_capability(name: &str) -> Result<Capability, DropError> {
    let bare = name.trim().to_ascii_uppercase();
    let full = if bare.starts_with("CAP_") {
        bare
    } else {
        format!("CAP_{bare}")
    };
    Capability::from_str(&full).map_err(|_| DropError::NoCapability(name.to_owned()))
}

fn short_name(capability: Capability) -> String {
    let name = capability.to_string().to_ascii_lowercase();
    name.strip_prefix("cap_").unwrap_or(&name).to_owned()
}

/// Throws away every capability but these.
fn limit_to(keep: &[Capability]) -> Result<(), DropError> {
    let keep: CapsHashSet = keep.iter().copied().collect();
    // in this order: the effective set must lie within the permitted one all the time
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::set(None, set, &keep).map_err(|e| kernel_text("setting capabilities", &e))?;
    }
    Ok(())
}

/// Makes the capabilities pass through `execve` to programs that know nothing of them.
fn set_ambient(keep: &[Capability]) -> Result<(), DropError> {
    for capability in keep {
        let has = caps::has_cap(None, CapSet::Permitted, *capability);
        if !has.map_err(|e| kernel_text("reading capabilities", &e))? {
            return Err(DropError::CapabilityMissing(short_name(*capability)));
        }
        for set in [CapSet::Inheritable, CapSet::Ambient] {
            caps::raise(None, set, *capability)
                .map_err(|e| kernel_text("passing capabilities on", &e))?;
        }
    }
    Ok(())
}

fn kernel(call: impl Into<String>, errno: Errno) -> DropError {
    let reason = io::Error::from(errno).to_string();
    DropError::Kernel {
        call: call.into(),
        reason,
    }
}

fn kernel_text(call: &str, error: &impl fmt::Display) -> DropError {
    DropError::Kernel {
        call: call.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
