//! Reading one request from a connection, as far as the bytes go, from whichever thread has it just now.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use ruwsgi::ipc::{Protocol, Serving};
use ruwsgi::protocol::body::ChunkDecoder;
use ruwsgi::protocol::http;
use ruwsgi::protocol::uwsgi::{self, Head};
use ruwsgi::sys::stream;

use crate::refusal::{
    Refusal, foreign_protocol, http_refused, magic, modifier, oversized, too_large, unspoolable,
};
use crate::request::{Refused, Request};
use crate::spool::Spool;
use crate::worker::Worker;

/// The largest head of an HTTP request beside its block of variables: names grow when they become variables.
const HTTP_HEADERS: usize = 256;

/// An accepted connection.
pub struct Connection {
    /// Its socket, non-blocking.
    pub fd: OwnedFd,
    /// Which listener it came from.
    pub listener: usize,
    /// What it speaks.
    pub protocol: Protocol,
    /// Who is there, over TCP and HTTP.
    pub peer: Option<SocketAddr>,
    /// Where it came to, over TCP and HTTP.
    pub local: Option<SocketAddr>,
    /// Requests answered on it.
    pub served: u32,
    /// Its place among the idle connections, while it has one.
    pub token: Option<usize>,
}

impl Connection {
    /// The peer, for the log.
    pub fn peer_name(&self) -> String {
        self.peer
            .map_or_else(|| "a client".into(), |peer| peer.to_string())
    }

    /// The peer and where it came in, for the log.
    pub fn who(&self, worker: &Worker) -> String {
        let name = worker
            .spec
            .listeners
            .get(self.listener)
            .map_or("?", |listener| &listener.name);
        format!("{} on {name}", self.peer_name())
    }
}

/// What reading led to.
pub enum Step {
    /// Nothing more is there yet.
    More,
    /// The request is complete.
    Complete,
    /// It is answered by the server itself, and the connection is done.
    Refused(Refusal),
    /// The peer left without (the rest of) a request; the reason if it left in the middle of one.
    Gone(Option<&'static str>),
}

enum Stage {
    Head,
    Body { spool: Spool, left: u64 },
    Chunks { spool: Spool, decoder: ChunkDecoder },
}

/// A request that is being read.
pub struct Intake {
    /// What is known of it.
    pub request: Request,
    /// An HTTP request leaves its connection open for the next.
    pub keep_alive: bool,
    /// An HTTP client waits for a word before it sends the body.
    continue_due: bool,
    /// The peer has sent more than its request.
    pub surplus: bool,
    protocol: Protocol,
    /// HTTP: what has come and is not used yet.
    raw: Vec<u8>,
    scan: http::Scan,
    stage: Stage,
}

impl Intake {
    /// An empty one.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            request: Request::default(),
            keep_alive: false,
            continue_due: false,
            surplus: false,
            protocol,
            raw: Vec::new(),
            scan: http::Scan::default(),
            stage: Stage::Head,
        }
    }

    /// Ready for the next request; bytes of a pipelined one stay.
    pub fn restart(&mut self, protocol: Protocol, keep_raw: bool) {
        self.request.clear();
        self.keep_alive = false;
        self.continue_due = false;
        self.surplus = false;
        self.protocol = protocol;
        self.scan = http::Scan::default();
        self.stage = Stage::Head;
        if !keep_raw {
            self.raw.clear();
        }
    }

    /// Nothing of a request has come yet.
    pub fn is_empty(&self) -> bool {
        self.request.text.is_empty() && self.raw.is_empty()
    }

    /// The head is there, the body is on its way.
    pub fn in_body(&self) -> bool {
        !matches!(self.stage, Stage::Head)
    }

    /// A body that is not kept in memory: it will take a while.
    pub fn is_large(&self) -> bool {
        match &self.stage {
            Stage::Head => false,
            Stage::Body { spool, .. } | Stage::Chunks { spool, .. } => !spool.in_memory(),
        }
    }

    /// Bytes of a further request wait here already.
    pub fn has_pipelined(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Gives memory back before a long wait.
    pub fn shrink(&mut self) {
        self.request.text.shrink_to_fit();
        self.raw.shrink_to_fit();
    }

    /// Reads what is there, up to `budget` bytes. `scratch` is the thread's, for bodies that go to a file.
    pub fn read(
        &mut self,
        connection: &Connection,
        serving: &Serving,
        scratch: &mut Vec<u8>,
        budget: usize,
    ) -> Step {
        let fd = connection.fd.as_raw_fd();
        let mut left = budget;
        loop {
            let got = match self.receive(fd, serving, scratch) {
                Ok(0) => {
                    return Step::Gone(
                        (!self.is_empty()).then_some("it left in the middle of a request"),
                    );
                }
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::More,
                Err(_) => return Step::Gone((!self.is_empty()).then_some("the connection broke")),
            };
            match self.digest(connection, serving, scratch) {
                Step::More => {}
                other => return other,
            }
            left = left.saturating_sub(got);
            if left == 0 {
                return Step::More;
            }
        }
    }

    /// One receive, to where the bytes belong.
    fn receive(&mut self, fd: i32, serving: &Serving, scratch: &mut Vec<u8>) -> io::Result<usize> {
        match (&mut self.stage, self.protocol) {
            (Stage::Head, Protocol::Uwsgi) => {
                let most = uwsgi::HEADER + usize::from(u16::MAX);
                stream::recv_into(fd, &mut self.request.text, most)
            }
            (Stage::Head, Protocol::Http) => {
                let most = serving.buffer_size as usize;
                stream::recv_into(fd, &mut self.raw, most.max(1024))
            }
            (Stage::Body { left, .. }, _) => {
                scratch.clear();
                stream::recv_into(
                    fd,
                    scratch,
                    usize::try_from(*left).unwrap_or(usize::MAX).min(256 << 10),
                )
            }
            (Stage::Chunks { .. }, _) => stream::recv_into(fd, &mut self.raw, 64 << 10),
        }
    }

    /// Makes of the bytes what they allow.
    fn digest(&mut self, connection: &Connection, serving: &Serving, scratch: &[u8]) -> Step {
        match (&mut self.stage, self.protocol) {
            (Stage::Head, Protocol::Uwsgi) => self.packet(serving),
            (Stage::Head, Protocol::Http) => self.http_head(connection, serving),
            (Stage::Body { spool, left }, _) => {
                if let Err(error) = spool.push(scratch) {
                    return unspoolable(&error);
                }
                *left = left.saturating_sub(scratch.len() as u64);
                self.unless_complete()
            }
            (Stage::Chunks { .. }, _) => self.chunks(serving),
        }
    }

    /// What is buffered already, before anything is read: a pipelined request.
    pub fn resume(&mut self, connection: &Connection, serving: &Serving) -> Step {
        if self.raw.is_empty() {
            Step::More
        } else {
            self.digest(connection, serving, &[])
        }
    }

    /// The body is complete, or the rest of it has to come.
    fn unless_complete(&mut self) -> Step {
        match self.stage {
            Stage::Body { left: 0, .. } => self.complete(),
            _ => Step::More,
        }
    }

    fn complete(&mut self) -> Step {
        if let Stage::Body { spool, .. } | Stage::Chunks { spool, .. } =
            std::mem::replace(&mut self.stage, Stage::Head)
        {
            self.request.body = spool.into_body();
        }
        Step::Complete
    }

    // ── uwsgi ──

    fn packet(&mut self, serving: &Serving) -> Step {
        let text = &self.request.text;
        let Some(head) = Head::parse(text) else {
            return Step::More;
        };
        if let Some(foreign) = uwsgi::looks_like(text) {
            return foreign_protocol(&foreign);
        }
        if head.modifier1 == 100 {
            return Step::Refused(Refusal {
                answer: uwsgi::PONG.to_vec(),
                log: None,
                once: None,
            });
        }
        if head.modifier1 != 0 && head.modifier1 != 30 {
            return modifier(head.modifier1);
        }
        let end = uwsgi::HEADER + head.size;
        if text.len() < end {
            return Step::More;
        }
        if head.size > serving.buffer_size as usize {
            return oversized(&text[uwsgi::HEADER..end], serving.buffer_size);
        }
        if head.size == 0 {
            return Step::Refused(Refusal::bad("the uwsgi packet holds no variables"));
        }
        self.request.modifier1 = head.modifier1;
        self.request.modifier2 = head.modifier2;
        match self.request.read_block(uwsgi::HEADER, head.size) {
            Ok(()) => self.uwsgi_body(end, serving),
            Err(Refused::Malformed(why)) => Step::Refused(Refusal::bad(&format!(
                "the uwsgi packet is malformed: {why}"
            ))),
            Err(Refused::Magic(name)) => magic(name),
        }
    }

    fn uwsgi_body(&mut self, start: usize, serving: &Serving) -> Step {
        let length = match self.request.marks.content_length {
            None => 0,
            Some(value) => match uwsgi::content_length(value.of(&self.request.text)) {
                Ok(length) => length,
                Err(_) => return Step::Refused(Refusal::bad("CONTENT_LENGTH is not a number")),
            },
        };
        let rest = &self.request.text[start..];
        if length == 0 {
            self.surplus = !rest.is_empty();
            return Step::Complete;
        }
        if serving.limit_post != 0 && length > serving.limit_post {
            return too_large(length, serving.limit_post);
        }
        match begin_body(length, rest, serving) {
            Ok((stage, taken)) => {
                self.surplus = rest.len() > taken;
                self.stage = stage;
                self.unless_complete()
            }
            Err(step) => step,
        }
    }

    // ── HTTP ──

    fn http_head(&mut self, connection: &Connection, serving: &Serving) -> Step {
        let limits = http::Limits {
            head: serving.buffer_size as usize,
            headers: HTTP_HEADERS,
        };
        let raw = std::mem::take(&mut self.raw);
        let parsed = match http::parse(&raw, &limits, &mut self.scan) {
            Ok(http::Parsed::Complete(parsed)) => parsed,
            Ok(http::Parsed::Partial) => {
                self.raw = raw;
                return Step::More;
            }
            Err(refusal) => return http_refused(&refusal),
        };
        crate::http_vars::fill(&mut self.request, &parsed, connection);
        self.keep_alive = parsed.keep_alive;
        let (head_len, framing) = (parsed.head_len, parsed.framing);
        self.continue_due = parsed.expect_continue;
        self.raw = raw;
        self.raw.drain(..head_len);
        match framing {
            http::Framing::None => Step::Complete,
            http::Framing::Length(0) => Step::Complete,
            http::Framing::Length(length) => self.http_length(length, connection, serving),
            http::Framing::Chunked => {
                self.stage = Stage::Chunks {
                    spool: Spool::new(serving.post_buffering),
                    decoder: ChunkDecoder::new(),
                };
                self.invite(connection);
                self.chunks(serving)
            }
        }
    }

    fn http_length(&mut self, length: u64, connection: &Connection, serving: &Serving) -> Step {
        if serving.limit_post != 0 && length > serving.limit_post {
            return too_large(length, serving.limit_post);
        }
        self.invite(connection);
        match begin_body(length, &self.raw, serving) {
            Ok((stage, taken)) => {
                self.raw.drain(..taken);
                self.stage = stage;
                self.unless_complete()
            }
            Err(step) => step,
        }
    }

    /// Tells a client that waits for it to send its body (RFC 9110, 10.1.1).
    fn invite(&mut self, connection: &Connection) {
        if std::mem::take(&mut self.continue_due) && self.raw.is_empty() {
            let line = [io::IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
            // a client that cannot be told sends its body after a while of its own accord
            let _ = stream::send(connection.fd.as_raw_fd(), &line);
        }
    }

    fn chunks(&mut self, serving: &Serving) -> Step {
        let Stage::Chunks { spool, decoder } = &mut self.stage else {
            return Step::More;
        };
        let mut failed = None;
        let limit = serving.limit_post;
        let result = decoder.decode(&self.raw, &mut |bytes: &[u8]| {
            if limit != 0 && spool.len() + bytes.len() as u64 > limit {
                failed = failed
                    .take()
                    .or_else(|| Some(too_large(spool.len() + bytes.len() as u64, limit)));
            } else if failed.is_none() {
                failed = spool.push(bytes).err().map(|error| unspoolable(&error));
            }
        });
        if let Some(step) = failed {
            return step;
        }
        match result {
            Ok(progress) => {
                let length = spool.len().to_string();
                self.raw.drain(..progress.consumed);
                if !progress.done {
                    return Step::More;
                }
                self.request.push(b"CONTENT_LENGTH", length.as_bytes());
                self.complete()
            }
            Err(refusal) => http_refused(&refusal),
        }
    }
}

/// The stage of a body of this length, of which `came` holds the beginning, and how much of that it took.
fn begin_body(length: u64, came: &[u8], serving: &Serving) -> Result<(Stage, usize), Step> {
    let taken = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(came.len());
    let mut spool =
        Spool::expecting(length, serving.post_buffering).map_err(|error| unspoolable(&error))?;
    spool
        .push(&came[..taken])
        .map_err(|error| unspoolable(&error))?;
    let left = length - taken as u64;
    Ok((Stage::Body { spool, left }, taken))
}
