//! Capabilities: the parts of root's power, which a process keeps and hands on one by one.

use std::fmt;
use std::io;

use caps::Capability;
use nix::errno::Errno;

/// A set of capabilities as the kernel writes it: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// These, and no others.
    pub fn of(list: &[Capability]) -> Self {
        Self(list.iter().fold(0, |bits, one| bits | one.bitmask()))
    }

    /// Whether there is none in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among these.
    pub fn contains(self, one: Capability) -> bool {
        self.0 & one.bitmask() != 0
    }

    /// What is in either.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is not in the other.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Their numbers.
    fn numbers(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = caps::all();
        for (place, number) in self.numbers().enumerate() {
            if place > 0 {
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

/// The capabilities of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sets {
    /// What counts now.
    pub effective: Capabilities,
    /// What it can make count, or hand on.
    pub permitted: Capabilities,
    /// What it can hand on to a program by `ambient`.
    pub inheritable: Capabilities,
    /// What a program that it executes has, if it does not run as root.
    pub ambient: Capabilities,
}

impl Sets {
    /// Nothing but these, for a process and for the programs that it executes.
    pub fn only(these: Capabilities) -> Self {
        Self {
            effective: these,
            permitted: these,
            inheritable: these,
            ambient: these,
        }
    }

    /// This thread's.
    ///
    /// # Errors
    /// Those of capget(2).
    pub fn own() -> io::Result<Self> {
        let mut halves = [Half::default(); 2];
        // SAFETY: the kernel reads one header and writes two halves, which are both here.
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

    /// Makes them this thread's. System calls only: it may stand between fork and exec.
    ///
    /// # Errors
    /// Those of capset(2) and prctl(2): nobody takes what he is not permitted.
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
        // SAFETY: the kernel reads one header and two halves, which are both here.
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

/// What no program that this thread executes can ever have more of, not even root's.
pub fn bounding() -> Capabilities {
    counted(|number| prctl(libc::PR_CAPBSET_READ, number, 0))
}

/// Between fork and exec, before the user changes: see to it that `granted` outlasts the change, or, where the process
/// is and stays root, that exec does not give it the rest back. System calls only.
///
/// # Errors
/// Those of prctl(2): the bounding set is lowered by who has `CAP_SETPCAP`.
pub(super) fn prepare(granted: Capabilities, stays_root: bool) -> io::Result<()> {
    if !stays_root {
        nix::sys::prctl::set_keepcaps(true)?;
        return Ok(());
    }
    // also those that have come with a newer kernel
    for number in bounding().without(granted).numbers() {
        prctl(libc::PR_CAPBSET_DROP, number, 0)?;
    }
    Ok(())
}

/// Between fork and exec, after the user has changed: have just `granted`. Root's programs get it from the bounding set
/// that [`prepare`] has lowered, others are handed it on. System calls only.
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

/// The first argument of capget(2) and capset(2): their third version, and the thread that calls.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

static HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

/// Their second argument is two of these, for capabilities below 32 and from there on.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Those of which the kernel says yes.
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
    // SAFETY: the calls of this file take numbers only; the kernel wants zeros behind them.
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
    fn they_are_named_as_in_a_configuration() {
        let both = Capabilities::of(&[Capability::CAP_KILL, Capability::CAP_NET_BIND_SERVICE]);
        assert_eq!(both.to_string(), "kill, net_bind_service");
        assert_eq!(Capabilities(1 << 63).to_string(), "63");
        let kill = Capabilities::of(&[Capability::CAP_KILL]);
        assert_eq!(both.without(kill).to_string(), "net_bind_service");
        assert!(both.contains(Capability::CAP_KILL) && !both.contains(Capability::CAP_CHOWN));
    }

    #[test]
    fn what_is_read_is_what_proc_shows() {
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
        // what one has may be had
        sets.apply().unwrap();
        assert_eq!(Sets::own().unwrap(), sets);
    }
}
