//! The formatter of request lines.
//!
//! A worker writes the lines of the requests that it finishes. If a worker dies, the master writes the lines of the
//! worker's unfinished requests.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use crate::log::escape::escape;
use crate::log::journal;
use crate::log::json;
use crate::sys::clock::{self, LocalTime};
use crate::sys::memory::Memory;
use crate::sys::process::Pid;

use super::facts::{LoggedRequest, Served};
use super::format::{Field, Piece, header_variable};
use super::outcome::Outcome;
use super::record::{entry, record};
use super::settings::RequestLogSettings;
use super::values::{bytes, host, now, variable};

/// Formats request lines. Keeps the line buffer and the last formatted date to reuse them.
pub struct RequestLog {
    settings: RequestLogSettings,
    /// The process id of the worker that served the requests.
    pid: Pid,
    line: Vec<u8>,
    second: i64,
    date: String,
}

impl RequestLog {
    /// Creates a formatter for the requests of the worker `pid`; `None` if the settings cannot select any request.
    pub fn new(settings: &RequestLogSettings, pid: Pid) -> Option<Self> {
        settings.selection.selects_any().then(|| Self {
            settings: settings.clone(),
            pid,
            line: Vec::with_capacity(512),
            second: -1,
            date: String::new(),
        })
    }

    /// Whether the settings select a request with this outcome for the log.
    pub fn selects(&self, outcome: &Outcome) -> bool {
        self.settings.selection.selects(outcome)
    }

    /// Returns the line of one request, with its line feed.
    pub fn line(&mut self, request: &impl LoggedRequest, served: &Served<'_>) -> &[u8] {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // writing to a vector cannot fail
        let _ = match &self.settings.format {
            Some(pieces) => self.format(pieces, &mut line, request, served),
            None => {
                self.set_date();
                self.default_format(&mut line, request, served)
            }
        };
        if json::is_on() {
            let client = self.client(request, served);
            line = record(&line, request, served, (client, self.pid.get()));
        } else {
            line.push(b'\n');
        }
        self.line = line;
        &self.line
    }

    /// Sends the entry of one request to the systemd journal, if the log goes there. Returns false if the caller must
    /// write the line.
    pub fn send_to_journal(&mut self, request: &impl LoggedRequest, served: &Served<'_>) -> bool {
        if json::is_on() || !journal::is_in_use() {
            return false;
        }
        self.line(request, served);
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        entry(line, request, served, self.client(request, served)).send()
    }

    fn default_format(
        &self,
        line: &mut Vec<u8>,
        request: &impl LoggedRequest,
        served: &Served<'_>,
    ) -> io::Result<()> {
        let outcome = &served.outcome;
        if self.settings.host {
            write!(line, "{} ", escape(host(request)))?;
        }
        if self.settings.memory {
            let memory = self.memory();
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
            escape(request.remote_user()),
            request.variable_count() * 2,
            request.block_len(),
            self.date,
        )?;
        let (took, unit) = if self.settings.micros {
            (outcome.micros, "micros")
        } else {
            (outcome.micros / 1000, "msecs")
        };
        write!(
            line,
            "{} {} => generated {} bytes in {took} {unit}{} ({} {}) {} headers in {} bytes ({} switches on core {}){}",
            escape(request.method()),
            escape(request.uri()),
            outcome.body,
            if outcome.sendfile {
                " via sendfile()"
            } else {
                ""
            },
            escape(request.protocol()),
            outcome.status,
            served.headers,
            outcome.head,
            served.blocks,
            served.core,
            served.remark,
        )
    }

    fn format(
        &self,
        pieces: &[Piece],
        line: &mut Vec<u8>,
        request: &impl LoggedRequest,
        served: &Served<'_>,
    ) -> io::Result<()> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => self.field(*field, line, request, served)?,
                Piece::Variable(name) => variable(line, request, name.as_bytes())?,
                Piece::Header(name) => {
                    variable(line, request, header_variable(name).as_bytes())?;
                }
                Piece::Access(field) => field.put(line, request, served, self.pid.get())?,
                Piece::Time(format) => {
                    let began = now().saturating_sub(u128::from(served.outcome.micros));
                    let began = UNIX_EPOCH + Duration::from_micros(began as u64);
                    line.extend_from_slice(clock::strftime(format, began).as_bytes());
                }
                Piece::Unknown => line.push(b'-'),
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: Field,
        line: &mut Vec<u8>,
        request: &impl LoggedRequest,
        served: &Served<'_>,
    ) -> io::Result<()> {
        let outcome = &served.outcome;
        let began = || now().saturating_sub(u128::from(outcome.micros));
        let local = || LocalTime::at(UNIX_EPOCH + Duration::from_micros(began() as u64));
        let broken = u8::from(outcome.broken);
        match field {
            Field::Uri => bytes(line, request.uri()),
            Field::Method => bytes(line, request.method()),
            Field::User => bytes(line, request.remote_user()),
            Field::Addr => bytes(line, self.client(request, served)),
            Field::Host => bytes(line, host(request)),
            Field::Proto => bytes(line, request.protocol()),
            Field::UserAgent => variable(line, request, b"HTTP_USER_AGENT"),
            Field::Referer => variable(line, request, b"HTTP_REFERER"),
            Field::Status => write!(line, "{}", outcome.status),
            Field::BodySize => write!(line, "{}", outcome.body),
            Field::HeadSize => write!(line, "{}", outcome.head),
            Field::Size => write!(line, "{}", outcome.head + outcome.body),
            Field::ContentLength => match request.content_length() {
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
            Field::Variables => write!(line, "{}", request.variable_count() * 2),
            Field::Core => write!(line, "{}", served.core),
            Field::AddressSpace => write!(line, "{}", self.memory().address_space),
            Field::Resident => write!(line, "{}", self.memory().resident),
            Field::AddressSpaceMega => write!(line, "{}", self.memory().address_space >> 20),
            Field::ResidentMega => write!(line, "{}", self.memory().resident >> 20),
            Field::PacketSize => write!(line, "{}", request.block_len()),
            Field::Modifier1 => write!(line, "{}", request.modifiers().0),
            Field::Modifier2 => write!(line, "{}", request.modifiers().1),
            Field::Headers => write!(line, "{}", served.headers),
            Field::ReadErrors => write!(line, "0"),
            Field::WriteErrors | Field::Errors => write!(line, "{broken}"),
        }
    }

    /// Returns the client's address, from the first source that has one: X-Forwarded-For (only with
    /// `log-x-forwarded-for`), REMOTE_ADDR, the TCP peer.
    fn client<'a>(&self, request: &'a impl LoggedRequest, served: &Served<'a>) -> &'a [u8] {
        let forwarded = || request.variable(b"HTTP_X_FORWARDED_FOR");
        let forwarded = self.settings.forwarded_for.then(forwarded).flatten();
        forwarded
            .or_else(|| request.remote_addr())
            .unwrap_or(served.remote_addr)
    }

    /// Returns the worker's memory; zeros if it cannot be read from /proc.
    fn memory(&self) -> Memory {
        Memory::of(self.pid).unwrap_or_default()
    }

    /// Updates `date` (`Fri Nov 20 11:32:16 2026`). The date is formatted at most once per second.
    fn set_date(&mut self) {
        let second = (now() / 1_000_000) as i64;
        if second != self.second {
            self.second = second;
            self.date = LocalTime::now().ctime();
        }
    }
}
