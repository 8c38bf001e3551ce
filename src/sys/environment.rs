//! Variables that are for this process alone.

use std::ffi::OsString;

/// Takes a variable out of the environment, so that no child inherits it.
///
/// Only for a process that has no second thread yet: C code of another thread might be reading the
/// environment.
pub fn take(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: by the rule above no other thread exists.
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// Sets a variable of this process and of the children it will have.
///
/// Only for a process that has no second thread: C code of another thread might be reading the environment.
pub fn set(name: &str, value: &str) {
    // SAFETY: by the rule above no other thread exists.
    unsafe { std::env::set_var(name, value) };
}
