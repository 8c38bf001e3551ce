//! Performs what the rules of `route` and its variants have decided.

use std::time::{SystemTime, UNIX_EPOCH};

use super::engine::Engine;
use super::request::Request;
use super::response::Response;
use super::shared_response::SharedResponse;
use crate::log;
use crate::routing::{Answer, Ending, Facts, Outcome, Router, Variables};
use crate::static_files::relative::rest_after;

/// The variables of a request as the application sees them: `manage-script-name` has moved the mount point from
/// PATH_INFO to SCRIPT_NAME.
struct Seen<'a> {
    request: &'a Request,
    path_info: &'a [u8],
    /// SCRIPT_NAME with the mount point; `None` if no mount point is moved.
    script_name: Option<Vec<u8>>,
}

impl<'a> Seen<'a> {
    fn new(request: &'a Request, mount_points: &[Vec<u8>]) -> Self {
        let path = request.path_info();
        let mounted = mount_points
            .iter()
            .find_map(|point| Some((point, rest_after(path, point)?)));
        match mounted {
            None => Self {
                request,
                path_info: path,
                script_name: None,
            },
            Some((point, rest)) => {
                let outer = request.script_name();
                let outer = outer.strip_suffix(b"/").unwrap_or(outer);
                Self {
                    request,
                    path_info: rest,
                    script_name: Some([outer, point.as_slice()].concat()),
                }
            }
        }
    }
}

impl Variables for Seen<'_> {
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        match (name, &self.script_name) {
            (b"PATH_INFO", Some(_)) => Some(self.path_info),
            (b"SCRIPT_NAME", Some(script_name)) => Some(script_name),
            _ => self.request.variable(name),
        }
    }
}

/// What the rules have decided about a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Routed {
    /// Whether the rules have answered the request.
    pub(super) is_answered: bool,
    /// Whether the request gets no line in the request log.
    pub(super) is_unlogged: bool,
}

/// Runs rules for a request before it is answered. Changes its variables, and answers it if the rules demand it.
pub(super) fn before(
    engine: &Engine,
    router: &Router,
    request: &mut Request,
    response: &SharedResponse,
) -> Routed {
    let seen = Seen::new(request, &engine.settings.mount_points);
    let outcome = run(engine, router, &seen, 0);
    let script_name = seen.script_name;
    let is_set = |name: &[u8]| outcome.variables.iter().any(|(key, _)| key == name);
    // the application finds its mount point in SCRIPT_NAME if a rule has set PATH_INFO
    if let Some(script_name) = script_name.filter(|_| is_set(b"PATH_INFO")) {
        request.set(b"SCRIPT_NAME", &script_name);
    }
    for (name, value) in &outcome.variables {
        request.set(name, value);
    }
    let mut response = response.lock();
    response.change_headers(outcome.added_headers, outcome.removed_headers);
    match &outcome.ending {
        Ending::Application => {}
        Ending::Answer(answer) => send(answer, &mut response),
        Ending::Close => response.abort(),
    }
    Routed {
        is_answered: outcome.ending != Ending::Application,
        is_unlogged: outcome.is_unlogged,
    }
}

/// Runs rules for a request that is answered with this status. Returns whether the request gets no line in the request
/// log.
pub(super) fn after(engine: &Engine, router: &Router, request: &Request, status: u16) -> bool {
    let seen = Seen::new(request, &engine.settings.mount_points);
    run(engine, router, &seen, status).is_unlogged
}

/// Runs rules, and writes their lines to the log.
fn run(engine: &Engine, router: &Router, request: &Seen<'_>, status: u16) -> Outcome {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    let worker_id = engine.scoreboard.worker_id;
    let outcome = router.run(Facts::new(request, now, worker_id, status));
    for message in &outcome.messages {
        tracing::info!("{}", log::escape(message));
    }
    outcome
}

fn send(answer: &Answer, response: &mut Response) {
    let head = &mut response.head;
    // a status from a template may be invalid
    if head.start(&answer.status).is_err() {
        return response.fail(500, "Internal Server Error");
    }
    head.append(b"Content-Type", b"text/plain");
    if let Some((name, value)) = &answer.header {
        head.append(name.as_bytes(), value);
    }
    response.finish_with(&answer.body);
}
