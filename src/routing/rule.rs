//! The types of rules, as the configuration produces them and the master sends them to the zygotes.

use serde::{Deserialize, Serialize};

use super::authorization::Account;
use super::condition::Condition;
use super::template::Template;

/// All rules of an instance, in the order of the configuration.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct RoutingSettings {
    /// `route` and its variants: before the request is answered.
    pub request: Vec<Rule>,
    /// `final-route` and its variants: after the request is answered.
    pub last: Vec<Rule>,
}

/// A rule.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Rule {
    /// When the action is performed.
    pub when: When,
    /// The action.
    pub action: Action,
}

/// The condition of a rule.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum When {
    /// Always (`route-run`).
    Always,
    /// Never: the rule is the target of a `goto` (`route-label`).
    Label(String),
    /// A regular expression matches (`route`, `route-host` …).
    Matches {
        /// The text that is compared.
        subject: Subject,
        /// The regular expression.
        pattern: String,
    },
    /// A condition is true, or with `negated` false (`route-if`, `route-if-not`).
    If {
        /// The condition.
        condition: Condition,
        /// Whether the action is performed if the condition is false.
        negated: bool,
    },
}

/// The text that a regular expression is compared with.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// PATH_INFO.
    Path,
    /// The header Host.
    Host,
    /// REQUEST_URI.
    Uri,
    /// QUERY_STRING.
    Query,
    /// REMOTE_ADDR.
    RemoteAddr,
    /// REMOTE_USER.
    RemoteUser,
    /// The header User-Agent.
    UserAgent,
    /// The header Referer.
    Referer,
    /// The status of the response; only in `final-route-status`.
    Status,
}

impl Subject {
    /// The request variable with the text; `None` for [`Subject::Status`].
    pub(super) fn variable(self) -> Option<&'static [u8]> {
        Some(match self {
            Self::Path => b"PATH_INFO",
            Self::Host => b"HTTP_HOST",
            Self::Uri => b"REQUEST_URI",
            Self::Query => b"QUERY_STRING",
            Self::RemoteAddr => b"REMOTE_ADDR",
            Self::RemoteUser => b"REMOTE_USER",
            Self::UserAgent => b"HTTP_USER_AGENT",
            Self::Referer => b"HTTP_REFERER",
            Self::Status => return None,
        })
    }
}

/// What a rule does. The names are those of uWSGI.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum Action {
    /// `continue`, `last`: no further rule is tried.
    Last,
    /// `break`: answers with a status and without a body. Without a status the connection is closed.
    Break(Option<Template>),
    /// `return`: answers with a status and its reason as the body.
    Return(u16),
    /// `redirect`, `redirect-permanent`.
    Redirect {
        /// Whether the status is 301; otherwise 302.
        permanent: bool,
        /// The value of the header Location.
        location: Template,
    },
    /// `rewrite`, `rewrite-last`: changes PATH_INFO, and puts a query in front of QUERY_STRING.
    Rewrite {
        /// The new path, with a query behind `?`.
        target: Template,
        /// Whether no further rule is tried.
        last: bool,
    },
    /// `addheader`: adds a header to the response.
    AddHeader {
        /// The name of the header.
        name: String,
        /// Its value.
        value: Template,
    },
    /// `delheader`: removes a header of the application from the response.
    RemoveHeader(String),
    /// `addvar`, `setscriptname`, `setpathinfo`, `setremoteaddr`, `setscheme`, `setuser`: sets a request variable.
    Set {
        /// The name of the variable.
        name: String,
        /// Its value.
        value: Template,
    },
    /// `fixpathinfo`: removes SCRIPT_NAME from the beginning of PATH_INFO.
    FixPathInfo,
    /// `log`: writes a line to the log.
    Log(Template),
    /// `donotlog`: the request gets no line in the request log.
    DoNotLog,
    /// `goto`: continues with the rule behind a label.
    Goto(String),
    /// `basicauth`, `basicauth-next`: demands a user name and a password.
    Authenticate {
        /// The realm that the browser shows.
        realm: String,
        /// The account that is let in.
        account: Account,
        /// Whether the next rule is tried if the password is wrong.
        next: bool,
    },
    /// `expires`: adds the header Expires with this time: seconds from now, or since 1970.
    Expires(Template),
}
