//! Listening sockets that the emperor has kept and a vassal inherits.

use std::fmt;
use std::os::fd::RawFd;

use crate::sys::socket::FileId;

/// A listening socket that this process inherits, or that a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InheritedSocket {
    /// The descriptor.
    pub(crate) number: RawFd,
    /// The file of a Unix socket, as it was when the socket was bound.
    pub(crate) file: Option<FileId>,
}

impl InheritedSocket {
    /// Parses `7`, or `7:DEVICE:INODE` for a Unix socket with a file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, file) = match text.split_once(':') {
            Some((number, file)) => (number, Some(file)),
            None => (text, None),
        };
        let file = file.and_then(|file| {
            let (device, inode) = file.split_once(':')?;
            Some(FileId {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
            })
        });
        Some(Self {
            number: number.parse().ok()?,
            file,
        })
    }
}

impl fmt::Display for InheritedSocket {
    /// Writes what [`InheritedSocket::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match self.file {
            Some(FileId { device, inode }) => write!(f, "{number}:{device}:{inode}"),
            None => write!(f, "{number}"),
        }
    }
}
