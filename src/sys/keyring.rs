//! The kernel's keys: keyrings(7).

/// Leaves the keys of the session, for an empty set of its own: a child has those of its parent, and may read them whoever it
/// becomes.
pub(super) fn leave() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let new: *const libc::c_char = std::ptr::null();
    // SAFETY: no name is passed. A kernel without keys refuses, and has none to leave.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, new) };
}
