//! Internal routes (`route` and its variants): rules that change or answer a request before the application gets it.
//!
//! ```text
//! text of the options ─▶ parse ─▶ Rule ─▶ Router::new ─▶ Router::run(variables) ─▶ Outcome
//! ```
//!
//! [`Router::run`] is a pure function: it reads the variables of a request and returns what has to be done. The engine
//! does it. The steps of a run and of each regular expression are limited, because clients choose the text.

mod address;
mod authorization;
mod condition;
mod facts;
mod parse;
mod router;
mod rule;
mod template;

pub use facts::{Facts, Variables};
pub use parse::{parse_action, parse_condition_rule, parse_pattern_rule};
pub use router::{Answer, Ending, Outcome, Router};
pub use rule::{Action, RoutingSettings, Rule, Subject, When};
