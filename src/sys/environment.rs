//! Changes to the environment of this process.

use std::ffi::OsString;

/// Removes a variable from the environment, so that no child inherits it, and returns its value.
///
/// Must be called only while the process has one thread, because C code of another thread could be reading the
/// environment.
pub fn take(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: by the contract above no other thread exists.
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// Sets a variable of this process and its later children.
///
/// Must be called only while the process has one thread, because C code of another thread could be reading the
/// environment.
pub fn set(name: &str, value: &str) {
    // SAFETY: by the contract above no other thread exists.
    unsafe { std::env::set_var(name, value) };
}
