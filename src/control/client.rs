//! `ruwsgi ls`, `status`, `reload`, `stop` and their kin: asking an emperor or a master.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::process::pidfile;
use crate::sys::poll;
use crate::sys::process;
use crate::sys::signal::Signal;

use super::client_io::exchange;
use super::socket_path;
use super::table;
use crate::ipc::control::{Answer, Count, Request, Row, Verb};

/// What to ask.
pub(crate) struct Question {
    pub(crate) verb: Verb,
    /// Who is meant, as it was typed; none for all.
    pub(crate) name: Option<String>,
    /// Answer when it is done.
    pub(crate) wait: bool,
    /// The worker that is meant.
    pub(crate) worker: Option<u32>,
    /// How many workers there are to be.
    pub(crate) count: Option<Count>,
    /// At once.
    pub(crate) now: bool,
    /// The control socket; without it all that are found are asked.
    pub(crate) control: Option<PathBuf>,
    /// Print what was answered, for machines.
    pub(crate) json: bool,
}

/// Why there is nothing good to print.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A sentence that says why nothing was done, or what went wrong.
    Said(String),
    /// The order failed; this is the answer, for machines.
    Answered(String),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Said(sentence)
    }
}

/// Who is meant.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Everybody, or whoever answers at the socket that was named.
    Everybody,
    /// Whoever is called so.
    Called(String),
    /// The instance of this file.
    File(PathBuf),
    /// The instance of this process, which a pidfile names.
    Process(i32, PathBuf),
}

/// Asks; gives what to print.
///
/// # Errors
/// Why nothing was done, or what went wrong.
pub(crate) fn ask(question: &Question) -> Result<String, Failure> {
    let (target, socket) = read(question.name.as_deref());
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
    let asked = Asked {
        sockets,
        named: named.is_some(),
    };
    let answer = match (&target, question.verb) {
        (Target::Everybody, Verb::List | Verb::Status) => asked.all(&request)?,
        (Target::Everybody, _) => match asked.sockets.as_slice() {
            [socket] if asked.named => asked.exchange(socket, &request)?,
            _ => {
                let sentence = "say which instance is meant; ruwsgi ls names them";
                return Err(sentence.to_owned().into());
            }
        },
        _ => match asked.find(&target)? {
            Found::At(socket, path, pid) => {
                let request = Request {
                    name: Some(path).filter(|path| !path.is_empty()),
                    pid,
                    ..request
                };
                asked.exchange(&socket, &request)?
            }
            Found::Nobody(pidfile) => match asked.emperor(&target, &request) {
                Some(answer) => answer,
                None => return Ok(signal(&pidfile, question)?),
            },
        },
    };
    if let (Some(refusal), true) = (answer.error, answer.vassals.is_empty()) {
        return Err(refusal.into());
    }
    told(question, &answer.vassals)
}

/// What a name means: a control socket, a pidfile, a configuration file, or a name.
fn read(name: Option<&str>) -> (Target, Option<PathBuf>) {
    let Some(name) = name else {
        return (Target::Everybody, None);
    };
    let path = std::path::absolute(name).unwrap_or_else(|_| PathBuf::from(name));
    let kind = std::fs::metadata(&path).map(|about| about.file_type());
    match kind {
        Ok(kind) if kind.is_socket() => (Target::Everybody, Some(path)),
        Ok(kind) if kind.is_file() => match pidfile::read(&path) {
            Ok(pid) => (Target::Process(pid.get(), path), None),
            // a vassal may be called like a file that happens to be here
            Err(_) if !name.contains('/') => (Target::Called(name.to_owned()), None),
            Err(_) => (Target::File(path), None),
        },
        _ => (Target::Called(name.to_owned()), None),
    }
}

/// Where somebody was found.
enum Found {
    /// At this socket, called exactly so.
    At(PathBuf, String, Option<i32>),
    /// The process of this pidfile has no control socket.
    Nobody(PathBuf),
}

/// The sockets that are asked.
struct Asked {
    sockets: Vec<PathBuf>,
    /// The one that was named.
    named: bool,
}

impl Asked {
    /// One answer of them all.
    fn all(&self, request: &Request) -> Result<Answer, String> {
        let mut all = Answer::default();
        let mut reached = false;
        for socket in &self.sockets {
            match exchange(socket, request) {
                Ok(answer) => {
                    reached = true;
                    all.vassals.extend(answer.vassals);
                    all.error = all.error.or(answer.error);
                }
                Err(error) if self.named => return Err(unanswered(socket, &error)),
                // left by one that was killed
                Err(_) => {}
            }
        }
        match reached {
            true => Ok(all),
            false => Err("nothing runs here that you may ask; if it has a control socket of its own, name that with --control".into()),
        }
    }

    fn exchange(&self, socket: &Path, request: &Request) -> Result<Answer, String> {
        match exchange(socket, request) {
            Ok(answer) => Ok(answer),
            // it stopped, and so the connection ended
            Err(error)
                if request.verb == Verb::Stop && error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Ok(Answer::default())
            }
            Err(error) => Err(unanswered(socket, &error)),
        }
    }

    /// The one that is meant.
    fn find(&self, target: &Target) -> Result<Found, String> {
        let mut request = Request::to_all(Verb::Find);
        let shown = match target {
            Target::Called(name) => {
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
            Target::Everybody => String::new(),
        };
        let mut found: Vec<(PathBuf, Row)> = Vec::new();
        let mut refusal = None;
        for socket in &self.sockets {
            match exchange(socket, &request) {
                // it knows nobody by this question; others may
                Ok(answer) if answer.is_not_understood() && !self.named => {}
                Ok(answer) => {
                    refusal = refusal.or(answer.error);
                    found.extend(answer.vassals.into_iter().map(|row| (socket.clone(), row)));
                }
                Err(error) if self.named => return Err(unanswered(socket, &error)),
                Err(_) => {}
            }
        }
        match (found.as_slice(), target, refusal) {
            ([(socket, row)], ..) => Ok(Found::At(socket.clone(), row.path.clone(), row.pid)),
            ([], _, Some(refusal)) => Err(refusal),
            ([], Target::Process(_, path), None) => Ok(Found::Nobody(path.clone())),
            ([], _, None) => Err(format!("{shown} is unknown here; {}", self.who_runs())),
            (several, ..) => {
                let paths: Vec<&str> = several.iter().map(|(_, row)| row.path.as_str()).collect();
                Err(format!(
                    "several are called {shown}: write the path of the one that is meant, of {}",
                    paths.join(", ")
                ))
            }
        }
    }

    /// What the emperor tells of itself whose process is meant.
    fn emperor(&self, target: &Target, request: &Request) -> Option<Answer> {
        let Target::Process(pid, _) = target else {
            return None;
        };
        if request.verb != Verb::Status {
            return None;
        }
        let mut all = self.all(request).ok()?.vassals.into_iter();
        all.find(|row| row.pid == Some(*pid)).map(Answer::of)
    }

    /// The names of all, in half a sentence.
    fn who_runs(&self) -> String {
        let all = self.all(&Request::to_all(Verb::List)).unwrap_or_default();
        let names: Vec<String> = all.vassals.into_iter().map(|row| row.name).collect();
        match names.is_empty() {
            true => "nothing runs that you may ask".to_owned(),
            false => format!("these run: {}", names.join(", ")),
        }
    }
}

fn unanswered(socket: &Path, error: &io::Error) -> String {
    format!("nobody answers at {}: {error}", socket.display())
}

/// The master of a pidfile can be signalled, though it cannot be asked: an emperor, or one without a control socket.
fn signal(pidfile: &Path, question: &Question) -> Result<String, String> {
    let signal = match question.verb {
        Verb::Reload if !question.wait => Signal::SIGHUP,
        Verb::Stop => Signal::SIGINT,
        _ => {
            return Err(format!(
                "the process of {} has no control socket, and so it can only be told to reload or to stop, without --wait for the reload",
                pidfile.display()
            ));
        }
    };
    let pid = pidfile::read(pidfile).map_err(|error| error.to_string())?;
    let handle = process::handle(pid);
    pidfile::signal(pidfile, signal).map_err(|error| error.to_string())?;
    if let (true, Ok(handle)) = (question.wait, handle) {
        // a signal to us ends the wait early
        while !poll::readable(handle.as_fd()) {
            poll::wait(&[handle.as_fd()], None).map_err(|error| error.to_string())?;
        }
    }
    let done = match (question.verb, question.wait) {
        (Verb::Stop, true) => "stopped",
        (Verb::Stop, false) => "stopping",
        _ => "reloading",
    };
    Ok(format!("process {pid}: {done}\n"))
}

/// What to print.
fn told(question: &Question, rows: &[Row]) -> Result<String, Failure> {
    if question.json {
        let text = serde_json::to_string_pretty(rows).map_err(|error| error.to_string())? + "\n";
        return match failed(question, rows) {
            None => Ok(text),
            Some(_) => Err(Failure::Answered(text)),
        };
    }
    if let Some(sentence) = failed(question, rows) {
        return Err(sentence.into());
    }
    Ok(match (question.verb, &question.name) {
        (Verb::List, None) => table::all(rows),
        (Verb::List | Verb::Status, _) => rows.iter().map(table::details).collect(),
        (Verb::Stop, Some(name)) if rows.is_empty() => format!("{name}: stopped\n"),
        _ => rows
            .iter()
            .map(|row| format!("{}: {}\n", row.name, row.state))
            .collect(),
    })
}

/// Why the order that was waited for failed, if it did.
fn failed(question: &Question, rows: &[Row]) -> Option<String> {
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
        let read_at = |name: &str| read(Some(at(name).to_str().unwrap()));
        std::fs::write(at("pid"), "4321\n").unwrap();
        std::fs::write(at("site.ini"), "[uwsgi]\n").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("sock")).unwrap();
        assert_eq!(read(None), (Target::Everybody, None));
        assert_eq!(read_at("sock"), (Target::Everybody, Some(at("sock"))));
        assert_eq!(read_at("pid").0, Target::Process(4321, at("pid")));
        assert_eq!(read_at("site.ini").0, Target::File(at("site.ini")));
        assert_eq!(read(Some("blog")).0, Target::Called("blog".into()));
    }

    #[test]
    fn a_reload_that_failed_is_told_with_its_traceback() {
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
        assert_eq!(told(&question, &[row.clone()]).unwrap(), "blog: ready\n");
        row.reason = Some("it cannot be loaded".into());
        row.traceback = Some("Traceback:\n  no\n".into());
        assert_eq!(
            told(&question, &[row]).unwrap_err(),
            Failure::Said("blog is ready: it cannot be loaded\nTraceback:\n  no".into())
        );
    }
}
