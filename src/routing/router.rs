//! Runs the rules for a request.

use std::collections::HashMap;

use crate::log::{Pattern, TooManySteps};

use super::condition::Condition;
use super::facts::Facts;
use super::rule::{Action, Rule, When};
use super::template::http_date;

/// Maximum number of rules that a request passes beyond each rule once. Rules with a `goto` to an earlier label need
/// some.
const MAX_REPEATED: usize = 1_000;
/// Maximum number of bytes that the templates of the rules produce for a request.
const MAX_BYTES: usize = 1 << 20;
/// Seconds up to which the argument of `expires` is counted from now: ten years.
const RELATIVE: u64 = 10 * 365 * 24 * 3600;

/// Rules with their compiled regular expressions.
#[derive(Debug)]
pub struct Router {
    rules: Vec<(Rule, Option<Pattern>)>,
    /// The position of each label.
    labels: HashMap<String, usize>,
}

/// What the rules have decided.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Request variables to set, in this order.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Headers to add to the response of the application.
    pub added_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of headers to remove from the response of the application.
    pub removed_headers: Vec<Vec<u8>>,
    /// Lines for the log.
    pub messages: Vec<Vec<u8>>,
    /// Whether the request gets no line in the request log.
    pub is_unlogged: bool,
    /// Who answers the request.
    pub ending: Ending,
}

/// Who answers a request.
#[derive(Debug, Default, PartialEq)]
pub enum Ending {
    /// The application, or a static file.
    #[default]
    Application,
    /// The rules.
    Answer(Answer),
    /// Nobody: the connection is closed.
    Close,
}

/// A response of the rules.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Status and reason.
    pub status: Vec<u8>,
    /// A header besides Content-Type.
    pub header: Option<(&'static str, Vec<u8>)>,
    /// The body, as plain text.
    pub body: Vec<u8>,
}

/// What follows an action.
enum Next {
    Rule,
    Label(String),
    End(Ending),
}

impl Router {
    /// Compiles rules. A rule whose regular expression is invalid never matches; the configuration has refused such
    /// rules.
    pub fn new(rules: &[Rule]) -> Self {
        let labels = rules
            .iter()
            .enumerate()
            .filter_map(|(at, rule)| match &rule.when {
                When::Label(name) => Some((name.clone(), at)),
                _ => None,
            });
        Self {
            labels: labels.collect(),
            rules: rules
                .iter()
                .map(|rule| (rule.clone(), pattern_of(rule)))
                .collect(),
        }
    }

    /// Runs the rules.
    pub fn run(&self, mut facts: Facts<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut at = 0;
        let mut steps = self.rules.len() + MAX_REPEATED;
        while let Some((rule, pattern)) = self.rules.get(at) {
            at += 1;
            // a request that the rules cannot judge must not pass them
            let Ok(applies) = applies(rule, pattern.as_ref(), &mut facts) else {
                outcome.ending = unjudged("a regular expression takes too many steps");
                break;
            };
            if steps == 0 || facts.produced() > MAX_BYTES {
                outcome.ending = unjudged("the rules do not end");
                break;
            }
            steps -= 1;
            if !applies {
                continue;
            }
            match perform(&rule.action, &mut facts, &mut outcome) {
                Next::Rule => {}
                // the configuration has refused unknown labels
                Next::Label(label) => at = self.labels.get(&label).map_or(at, |to| to + 1),
                Next::End(ending) => {
                    outcome.ending = ending;
                    break;
                }
            }
        }
        outcome.variables = facts.into_set();
        outcome
    }
}

fn pattern_of(rule: &Rule) -> Option<Pattern> {
    let text = match &rule.when {
        When::Matches { pattern, .. } => pattern,
        When::If {
            condition: Condition::Matches(_, pattern),
            ..
        } => pattern,
        _ => return None,
    };
    Pattern::new(text).ok()
}

fn applies(
    rule: &Rule,
    pattern: Option<&Pattern>,
    facts: &mut Facts<'_>,
) -> Result<bool, TooManySteps> {
    Ok(match &rule.when {
        When::Always => true,
        When::Label(_) => false,
        When::Matches { subject, .. } => {
            let text = match subject.variable() {
                Some(name) => facts.variable(name).to_vec(),
                None => facts.status.to_string().into_bytes(),
            };
            match pattern {
                Some(pattern) => facts.matches(pattern, &text)?,
                None => false,
            }
        }
        When::If { condition, negated } => holds(condition, pattern, facts)? != *negated,
    })
}

/// The answer to a request that the rules cannot judge.
fn unjudged(why: &str) -> Ending {
    tracing::warn!("route: a request gets status 500: {why}");
    Ending::Answer(Answer {
        status: b"500 Internal Server Error".to_vec(),
        header: None,
        body: b"Internal Server Error".to_vec(),
    })
}

fn holds(
    condition: &Condition,
    pattern: Option<&Pattern>,
    facts: &mut Facts<'_>,
) -> Result<bool, TooManySteps> {
    Ok(match condition {
        Condition::Equal(a, b) => a.expand(facts) == b.expand(facts),
        Condition::StartsWith(a, b) => a.expand(facts).starts_with(&b.expand(facts)),
        Condition::EndsWith(a, b) => a.expand(facts).ends_with(&b.expand(facts)),
        Condition::Contains(a, b) => {
            let (text, part) = (a.expand(facts), b.expand(facts));
            part.is_empty() || text.windows(part.len()).any(|window| window == part)
        }
        Condition::Matches(text, _) => {
            let text = text.expand(facts);
            match pattern {
                Some(pattern) => facts.matches(pattern, &text)?,
                None => false,
            }
        }
        Condition::Empty(text) => text.expand(facts).is_empty(),
        Condition::Path(path, kind) => kind.is_at(&path.expand(facts)),
        Condition::In(address, network) => network.contains(&address.expand(facts)),
        Condition::Order(a, order, b) => order.holds(&a.expand(facts), &b.expand(facts)),
    })
}

fn perform(action: &Action, facts: &mut Facts<'_>, outcome: &mut Outcome) -> Next {
    match action {
        Action::Last => return Next::End(Ending::Application),
        Action::Break(None) => return Next::End(Ending::Close),
        Action::Break(Some(status)) => return answer(status.expand(facts), None, b""),
        Action::Return(code) => {
            let reason = reason(*code);
            let status = format!("{code} {reason}").into_bytes();
            return answer(status, None, reason.as_bytes());
        }
        Action::Redirect {
            permanent,
            location,
        } => return redirect(*permanent, one_line(location.expand(facts))),
        Action::Rewrite { target, last } => {
            rewrite(&target.expand(facts), facts);
            if *last {
                return Next::End(Ending::Application);
            }
        }
        Action::AddHeader { name, value } => {
            let value = one_line(value.expand(facts));
            outcome
                .added_headers
                .push((name.as_bytes().to_vec(), value));
        }
        Action::RemoveHeader(name) => outcome.removed_headers.push(name.as_bytes().to_vec()),
        Action::Set { name, value } => {
            let value = value.expand(facts);
            facts.set(name.as_bytes(), value);
        }
        Action::FixPathInfo => fix_path_info(facts),
        Action::Log(text) => outcome.messages.push(text.expand(facts)),
        Action::DoNotLog => outcome.is_unlogged = true,
        Action::Goto(label) => return Next::Label(label.clone()),
        Action::Authenticate {
            realm,
            account,
            next,
        } => {
            // the web server has checked the user
            if !facts.variable(b"REMOTE_USER").is_empty() {
                return Next::Rule;
            }
            if account.admits(facts.variable(b"HTTP_AUTHORIZATION")) {
                facts.set(b"REMOTE_USER", account.user.clone().into_bytes());
            } else if !next {
                let challenge = format!("Basic realm=\"{realm}\"").into_bytes();
                let header = Some(("WWW-Authenticate", challenge));
                return answer(b"401 Unauthorized".to_vec(), header, b"Unauthorized");
            }
        }
        Action::Expires(time) => {
            let value = expiry(&time.expand(facts), facts.now).into_bytes();
            outcome.added_headers.push((b"Expires".to_vec(), value));
        }
    }
    Next::Rule
}

fn answer(status: Vec<u8>, header: Option<(&'static str, Vec<u8>)>, body: &[u8]) -> Next {
    Next::End(Ending::Answer(Answer {
        status: one_line(status),
        header,
        body: body.to_vec(),
    }))
}

fn redirect(permanent: bool, location: Vec<u8>) -> Next {
    let (status, body) = match permanent {
        true => ("301 Moved Permanently", "Moved Permanently"),
        false => ("302 Found", "Moved"),
    };
    let header = Some(("Location", location));
    answer(status.as_bytes().to_vec(), header, body.as_bytes())
}

fn rewrite(target: &[u8], facts: &mut Facts<'_>) {
    let Some(at) = target.iter().position(|byte| *byte == b'?') else {
        return facts.set(b"PATH_INFO", target.to_vec());
    };
    let mut query = target[at + 1..].to_vec();
    let old = facts.variable(b"QUERY_STRING");
    if !old.is_empty() {
        query.push(b'&');
        query.extend_from_slice(old);
    }
    facts.set(b"PATH_INFO", target[..at].to_vec());
    facts.set(b"QUERY_STRING", query);
}

fn fix_path_info(facts: &mut Facts<'_>) {
    let prefix = facts.variable(b"SCRIPT_NAME");
    let path = facts.variable(b"PATH_INFO");
    if let Some(rest) = path.strip_prefix(prefix)
        && !prefix.is_empty()
    {
        let rest = rest.to_vec();
        facts.set(b"PATH_INFO", rest);
    }
}

/// The value of a header `Expires`. The argument is a number of seconds: from now if it is less than ten years,
/// otherwise since 1970.
fn expiry(text: &[u8], now: u64) -> String {
    let text = String::from_utf8_lossy(text);
    let seconds: u64 = text.trim().parse().unwrap_or_default();
    match seconds {
        0..RELATIVE => http_date(now.saturating_add(seconds)),
        _ => http_date(seconds),
    }
}

/// The text without the characters that would end a line of the response's head.
fn one_line(mut text: Vec<u8>) -> Vec<u8> {
    text.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    text
}

fn reason(code: u16) -> &'static str {
    crate::protocol::response::reason(code)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routing::facts::Variables;
    use crate::routing::rule::Subject;
    use crate::routing::{parse_action, parse_condition_rule, parse_pattern_rule};

    struct Request(Vec<(&'static str, &'static str)>);

    impl Variables for Request {
        fn value(&self, name: &[u8]) -> Option<&[u8]> {
            let found = self.0.iter().find(|(key, _)| key.as_bytes() == name);
            found.map(|(_, value)| value.as_bytes())
        }
    }

    fn request(path: &'static str) -> Request {
        Request(vec![
            ("PATH_INFO", path),
            ("QUERY_STRING", "a=1&q=two"),
            ("HTTP_HOST", "example.org"),
            ("HTTP_COOKIE", "x=y; session=abc"),
            ("REMOTE_ADDR", "10.1.2.3"),
            ("SCRIPT_NAME", "/app"),
        ])
    }

    /// Rules from lines of options without their first word `route` and hyphen.
    fn rules(lines: &[&str]) -> Vec<Rule> {
        let rule = |line: &&str| {
            let (name, text) = line.split_once(" = ").unwrap();
            match name {
                "run" => Rule {
                    when: When::Always,
                    action: parse_action(text).unwrap(),
                },
                "label" => Rule {
                    when: When::Label(text.to_owned()),
                    action: Action::Last,
                },
                "if" => parse_condition_rule(false, text).unwrap(),
                "if-not" => parse_condition_rule(true, text).unwrap(),
                "status" => parse_pattern_rule(Subject::Status, text).unwrap(),
                "qs" => parse_pattern_rule(Subject::Query, text).unwrap(),
                _ => parse_pattern_rule(Subject::Path, text).unwrap(),
            }
        };
        lines.iter().map(rule).collect()
    }

    fn run(lines: &[&str], path: &'static str) -> Outcome {
        let request = request(path);
        Router::new(&rules(lines)).run(Facts::new(&request, 1_000_000_000, 7, 404))
    }

    /// The values of `log` actions.
    fn logged(lines: &[&str], path: &'static str) -> Vec<String> {
        let messages = run(lines, path).messages;
        messages
            .iter()
            .map(|it| String::from_utf8_lossy(it).into_owned())
            .collect()
    }

    #[test]
    fn templates_refer_to_groups_variables_and_times() {
        let text = "path = ^/(u)/(\\d+) log:$0 $1 $2 $9|${HTTP_HOST}|${NO}|${cookie[session]}|${qs[q]}|${time[unix]}|${httptime[60]}|${uwsgi[wid]}|${uwsgi[status]}";
        let expected =
            "/u/12 u 12 |example.org||abc|two|1000000000|Sun, 09 Sep 2001 01:47:40 GMT|7|404";
        assert_eq!(logged(&[text], "/u/12/x"), [expected]);
    }

    #[test]
    fn rules_run_in_order_until_one_ends_them() {
        let lines = [
            "path = ^/a log:1",
            "path = ^/b log:2",
            "path = ^/a last:",
            "run = log:3",
        ];
        assert_eq!(logged(&lines, "/a"), ["1"]);
        assert_eq!(logged(&lines, "/b"), ["2", "3"]);
        let answer = run(&["path = ^/a break:403 No", "run = log:x"], "/a");
        let expected = Answer {
            status: b"403 No".to_vec(),
            header: None,
            body: Vec::new(),
        };
        assert_eq!(answer.ending, Ending::Answer(expected));
        assert!(answer.messages.is_empty());
        assert_eq!(run(&["run = break:"], "/").ending, Ending::Close);
    }

    #[test]
    fn a_goto_skips_rules_and_cannot_loop_for_ever() {
        let lines = [
            "path = ^/a goto:end",
            "run = log:1",
            "label = end",
            "run = log:2",
        ];
        assert_eq!(logged(&lines, "/a"), ["2"]);
        assert_eq!(logged(&lines, "/b"), ["1", "2"]);
        for endless in ["goto:top", "addvar:X=${X}${X}x"] {
            let lines = ["label = top", &format!("run = {endless}"), "run = goto:top"];
            let Ending::Answer(answer) = run(&lines, "/").ending else {
                panic!("{endless} lets the request pass");
            };
            assert!(answer.status.starts_with(b"500"));
        }
    }

    #[test]
    fn later_rules_see_what_earlier_rules_have_set() {
        let lines = [
            "path = ^/old/(.*) rewrite:/new/$1?b=$1",
            "path = ^/new addvar:X=${PATH_INFO}",
            "qs = ^b= log:${X} ${QUERY_STRING}",
        ];
        assert_eq!(logged(&lines, "/old/p"), ["/new/p b=p&a=1&q=two"]);
        let set = |lines: &[&str], path| run(lines, path).variables;
        assert_eq!(
            set(&["run = fixpathinfo:"], "/app/x"),
            [(b"PATH_INFO".to_vec(), b"/x".to_vec())]
        );
        assert_eq!(set(&["run = fixpathinfo:"], "/other"), []);
    }

    #[test]
    fn an_expression_that_takes_too_many_steps_lets_no_request_pass() {
        let lines = ["path = ^(?:(?=a)a|a)*c$ break:403 No"];
        let path: &'static str = "a".repeat(100).leak();
        let Ending::Answer(answer) = run(&lines, path).ending else {
            panic!("the request passes");
        };
        assert!(answer.status.starts_with(b"500"));
    }

    #[test]
    fn a_final_line_feed_and_odd_bytes_escape_no_rule() {
        assert_eq!(logged(&["path = ^/admin/$ log:x"], "/admin/\n"), ["x"]);
        struct Path;
        impl Variables for Path {
            fn value(&self, _: &[u8]) -> Option<&[u8]> {
                Some(b"/a/\xff\xc3\xa9")
            }
        }
        let router = Router::new(&rules(&["path = ^/a/(.*) rewrite:/b/$1"]));
        let set = router.run(Facts::new(&Path, 0, 1, 0)).variables;
        assert_eq!(set, [(b"PATH_INFO".to_vec(), b"/b/\xff\xc3\xa9".to_vec())]);
    }

    #[test]
    fn conditions_compare_texts_addresses_numbers_and_files() {
        for (condition, holds) in [
            ("equal:${HTTP_HOST};example.org", true),
            ("==:${HTTP_HOST};example", false),
            ("startswith:${PATH_INFO};/pa", true),
            ("endswith:${PATH_INFO};th", true),
            ("contains:${PATH_INFO};at", true),
            ("contains:${PATH_INFO};xx", false),
            ("regexp:${HTTP_HOST};^ex(.)", true),
            ("empty:${NOTHING}", true),
            ("empty:${PATH_INFO}", false),
            ("exists:/", true),
            ("isfile:/", false),
            ("isdir:/", true),
            ("isexec:/proc/self/exe", true),
            ("islink:/proc/self/exe", true),
            ("ipv4in:${REMOTE_ADDR};10.0.0.0/8", true),
            ("ipv4in:${REMOTE_ADDR};11.0.0.0/8", false),
            ("ishigher:${qs[a]};0", true),
            ("islowerequal:${qs[a]};1", true),
            ("islower:x;1", true),
        ] {
            let (yes, no) = (
                format!("if = {condition} log:x"),
                format!("if-not = {condition} log:x"),
            );
            assert_eq!(
                logged(&[&yes], "/path").len(),
                usize::from(holds),
                "{condition}"
            );
            assert_eq!(
                logged(&[&no], "/path").len(),
                usize::from(!holds),
                "{condition}"
            );
        }
        assert_eq!(logged(&["if = re:${HTTP_HOST};^ex(.) log:$1"], "/"), ["a"]);
    }

    #[test]
    fn text_of_a_client_cannot_end_a_header() {
        let mut request = request("/");
        request.0.push(("HTTP_X", "a\r\nSet-Cookie: b"));
        let run = |line: &str| Router::new(&rules(&[line])).run(Facts::new(&request, 0, 1, 0));
        let added = run("run = addheader:X: ${HTTP_X}").added_headers;
        assert_eq!(added, [(b"X".to_vec(), b"aSet-Cookie: b".to_vec())]);
        let Ending::Answer(answer) = run("run = redirect:/${HTTP_X}").ending else {
            panic!("no redirection");
        };
        assert_eq!(
            answer.header,
            Some(("Location", b"/aSet-Cookie: b".to_vec()))
        );
    }

    #[test]
    fn passwords_are_demanded_unless_the_web_server_has_checked_the_user() {
        let line = "run = basicauth:My Realm,foo:bar";
        let router = Router::new(&rules(&[line]));
        let run = |variables: Vec<(&'static str, &'static str)>| {
            router.run(Facts::new(&Request(variables), 0, 1, 0))
        };
        let Ending::Answer(answer) = run(Vec::new()).ending else {
            panic!("not demanded");
        };
        assert!(answer.status.starts_with(b"401 "));
        let admitted = run(vec![("HTTP_AUTHORIZATION", "Basic Zm9vOmJhcg==")]);
        assert_eq!(
            admitted.variables,
            [(b"REMOTE_USER".to_vec(), b"foo".to_vec())]
        );
        assert_eq!(run(vec![("REMOTE_USER", "me")]).ending, Ending::Application);
    }

    proptest! {
        #[test]
        fn no_request_and_no_rule_can_cause_a_panic(
            texts in prop::collection::vec("\\PC{0,40}", 0..6),
            path in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            struct Path(Vec<u8>);
            impl Variables for Path {
                fn value(&self, _: &[u8]) -> Option<&[u8]> {
                    Some(&self.0)
                }
            }
            let parsed = texts.iter().filter_map(|text| {
                parse_pattern_rule(Subject::Path, text)
                    .or_else(|_| parse_condition_rule(false, text))
                    .ok()
            });
            let path = Path(path);
            Router::new(&parsed.collect::<Vec<_>>()).run(Facts::new(&path, 0, 1, 200));
        }
    }
}
