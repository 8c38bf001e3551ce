//! One answer: what `start_response` said, and the bytes that follow from it on the wire.

use std::io::IoSlice;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ruwsgi::ipc::Protocol;
use ruwsgi::protocol::body::{LAST_CHUNK, chunk_head};
use ruwsgi::sys::stream;

use crate::head::Head;
use crate::outlet::{Flow, Outlet, flow_of};

/// A last block up to this size is copied behind its head, so that its object can go before it is sent.
const COPIED: usize = 16 << 10;

/// How the end of the body is told.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Framing {
    /// By closing the connection.
    #[default]
    Close,
    /// By its length; these bytes are still owed.
    Length(u64),
    /// By chunks.
    Chunked,
    /// There is none (HEAD, 204, 304): what the application gives is not sent.
    Bodiless,
}

/// What became of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Sent, or waiting for the peer.
    Yes,
    /// The peer is gone.
    PeerGone,
}

/// The answer that a thread is giving. All that grows is kept for the next one.
#[derive(Default)]
pub struct Exchange {
    open: bool,
    pub(crate) fd: RawFd,
    http: bool,
    version10: bool,
    head_request: bool,
    keep_alive: bool,
    timeout_ms: i32,
    /// What `start_response` said.
    pub head: Head,
    committed: bool,
    framing: Framing,
    out: Vec<u8>,
    overlong: bool,
    /// What the peer has not taken.
    pub outlet: Outlet,
    /// The peer is gone.
    pub broken: bool,
    /// The body cannot be completed: the connection must end so that the peer can tell.
    pub cut: bool,
    /// Bytes of the head.
    pub head_len: u64,
    /// Bytes of the body that were sent or are queued.
    pub body_len: u64,
    /// Blocks the application gave.
    pub blocks: u32,
    /// The kernel sends the file.
    pub by_sendfile: bool,
}

/// What the server knows of a request when its answer begins.
pub struct Opening<'a> {
    /// The connection's socket.
    pub fd: RawFd,
    /// What it speaks.
    pub protocol: Protocol,
    /// SERVER_PROTOCOL as sent.
    pub version: &'a [u8],
    /// REQUEST_METHOD as sent.
    pub method: &'a [u8],
    /// An HTTP client keeps the connection.
    pub keep_alive: bool,
    /// How long a peer that takes nothing is waited for, once its queue is full.
    pub timeout_ms: i32,
}

impl Exchange {
    /// Begins an answer.
    pub fn open(&mut self, opening: &Opening<'_>) {
        self.open = true;
        self.fd = opening.fd;
        self.http = opening.protocol == Protocol::Http;
        // absent or 1.0: the older; anything later is answered as 1.1
        self.version10 = opening.version.is_empty() || opening.version == b"HTTP/1.0";
        self.head_request = opening.method == b"HEAD";
        self.keep_alive = opening.keep_alive;
        self.timeout_ms = opening.timeout_ms;
        self.committed = false;
        self.framing = Framing::Close;
        self.out.clear();
        self.overlong = false;
        self.broken = false;
        self.cut = false;
        self.head_len = 0;
        self.body_len = 0;
        self.blocks = 0;
        self.by_sendfile = false;
        self.head.restart(self.http);
    }

    /// The application is done with this thread's answer; a late `start_response` or `write` finds it closed.
    pub fn close(&mut self) {
        self.open = false;
    }

    /// An answer is being given.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The head is on its way and cannot be changed.
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    /// The connection can take another request.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive && !self.cut && !self.broken
    }

    /// Bytes that the declared Content-Length leaves.
    pub fn owed(&self) -> Option<u64> {
        if self.committed {
            match self.framing {
                Framing::Length(left) => Some(left),
                _ => None,
            }
        } else {
            self.head.content_length
        }
    }

    /// What is wrong between the body and its declared length, unless the application has `failed` anyway.
    pub fn mismatch(&self, failed: bool) -> Option<String> {
        if self.overlong {
            return Some(
                "the application gave more than its Content-Length; the surplus was not sent"
                    .into(),
            );
        }
        match self.framing {
            Framing::Length(missing) if missing > 0 && !failed && !self.broken => Some(format!(
                "the application gave {missing} bytes less than its Content-Length; the connection is cut"
            )),
            _ => None,
        }
    }

    /// Declares the length of a body that is there as a whole, where the application did not.
    pub fn declare(&mut self, length: u64) {
        if self.head.content_length.is_none() && !self.is_bodiless() {
            let digits = length.to_string();
            self.head.content_length = Some(length);
            self.head.append(b"Content-Length", digits.as_bytes());
        }
    }

    fn is_bodiless(&self) -> bool {
        self.head_request || matches!(self.head.code(), 204 | 304)
    }

    /// Fixes the head and puts it out.
    fn commit(&mut self) {
        self.committed = true;
        let begin = self.out.len();
        self.out.extend_from_slice(if self.version10 {
            b"HTTP/1.0 "
        } else {
            b"HTTP/1.1 "
        });
        self.out.extend_from_slice(&self.head.status);
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(&self.head.lines);
        self.framing = match self.head.content_length {
            _ if self.is_bodiless() => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None if self.http && !self.version10 => Framing::Chunked,
            None => Framing::Close,
        };
        if self.http {
            self.keep_alive &= !self.head.closes;
            self.http_headers();
        }
        self.out.extend_from_slice(b"\r\n");
        self.head_len = (self.out.len() - begin) as u64;
    }

    fn http_headers(&mut self) {
        if !self.head.has_date {
            self.out.extend_from_slice(b"Date: ");
            crate::http_vars::append_date(&mut self.out);
            self.out.extend_from_slice(b"\r\n");
        }
        match self.framing {
            Framing::Chunked => self
                .out
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::Close => self.keep_alive = false,
            _ => {}
        }
        match (self.keep_alive, self.version10) {
            (false, _) => self.out.extend_from_slice(b"Connection: close\r\n"),
            (true, true) => self.out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, false) => {}
        }
    }

    /// How much of a block of this length is to be sent; the rest is more than was declared.
    fn admit(&mut self, len: usize) -> usize {
        let take = match &mut self.framing {
            Framing::Bodiless => 0,
            Framing::Close | Framing::Chunked => len,
            Framing::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(len);
                *left -= take as u64;
                self.overlong |= take < len;
                take
            }
        };
        self.body_len += take as u64;
        take
    }

    /// A block of the body, to be sent at once. With `last`, the body ends with it, and what is small waits in the
    /// buffer for [`Exchange::settle`].
    pub fn block(&mut self, py: Python<'_>, block: &Bound<'_, PyBytes>, last: bool) -> Sent {
        self.blocks += 1;
        let bytes = block.as_bytes();
        if bytes.is_empty() {
            // PEP 3333: an empty block does not send the headers
            return self.state();
        }
        if !self.committed {
            self.commit();
        }
        let take = self.admit(bytes.len());
        if take == 0 {
            return if last { self.state() } else { self.flush(py) };
        }
        let chunked = self.framing == Framing::Chunked;
        if chunked {
            chunk_head(take, &mut self.out);
        }
        if take <= COPIED && (last || take <= 1024) {
            self.out.extend_from_slice(&bytes[..take]);
            if chunked {
                self.out.extend_from_slice(b"\r\n");
            }
            return if last { self.state() } else { self.flush(py) };
        }
        self.send_with(py, block, take, chunked, last)
    }

    /// Sends the buffer and a block that is not copied.
    fn send_with(
        &mut self,
        py: Python<'_>,
        block: &Bound<'_, PyBytes>,
        take: usize,
        chunked: bool,
        last: bool,
    ) -> Sent {
        let bytes = &block.as_bytes()[..take];
        let tail: &[u8] = if chunked { b"\r\n" } else { b"" };
        let mut sent = 0;
        if !self.broken && self.outlet.is_empty() {
            let (fd, out) = (self.fd, &self.out);
            let result = py.detach(|| {
                stream::send(
                    fd,
                    &[IoSlice::new(out), IoSlice::new(bytes), IoSlice::new(tail)],
                )
            });
            match result {
                Ok(count) => sent = count,
                Err(error) => self.broken |= flow_of(&error) == Flow::Broken,
            }
        }
        let total = self.out.len() + take + tail.len();
        if sent < total && !self.broken {
            let queued = self.queue_rest(block, take, tail, sent, last);
            self.broken |= queued.is_err();
        }
        self.out.clear();
        if self.broken {
            Sent::PeerGone
        } else {
            self.hold_up(py)
        }
    }

    fn queue_rest(
        &mut self,
        block: &Bound<'_, PyBytes>,
        take: usize,
        tail: &[u8],
        sent: usize,
        last: bool,
    ) -> std::io::Result<()> {
        let head = self.out.len();
        if sent < head {
            self.outlet.push(&self.out[sent..])?;
        }
        let from = sent.saturating_sub(head).min(take);
        if from < take {
            self.outlet.push_object(block, from, take, last)?;
        }
        let tail_sent = sent.saturating_sub(head + take);
        if tail_sent < tail.len() {
            self.outlet.push(&tail[tail_sent..])?;
        }
        Ok(())
    }

    /// Sends the buffer, without the interpreter.
    pub fn flush(&mut self, py: Python<'_>) -> Sent {
        py.detach(|| self.settle());
        if self.broken {
            Sent::PeerGone
        } else {
            self.hold_up(py)
        }
    }

    /// The same, for a thread that is detached already: sends what is in the buffer, queues what the peer leaves.
    pub fn settle(&mut self) -> Flow {
        if self.broken {
            self.out.clear();
            return Flow::Broken;
        }
        let mut sent = 0;
        if self.outlet.is_empty() {
            while sent < self.out.len() {
                match stream::send(self.fd, &[IoSlice::new(&self.out[sent..])]) {
                    Ok(count) => sent += count,
                    Err(error) if flow_of(&error) == Flow::Blocked => break,
                    Err(_) => {
                        self.broken = true;
                        break;
                    }
                }
            }
        }
        if sent < self.out.len() && !self.broken {
            self.broken |= self.outlet.push(&self.out[sent..]).is_err();
        }
        self.out.clear();
        if self.broken {
            return Flow::Broken;
        }
        if self.outlet.is_empty() {
            return Flow::Done;
        }
        let flow = self.outlet.flush(self.fd);
        self.broken |= flow == Flow::Broken;
        flow
    }

    /// Makes a producer wait whose reader has let a gigabyte pile up.
    fn hold_up(&mut self, py: Python<'_>) -> Sent {
        while self.outlet.is_full() && !self.broken {
            let (fd, timeout) = (self.fd, self.timeout_ms);
            if !py.detach(|| stream::wait_writable(fd, timeout)) {
                self.broken = true;
                break;
            }
            self.settle();
        }
        self.state()
    }

    fn state(&self) -> Sent {
        if self.broken {
            Sent::PeerGone
        } else {
            Sent::Yes
        }
    }

    /// A stretch of a file as the whole body.
    pub fn file(&mut self, py: Python<'_>, file: std::fs::File, offset: u64, len: u64) -> Sent {
        self.blocks += 1;
        self.declare(len);
        if !self.committed {
            self.commit();
        }
        let take = self.admit(usize::try_from(len).unwrap_or(usize::MAX)) as u64;
        // more in the file than was declared is no fault: the declaration chose a part of it
        self.overlong = false;
        if take > 0 {
            self.by_sendfile = true;
            if !self.out.is_empty() {
                let head = std::mem::take(&mut self.out);
                self.broken |= self.outlet.push(&head).is_err();
                self.out = head;
                self.out.clear();
            }
            self.outlet.push_file(file, offset, offset + take);
        }
        py.detach(|| self.settle());
        self.state()
    }

    /// The application has given all of its body.
    pub fn finish(&mut self) {
        if !self.committed {
            self.declare(0);
            self.commit();
        }
        match self.framing {
            Framing::Chunked => self.out.extend_from_slice(LAST_CHUNK),
            Framing::Length(left) if left > 0 => self.cut = true,
            _ => {}
        }
    }

    /// The application failed, and nothing is out: this is the answer instead.
    pub fn fail(&mut self, status: u16, sentence: &str) {
        self.keep_alive = false;
        // both are ours and valid
        let _ = self.head.start(status.to_string().as_bytes());
        let _ = self.head.add(b"Content-Type", b"text/plain; charset=utf-8");
        if !self.http {
            self.head.append(b"Connection", b"close");
        }
        self.declare(sentence.len() as u64);
        self.commit();
        let take = self.admit(sentence.len());
        self.out.extend_from_slice(&sentence.as_bytes()[..take]);
    }

    /// The application failed after the head was out: the peer must be able to tell.
    pub fn abort(&mut self) {
        self.cut = true;
        self.keep_alive = false;
    }
}
