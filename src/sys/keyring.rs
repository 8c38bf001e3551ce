//! Session keyrings: keyrings(7).

/// Joins a new, empty session keyring. Without this a child keeps the keys of its parent's session, which it may read
/// also after it has changed its user. Async-signal-safe.
pub(super) fn leave() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let new: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name is allowed: an anonymous keyring. A kernel without keyrings refuses, and has none to leave.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, new) };
}
