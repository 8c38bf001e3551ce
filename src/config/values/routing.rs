//! The values of `route`, `final-route` and their variants.

use crate::config::finding::Fault;
use crate::routing::{
    Action, Rule, Subject, When, parse_action, parse_condition_rule, parse_pattern_rule,
};

use super::setting::{Parsed, Value};

/// Declares the type of an option whose value is a rule.
macro_rules! rule {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = Rule;
            type Ref<'a> = &'a Rule;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<Rule> {
                let rule: Result<Rule, String> = ($parse)(text);
                rule.map(|rule| (rule, None)).map_err(Fault::new)
            }

            fn get(stored: &Rule) -> &Rule {
                stored
            }
        }
    };
}

/// Declares the type of an option whose regular expression is compared with a subject.
macro_rules! pattern_rule {
    ($(#[$doc:meta])* $name:ident, $subject:expr) => {
        rule!($(#[$doc])* $name, "REGEX ACTION", |text| parse_pattern_rule($subject, text));
    };
}

pattern_rule!(
    /// A rule for PATH_INFO.
    PathRule, Subject::Path
);
pattern_rule!(
    /// A rule for the header Host.
    HostRule, Subject::Host
);
pattern_rule!(
    /// A rule for REQUEST_URI.
    UriRule, Subject::Uri
);
pattern_rule!(
    /// A rule for QUERY_STRING.
    QueryRule, Subject::Query
);
pattern_rule!(
    /// A rule for REMOTE_ADDR.
    AddressRule, Subject::RemoteAddr
);
pattern_rule!(
    /// A rule for REMOTE_USER.
    UserRule, Subject::RemoteUser
);
pattern_rule!(
    /// A rule for the header User-Agent.
    AgentRule, Subject::UserAgent
);
pattern_rule!(
    /// A rule for the header Referer.
    RefererRule, Subject::Referer
);
pattern_rule!(
    /// A rule for the status of the response.
    StatusRule, Subject::Status
);
rule!(
    /// A rule with a condition.
    IfRule, "CONDITION ACTION", |text| parse_condition_rule(false, text)
);
rule!(
    /// A rule with a negated condition.
    UnlessRule, "CONDITION ACTION", |text| parse_condition_rule(true, text)
);
rule!(
    /// A rule without a condition.
    ActionRule, "ACTION", |text| parse_action(text).map(|action| Rule { when: When::Always, action })
);
rule!(
    /// The target of a `goto`.
    LabelRule, "NAME", |text: &str| Ok(Rule { when: When::Label(text.trim().to_owned()), action: Action::Last })
);
