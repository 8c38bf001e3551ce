//! Session keyrings: keyrings(7).

/// Joins a new, empty session keyring. Without this call, a child would keep the keys of its parent's session, and
/// could read them even after a change of its user. Async-signal-safe.
pub(super) fn leave() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let new: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name is allowed and means an anonymous keyring. A kernel without keyrings refuses the call, which
    // is no failure: there is no keyring to leave.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, new) };
}
