//! The name of this process in `ps` and `top`.

use std::ffi::CString;

use super::proc_stat::Stat;

/// Maximum length of a process's short name, bytes: prctl(2), `PR_SET_NAME`.
const MAX_NAME: usize = 15;

/// Sets the short name of this process (`PR_SET_NAME`), and overwrites its argument strings with the title. The title
/// is truncated to the length of the argument strings. Without /proc only the short name is set.
///
/// Must be called only when no code reads the argument strings any more.
pub fn set_title(title: &str) {
    let name: Vec<u8> = title
        .bytes()
        .filter(|byte| *byte != 0)
        .take(MAX_NAME)
        .collect();
    if let Ok(name) = CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    let Some((start, end)) = Stat::own().and_then(|stat| stat.argument_area()) else {
        return;
    };
    let text = title.as_bytes();
    let room = end - start;
    let written = text.len().min(room - 1);
    // SAFETY: the kernel reports [start, end) as this process's argument strings, which stay mapped and writable for
    // its whole life. By the contract above no other code reads them; the last byte stays zero.
    unsafe {
        let area = start as *mut u8;
        std::ptr::copy_nonoverlapping(text.as_ptr(), area, written);
        std::ptr::write_bytes(area.add(written), 0, room - written);
    }
}
