//! The control socket: who asks, what he may ask, and his answer.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::socket::{self, FileId};
use crate::sys::unix_socket::{self, Access, PlaceError};
use crate::sys::{stream, user};

use super::realm::{Realm, Vassal};
use super::talk::{Answer, Request, Row, Verb};
use super::vassal::{Event, Reload, State};

/// Those who ask at the same time; more wait.
const MOST_CLIENTS: usize = 32;
/// The longest request, bytes.
const LONGEST_REQUEST: usize = 8192;
/// How long a client may take to ask, or to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long vassals may take to say how they are.
const REPORT_TIME: Duration = Duration::from_secs(2);

/// The control socket and those who are connected.
pub(super) struct Control {
    listener: OwnedFd,
    path: PathBuf,
    id: FileId,
    clients: Vec<Client>,
}

struct Client {
    connection: OwnedFd,
    uid: u32,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// It has not said all of its request.
    Asking(Vec<u8>),
    /// The vassals are asked how they are.
    Reporting(Request),
    /// The vassal does what it was told to.
    Waiting(PathBuf),
    /// So much of the answer is to be sent yet.
    Answering(Vec<u8>),
    Done,
}

impl Control {
    /// Listens at a path; the socket is everybody's, since it is the user at the other end who counts.
    ///
    /// # Errors
    /// When the socket cannot be put there: another emperor has the same vassals, say.
    pub(super) fn open(path: &Path, owner: Option<u32>) -> Result<Self, PlaceError> {
        let access = Access {
            mode: Some(0o666),
            uid: owner,
            gid: None,
        };
        let (listener, id) = unix_socket::place(path, access, 16)?;
        socket::set_nonblocking(&listener, true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            id,
            clients: Vec::new(),
        })
    }

    /// What to wait for: the socket itself, then the clients that may say something.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut descriptors = Vec::new();
        if self.clients.len() < MOST_CLIENTS {
            descriptors.push(self.listener.as_fd());
        }
        let clients = self.clients.iter();
        let speaking =
            clients.filter(|client| matches!(client.stage, Stage::Asking(_) | Stage::Waiting(_)));
        descriptors.extend(speaking.map(|client| client.connection.as_fd()));
        descriptors
    }

    /// When there is something to do, if nothing is heard before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let clients = self.clients.iter();
        let deadlines = clients.filter_map(|client| match client.stage {
            // what a client does not take at once is offered again soon
            Stage::Answering(_) => Some(now + Duration::from_millis(20)),
            Stage::Waiting(_) => None,
            _ => Some(client.deadline),
        });
        deadlines.min()
    }

    /// Hears who has come, what they ask, and serves them.
    pub(super) fn serve(&mut self, realm: &mut Realm, now: Instant) {
        while self.clients.len() < MOST_CLIENTS
            && let Ok(connection) = stream::accept(self.listener.as_raw_fd())
        {
            let ready = socket::set_nonblocking(&connection, true);
            if let (Ok(()), Ok(uid)) = (ready, socket::peer_user(connection.as_fd())) {
                self.clients.push(Client {
                    connection,
                    uid,
                    deadline: now + PATIENCE,
                    stage: Stage::Asking(Vec::new()),
                });
            }
        }
        for client in &mut self.clients {
            client.serve(realm, now);
        }
        self.clients
            .retain(|client| !matches!(client.stage, Stage::Done));
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // one that cannot be removed is replaced by the next emperor of these vassals
        let _ = unix_socket::remove(&self.path, self.id);
    }
}

impl Client {
    fn serve(&mut self, realm: &mut Realm, now: Instant) {
        if let Stage::Asking(_) = self.stage {
            self.read(now);
            if let Stage::Reporting(request) = &self.stage {
                let request = request.clone();
                self.begin(request, realm, now);
            }
        }
        if let Stage::Reporting(request) = &self.stage
            && (realm.has_answered() || self.deadline <= now)
        {
            let rows = self.rows(realm, request.name.as_deref(), now);
            self.answer(rows, now);
        }
        if let Stage::Waiting(path) = &self.stage {
            let answer = match realm.get(path) {
                None => Some(Answer::default()),
                Some(vassal) if vassal.is_settled() => Some(Answer {
                    error: None,
                    vassals: vec![row(vassal, now)],
                }),
                Some(_) if self.has_left() => Some(Answer::default()),
                Some(_) => None,
            };
            if let Some(answer) = answer {
                self.answer(Ok(answer.vassals), now);
            }
        }
        if let Stage::Answering(_) = self.stage {
            self.write(now);
        }
    }

    fn read(&mut self, now: Instant) {
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
        match serde_json::from_slice::<Request>(&text[..end]) {
            Ok(request) => self.stage = Stage::Reporting(request),
            Err(_) => self.answer(
                Err("this is no request; is the ruwsgi that asks of the same version?".into()),
                now,
            ),
        }
    }

    fn begin(&mut self, request: Request, realm: &mut Realm, now: Instant) {
        let event = match request.verb {
            Verb::List => {
                realm.ask();
                self.deadline = now + REPORT_TIME;
                return;
            }
            Verb::Reload => Event::Reload,
            Verb::Stop => Event::Stop,
            Verb::Start | Verb::Retry => Event::Start,
        };
        let path = match self.choose(realm, request.name.as_deref().unwrap_or_default()) {
            Ok(path) => path,
            Err(sentence) => return self.answer(Err(sentence), now),
        };
        tracing::info!(
            "vassal {}: {:?} is asked for by {}",
            realm
                .get(&path)
                .map_or("", |vassal| vassal.found.name.as_str()),
            request.verb,
            user::name_of(self.uid)
        );
        realm.one(&path, event, now);
        realm.tick(now);
        match request.wait {
            true => self.stage = Stage::Waiting(path),
            false => {
                let rows = realm.get(&path).map(|vassal| row(vassal, now));
                self.answer(Ok(rows.into_iter().collect()), now);
            }
        }
    }

    /// Root and the emperor's own user may do everything, others what is their own.
    fn may(&self, vassal: &Vassal) -> bool {
        self.uid == 0 || self.uid == user::current_uid() || vassal.owner() == Some(self.uid)
    }

    fn choose(&self, realm: &Realm, name: &str) -> Result<PathBuf, String> {
        let called: Vec<&Vassal> = realm
            .vassals()
            .filter(|vassal| vassal.is_called(name))
            .collect();
        match called.as_slice() {
            [] => Err(format!(
                "there is no vassal {name}; ruwsgi ls names them all"
            )),
            [vassal] if self.may(vassal) => Ok(vassal.found.path.clone()),
            [_] => Err(format!(
                "the vassal {name} is not yours: only its owner, the emperor's user and root may do that"
            )),
            _ => Err(format!(
                "several vassals are called {name}: write the path of the one that is meant"
            )),
        }
    }

    fn rows(&self, realm: &Realm, name: Option<&str>, now: Instant) -> Result<Vec<Row>, String> {
        match name {
            None => Ok(realm
                .vassals()
                .filter(|vassal| self.may(vassal))
                .map(|vassal| row(vassal, now))
                .collect()),
            Some(name) => {
                let path = self.choose(realm, name)?;
                Ok(realm
                    .get(&path)
                    .map(|vassal| row(vassal, now))
                    .into_iter()
                    .collect())
            }
        }
    }

    fn answer(&mut self, rows: Result<Vec<Row>, String>, now: Instant) {
        let answer = match rows {
            Ok(vassals) => Answer {
                error: None,
                vassals,
            },
            Err(error) => Answer {
                error: Some(error),
                vassals: Vec::new(),
            },
        };
        let mut text = serde_json::to_vec(&answer).unwrap_or_default();
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
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// How a vassal is, told.
fn row(vassal: &Vassal, now: Instant) -> Row {
    let mut row = Row {
        name: vassal.found.name.clone(),
        path: vassal.found.path.display().to_string(),
        reason: vassal.trouble.clone(),
        pid: vassal.state.pid().map(|pid| pid.get()),
        ..Row::default()
    };
    let state = match vassal.state {
        State::Due { due, failures } => {
            row.failures = failures;
            let left = due.saturating_duration_since(now).as_secs_f64();
            row.next_try = (failures > 0).then_some(left);
            if failures > 0 {
                "backing off"
            } else {
                "waiting"
            }
        }
        State::Starting { failures, .. } => {
            row.failures = failures;
            "starting"
        }
        State::Ready { since, reload, .. } => {
            row.uptime = Some(now.saturating_duration_since(since).as_secs());
            row.workers = Some(vassal.report.workers);
            row.requests = Some(vassal.report.requests);
            row.memory_kib = Some(vassal.report.memory_kib);
            if reload == Reload::None {
                "ready"
            } else {
                "reloading"
            }
        }
        State::Leaving { .. } => "stopping",
        State::Stopped => "stopped",
        State::Refused => "failed",
        State::Gone => "gone",
    };
    row.state = state.to_owned();
    row
}
