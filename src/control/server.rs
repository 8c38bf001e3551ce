//! The listening end of a control socket: a few clients at a time, each with one request and one answer.
//!
//! Nothing here blocks: whoever is slow to ask, or to take the answer, is let go after a while.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::socket::{self, FileId};
use crate::sys::stream;
use crate::sys::unix_socket::{self, Access, PlaceError};
use crate::sys::user;

use super::messages::{Answer, Request};

/// Those who ask at the same time; more wait.
const MOST_CLIENTS: usize = 32;
/// Of these, so many for root and the user that runs this: nobody else can keep them out.
const RESERVED: usize = 8;
/// So many at the same time for each other user.
const MOST_OF_ONE: usize = 8;
/// So many are looked at before everything else gets its turn.
const MOST_AT_ONCE: usize = 64;
/// The longest request, bytes.
const LONGEST_REQUEST: usize = 8192;
/// Those who may wait to be let in.
const BACKLOG: u32 = 64;
/// How long a client may take to ask, or to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody is let in for so long when there are no descriptors left.
const CLOSED: Duration = Duration::from_millis(500);
/// What a client does not take at once is offered again after this.
const AGAIN: Duration = Duration::from_millis(20);

/// Who answers: the role behind the socket.
pub(crate) trait Host {
    /// What a client waits for.
    type Pending;

    /// A user has asked for something.
    fn begin(&mut self, uid: u32, request: Request, now: Instant) -> Next<Self::Pending>;

    /// The answer to a client that waits, once there is one; `overdue`: it must not wait any longer.
    fn go_on(
        &mut self,
        uid: u32,
        pending: &Self::Pending,
        overdue: bool,
        now: Instant,
    ) -> Option<Answer>;
}

/// What follows from a request.
pub(crate) enum Next<P> {
    /// This is the answer.
    Answer(Answer),
    /// The answer comes later, at this moment at the latest.
    Wait(P, Option<Instant>),
}

/// A control socket and those who are connected.
pub(crate) struct Desk<P> {
    listener: OwnedFd,
    path: PathBuf,
    id: FileId,
    clients: Vec<Client<P>>,
    /// Nobody can be let in before, for want of descriptors.
    closed: Option<Instant>,
}

struct Client<P> {
    connection: OwnedFd,
    uid: u32,
    deadline: Instant,
    stage: Stage<P>,
}

enum Stage<P> {
    /// It has not said all of its request.
    Asking(Vec<u8>),
    /// It waits for the answer.
    Waiting(P, Option<Instant>),
    /// So much of the answer is to be sent yet.
    Answering(Vec<u8>),
    Done,
}

impl<P> Desk<P> {
    /// Listens at a path.
    ///
    /// # Errors
    /// When the socket cannot be put there: somebody else listens at that path, say.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self, PlaceError> {
        let (listener, id) = unix_socket::place(path, access, BACKLOG)?;
        socket::set_nonblocking(&listener, true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            id,
            clients: Vec::new(),
            closed: None,
        })
    }

    /// What to wait for: the socket itself, then the clients that may say something.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut descriptors = Vec::new();
        if self.clients.len() < MOST_CLIENTS && self.closed.is_none() {
            descriptors.push(self.listener.as_fd());
        }
        let speaking =
            |client: &&Client<P>| matches!(client.stage, Stage::Asking(_) | Stage::Waiting(..));
        let clients = self.clients.iter().filter(speaking);
        descriptors.extend(clients.map(|client| client.connection.as_fd()));
        descriptors
    }

    /// When there is something to do, if nothing is heard before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let deadlines = self.clients.iter().filter_map(|client| match client.stage {
            Stage::Asking(_) => Some(client.deadline),
            Stage::Waiting(_, until) => until,
            Stage::Answering(_) => Some(now + AGAIN),
            Stage::Done => None,
        });
        deadlines.chain(self.closed).min()
    }

    /// Hears who has come, what they ask, and serves them.
    pub(crate) fn serve(&mut self, host: &mut impl Host<Pending = P>, now: Instant) {
        self.closed = self.closed.filter(|until| *until > now);
        for _ in 0..MOST_AT_ONCE {
            if self.clients.len() >= MOST_CLIENTS || self.closed.is_some() {
                break;
            }
            match stream::accept(self.listener.as_raw_fd()) {
                Ok(connection) => self.admit(connection, now),
                Err(error) => {
                    // who waits would make us try again without end
                    let nobody = error.kind() == io::ErrorKind::WouldBlock;
                    self.closed = (!nobody).then(|| now + CLOSED);
                    break;
                }
            }
        }
        for client in &mut self.clients {
            client.serve(host, now);
        }
        self.clients
            .retain(|client| !matches!(client.stage, Stage::Done));
    }
}

impl<P> Desk<P> {
    /// Lets a client in, unless there are too many of its user.
    fn admit(&mut self, connection: OwnedFd, now: Instant) {
        let ready = socket::set_nonblocking(&connection, true);
        let (Ok(()), Ok(uid)) = (ready, socket::peer_user(connection.as_fd())) else {
            return;
        };
        let mut client = Client {
            connection,
            uid,
            deadline: now + PATIENCE,
            stage: Stage::Asking(Vec::new()),
        };
        let of_the_same = self.clients.iter().filter(|other| other.uid == uid).count();
        let most = MOST_CLIENTS - RESERVED;
        if !is_privileged(uid) && (of_the_same >= MOST_OF_ONE || self.clients.len() >= most) {
            client.answer(&Answer::refusal("too many ask at the same time"), now);
            client.write(now);
            return;
        }
        self.clients.push(client);
    }
}

fn is_privileged(uid: u32) -> bool {
    uid == 0 || uid == user::current_uid()
}

impl<P> Drop for Desk<P> {
    fn drop(&mut self) {
        // one that cannot be removed is replaced by the next of the same name
        let _ = unix_socket::remove(&self.path, self.id);
    }
}

impl<P> Client<P> {
    fn serve(&mut self, host: &mut impl Host<Pending = P>, now: Instant) {
        if let Stage::Asking(_) = self.stage {
            self.read(host, now);
        }
        if let Stage::Waiting(pending, until) = &self.stage {
            let overdue = until.is_some_and(|until| until <= now);
            match host.go_on(self.uid, pending, overdue, now) {
                Some(answer) => self.answer(&answer, now),
                None if self.has_left() => self.stage = Stage::Done,
                None => {}
            }
        }
        if let Stage::Answering(_) = self.stage {
            self.write(now);
        }
    }

    fn read(&mut self, host: &mut impl Host<Pending = P>, now: Instant) {
        let Stage::Asking(text) = &mut self.stage else {
            return;
        };
        let over = match stream::recv_into(self.connection.as_raw_fd(), text, LONGEST_REQUEST) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
            if over || text.len() >= LONGEST_REQUEST || self.deadline <= now {
                self.stage = Stage::Done;
            }
            return;
        };
        let Ok(request) = serde_json::from_slice::<Request>(&text[..end]) else {
            return self.answer(&Answer::not_understood(), now);
        };
        match host.begin(self.uid, request, now) {
            Next::Answer(answer) => self.answer(&answer, now),
            Next::Wait(pending, until) => self.stage = Stage::Waiting(pending, until),
        }
    }

    fn answer(&mut self, answer: &Answer, now: Instant) {
        let mut text = serde_json::to_vec(answer).unwrap_or_default();
        text.push(b'\n');
        self.deadline = now + PATIENCE;
        self.stage = Stage::Answering(text);
    }

    fn write(&mut self, now: Instant) {
        let Stage::Answering(text) = &mut self.stage else {
            return;
        };
        match stream::send(self.connection.as_raw_fd(), &[IoSlice::new(text)]) {
            Ok(sent) => drop(text.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => text.clear(),
        }
        if text.is_empty() || self.deadline <= now {
            self.stage = Stage::Done;
        }
    }

    /// Whether it waits no longer.
    fn has_left(&self) -> bool {
        let mut more = Vec::new();
        match stream::recv_into(self.connection.as_raw_fd(), &mut more, LONGEST_REQUEST) {
            // one that talks on keeps us from our work
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
