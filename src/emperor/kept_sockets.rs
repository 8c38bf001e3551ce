//! The listening sockets that the emperor keeps for vassals on demand.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::ipc::HandedOverSocket;
use crate::net::unix_socket;
use crate::sys::inherited_socket::InheritedSocket;
use crate::sys::socket::FileId;
use crate::sys::user::Identity;
use crate::sys::{deferred_close, fs_identity, packet, socket};

/// The sockets that the emperor keeps for one vassal.
#[derive(Debug, Default)]
pub(super) struct KeptSockets {
    sockets: Vec<(OwnedFd, HandedOverSocket)>,
    /// The user that has bound the sockets; `None` means the emperor's user.
    identity: Option<Identity>,
}

impl KeptSockets {
    /// Takes the sockets that a vassal's process hands over, if each of them is a listening socket.
    ///
    /// # Errors
    /// Returns `fds` if a descriptor is not a listening socket, or if their number is wrong.
    pub(super) fn new(
        kept: Vec<HandedOverSocket>,
        fds: Vec<OwnedFd>,
        identity: Option<Identity>,
    ) -> Result<Self, Vec<OwnedFd>> {
        let counts_match = fds.len() == kept.len() && fds.len() <= packet::MAX_FDS;
        // a descriptor that does not listen may be readable all the time, and would start the vassal again and again
        if !counts_match || !fds.iter().all(|fd| socket::listens(fd.as_fd())) {
            return Err(fds);
        }
        Ok(Self {
            sockets: fds.into_iter().zip(kept).collect(),
            identity,
        })
    }

    /// Whether the emperor keeps no socket.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The descriptors of the sockets, to wait for connections or to pass to a process.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|(fd, _)| fd.as_fd())
    }

    /// The sockets in the form in which the vassal's environment lists them.
    pub(super) fn inherited(&self) -> Vec<InheritedSocket> {
        let sockets = self.sockets.iter().map(|(fd, kept)| InheritedSocket {
            number: fd.as_raw_fd(),
            file: kept.file.as_ref().map(|file| FileId {
                device: file.device,
                inode: file.inode,
            }),
        });
        sockets.collect()
    }

    /// The addresses of the sockets, for messages.
    pub(super) fn addresses(&self) -> String {
        let names: Vec<&str> = self
            .sockets
            .iter()
            .map(|(_, kept)| kept.name.as_str())
            .collect();
        names.join(", ")
    }

    /// Closes the sockets and removes their files. The vassal has chosen the paths, so the files are removed only if
    /// the rights of the vassal's user suffice.
    pub(super) fn release(&mut self, vassal: &str) {
        let sockets = std::mem::take(&mut self.sockets);
        let (fds, kept): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        deferred_close::close(fds);
        for file in kept.into_iter().filter_map(|kept| kept.file) {
            let id = FileId {
                device: file.device,
                inode: file.inode,
            };
            let removed = fs_identity::with_identity(self.identity.as_ref(), || {
                unix_socket::remove(&file.path, id)
            });
            if let Err(error) = removed {
                let path = file.path.display();
                tracing::warn!("vassal {vassal}: its socket {path} cannot be removed: {error}");
            }
        }
    }
}

impl Drop for KeptSockets {
    fn drop(&mut self) {
        let sockets = std::mem::take(&mut self.sockets);
        deferred_close::close(sockets.into_iter().map(|(fd, _)| fd).collect());
    }
}
