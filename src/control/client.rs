//! The client of control sockets: sends a request of the command line to an emperor or a master, and returns the text
//! to print.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::log;
use crate::process::pidfile;
use crate::process::running_instance::{RunningInstance, SignalError};
use crate::sys::poll;
use crate::sys::signal::Signal;

use super::client_io::{TIMEOUT, exchange};
use super::client_round::exchange_all;
use super::socket_path;
use super::status_text;
use crate::ipc::control::{Answer, Count, Request, Row, Verb};

/// Timeout of a search for instances, for the responses of all servers together.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(3);

/// A request as given on the command line.
pub(crate) struct Question {
    pub(crate) verb: Verb,
    /// The requested vassal or instance, as typed; `None` means all instances.
    pub(crate) name: Option<String>,
    /// Whether to wait until the action is complete.
    pub(crate) wait: bool,
    /// The number of a worker, for `kill-worker`.
    pub(crate) worker: Option<u32>,
    /// The number of workers, for `scale`.
    pub(crate) count: Option<Count>,
    /// Whether to kill the worker at once.
    pub(crate) now: bool,
    /// The control socket; `None` means all sockets in the runtime directories.
    pub(crate) control: Option<PathBuf>,
    /// Whether to print the response as JSON.
    pub(crate) json: bool,
}

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The reason, as a sentence.
    Message(String),
    /// The request failed; the field is the response as JSON.
    Json(String),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Message(sentence)
    }
}

/// The vassals or instances that a request addresses.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// All instances, or all vassals of the emperor at the given socket.
    All,
    /// The vassal or instance with this name.
    Named(String),
    /// The instance with this configuration file.
    File(PathBuf),
    /// The instance with this process id, from a pidfile.
    Process(i32, PathBuf),
}

/// Sends the request, and waits for the response. Returns the text to print.
///
/// # Errors
/// Returns the reason of a refusal or a failure.
pub(crate) fn ask(question: &Question) -> Result<String, Failure> {
    let (target, socket) = parse_target(question.name.as_deref());
    check_pidfile(&target)?;
    let named = question.control.clone().or(socket);
    let sockets = match &named {
        Some(path) => vec![path.clone()],
        None => socket_path::sockets(),
    };
    let request = Request {
        wait: question.wait,
        worker: question.worker,
        count: question.count,
        now: question.now,
        ..Request::to_all(question.verb)
    };
    let servers = Servers {
        sockets,
        is_explicit: named.is_some(),
    };
    let answer = match (&target, question.verb) {
        (Target::All, Verb::List | Verb::Status) => servers.all(&request)?,
        (Target::All, _) => match servers.sockets.as_slice() {
            [socket] if servers.is_explicit => servers.exchange(socket, &request)?,
            _ => {
                let sentence = "no target: name an instance; ruwsgi ls lists them";
                return Err(sentence.to_owned().into());
            }
        },
        _ => match servers.find(&target)? {
            Found::At(socket, path, pid) => {
                let request = Request {
                    name: Some(path).filter(|path| !path.is_empty()),
                    pid,
                    ..request
                };
                servers.exchange(&socket, &request)?
            }
            Found::WithoutSocket(pidfile) => match servers.emperor_status(&target, &request) {
                Some(answer) => answer,
                None => return Ok(signal(&pidfile, question)?),
            },
        },
    };
    if let (Some(refusal), true) = (answer.error, answer.vassals.is_empty()) {
        return Err(refusal.into());
    }
    render(question, &answer.vassals)
}

/// Interprets `name`: the path of a control socket, pidfile or configuration file, or the name of an instance. Returns
/// the target, and the socket if `name` is a socket.
fn parse_target(name: Option<&str>) -> (Target, Option<PathBuf>) {
    let Some(name) = name else {
        return (Target::All, None);
    };
    let path = std::path::absolute(name).unwrap_or_else(|_| PathBuf::from(name));
    let kind = std::fs::metadata(&path).map(|about| about.file_type());
    match kind {
        Ok(kind) if kind.is_socket() => (Target::All, Some(path)),
        Ok(kind) if kind.is_file() => match pidfile::read(&path) {
            Ok(record) => (Target::Process(record.pid.get(), path), None),
            // a name without a slash names a vassal or an instance, even if this directory has a file of this name
            Err(_) if !name.contains('/') => (Target::Named(name.to_owned()), None),
            Err(_) => (Target::File(path), None),
        },
        _ => (Target::Named(name.to_owned()), None),
    }
}

/// Refuses a pidfile that names a process of another program, or a process of a user who has not written the pidfile.
/// The process need not exist, because a vassal on demand may have no process.
fn check_pidfile(target: &Target) -> Result<(), String> {
    let Target::Process(_, path) = target else {
        return Ok(());
    };
    match RunningInstance::of_pidfile(path) {
        Ok(_) | Err(SignalError::NotRunning { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The result of a search.
enum Found {
    /// The instance was found; the fields are its control socket, its path and its process id.
    At(PathBuf, String, Option<i32>),
    /// The process of this pidfile runs but has no control socket.
    WithoutSocket(PathBuf),
}

/// The servers that receive a request, by their control sockets.
struct Servers {
    sockets: Vec<PathBuf>,
    /// Whether the user has named the socket.
    is_explicit: bool,
}

impl Servers {
    /// Sends the request to all servers, and merges their responses.
    fn all(&self, request: &Request) -> Result<Answer, String> {
        let mut all = Answer::default();
        let mut reached = false;
        for (socket, result) in self.sockets.iter().zip(self.ask_all(request)) {
            match result {
                Ok(answer) => {
                    reached = true;
                    all.vassals.extend(answer.vassals);
                    all.error = all.error.or(answer.error);
                }
                Err(error) if self.is_explicit => return Err(unanswered(socket, &error)),
                Err(error) if is_mute(&error) => {
                    reached = true;
                    all.vassals.push(mute(socket, &error));
                }
                // the socket is stale, or this user may not connect
                Err(_) => {}
            }
        }
        match reached {
            true => Ok(all),
            false => Err("no running instance that you may control; if it has another control socket, use --control".into()),
        }
    }

    /// Sends the request to all servers at the same time. Returns their results in the order of the sockets.
    fn ask_all(&self, request: &Request) -> Vec<io::Result<Answer>> {
        let timeout = match request.verb {
            Verb::List | Verb::Find if !self.is_explicit => SEARCH_TIMEOUT,
            _ => TIMEOUT,
        };
        exchange_all(&self.sockets, request, timeout)
    }

    fn exchange(&self, socket: &Path, request: &Request) -> Result<Answer, String> {
        match exchange(socket, request) {
            Ok(answer) => Ok(answer),
            // a server that stops closes the connection without a response
            Err(error)
                if request.verb == Verb::Stop && error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Ok(Answer::default())
            }
            Err(error) => Err(unanswered(socket, &error)),
        }
    }

    /// Finds the one instance that matches the target.
    fn find(&self, target: &Target) -> Result<Found, String> {
        let mut request = Request::to_all(Verb::Find);
        let shown = match target {
            Target::Named(name) => {
                request.name = Some(name.clone());
                name.clone()
            }
            Target::File(path) => {
                request.name = Some(path.display().to_string());
                path.display().to_string()
            }
            Target::Process(pid, path) => {
                request.pid = Some(*pid);
                path.display().to_string()
            }
            Target::All => String::new(),
        };
        let mut found: Vec<(PathBuf, Row)> = Vec::new();
        let mut refusal = None;
        for (socket, result) in self.sockets.iter().zip(self.ask_all(&request)) {
            match result {
                // the server has another version and does not know the request
                Ok(answer) if answer.is_not_understood() && !self.is_explicit => {}
                Ok(answer) => {
                    refusal = refusal.or(answer.error);
                    found.extend(answer.vassals.into_iter().map(|row| (socket.clone(), row)));
                }
                Err(error) if self.is_explicit => return Err(unanswered(socket, &error)),
                Err(_) => {}
            }
        }
        match (found.as_slice(), target, refusal) {
            ([(socket, row)], ..) => Ok(Found::At(socket.clone(), row.path.clone(), row.pid)),
            ([], _, Some(refusal)) => Err(refusal),
            ([], Target::Process(_, path), None) => Ok(Found::WithoutSocket(path.clone())),
            ([], _, None) => Err(format!("no instance is named {shown}; {}", self.running())),
            (several, ..) => {
                let targets: Vec<String> = several.iter().map(|it| unique(it, several)).collect();
                Err(format!(
                    "{} instances are named {shown}; name one of them by its path: {}",
                    several.len(),
                    targets.join(", ")
                ))
            }
        }
    }

    /// The status of an emperor, if the target is the emperor's process id and the verb is `status`. Otherwise `None`.
    fn emperor_status(&self, target: &Target, request: &Request) -> Option<Answer> {
        let Target::Process(pid, _) = target else {
            return None;
        };
        if request.verb != Verb::Status {
            return None;
        }
        let mut all = self.all(request).ok()?.vassals.into_iter();
        all.find(|row| row.pid == Some(*pid)).map(Answer::of)
    }

    /// The list of the running instances, as the end of an error message.
    fn running(&self) -> String {
        let all = self.all(&Request::to_all(Verb::List)).unwrap_or_default();
        let names: Vec<String> = all.vassals.into_iter().map(|row| row.name).collect();
        match names.is_empty() {
            true => "there is none that you may control".to_owned(),
            false => format!("running: {}", names.join(", ")),
        }
    }
}

/// A text that identifies an instance among others of the same name. It is the path of the instance, or its control
/// socket if several have the same path.
fn unique((socket, row): &(PathBuf, Row), all: &[(PathBuf, Row)]) -> String {
    let same_path = all.iter().filter(|(_, other)| other.path == row.path);
    let is_unique = !row.path.is_empty() && same_path.count() == 1;
    let path = match is_unique {
        true => row.path.clone(),
        false => socket.display().to_string(),
    };
    match row.pid {
        Some(pid) => format!("{path} (pid {pid})"),
        None => path,
    }
}

/// Whether an error means that the process behind a socket runs but gives no usable response.
fn is_mute(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidData, TimedOut};
    [TimedOut, InvalidData, FileTooLarge].contains(&error.kind())
}

/// The row for a server that gives no usable response.
fn mute(socket: &Path, error: &io::Error) -> Row {
    let reason = match error.kind() {
        io::ErrorKind::TimedOut => format!("no response in time from {}", socket.display()),
        _ => unanswered(socket, error),
    };
    let name = socket.file_stem().unwrap_or_default().to_string_lossy();
    Row {
        name: log::printable(&name),
        path: log::printable(&socket.to_string_lossy()),
        state: "not answering".to_owned(),
        reason: Some(log::printable(&reason)),
        ..Row::default()
    }
}

fn unanswered(socket: &Path, error: &io::Error) -> String {
    format!("no response from {}: {error}", socket.display())
}

/// Sends a signal to the process of a pidfile, because the process has no control socket. Waits for its exit if `wait`
/// is set.
fn signal(pidfile: &Path, question: &Question) -> Result<String, String> {
    let signal = match question.verb {
        Verb::Reload if !question.wait => Signal::SIGHUP,
        Verb::Stop => Signal::SIGINT,
        _ => {
            return Err(format!(
                "the process of {} has no control socket; only stop, and reload without --wait, are possible",
                pidfile.display()
            ));
        }
    };
    let instance = RunningInstance::of_pidfile(pidfile).map_err(|error| error.to_string())?;
    let sent = instance.signal(signal);
    sent.map_err(|error| error.to_string())?;
    if question.wait {
        // no timeout is needed, because the user can interrupt this process
        while !poll::readable(instance.as_fd()) {
            poll::wait(&[instance.as_fd()], None).map_err(|error| error.to_string())?;
        }
    }
    let pid = instance.pid();
    let done = match (question.verb, question.wait) {
        (Verb::Stop, true) => "stopped",
        (Verb::Stop, false) => "stopping",
        _ => "reloading",
    };
    Ok(format!("process {pid}: {done}\n"))
}

/// The text to print for the rows of a response.
fn render(question: &Question, rows: &[Row]) -> Result<String, Failure> {
    if question.json {
        let text = serde_json::to_string_pretty(rows).map_err(|error| error.to_string())? + "\n";
        return match failure(question, rows) {
            None => Ok(text),
            Some(_) => Err(Failure::Json(text)),
        };
    }
    if let Some(sentence) = failure(question, rows) {
        return Err(sentence.into());
    }
    Ok(match (question.verb, &question.name) {
        (Verb::List, None) => status_text::all(rows),
        (Verb::List | Verb::Status, _) => rows.iter().map(status_text::details).collect(),
        (Verb::Stop, Some(name)) if rows.is_empty() => format!("{name}: stopped\n"),
        _ => rows
            .iter()
            .map(|row| format!("{}: {}\n", row.name, row.state))
            .collect(),
    })
}

/// The failure of the request, as text; `None` if the request succeeded.
fn failure(question: &Question, rows: &[Row]) -> Option<String> {
    let wanted = match question.verb {
        Verb::Stop => &["stopped"][..],
        Verb::Reload | Verb::Start | Verb::Retry => &["ready", "on demand"],
        _ => return None,
    };
    let row = rows.first().filter(|_| question.wait)?;
    if wanted.contains(&row.state.as_str()) && row.reason.is_none() {
        return None;
    }
    let reason = row.reason.as_deref().unwrap_or("see its log");
    let mut text = format!("{} is {}: {reason}", row.name, row.state);
    if let Some(traceback) = &row.traceback {
        text.push('\n');
        text.push_str(traceback.trim_end());
    }
    Some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_socket_a_pidfile_a_file_or_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let parse_at = |name: &str| parse_target(Some(at(name).to_str().unwrap()));
        std::fs::write(at("pid"), "4321\n").unwrap();
        std::fs::write(at("site.ini"), "[uwsgi]\n").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("sock")).unwrap();
        assert_eq!(parse_target(None), (Target::All, None));
        assert_eq!(parse_at("sock"), (Target::All, Some(at("sock"))));
        assert_eq!(parse_at("pid").0, Target::Process(4321, at("pid")));
        assert_eq!(parse_at("site.ini").0, Target::File(at("site.ini")));
        assert_eq!(parse_target(Some("blog")).0, Target::Named("blog".into()));
    }

    #[test]
    fn a_failed_reload_is_shown_with_its_traceback() {
        let question = Question {
            verb: Verb::Reload,
            name: Some("blog".into()),
            wait: true,
            worker: None,
            count: None,
            now: false,
            control: None,
            json: false,
        };
        let mut row = Row {
            name: "blog".into(),
            state: "ready".into(),
            ..Row::default()
        };
        assert_eq!(render(&question, &[row.clone()]).unwrap(), "blog: ready\n");
        row.reason = Some("it cannot be loaded".into());
        row.traceback = Some("Traceback:\n  no\n".into());
        assert_eq!(
            render(&question, &[row]).unwrap_err(),
            Failure::Message("blog is ready: it cannot be loaded\nTraceback:\n  no".into())
        );
    }
}
