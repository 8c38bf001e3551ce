//! The line for each request, in uWSGI's default format.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use ruwsgi::sys::clock::LocalTime;

use crate::request::Request;

/// What the line says beside the request itself.
pub struct Served<'a> {
    /// The application's number, -1 if none was found.
    pub app: i32,
    /// Requests this worker has served.
    pub worker_requests: u64,
    /// Requests the instance has served.
    pub total_requests: u64,
    /// The peer over TCP where no variable names it.
    pub remote_addr: &'a [u8],
    /// Bytes of the body.
    pub body: u64,
    /// Milliseconds.
    pub msecs: u64,
    /// The file was sent by the kernel.
    pub sendfile: bool,
    /// The status sent.
    pub status: u16,
    /// Headers sent.
    pub headers: u32,
    /// Bytes of the head, status line included.
    pub head: u64,
    /// Blocks the application gave.
    pub blocks: u32,
    /// The thread's number.
    pub core: u32,
}

/// A thread's line buffer and the second it has formatted last.
pub struct RequestLog {
    line: Vec<u8>,
    second: i64,
    date: String,
    pid: u32,
}

impl RequestLog {
    /// One for this process.
    pub fn new() -> Self {
        Self {
            line: Vec::with_capacity(512),
            second: -1,
            date: String::new(),
            pid: std::process::id(),
        }
    }

    /// Writes the line for one request, in one write(2).
    pub fn write(&mut self, request: &Request, served: &Served<'_>) {
        self.set_date();
        self.line.clear();
        // writing to a vector cannot fail
        let _ = self.format(request, served);
        ruwsgi::sys::stdio::write_stderr(&self.line);
    }

    fn format(&mut self, request: &Request, served: &Served<'_>) -> std::io::Result<()> {
        let line = &mut self.line;
        let remote = match request.marks.remote_addr {
            Some(span) => span.of(&request.text),
            None => served.remote_addr,
        };
        write!(
            line,
            "[pid: {}|app: {}|req: {}/{}] {} ({}) {{{} vars in {} bytes}} [{}] ",
            self.pid,
            served.app,
            served.worker_requests,
            served.total_requests,
            ruwsgi::log::escape(remote),
            ruwsgi::log::escape(request.mark(request.marks.remote_user)),
            request.vars.len() * 2,
            request.block_len,
            self.date,
        )?;
        writeln!(
            line,
            "{} {} => generated {} bytes in {} msecs{} ({} {}) {} headers in {} bytes ({} switches on core {})",
            ruwsgi::log::escape(request.mark(request.marks.method)),
            ruwsgi::log::escape(request.mark(request.marks.uri)),
            served.body,
            served.msecs,
            if served.sendfile {
                " via sendfile()"
            } else {
                ""
            },
            ruwsgi::log::escape(request.mark(request.marks.protocol)),
            served.status,
            served.headers,
            served.head,
            served.blocks,
            served.core,
        )
    }

    /// `Fri Nov 20 11:32:16 2026`, made anew once in a second.
    fn set_date(&mut self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        if now != self.second {
            self.second = now;
            self.date = LocalTime::now().ctime();
        }
    }
}
