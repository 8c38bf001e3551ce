//! Values that are one word of a fixed list. Also the owner of a socket.

use crate::config::finding::Fault;

use super::setting::Parsed;
use super::text::without_comment;

/// The server whose defaults apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compat {
    /// uWSGI.
    Uwsgi,
}

/// Parses the value of `compat`.
pub(crate) fn compat(text: &str) -> Parsed<Compat> {
    match text {
        "uwsgi" => Ok((Compat::Uwsgi, None)),
        _ => Err(Fault::new("there are no defaults of this name").hint("write compat = uwsgi")),
    }
}

/// The algorithm that sets the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ScalingAlgorithm {
    /// Keep at least one thread idle.
    #[default]
    Spare,
    /// Limit the number of connections that wait to be accepted.
    Backlog,
    /// Keep the average load between two bounds.
    Busyness,
    /// Change the number only when the operator asks for it.
    Manual,
}

/// Parses the value of `cheaper-algo`.
pub(crate) fn scaling_algorithm(text: &str) -> Parsed<ScalingAlgorithm> {
    let (value, remark) = without_comment(text);
    let algorithm = match value {
        "spare" => ScalingAlgorithm::Spare,
        "backlog" => ScalingAlgorithm::Backlog,
        "busyness" => ScalingAlgorithm::Busyness,
        "manual" => ScalingAlgorithm::Manual,
        "spare2" | "backlog2" => {
            return Err(
                Fault::new("this algorithm is not supported").hint("write spare or busyness")
            );
        }
        _ => {
            return Err(
                Fault::new("unknown algorithm").hint("write spare, backlog, busyness or manual")
            );
        }
    };
    Ok((algorithm, remark))
}

/// The protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wire {
    /// uWSGI's own protocol.
    #[default]
    Uwsgi,
    /// HTTP/1.1.
    Http,
}

/// Parses the value of `protocol`.
pub(crate) fn protocol(text: &str) -> Parsed<Wire> {
    match text {
        "uwsgi" => Ok((Wire::Uwsgi, None)),
        "http" | "http11" => Ok((Wire::Http, None)),
        "fastcgi" | "scgi" | "suwsgi" | "https" | "raw" | "puwsgi" | "fastcgi-nph" | "scgi-nph" => {
            Err(Fault::new("this protocol is not supported")
                .hint("use uwsgi or http, with nginx in front for other protocols"))
        }
        _ => Err(Fault::new("unknown protocol").hint("write uwsgi or http")),
    }
}

/// The owner of a Unix socket: a user and a group, each by name or number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    /// The user; `None` leaves the user of the socket unchanged.
    pub(crate) user: Option<String>,
    /// The group; `None` leaves the group of the socket unchanged.
    pub(crate) group: Option<String>,
}

/// Parses `user:group`. The user or the group may be missing.
pub(crate) fn owner(text: &str) -> Parsed<Owner> {
    let (value, remark) = without_comment(text);
    let (user, group) = value.split_once(':').unwrap_or((value, ""));
    let part = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    match (part(user), part(group)) {
        (None, None) => {
            Err(Fault::new("the value names no user and no group").hint("write user:group"))
        }
        (user, group) => Ok((Owner { user, group }, remark)),
    }
}
