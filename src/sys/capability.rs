//! Capability sets of this process: capabilities(7).

use std::fmt;
use std::io;

use caps::Capability;
use nix::errno::Errno;

/// A set of capabilities, one bit for each, as in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The set that contains the capabilities of `list`.
    pub fn of(list: &[Capability]) -> Self {
        Self(list.iter().fold(0, |bits, one| bits | one.bitmask()))
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the set contains a capability.
    pub fn contains(self, one: Capability) -> bool {
        self.0 & one.bitmask() != 0
    }

    /// The capabilities in either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The capabilities in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The capabilities of this set that are not in `other`.
    pub fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The numbers of the capabilities, ascending.
    fn numbers(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = caps::all();
        for (index, number) in self.numbers().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match known.iter().find(|it| u32::from(it.index()) == number) {
                Some(known) => {
                    let name = known.to_string().to_ascii_lowercase();
                    f.write_str(name.strip_prefix("cap_").unwrap_or(&name))?;
                }
                None => number.fmt(f)?,
            }
        }
        Ok(())
    }
}

/// The capability sets of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sets {
    /// The capabilities that permission checks use.
    pub effective: Capabilities,
    /// The limit of the effective and ambient sets.
    pub permitted: Capabilities,
    /// The limit of the ambient set, in addition to `permitted`.
    pub inheritable: Capabilities,
    /// The capabilities that a program of a user other than root keeps at execve(2).
    pub ambient: Capabilities,
}

impl Sets {
    /// Sets with exactly the capabilities `these`, for a process and the programs that it executes.
    pub fn only(these: Capabilities) -> Self {
        Self {
            effective: these,
            permitted: these,
            inheritable: these,
            ambient: these,
        }
    }

    /// Reads the sets of this thread.
    ///
    /// # Errors
    /// Those of capget(2).
    pub fn own() -> io::Result<Self> {
        let mut halves = [Half::default(); 2];
        // SAFETY: the kernel reads the header and writes two halves, which `halves` has. (nix has no capget.)
        Errno::result(unsafe {
            libc::syscall(libc::SYS_capget, &raw const HEADER, halves.as_mut_ptr())
        })?;
        let [low, high] = halves;
        let whole = |of: fn(&Half) -> u32| {
            Capabilities(u64::from(of(&low)) | (u64::from(of(&high)) << u32::BITS))
        };
        Ok(Self {
            effective: whole(|half| half.effective),
            permitted: whole(|half| half.permitted),
            inheritable: whole(|half| half.inheritable),
            ambient: counted(|number| ambient(libc::PR_CAP_AMBIENT_IS_SET, number)),
        })
    }

    /// Makes these the capability sets of the calling thread. Async-signal-safe.
    ///
    /// # Errors
    /// Those of capset(2) and prctl(2): `EPERM` for a capability that is not permitted.
    pub fn apply(self) -> io::Result<()> {
        let half = |shift: u32| {
            let part = |of: Capabilities| (of.0 >> shift) as u32;
            Half {
                effective: part(self.effective),
                permitted: part(self.permitted),
                inheritable: part(self.inheritable),
            }
        };
        let halves = [half(0), half(u32::BITS)];
        // SAFETY: the kernel reads the header and two halves, which `halves` has. (nix has no capset.)
        Errno::result(unsafe {
            libc::syscall(libc::SYS_capset, &raw const HEADER, halves.as_ptr())
        })?;
        ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
        for number in self.ambient.numbers() {
            ambient(libc::PR_CAP_AMBIENT_RAISE, number)?;
        }
        Ok(())
    }
}

/// Reads the bounding set of this thread. It limits the capabilities of every program that the thread executes, even if
/// the program runs as root.
pub fn bounding() -> Capabilities {
    counted(|number| prctl(libc::PR_CAPBSET_READ, number, 0))
}

/// Prepares a child between fork and exec for the change of its user. Async-signal-safe.
///
/// If the child becomes another user, it keeps its permitted set during the change. If the child stays root, only
/// `granted` remains in its bounding set, so that exec does not restore other capabilities.
///
/// # Errors
/// Those of prctl(2): lowering the bounding set needs `CAP_SETPCAP`.
pub(super) fn prepare(granted: Capabilities, stays_root: bool) -> io::Result<()> {
    if !stays_root {
        nix::sys::prctl::set_keepcaps(true)?;
        return Ok(());
    }
    // the bounding set can contain capabilities that only a newer kernel knows
    for number in bounding().difference(granted).numbers() {
        prctl(libc::PR_CAPBSET_DROP, number, 0)?;
    }
    Ok(())
}

/// Sets the capabilities of a child between fork and exec to `granted`, after the change of its user.
/// Async-signal-safe.
///
/// At exec a program of root gets its capabilities from the bounding set, which [`prepare`] has lowered. A program of
/// another user gets them from the ambient set.
///
/// # Errors
/// Those of [`Sets::apply`].
pub(super) fn take(granted: Capabilities, is_root: bool) -> io::Result<()> {
    let none = Capabilities::default();
    let sets = match is_root {
        true => Sets {
            inheritable: none,
            ambient: none,
            ..Sets::only(granted)
        },
        false => Sets::only(granted),
    };
    sets.apply()
}

/// The first argument of capget(2) and capset(2): version 3, and 0 for the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

static HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

/// One of the two halves of the second argument of capget(2) and capset(2). The first half holds the capabilities 0 to
/// 31, the second half those from 32 on.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The set of the capabilities for whose number `ask` returns 1.
fn counted(ask: impl Fn(u32) -> io::Result<i32>) -> Capabilities {
    let has = |number: &u32| ask(*number).is_ok_and(|answer| answer == 1);
    let bits = (0..u64::BITS).filter(has);
    Capabilities(bits.fold(0, |bits, number| bits | (1 << number)))
}

fn ambient(what: libc::c_int, number: u32) -> io::Result<i32> {
    prctl(libc::PR_CAP_AMBIENT, what.unsigned_abs(), number)
}

fn prctl(what: libc::c_int, first: u32, second: u32) -> io::Result<i32> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the prctl operations that this file uses take numbers only, and zeros as further arguments. (nix has none
    // of these operations.)
    let answer = unsafe {
        libc::prctl(
            what,
            libc::c_ulong::from(first),
            libc::c_ulong::from(second),
            zero,
            zero,
        )
    };
    Ok(Errno::result(answer)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_displayed_as_in_a_configuration() {
        let both = Capabilities::of(&[Capability::CAP_KILL, Capability::CAP_NET_BIND_SERVICE]);
        assert_eq!(both.to_string(), "kill, net_bind_service");
        assert_eq!(Capabilities(1 << 63).to_string(), "63");
        let kill = Capabilities::of(&[Capability::CAP_KILL]);
        assert_eq!(both.difference(kill).to_string(), "net_bind_service");
        assert!(both.contains(Capability::CAP_KILL) && !both.contains(Capability::CAP_CHOWN));
    }

    #[test]
    fn the_sets_are_those_that_proc_shows() {
        let sets = Sets::own().unwrap();
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let shown = [
            ("CapEff", sets.effective),
            ("CapPrm", sets.permitted),
            ("CapInh", sets.inheritable),
            ("CapAmb", sets.ambient),
            ("CapBnd", bounding()),
        ];
        for (key, set) in shown {
            let line = format!("{key}:\t{:016x}\n", set.0);
            assert!(text.contains(&line), "no {line} in {text}");
        }
        // setting the present sets is permitted
        sets.apply().unwrap();
        assert_eq!(Sets::own().unwrap(), sets);
    }
}
