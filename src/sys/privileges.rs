//! Changes irrevocably from root to another user, and limits capabilities.

use std::fmt;

use caps::Capability;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{self, Gid, Uid, User};

use super::user::{
    DropError, UserId, current_groups, find_group_of, find_user_of, groups_of, is_root, kernel,
    kernel_text,
};
use crate::sys::capability::{Capabilities, Sets};

/// The identity of this process after [`drop_privileges`]. Displays as text for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The user.
    pub uid: u32,
    /// The user's name, if the database has one.
    pub user: Option<String>,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The capabilities that were kept.
    pub caps: Capabilities,
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
            write!(f, " with the capabilities {}", self.caps)?;
        }
        Ok(())
    }
}

/// The requested identity of a process. Users and groups are given by name or number.
///
/// `uid` implies the user's primary group and supplementary groups. `gid` replaces the primary group. `add_gids` are
/// added to the supplementary groups. With `no_initgroups`, or without `uid`, the process has only the supplementary
/// groups in `add_gids`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Privileges<'a> {
    /// The user.
    pub uid: Option<&'a str>,
    /// The group.
    pub gid: Option<&'a str>,
    /// Additional supplementary groups.
    pub add_gids: &'a [String],
    /// Whether the user's supplementary groups are left out.
    pub no_initgroups: bool,
    /// Capabilities that the process keeps and passes on to the programs that it executes. All others are dropped,
    /// unless the process stays root.
    pub caps: &'a [Capability],
    /// Capabilities that stay permitted without being effective, so that this process can give them to a child. Only
    /// used when a process of root changes its user.
    pub reserve: &'a [Capability],
}

impl Privileges<'_> {
    /// Checks that this process has the capabilities that the requested change needs. Changes nothing and looks up no
    /// names.
    ///
    /// # Errors
    /// [`DropError::CapabilityMissing`], [`DropError::Powerless`], [`DropError::Kernel`].
    pub fn check_rights(&self) -> Result<(), DropError> {
        if self.is_empty() {
            return Ok(());
        }
        let own = Sets::own().map_err(|e| kernel_text("reading capabilities", &e))?;
        let missing = Capabilities::of(self.caps).difference(own.permitted);
        if !missing.is_empty() {
            return Err(DropError::CapabilityMissing(missing));
        }
        let mut needed = Vec::new();
        if is_root() && (self.uid.is_some() || self.gid.is_some() || !self.add_gids.is_empty()) {
            needed.push(Capability::CAP_SETGID);
        }
        if is_root() && self.uid.is_some_and(|uid| !["root", "0"].contains(&uid)) {
            needed.push(Capability::CAP_SETUID);
        }
        let missing = Capabilities::of(&needed).difference(own.effective);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(DropError::Powerless(missing)),
        }
    }

    /// Whether no change is requested.
    fn is_empty(&self) -> bool {
        self.uid.is_none() && self.gid.is_none() && self.add_gids.is_empty() && self.caps.is_empty()
    }
}

/// Changes irrevocably to the requested user, groups and capabilities. An empty request changes nothing. A process that
/// is not root must have the requested user and groups already; only its capabilities change.
///
/// Must be called while the process has one thread. The kernel clears the parent-death signal at the change.
///
/// # Errors
/// [`DropError`]. Every error is fatal, because a part of the change may have been made.
pub fn drop_privileges(request: &Privileges<'_>) -> Result<Dropped, DropError> {
    let target = Target::resolve(request)?;
    if request.is_empty() {
        return Ok(current(Capabilities::default(), false));
    }
    request.check_rights()?;
    if is_root() {
        target.change()?;
    } else {
        target.check_already_there()?;
    }
    Ok(current(target.caps, true))
}

/// The requested identity, with all names resolved to numbers.
struct Target {
    user: Option<UserId>,
    gid: Option<u32>,
    groups: Vec<u32>,
    caps: Capabilities,
    reserve: Capabilities,
}

impl Target {
    fn resolve(request: &Privileges<'_>) -> Result<Self, DropError> {
        let user = request
            .uid
            .map(|text| find_user_of("uid", text))
            .transpose()?;
        let gid = match (request.gid, &user) {
            (Some(text), _) => Some(find_group_of("gid", text)?),
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
            ) if !request.no_initgroups => groups_of(name, gid)?,
            _ => Vec::new(),
        };
        for text in request.add_gids {
            groups.push(find_group_of("add-gid", text)?);
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Target {
            user,
            gid,
            groups,
            caps: Capabilities::of(request.caps),
            reserve: Capabilities::of(request.reserve),
        })
    }

    /// Changes this process, which is root, to the target.
    fn change(&self) -> Result<(), DropError> {
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
        let Some(user) = self.user.as_ref().filter(|user| user.uid != 0) else {
            if !self.caps.is_empty() {
                tracing::warn!("cap takes nothing away from root: set uid too");
            }
            return self.pass_on();
        };
        let kept = self.caps.union(self.reserve);
        if !kept.is_empty() {
            prctl::set_keepcaps(true).map_err(|e| kernel("keeping capabilities", e))?;
        }
        let uid = Uid::from_raw(user.uid);
        unistd::setresuid(uid, uid, uid)
            .map_err(|e| kernel(format!("setuid to {}", user.uid), e))?;
        if !kept.is_empty() {
            self.limit_to(kept)?;
        }
        self.verify(user.uid)
    }

    /// Drops every capability that is not in `kept`, and makes only `caps` effective.
    fn limit_to(&self, kept: Capabilities) -> Result<(), DropError> {
        let sets = Sets {
            permitted: kept,
            ..Sets::only(self.caps)
        };
        let done = sets.apply();
        done.map_err(|e| kernel_text("setting capabilities", &e))
    }

    /// Adds `caps` to the ambient set, so that programs keep them at execve(2) even if they do not run as root.
    fn pass_on(&self) -> Result<(), DropError> {
        let own = Sets::own();
        let done = own.and_then(|own| {
            let inheritable = own.inheritable.union(self.caps);
            let ambient = own.ambient.union(self.caps);
            Sets {
                inheritable,
                ambient,
                ..own
            }
            .apply()
        });
        done.map_err(|e| kernel_text("passing capabilities on", &e))
    }

    /// Checks that the change of the ids took effect, and that root cannot be regained.
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
        let may_change_users = self.caps.contains(Capability::CAP_SETUID);
        if uid != 0 && !may_change_users && unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(DropError::Regained(uid));
        }
        Ok(())
    }

    /// Checks that this process already has the requested user and groups, and drops capabilities. This process is not
    /// root.
    fn check_already_there(&self) -> Result<(), DropError> {
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
        match self.caps.is_empty() {
            true => Ok(()),
            false => self.limit_to(self.caps),
        }
    }
}

fn current(caps: Capabilities, changed: bool) -> Dropped {
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

#[cfg(test)]
mod tests;
