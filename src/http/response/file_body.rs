//! Sends files as response bodies.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::Response;
use crate::http::framing::Framing;
use crate::http::loss::Loss;
use crate::http::response_writer::PeerGone;
use crate::http::unlock::{NoLock, Unlock};
use crate::protocol::body::{CHUNK_END, chunk_head};
use crate::static_files::multipart::Piece;
use crate::sys::stream;

/// Maximum size of a part of a file that is read into the buffer, so that one send(2) sends the part with the head. For
/// a larger part, sendfile(2) costs less than the copy.
const READ: u64 = 32 << 10;

impl Response {
    /// Sends `len` bytes of a file from `offset` as the whole body.
    ///
    /// # Errors
    /// The client is gone.
    pub fn write_file(
        &mut self,
        lock: &impl Unlock,
        file: File,
        offset: u64,
        len: u64,
    ) -> Result<(), PeerGone> {
        self.sent.blocks += 1;
        self.set_length(len);
        if !self.is_committed() {
            self.commit();
        }
        // at most Content-Length bytes are sent, even if the file is longer
        let take = self.admit_file(len);
        if take == 0 {
            return self.writer.flush(lock);
        }
        let sent = self
            .writer
            .send_file(lock, &Arc::new(file), offset, offset + take);
        self.end_chunk();
        sent
    }

    /// Completes the response with pieces of a static file as the whole body. The caller has set the head, and its
    /// Content-Length is the length of all pieces together. The last bytes stay in the buffer until
    /// [`Response::flush_nonblocking`].
    pub fn finish_with_file(&mut self, file: File, pieces: &[Piece]) {
        self.sent.blocks += 1;
        self.commit();
        let file = Arc::new(file);
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.append_text(text),
                Piece::File(part) => self.append_part(&file, part),
            }
        }
        if !self.is_broken() {
            self.finish();
        }
    }

    fn append_text(&mut self, text: &[u8]) {
        let take = self.framing.admit(text.len());
        if take > 0 {
            self.sent.body += take as u64;
            self.begin_chunk(take);
            self.writer.buffer.extend_from_slice(&text[..take]);
            self.end_chunk();
        }
    }

    fn append_part(&mut self, file: &Arc<File>, part: &Range<u64>) {
        let take = self.admit_file(part.end - part.start);
        if take == 0 {
            return;
        }
        if take > READ {
            // the result is not needed, because the writer keeps the error
            let _ = self
                .writer
                .send_file(&NoLock, file, part.start, part.start + take);
        } else if !stream::read_at(file, &mut self.writer.buffer, part.start, take as usize) {
            self.writer.lose(Loss::FileEnded);
        }
        self.end_chunk();
    }

    /// Counts `len` bytes of a file, and begins their chunk. Returns the number of bytes to send.
    fn admit_file(&mut self, len: u64) -> u64 {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let take = self.framing.admit(len);
        if take > 0 {
            self.sent.body += take as u64;
            self.sent.sendfile = true;
            self.begin_chunk(take);
        }
        take as u64
    }

    fn begin_chunk(&mut self, len: usize) {
        if self.framing == Framing::Chunked {
            chunk_head(len, &mut self.writer.buffer);
        }
    }

    fn end_chunk(&mut self) {
        if self.framing == Framing::Chunked {
            self.writer.buffer.extend_from_slice(CHUNK_END);
        }
    }
}
