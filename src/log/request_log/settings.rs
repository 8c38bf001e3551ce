//! The settings of the request log. The configuration produces them; the master sends them to the zygotes, whose
//! workers inherit them.

use serde::{Deserialize, Serialize};

use super::format::{Piece, header_variable};
use super::outcome::Outcome;

/// Settings of the request log.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct RequestLogSettings {
    /// The requests that get a line.
    pub selection: Selection,
    /// The parsed `log-format` or `access-log-format`; `None` means uWSGI's default format.
    pub format: Option<Vec<Piece>>,
    /// `log-micros`: whether the default line shows microseconds.
    pub micros: bool,
    /// `log-x-forwarded-for`: whether the client address comes from the header X-Forwarded-For.
    pub forwarded_for: bool,
    /// `vhost`: whether the default line begins with the Host header.
    pub host: bool,
    /// `memory-report`: whether the default line begins with the worker's memory.
    pub memory: bool,
    /// `log-json`: whether each line is a JSON object.
    pub json: bool,
}

impl RequestLogSettings {
    /// Returns the response headers that the format contains, each with the name of the request variable that stores
    /// its value.
    pub fn response_headers(&self) -> Vec<(String, String)> {
        let pieces = self.format.iter().flatten();
        let headers = pieces.filter_map(|piece| match piece {
            Piece::Header(name) => Some((name.clone(), header_variable(name))),
            _ => None,
        });
        headers.collect()
    }
}

/// The condition under which a request gets a line: at least one of the fields applies to the request.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selection {
    /// Whether every request gets a line. False with `disable-logging`.
    pub all: bool,
    /// `log-4xx`: whether requests with a status of 400 to 499 get a line.
    pub client_errors: bool,
    /// `log-5xx`: whether requests with a status of 500 to 599 get a line.
    pub server_errors: bool,
    /// `log-slow`: the duration in milliseconds from which a request gets a line.
    pub slow_ms: Option<u64>,
    /// `log-big`: a request gets a line if its response (head and body) has more bytes than this.
    pub big: Option<u64>,
    /// `log-zero`: whether requests with an empty response body get a line.
    pub zero: bool,
    /// `log-sendfile`: whether requests whose response body was sent by sendfile(2) get a line.
    pub sendfile: bool,
    /// `log-ioerror`: whether requests whose client disconnected before the end of the response get a line.
    pub broken: bool,
}

impl Selection {
    /// Whether any request can get a line.
    pub fn selects_any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a request with this outcome gets a line.
    pub fn selects(&self, outcome: &Outcome) -> bool {
        self.all
            || (self.client_errors && (400..500).contains(&outcome.status))
            || (self.server_errors && (500..600).contains(&outcome.status))
            || self
                .slow_ms
                .is_some_and(|slow| outcome.micros / 1000 >= slow)
            || self
                .big
                .is_some_and(|big| outcome.head + outcome.body > big)
            || (self.zero && outcome.body == 0)
            || (self.sendfile && outcome.sendfile)
            || (self.broken && outcome.broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_condition_is_enough_to_select_a_request() {
        let nothing = Selection::default();
        assert!(!nothing.selects_any() && !nothing.selects(&Outcome::default()));
        let errors = Selection {
            server_errors: true,
            ..nothing
        };
        let of = |status| Outcome {
            status,
            body: 1,
            ..Outcome::default()
        };
        assert!(errors.selects(&of(500)) && !errors.selects(&of(499)));
        let slow = Selection {
            slow_ms: Some(100),
            zero: true,
            ..nothing
        };
        assert!(!slow.selects(&Outcome {
            micros: 99_999,
            ..of(200)
        }));
        assert!(slow.selects(&Outcome {
            micros: 100_000,
            ..of(200)
        }));
        assert!(slow.selects(&Outcome { body: 0, ..of(200) }));
    }
}
