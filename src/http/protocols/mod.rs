//! The protocols of client connections. For each protocol one file reads the requests. The parsers are in
//! `crate::protocol`.
//!
//! To add a protocol, add a parser in `crate::protocol`, a file here, and a row in each of the two matches below. The
//! protocol's name is in `ipc::Protocol`, and the options that choose the protocol are read in `net/listen_options.rs`.

mod http;
mod uwsgi;

use std::io;
use std::os::fd::RawFd;

use super::connection::Connection;
use super::refusal::Refusal;
use super::request_reader::{RequestReader, Stage, Step};
use super::settings::Limits;
use crate::ipc::Protocol;
use crate::protocol::uwsgi::HEADER;
use crate::sys::stream;

/// Maximum bytes of one recv(2) of a uwsgi packet: the head and the largest block of variables.
const UWSGI_RECV: usize = HEADER + u16::MAX as usize;
/// Maximum bytes of one recv(2) of HTTP heads and chunks.
const HTTP_RECV: usize = 64 << 10;
/// Maximum bytes of one recv(2) of a body of known length.
const BODY_RECV: usize = 256 << 10;

impl RequestReader {
    /// Receives bytes with one recv(2) into the buffer of the current stage. Returns their number.
    #[inline]
    pub(super) fn receive(&mut self, fd: RawFd, scratch: &mut Vec<u8>) -> io::Result<usize> {
        match (&mut self.stage, self.protocol) {
            (Stage::Head, Protocol::Uwsgi) => {
                stream::recv_into(fd, &mut self.request.text, UWSGI_RECV)
            }
            (Stage::Head, Protocol::Http) | (Stage::Chunks { .. }, _) => {
                stream::recv_into_bytes(fd, &mut self.raw, HTTP_RECV)
            }
            (Stage::Body { left, .. }, _) => {
                scratch.clear();
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                stream::recv_into(fd, scratch, most.min(BODY_RECV))
            }
        }
    }

    /// Parses the bytes that were received last. The bytes of a body of known length are in `scratch`.
    #[inline]
    pub(super) fn parse(
        &mut self,
        connection: &Connection,
        limits: &Limits,
        scratch: &[u8],
    ) -> Step {
        match (&mut self.stage, self.protocol) {
            (Stage::Head, Protocol::Uwsgi) => self.uwsgi_packet(limits),
            (Stage::Head, Protocol::Http) => self.http_head(connection, limits),
            (Stage::Body { spool, left }, _) => {
                if let Err(error) = spool.push(scratch) {
                    let length = spool.received() + *left;
                    return Step::Refused(Refusal::spool_failed(&error, length));
                }
                *left = left.saturating_sub(scratch.len() as u64);
                self.complete_if_body_is()
            }
            (Stage::Chunks { .. }, _) => self.chunks(limits),
        }
    }
}
