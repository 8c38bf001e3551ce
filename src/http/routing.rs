//! Performs what the rules of `route` and its variants have decided.

use std::time::{SystemTime, UNIX_EPOCH};

use super::engine::Engine;
use super::request::Request;
use super::response::Response;
use super::shared_response::SharedResponse;
use crate::log;
use crate::routing::{Answer, Ending, Facts, Outcome, Router, Variables};

impl Variables for Request {
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.variable(name)
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
    let outcome = run(engine, router, request, 0);
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
    run(engine, router, request, status).is_unlogged
}

/// Runs rules, and writes their lines to the log.
fn run(engine: &Engine, router: &Router, request: &Request, status: u16) -> Outcome {
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
