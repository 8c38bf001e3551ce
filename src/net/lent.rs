//! Listening sockets that another process has bound and lends.

use std::fmt;
use std::os::fd::RawFd;

use crate::sys::socket::FileId;

/// A listening socket that the emperor lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) number: RawFd,
    /// A Unix socket's file, as it was when it was bound.
    pub(crate) file: Option<FileId>,
}

impl Lent {
    /// Reads `7`, or `7:DEVICE:INODE`.
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

impl fmt::Display for Lent {
    /// Writes what [`Lent::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match self.file {
            Some(FileId { device, inode }) => write!(f, "{number}:{device}:{inode}"),
            None => write!(f, "{number}"),
        }
    }
}
