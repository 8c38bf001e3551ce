//! Giving up root's privileges for good.

use std::fmt;

use caps::Capability;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{self, Gid, Uid, User};

use super::{
    DropError, UserId, current_groups, find_group, find_user, groups_of, is_root, kernel,
    kernel_text,
};
use crate::sys::capability::{Capabilities, Sets};

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
    /// Capabilities kept.
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

/// What a process shall become; users and groups by name or number.
///
/// `uid` alone takes that user's primary group and its other groups with it; `gid` replaces the primary group;
/// `add_gids` are added; with `no_initgroups` (or without `uid`) they are the only supplementary groups.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The user.
    pub uid: Option<&'a str>,
    /// The group.
    pub gid: Option<&'a str>,
    /// Further groups.
    pub add_gids: &'a [String],
    /// The user's other groups are not taken.
    pub no_initgroups: bool,
    /// Capabilities that are kept and pass to programs executed later; no others are, unless it is root.
    pub caps: &'a [Capability],
    /// Capabilities that one who was root can still hand on, but not use.
    pub reserve: &'a [Capability],
}

impl Wish<'_> {
    /// Whether this process has the capabilities that it takes; nothing is changed, and no name looked up.
    pub fn check_rights(&self) -> Result<(), DropError> {
        if self.is_nothing() {
            return Ok(());
        }
        let own = Sets::own().map_err(|e| kernel_text("reading capabilities", &e))?;
        let missing = Capabilities::of(self.caps).without(own.permitted);
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
        let missing = Capabilities::of(&needed).without(own.effective);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(DropError::Powerless(missing)),
        }
    }

    /// Whether this process is to stay what it is.
    fn is_nothing(&self) -> bool {
        self.uid.is_none() && self.gid.is_none() && self.add_gids.is_empty() && self.caps.is_empty()
    }
}

/// Becomes another user for good. Nothing is wished: nothing is changed. Not root, but already that user: nothing but
/// the capabilities is changed.
///
/// Only for a process that has no second thread yet. The kernel forgets a parent-death signal here.
pub fn drop_privileges(wish: &Wish<'_>) -> Result<Dropped, DropError> {
    let wanted = Wanted::resolve(wish)?;
    if wish.is_nothing() {
        return Ok(current(Capabilities::default(), false));
    }
    wish.check_rights()?;
    if is_root() {
        wanted.become_it()?;
    } else {
        wanted.be_it_already()?;
    }
    Ok(current(wanted.caps, true))
}

/// What was asked, in numbers.
struct Wanted {
    user: Option<UserId>,
    gid: Option<u32>,
    groups: Vec<u32>,
    caps: Capabilities,
    reserve: Capabilities,
}

impl Wanted {
    fn resolve(wish: &Wish<'_>) -> Result<Self, DropError> {
        let user = wish.uid.map(find_user).transpose()?;
        let gid = match (wish.gid, &user) {
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
            ) if !wish.no_initgroups => groups_of(name, gid)?,
            _ => Vec::new(),
        };
        for text in wish.add_gids {
            groups.push(find_group(text)?);
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Wanted {
            user,
            gid,
            groups,
            caps: Capabilities::of(wish.caps),
            reserve: Capabilities::of(wish.reserve),
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
        let Some(user) = self.user.as_ref().filter(|user| user.uid != 0) else {
            if !self.caps.is_empty() {
                tracing::warn!("cap takes nothing away from root: set uid too");
            }
            return self.hand_on();
        };
        let kept = self.caps.and(self.reserve);
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

    /// Throws away every capability but `kept`, and all effect but that of `caps`.
    fn limit_to(&self, kept: Capabilities) -> Result<(), DropError> {
        let sets = Sets {
            permitted: kept,
            ..Sets::only(self.caps)
        };
        let done = sets.apply();
        done.map_err(|e| kernel_text("setting capabilities", &e))
    }

    /// Makes the capabilities pass through `execve` also to programs that somebody else than root executes.
    fn hand_on(&self) -> Result<(), DropError> {
        let own = Sets::own();
        let done = own.and_then(|own| {
            let inheritable = own.inheritable.and(self.caps);
            let ambient = own.ambient.and(self.caps);
            Sets {
                inheritable,
                ambient,
                ..own
            }
            .apply()
        });
        done.map_err(|e| kernel_text("passing capabilities on", &e))
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
        let may_change_users = self.caps.contains(Capability::CAP_SETUID);
        if uid != 0 && !may_change_users && unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(DropError::Regained(uid));
        }
        Ok(())
    }

    /// Without root: only what we are already can be asked for, and to have fewer capabilities.
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
