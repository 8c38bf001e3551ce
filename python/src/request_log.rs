//! The line for each request: uWSGI's usual one, or what `log-format` says.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use ruwsgi::log::escape;
use ruwsgi::log::request_line::{Field, Outcome, Piece, RequestLines};
use ruwsgi::sys::clock::LocalTime;
use ruwsgi::sys::process::{self, Memory, Pid};

use crate::request::Request;

/// What the line says beside the request itself.
pub struct Served<'a> {
    /// The application's number, -1 if none was found.
    pub app: i32,
    /// The worker's number.
    pub worker: u32,
    /// Requests this worker has served.
    pub worker_requests: u64,
    /// Requests the instance has served.
    pub total_requests: u64,
    /// The peer over TCP where no variable names it.
    pub remote_addr: &'a [u8],
    /// How it went.
    pub outcome: Outcome,
    /// Headers sent.
    pub headers: u32,
    /// Blocks the application gave.
    pub blocks: u32,
    /// The thread's number.
    pub core: u32,
}

/// A thread's line buffer and the second it has formatted last.
pub struct RequestLog {
    settings: RequestLines,
    pid: u32,
    line: Vec<u8>,
    second: i64,
    date: String,
}

impl RequestLog {
    /// One for a thread; `None` if no request is to have a line.
    pub fn new(settings: &RequestLines) -> Option<Self> {
        settings.chosen.any().then(|| Self {
            settings: settings.clone(),
            pid: std::process::id(),
            line: Vec::with_capacity(512),
            second: -1,
            date: String::new(),
        })
    }

    /// Whether this request gets a line.
    pub fn picks(&self, outcome: &Outcome) -> bool {
        self.settings.chosen.picks(outcome)
    }

    /// Writes the line for one request, in one write(2).
    pub fn write(&mut self, request: &Request, served: &Served<'_>) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // writing to a vector cannot fail
        let _ = match &self.settings.format {
            Some(pieces) => self.format(pieces, &mut line, request, served),
            None => {
                self.set_date();
                self.usual(&mut line, request, served)
            }
        };
        line.push(b'\n');
        ruwsgi::sys::stdio::write_stderr(&line);
        self.line = line;
    }

    fn usual(&self, line: &mut Vec<u8>, request: &Request, served: &Served<'_>) -> io::Result<()> {
        let outcome = &served.outcome;
        if self.settings.memory {
            let memory = own_memory();
            write!(
                line,
                "{{address space usage: {} bytes/{}MB}} {{rss usage: {} bytes/{}MB}} ",
                memory.address_space,
                memory.address_space >> 20,
                memory.resident,
                memory.resident >> 20,
            )?;
        }
        write!(
            line,
            "[pid: {}|app: {}|req: {}/{}] {} ({}) {{{} vars in {} bytes}} [{}] ",
            self.pid,
            served.app,
            served.worker_requests,
            served.total_requests,
            escape(self.client(request, served)),
            escape(request.mark(request.marks.remote_user)),
            request.vars.len() * 2,
            request.block_len,
            self.date,
        )?;
        let (took, unit) = if self.settings.micros {
            (outcome.micros, "micros")
        } else {
            (outcome.micros / 1000, "msecs")
        };
        write!(
            line,
            "{} {} => generated {} bytes in {took} {unit}{} ({} {}) {} headers in {} bytes ({} switches on core {})",
            escape(request.mark(request.marks.method)),
            escape(request.mark(request.marks.uri)),
            outcome.body,
            if outcome.sendfile {
                " via sendfile()"
            } else {
                ""
            },
            escape(request.mark(request.marks.protocol)),
            outcome.status,
            served.headers,
            outcome.head,
            served.blocks,
            served.core,
        )
    }

    fn format(
        &self,
        pieces: &[Piece],
        line: &mut Vec<u8>,
        request: &Request,
        served: &Served<'_>,
    ) -> io::Result<()> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => self.field(*field, line, request, served)?,
                Piece::Variable(name) => variable(line, request, name.as_bytes())?,
                Piece::Unknown => line.push(b'-'),
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: Field,
        line: &mut Vec<u8>,
        request: &Request,
        served: &Served<'_>,
    ) -> io::Result<()> {
        let outcome = &served.outcome;
        let began = || now().saturating_sub(u128::from(outcome.micros));
        let local = || LocalTime::at(UNIX_EPOCH + std::time::Duration::from_micros(began() as u64));
        let broken = u8::from(outcome.broken);
        match field {
            Field::Uri => bytes(line, request.mark(request.marks.uri)),
            Field::Method => bytes(line, request.mark(request.marks.method)),
            Field::User => bytes(line, request.mark(request.marks.remote_user)),
            Field::Addr => bytes(line, self.client(request, served)),
            Field::Host => variable(line, request, b"HTTP_HOST"),
            Field::Proto => bytes(line, request.mark(request.marks.protocol)),
            Field::UserAgent => variable(line, request, b"HTTP_USER_AGENT"),
            Field::Referer => variable(line, request, b"HTTP_REFERER"),
            Field::Status => write!(line, "{}", outcome.status),
            Field::BodySize => write!(line, "{}", outcome.body),
            Field::HeadSize => write!(line, "{}", outcome.head),
            Field::Size => write!(line, "{}", outcome.head + outcome.body),
            Field::ContentLength => match request.mark(request.marks.content_length) {
                b"" => write!(line, "0"),
                length => bytes(line, length),
            },
            Field::Micros => write!(line, "{}", outcome.micros),
            Field::Millis => write!(line, "{}", outcome.micros / 1000),
            Field::Seconds => write!(line, "{:.6}", outcome.micros as f64 / 1e6),
            Field::BeganMillis => write!(line, "{}", began() / 1000),
            Field::BeganMicros => write!(line, "{}", began()),
            Field::Began => write!(line, "{}", began() / 1_000_000),
            Field::LocalTime | Field::FormattedTime => write!(line, "{}", local().common_log()),
            Field::CTime => write!(line, "{}", local().ctime()),
            Field::Epoch => write!(line, "{}", now() / 1_000_000),
            Field::Pid => write!(line, "{}", self.pid),
            Field::Worker => write!(line, "{}", served.worker),
            Field::Blocks => write!(line, "{}", served.blocks),
            Field::Variables => write!(line, "{}", request.vars.len() * 2),
            Field::Core => write!(line, "{}", served.core),
            Field::AddressSpace => write!(line, "{}", own_memory().address_space),
            Field::Resident => write!(line, "{}", own_memory().resident),
            Field::AddressSpaceMega => write!(line, "{}", own_memory().address_space >> 20),
            Field::ResidentMega => write!(line, "{}", own_memory().resident >> 20),
            Field::PacketSize => write!(line, "{}", request.block_len),
            Field::Modifier1 => write!(line, "{}", request.modifier1),
            Field::Modifier2 => write!(line, "{}", request.modifier2),
            Field::Headers => write!(line, "{}", served.headers),
            Field::ReadErrors => write!(line, "0"),
            Field::WriteErrors | Field::Errors => write!(line, "{broken}"),
        }
    }

    /// Who asked.
    fn client<'a>(&self, request: &'a Request, served: &Served<'a>) -> &'a [u8] {
        let forwarded = || request.variable(b"HTTP_X_FORWARDED_FOR");
        let forwarded = self.settings.forwarded_for.then(forwarded).flatten();
        forwarded.unwrap_or_else(|| match request.marks.remote_addr {
            Some(span) => span.of(&request.text),
            None => served.remote_addr,
        })
    }

    /// `Fri Nov 20 11:32:16 2026`, made anew once in a second.
    fn set_date(&mut self) {
        let second = (now() / 1_000_000) as i64;
        if second != self.second {
            self.second = second;
            self.date = LocalTime::now().ctime();
        }
    }
}

/// What came from outside, a dash if it is empty.
fn bytes(line: &mut Vec<u8>, text: &[u8]) -> io::Result<()> {
    match text {
        b"" => line.push(b'-'),
        text => ruwsgi::log::escape_into(line, text),
    }
    Ok(())
}

fn variable(line: &mut Vec<u8>, request: &Request, name: &[u8]) -> io::Result<()> {
    bytes(line, request.variable(name).unwrap_or_default())
}

/// Microseconds since 1970.
fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros())
}

/// What this worker takes; zeros where /proc does not tell.
fn own_memory() -> Memory {
    process::memory(Pid::own()).unwrap_or_default()
}
