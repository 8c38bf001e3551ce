//! Removing the files of Unix sockets.

use std::path::Path;
use std::rc::Rc;

use crate::net::unix_socket::{self, Removal};
use crate::sys::socket::FileId;

use super::bound_socket::BoundSocket;

/// Removes the files of the sockets that are in `made` and not in `held`: those of an attempt that failed.
pub(super) fn remove_made(made: &[Rc<BoundSocket>], held: &[Rc<BoundSocket>]) {
    for (path, id) in files_not_among(made, held) {
        let _ = unix_socket::remove(path, id);
    }
}

/// The files of the Unix sockets in `these` that are not in `those`.
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

/// Removes the files of the Unix sockets that are in `before` and not in `now` (`vacuum`). A path at which `now` has
/// another socket is left alone.
pub(crate) fn vacuum_dropped(before: &[Rc<BoundSocket>], now: &[Rc<BoundSocket>]) {
    for (path, id) in files_not_among(before, now) {
        // bound again, because the former file had gone
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
