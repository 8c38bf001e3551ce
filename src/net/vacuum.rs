//! Removes the files of Unix sockets: after a failed bind, and at a reload or exit (`vacuum`).

use std::path::Path;
use std::rc::Rc;

use crate::net::unix_socket::{self, Removal};
use crate::sys::socket::FileId;

use super::bound_socket::BoundSocket;

/// Removes the socket files that a failed attempt to bind has created: the files of the sockets in `made` that are not
/// in `held`.
pub(super) fn remove_made(made: &[Rc<BoundSocket>], held: &[Rc<BoundSocket>]) {
    for (path, id) in files_not_among(made, held) {
        let _ = unix_socket::remove(path, id);
    }
}

/// The files of the Unix sockets in `these`, except files that a socket in `those` also has.
fn files_not_among<'a>(
    these: &'a [Rc<BoundSocket>],
    those: &[Rc<BoundSocket>],
) -> Vec<(&'a Path, FileId)> {
    let theirs: Vec<_> = those
        .iter()
        .filter_map(|socket| socket.own_file())
        .collect();
    these
        .iter()
        .filter_map(|socket| socket.own_file())
        .filter(|file| !theirs.contains(file))
        .collect()
}

/// Removes the files of the Unix sockets that are in `before` and not in `now` (`vacuum`). If `now` has another socket
/// at the path, the path is left alone. The result is logged.
pub(crate) fn vacuum_dropped(before: &[Rc<BoundSocket>], now: &[Rc<BoundSocket>]) {
    for (path, id) in files_not_among(before, now) {
        // the former file was missing, so a new socket was bound at the path
        let is_there =
            |socket: &Rc<BoundSocket>| socket.own_file().is_some_and(|(other, _)| other == path);
        if now.iter().any(is_there) {
            continue;
        }
        let shown = path.display();
        match unix_socket::remove(path, id) {
            Ok(Removal::Removed) => tracing::info!("the socket {shown} was removed (vacuum)"),
            Ok(Removal::Gone) => {}
            Ok(Removal::Changed) => {
                tracing::warn!(
                    "the socket {shown} was not removed (vacuum): another file has replaced it"
                );
            }
            Err(e) => tracing::warn!("the socket {shown} cannot be removed (vacuum): {e}"),
        }
    }
}
