//! The sockets that the emperor keeps for vassals on demand.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::ipc::Kept;
use crate::sys::inherited_socket::InheritedSocket;
use crate::sys::socket::FileId;
use crate::sys::user::Identity;
use crate::sys::{deferred_close, fs_identity, packet, socket, unix_socket};

/// The sockets of one vassal.
#[derive(Debug, Default)]
pub(super) struct Keep {
    sockets: Vec<(OwnedFd, Kept)>,
}

impl Keep {
    /// What a vassal has handed over, if it is what it should be.
    ///
    /// # Errors
    /// Gives the descriptors back.
    pub(super) fn of(kept: Vec<Kept>, fds: Vec<OwnedFd>) -> Result<Self, Vec<OwnedFd>> {
        let as_many = fds.len() == kept.len() && fds.len() <= packet::MAX_FDS;
        // anything else may be readable for ever, and a vassal be started again and again
        if !as_many || !fds.iter().all(|fd| socket::listens(fd.as_fd())) {
            return Err(fds);
        }
        Ok(Self {
            sockets: fds.into_iter().zip(kept).collect(),
        })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// What to wait for, or to lend.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|(fd, _)| fd.as_fd())
    }

    /// The sockets as the vassal's environment lists them.
    pub(super) fn lent(&self) -> Vec<InheritedSocket> {
        let lent = self.sockets.iter().map(|(fd, kept)| InheritedSocket {
            number: fd.as_raw_fd(),
            file: kept.file.as_ref().map(|file| FileId {
                device: file.device,
                inode: file.inode,
            }),
        });
        lent.collect()
    }

    /// Their addresses, for the log.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self
            .sockets
            .iter()
            .map(|(_, kept)| kept.name.as_str())
            .collect();
        names.join(", ")
    }

    /// Closes them and removes their files, with no more right than the vassal has, who chose the paths.
    pub(super) fn release(&mut self, vassal: &str, identity: Option<&Identity>) {
        let sockets = std::mem::take(&mut self.sockets);
        let (fds, kept): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        deferred_close::close(fds);
        for file in kept.into_iter().filter_map(|kept| kept.file) {
            let id = FileId {
                device: file.device,
                inode: file.inode,
            };
            let removed =
                fs_identity::with_identity(identity, || unix_socket::remove(&file.path, id));
            if let Err(error) = removed {
                let path = file.path.display();
                tracing::warn!("vassal {vassal}: its socket {path} cannot be removed: {error}");
            }
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        let sockets = std::mem::take(&mut self.sockets);
        deferred_close::close(sockets.into_iter().map(|(fd, _)| fd).collect());
    }
}
