//! The name of this process in `ps` and `top`.

use std::ffi::CString;

use super::proc_stat::Stat;

/// Longest short name, bytes: prctl(2), `PR_SET_NAME`.
const MAX_NAME: usize = 15;

/// Sets the name of this process: `PR_SET_NAME`, and the argument strings it was started with, which are overwritten as
/// far as they reach. Where /proc is missing only the first is done.
///
/// Only for a process that does not read its arguments again.
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
    // SAFETY: the kernel reports [start, end) as this process's argument strings: mapped and writable for its whole
    // life. No other code reads them as Rust values meanwhile; the last byte stays zero.
    unsafe {
        let area = start as *mut u8;
        std::ptr::copy_nonoverlapping(text.as_ptr(), area, written);
        std::ptr::write_bytes(area.add(written), 0, room - written);
    }
}
