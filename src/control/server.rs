//! The listening end of a control socket. It serves a limited number of clients; each sends one request and receives
//! one response.
//!
//! No function here blocks. A client that is slow to send its request or to read its response is dropped after a
//! timeout.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ipc::control::{Answer, Request};
use crate::net::{PlaceError, SocketPermissions, unix_socket};
use crate::sys::poll::Interest;
use crate::sys::socket::{self, FileId};
use crate::sys::stream;
use crate::sys::user;

use super::reply::Reply;

/// Maximum number of clients; further clients wait in the accept queue.
const MAX_CLIENTS: usize = 32;
/// Number of clients reserved for root and the server's own user. Clients of other users cannot take these places.
const RESERVED: usize = 8;
/// Maximum number of clients of one user other than root and the server's own user.
const MAX_CLIENTS_PER_USER: usize = 8;
/// Maximum number of connections accepted per turn of the event loop.
const MAX_ACCEPTS: usize = 64;
/// Maximum length of a request, bytes.
const MAX_REQUEST: usize = 8192;
/// Length of the accept queue.
const BACKLOG: u32 = 64;
/// Time limit for a client to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after accept(2) failed, for example because no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The process behind a control socket, which carries out requests.
pub(crate) trait Host {
    /// The host's record of a request whose response follows later.
    type Pending;

    /// Begins a request of user `uid`. Returns the response, or a pending request whose response follows later.
    fn begin(&mut self, uid: u32, request: Request, now: Instant) -> Next<Self::Pending>;

    /// The response to a pending request; `None` if the request is not complete. After the deadline of [`Next::Wait`],
    /// `overdue` is true and the host must return a response.
    fn poll(
        &mut self,
        uid: u32,
        pending: &Self::Pending,
        overdue: bool,
        now: Instant,
    ) -> Option<Answer>;
}

/// The result of beginning a request.
pub(crate) enum Next<P> {
    /// The request is complete; the field is the response.
    Answer(Answer),
    /// The response follows later, at the given time at the latest.
    Wait(P, Option<Instant>),
}

/// A control socket and its clients.
pub(crate) struct ControlServer<P> {
    listener: OwnedFd,
    path: PathBuf,
    id: FileId,
    clients: Vec<Client<P>>,
    /// Time before which no connection is accepted; `None` if connections are accepted.
    paused: Option<Instant>,
}

struct Client<P> {
    connection: OwnedFd,
    uid: u32,
    stage: Stage<P>,
}

enum Stage<P> {
    /// The client has not sent its whole request yet.
    Reading { request: Vec<u8>, deadline: Instant },
    /// The host has not produced the response yet. The response is due at the given time; `None` means no time limit.
    Waiting(P, Option<Instant>),
    /// The response is being sent.
    Writing(Reply),
    /// The connection is finished and can be closed.
    Done,
}

impl<P> ControlServer<P> {
    /// Listens at `path`.
    ///
    /// # Errors
    /// Fails if the socket cannot be bound, for example because another process listens there.
    pub(crate) fn open(path: &Path, permissions: SocketPermissions) -> Result<Self, PlaceError> {
        let (listener, id) = unix_socket::place(path, permissions, BACKLOG)?;
        socket::set_nonblocking(&listener, true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            id,
            clients: Vec::new(),
            paused: None,
        })
    }

    /// The descriptors to poll. One is ready when a client connects, sends, disconnects or can receive more.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        let listener = self.is_accepting().then(|| self.listener.as_fd());
        let listener = listener.map(|fd| (fd, Interest::Read));
        let clients = self.clients.iter().map(|client| {
            let interest = match client.stage {
                Stage::Writing(_) => Interest::Write,
                _ => Interest::Read,
            };
            (client.connection.as_fd(), interest)
        });
        listener.into_iter().chain(clients)
    }

    /// The time at which [`ControlServer::serve`] must be called even if no descriptor is ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = self
            .clients
            .iter()
            .filter_map(|client| match &client.stage {
                Stage::Reading { deadline, .. } => Some(*deadline),
                Stage::Waiting(_, until) => *until,
                Stage::Writing(reply) => Some(reply.deadline()),
                Stage::Done => None,
            });
        deadlines.chain(self.paused).min()
    }

    /// Accepts connections, reads requests and sends responses, without blocking.
    pub(crate) fn serve(&mut self, host: &mut impl Host<Pending = P>, now: Instant) {
        self.paused = self.paused.filter(|until| *until > now);
        for _ in 0..MAX_ACCEPTS {
            if !self.is_accepting() {
                break;
            }
            match stream::accept(self.listener.as_raw_fd()) {
                Ok(connection) => self.admit(connection, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // without a pause, the connection that could not be accepted would wake the loop at once
                Err(_) => self.paused = Some(now + ACCEPT_PAUSE),
            }
        }
        for client in &mut self.clients {
            client.serve(host, now);
        }
        self.clients
            .retain(|client| !matches!(client.stage, Stage::Done));
    }

    fn is_accepting(&self) -> bool {
        self.clients.len() < MAX_CLIENTS && self.paused.is_none()
    }

    /// Adds a client. If an unprivileged user, or all users together, have too many clients, sends a refusal and closes
    /// the connection.
    fn admit(&mut self, connection: OwnedFd, now: Instant) {
        let ready = socket::set_nonblocking(&connection, true);
        let (Ok(()), Ok(uid)) = (ready, socket::peer_user(connection.as_fd())) else {
            return;
        };
        let of_same_user = self.clients.iter().filter(|other| other.uid == uid).count();
        let max_clients = MAX_CLIENTS - RESERVED;
        if !is_privileged(uid)
            && (of_same_user >= MAX_CLIENTS_PER_USER || self.clients.len() >= max_clients)
        {
            let refusal = Answer::refusal("too many clients; try again");
            Reply::new(encode(&refusal), now).send(connection.as_fd(), now);
            return;
        }
        self.clients.push(Client {
            connection,
            uid,
            stage: Stage::Reading {
                request: Vec::new(),
                deadline: now + REQUEST_TIMEOUT,
            },
        });
    }
}

fn is_privileged(uid: u32) -> bool {
    uid == 0 || uid == user::current_uid()
}

impl<P> Drop for ControlServer<P> {
    fn drop(&mut self) {
        // if the file cannot be removed, the next start replaces it
        let _ = unix_socket::remove(&self.path, self.id);
    }
}

impl<P> Client<P> {
    fn serve(&mut self, host: &mut impl Host<Pending = P>, now: Instant) {
        if let Stage::Reading { .. } = self.stage {
            self.read(host, now);
        }
        if let Stage::Waiting(pending, until) = &self.stage {
            let overdue = until.is_some_and(|until| until <= now);
            match host.poll(self.uid, pending, overdue, now) {
                Some(answer) => self.answer(&answer, now),
                None if self.is_disconnected() => self.stage = Stage::Done,
                None => {}
            }
        }
        if let Stage::Writing(reply) = &mut self.stage
            && reply.send(self.connection.as_fd(), now)
        {
            self.stage = Stage::Done;
        }
    }

    fn read(&mut self, host: &mut impl Host<Pending = P>, now: Instant) {
        let Stage::Reading { request, deadline } = &mut self.stage else {
            return;
        };
        let over = match stream::recv_into(self.connection.as_raw_fd(), request, MAX_REQUEST) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        let Some(end) = request.iter().position(|byte| *byte == b'\n') else {
            if over || request.len() >= MAX_REQUEST || *deadline <= now {
                self.stage = Stage::Done;
            }
            return;
        };
        let Ok(request) = serde_json::from_slice::<Request>(&request[..end]) else {
            return self.answer(&Answer::not_understood(), now);
        };
        match host.begin(self.uid, request, now) {
            Next::Answer(answer) => self.answer(&answer, now),
            Next::Wait(pending, until) => self.stage = Stage::Waiting(pending, until),
        }
    }

    fn answer(&mut self, answer: &Answer, now: Instant) {
        self.stage = Stage::Writing(Reply::new(encode(answer), now));
    }

    /// Whether a waiting client has disconnected. A client that sends more data counts as disconnected too, because its
    /// unread data would wake the loop again and again.
    fn is_disconnected(&self) -> bool {
        let mut more = Vec::new();
        match stream::recv_into(self.connection.as_raw_fd(), &mut more, MAX_REQUEST) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Encodes a response as one line of JSON.
fn encode(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use crate::sys::poll;

    use super::*;

    /// A host that responds to each request with a text. The field is the length of the text in bytes.
    struct Verbose(usize);

    impl Host for Verbose {
        type Pending = ();

        fn begin(&mut self, _: u32, _: Request, _: Instant) -> Next<()> {
            Next::Answer(Answer::refusal("x".repeat(self.0)))
        }

        fn poll(&mut self, _: u32, _: &(), _: bool, _: Instant) -> Option<Answer> {
            None
        }
    }

    #[test]
    fn a_slow_client_gets_a_response_larger_than_the_socket_buffer() {
        const SIZE: usize = 8 << 20;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let mut server: ControlServer<()> =
            ControlServer::open(&path, SocketPermissions::default()).unwrap();
        let client = std::thread::spawn(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            let request = br#"{"verb":"list","name":null,"wait":false}"#;
            stream.write_all(request).unwrap();
            stream.write_all(b"\n").unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer.len()
        });
        while !client.is_finished() {
            let timeout = Some(Duration::from_millis(100));
            let descriptors: Vec<_> = server.descriptors().collect();
            poll::wait_for(&descriptors, timeout).unwrap();
            server.serve(&mut Verbose(SIZE), Instant::now());
        }
        assert!(client.join().unwrap() > SIZE);
        // nothing is ready any more, so the loop sleeps
        let descriptors: Vec<_> = server.descriptors().collect();
        let ready = poll::wait_for(&descriptors, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
    }
}
