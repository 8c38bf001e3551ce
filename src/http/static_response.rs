//! Answers requests with static files. The application does not get these requests.

use super::application_headers::ApplicationHeaders;
use super::request::Request;
use super::response::Response;
use super::shared_response::SharedResponse;
use crate::protocol::response::header_value_is_valid;
use crate::static_files::conditional::{self, Conditions, Plan, Validators};
use crate::static_files::entity_tag;
use crate::static_files::files::{Found, Served, StaticFiles, Wanted};
use crate::static_files::multipart::{Multipart, Piece, content_range};
use crate::static_files::redirect;
use crate::static_files::settings::ServeMode;
use crate::static_files::time::{http_date, now};

/// Completes the response with the file of the request. Returns false if there is no such file. The response is then
/// unchanged, and the application must answer.
pub fn answer(files: &StaticFiles, request: &Request, response: &SharedResponse) -> bool {
    let is_head = match request.method() {
        b"GET" => false,
        b"HEAD" => true,
        _ => return false,
    };
    let now = now();
    let wanted = Wanted {
        path_info: request.path_info(),
        uri: request.uri(),
        document_root: files
            .reads_document_root()
            .then(|| request.variable(b"DOCUMENT_ROOT"))
            .flatten(),
        accept_encoding: request.variable(b"HTTP_ACCEPT_ENCODING"),
    };
    // a file system may be slow, so the response is not locked during the search
    match files.find(&wanted, now) {
        None => false,
        Some(Found::Directory) => {
            redirect(request, &mut response.lock());
            true
        }
        Some(Found::File(served)) => {
            let mut response = response.lock();
            send(files, request, &mut response, (served, now, is_head))
        }
    }
}

/// Redirects to the path of a directory with a slash at its end.
fn redirect(request: &Request, response: &mut Response) {
    let query = request.uri().splitn(2, |&byte| byte == b'?').nth(1);
    let location = redirect::location(
        request.script_name(),
        request.path_info(),
        query.unwrap_or_default(),
    );
    begin(&mut response.head, 301);
    response.head.append(b"Location", &location);
    response.finish();
}

fn send(
    files: &StaticFiles,
    request: &Request,
    response: &mut Response,
    (served, now, is_head): (Served<'_>, u64, bool),
) -> bool {
    let tag = served
        .modified
        .map(|modified| entity_tag::of(served.size, modified, served.coding));
    let validators = Validators {
        tag: tag.as_deref(),
        modified: served.modified,
    };
    let is_own = files.serve_mode == ServeMode::Own;
    let takes_ranges = files.ranges && is_own && !is_head;
    let plan = conditional::plan(&conditions(request), validators, served.size, takes_ranges);
    let head = &mut response.head;
    match (plan, files.serve_mode) {
        (Plan::PreconditionFailed, _) => begin(head, 412),
        (Plan::Unsatisfiable, _) => {
            begin(head, 416);
            let range = format!("bytes */{}", served.size);
            head.append(b"Content-Range", range.as_bytes());
        }
        (Plan::NotModified, _) => {
            begin(head, 304);
            append_freshness(head, &served, now);
            append_validators(head, &served, validators);
        }
        (plan, ServeMode::Own) => {
            let pieces = append_content(head, plan, &served, (validators, now));
            if files.ranges {
                head.append(b"Accept-Ranges", b"bytes");
            }
            response.finish_with_file(served.file, &pieces);
            return true;
        }
        (_, ServeMode::Header(name)) => {
            let path = served.path.as_deref().unwrap_or_default();
            if !header_value_is_valid(path) {
                return false;
            }
            begin(head, 200);
            append_type(head, &served, served.media_type);
            append_freshness(head, &served, now);
            head.append(name.as_bytes(), path);
            append_validators(head, &served, validators);
        }
    }
    response.finish();
    true
}

/// Appends the head of a response with a body. Returns the pieces of the body.
fn append_content(
    head: &mut ApplicationHeaders,
    plan: Plan,
    served: &Served<'_>,
    (validators, now): (Validators<'_>, u64),
) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(1);
    let (mut length, mut multipart_type, mut range) = (served.size, None, None);
    begin(head, if plan == Plan::Whole { 200 } else { 206 });
    match plan {
        Plan::Parts(parts) => {
            let multipart = Multipart::new(&parts, served.size, served.media_type);
            length = multipart.length();
            multipart_type = Some(multipart.content_type);
            pieces = multipart.pieces;
        }
        Plan::Part(part) => {
            length = part.end - part.start;
            range = Some(content_range(&part, served.size));
            pieces.push(Piece::File(part));
        }
        _ => pieces.push(Piece::File(0..served.size)),
    }
    append_type(
        head,
        served,
        multipart_type.as_deref().or(served.media_type),
    );
    append_freshness(head, served, now);
    head.set_length(length);
    if let Some(range) = range {
        head.append(b"Content-Range", range.as_bytes());
    }
    append_validators(head, served, validators);
    pieces
}

/// Begins a head. The caller passes only valid statuses.
fn begin(head: &mut ApplicationHeaders, status: u16) {
    let _ = head.start(status.to_string().as_bytes());
}

fn append_type(head: &mut ApplicationHeaders, served: &Served<'_>, content_type: Option<&str>) {
    if let Some(coding) = served.coding {
        head.append(b"Content-Encoding", coding.name().as_bytes());
    }
    if let Some(content_type) = content_type {
        head.append(b"Content-Type", content_type.as_bytes());
    }
}

fn append_freshness(head: &mut ApplicationHeaders, served: &Served<'_>, now: u64) {
    if let Some(expiry) = served.expiry {
        let (time, control) = expiry.headers(now);
        head.append(b"Expires", http_date(time).as_bytes());
        head.append(b"Cache-Control", control.as_bytes());
    }
}

fn append_validators(
    head: &mut ApplicationHeaders,
    served: &Served<'_>,
    validators: Validators<'_>,
) {
    if let Some(modified) = served.modified {
        head.append(b"Last-Modified", http_date(modified.seconds).as_bytes());
    }
    if let Some(tag) = validators.tag {
        head.append(b"ETag", tag.as_bytes());
    }
    if served.varies {
        head.append(b"Vary", b"Accept-Encoding");
    }
}

/// The headers of a request that make the response conditional.
fn conditions(request: &Request) -> Conditions<'_> {
    let mut conditions = Conditions::default();
    for (name, value) in &request.vars {
        let field = match name.of(&request.text) {
            b"HTTP_IF_MATCH" => &mut conditions.if_match,
            b"HTTP_IF_NONE_MATCH" => &mut conditions.if_none_match,
            b"HTTP_IF_MODIFIED_SINCE" => &mut conditions.if_modified_since,
            b"HTTP_IF_UNMODIFIED_SINCE" => &mut conditions.if_unmodified_since,
            b"HTTP_RANGE" => &mut conditions.range,
            b"HTTP_IF_RANGE" => &mut conditions.if_range,
            _ => continue,
        };
        field.get_or_insert(value.of(&request.text));
    }
    conditions
}
