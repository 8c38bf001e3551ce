//! Sends one request to many servers at the same time, with one deadline for all responses.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::ipc::control::{Answer, Request};
use crate::net::unix_socket;
use crate::sys::poll::{self, Interest};

use super::client_io::{check_server, parse};

/// Maximum length of one response, bytes.
const MAX_ANSWER: usize = 8 << 20;
/// Maximum number of simultaneous connections to the sockets in one directory. Each user has a separate directory, so
/// the connections to one user's servers leave room for the connections to other users' servers.
const MAX_PER_DIRECTORY: usize = 64;
/// Pause before a connection that could not be made is tried again. The usual cause is a full accept queue of the
/// server.
const RETRY: Duration = Duration::from_millis(20);

/// Sends a request to the servers at all sockets. Returns one result per socket, in the order of `sockets`.
///
/// The result of a server that has not responded within `timeout` is the error `TimedOut`. Other results are the errors
/// of connect(2), read(2), write(2), [`check_server`] and [`parse`].
pub(super) fn exchange_all(
    sockets: &[PathBuf],
    request: &Request,
    timeout: Duration,
) -> Vec<io::Result<Answer>> {
    let end = Instant::now() + timeout;
    let mut text = serde_json::to_vec(request).unwrap_or_default();
    text.push(b'\n');
    let mut round = Round {
        sockets,
        text,
        waiting: (0..sockets.len()).collect(),
        calls: Vec::new(),
        results: sockets.iter().map(|_| None).collect(),
    };
    loop {
        round.connect();
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || (round.calls.is_empty() && round.waiting.is_empty()) {
            break;
        }
        round.step(left);
    }
    let timed_out = || Err(io::ErrorKind::TimedOut.into());
    let results = round.results.into_iter();
    results
        .map(|result| result.unwrap_or_else(timed_out))
        .collect()
}

struct Round<'a> {
    sockets: &'a [PathBuf],
    /// The request, a line of JSON.
    text: Vec<u8>,
    /// The indexes of the sockets that are not connected yet.
    waiting: VecDeque<usize>,
    calls: Vec<Call>,
    results: Vec<Option<io::Result<Answer>>>,
}

impl Round<'_> {
    /// Connects to waiting sockets until a limit is reached. The other sockets stay in the queue.
    fn connect(&mut self) {
        for index in std::mem::take(&mut self.waiting) {
            let directory = self.sockets[index].parent();
            let is_here = |call: &&Call| self.sockets[call.index].parent() == directory;
            if self.calls.iter().filter(is_here).count() >= MAX_PER_DIRECTORY {
                self.waiting.push_back(index);
                continue;
            }
            match Call::open(&self.sockets[index], index) {
                Ok(call) => self.calls.push(call),
                Err(error) if is_temporary(&error) => self.waiting.push_back(index),
                Err(error) => self.results[index] = Some(Err(error)),
            }
        }
    }

    /// Waits until a connection is ready, and continues each ready connection.
    fn step(&mut self, left: Duration) {
        let timeout = match self.waiting.is_empty() {
            true => left,
            false => left.min(RETRY),
        };
        let polled = self.calls.iter().map(|call| {
            let interest = match call.sent < self.text.len() {
                true => Interest::Write,
                false => Interest::Read,
            };
            (call.stream.as_fd(), interest)
        });
        let polled: Vec<_> = polled.collect();
        // after an error of poll(2) every connection is continued, and fails with its own error
        let ready = poll::wait_for(&polled, Some(timeout))
            .unwrap_or_else(|_| (0..self.calls.len()).collect());
        for position in ready.into_iter().rev() {
            let call = &mut self.calls[position];
            let result = match call.step(&self.text) {
                Ok(false) => continue,
                Ok(true) => parse(&call.received),
                Err(error) => Err(error),
            };
            let call = self.calls.swap_remove(position);
            self.results[call.index] = Some(result);
        }
    }
}

/// The connection to one server.
struct Call {
    /// The index of the server's socket in `sockets`.
    index: usize,
    stream: UnixStream,
    /// Number of bytes of the request that were sent.
    sent: usize,
    received: Vec<u8>,
}

impl Call {
    fn open(socket: &Path, index: usize) -> io::Result<Self> {
        let stream = unix_socket::connect_now(socket)?;
        check_server(&stream, socket)?;
        Ok(Self {
            index,
            stream,
            sent: 0,
            received: Vec::new(),
        })
    }

    /// Sends a part of the request or receives a part of the response. Returns whether the response is complete.
    fn step(&mut self, text: &[u8]) -> io::Result<bool> {
        let rest = &text[self.sent..];
        if !rest.is_empty() {
            self.sent += or_nothing(self.stream.write(rest))?.unwrap_or(0);
            return Ok(false);
        }
        let mut piece = [0; 16 << 10];
        let Some(size) = or_nothing(self.stream.read(&mut piece))? else {
            return Ok(false);
        };
        self.received.extend_from_slice(&piece[..size]);
        if self.received.len() > MAX_ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(size == 0 || self.received.last() == Some(&b'\n'))
    }
}

/// Converts an error that means "try again" (the call would block or was interrupted) to `None`.
fn or_nothing(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(size) => Ok(Some(size)),
        Err(error)
            if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a later connection may succeed: the accept queue is full, or this process has no free descriptor.
fn is_temporary(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAGAIN | Errno::EMFILE | Errno::EINTR))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixListener;

    use crate::ipc::control::Verb;

    use super::*;

    #[test]
    fn mute_servers_share_one_deadline_and_the_others_are_heard() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let paths: Vec<PathBuf> = ["a", "b", "c", "d"].map(at).to_vec();
        let _mute = [UnixListener::bind(&paths[0]), UnixListener::bind(&paths[1])];
        drop(UnixListener::bind(&paths[2]).unwrap());
        let server = UnixListener::bind(&paths[3]).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut text = [0; 4096];
            assert!(stream.read(&mut text).unwrap() > 0);
            stream.write_all(b"{\"vassals\":").unwrap();
            stream.write_all(b"[]}\n").unwrap();
        });
        let begun = Instant::now();
        let timeout = Duration::from_millis(300);
        let results = exchange_all(&paths, &Request::to_all(Verb::List), timeout);
        assert!(begun.elapsed() < 2 * timeout);
        let kinds: Vec<_> = results
            .iter()
            .map(|result| result.as_ref().err().map(io::Error::kind))
            .collect();
        let timed_out = Some(io::ErrorKind::TimedOut);
        let refused = Some(io::ErrorKind::ConnectionRefused);
        assert_eq!(kinds, [timed_out, timed_out, refused, None]);
        thread.join().unwrap();
    }
}
