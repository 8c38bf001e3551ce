//! Parses the texts of route options. Errors are sentences for the log and for `ruwsgi check`.

use super::authorization::Account;
use super::condition::{Condition, check_pattern};
use super::rule::{Action, Rule, Subject, When};
use super::template::Template;

/// Parses `REGEX ACTION:ARGUMENTS` (`route` and its variants).
///
/// # Errors
/// A sentence that names what is wrong.
pub fn parse_pattern_rule(subject: Subject, text: &str) -> Result<Rule, String> {
    let (pattern, action) = split(text, "REGEX")?;
    check_pattern(pattern)?;
    Ok(Rule {
        when: When::Matches {
            subject,
            pattern: pattern.to_owned(),
        },
        action: parse_action(action)?,
    })
}

/// Parses `CONDITION:ARGUMENTS ACTION:ARGUMENTS` (`route-if`, and with `negated` `route-if-not`).
///
/// # Errors
/// A sentence that names what is wrong.
pub fn parse_condition_rule(negated: bool, text: &str) -> Result<Rule, String> {
    let (condition, action) = split(text, "CONDITION")?;
    Ok(Rule {
        when: When::If {
            condition: Condition::parse(condition)?,
            negated,
        },
        action: parse_action(action)?,
    })
}

fn split<'a>(text: &'a str, first: &str) -> Result<(&'a str, &'a str), String> {
    let (condition, action) = text
        .trim()
        .split_once(' ')
        .ok_or_else(|| format!("a route needs two words: {first} ACTION:ARGUMENTS"))?;
    Ok((condition, action.trim_start()))
}

/// Parses `ACTION:ARGUMENTS`.
///
/// # Errors
/// A sentence that names what is wrong.
pub fn parse_action(text: &str) -> Result<Action, String> {
    let (name, argument) = text.split_once(':').unwrap_or((text, ""));
    let template = || Template::parse(argument);
    let set = |variable: &str| {
        let name = variable.to_owned();
        template().map(|value| Action::Set { name, value })
    };
    let redirect = |permanent| {
        template().map(|location| Action::Redirect {
            permanent,
            location,
        })
    };
    match name {
        "continue" | "last" => Ok(Action::Last),
        "break" if argument.is_empty() => Ok(Action::Break(None)),
        "break" => Ok(Action::Break(Some(template()?))),
        "return" => status(argument).map(Action::Return),
        "redirect" | "redirect-302" => redirect(false),
        "redirect-permanent" | "redirect-301" => redirect(true),
        "rewrite" => template().map(|target| Action::Rewrite {
            target,
            last: false,
        }),
        "rewrite-last" => template().map(|target| Action::Rewrite { target, last: true }),
        "addheader" => header(argument),
        "delheader" | "remheader" => Ok(Action::RemoveHeader(argument.trim().to_owned())),
        "addvar" => variable(argument),
        "setscriptname" => set("SCRIPT_NAME"),
        "setpathinfo" => set("PATH_INFO"),
        "setremoteaddr" => set("REMOTE_ADDR"),
        "setscheme" => set("UWSGI_SCHEME"),
        "setuser" => set("REMOTE_USER"),
        "fixpathinfo" => Ok(Action::FixPathInfo),
        "log" => template().map(Action::Log),
        "donotlog" => Ok(Action::DoNotLog),
        "goto" => Ok(Action::Goto(argument.to_owned())),
        "basicauth" => authenticate(argument, false),
        "basicauth-next" => authenticate(argument, true),
        "expires" => template().map(Action::Expires),
        _ => Err(format!(
            "the action {name} is not supported: there are continue, last, break, return, redirect, redirect-permanent, rewrite, rewrite-last, addheader, delheader, addvar, setscriptname, setpathinfo, setremoteaddr, setscheme, setuser, fixpathinfo, log, donotlog, goto, basicauth, basicauth-next and expires; use nginx for others"
        )),
    }
}

fn status(text: &str) -> Result<u16, String> {
    let code = text.split(' ').next().unwrap_or_default();
    let number = code.parse().ok().filter(|code| (200..600).contains(code));
    number.ok_or_else(|| format!("{text:?} is no status: write a number from 200 to 599"))
}

fn header(text: &str) -> Result<Action, String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is no header: write addheader:NAME: VALUE"))?;
    let name = name.trim();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{name:?} is no name of a header"));
    }
    Ok(Action::AddHeader {
        name: name.to_owned(),
        value: Template::parse(value.trim_start())?,
    })
}

fn variable(text: &str) -> Result<Action, String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("{text:?} sets no variable: write addvar:NAME=VALUE"))?;
    Ok(Action::Set {
        name: name.to_owned(),
        value: Template::parse(value)?,
    })
}

fn authenticate(text: &str, next: bool) -> Result<Action, String> {
    let (realm, account) = text
        .split_once(',')
        .ok_or("write basicauth:REALM,USER:PASSWORD")?;
    let Some((user, password)) = account.split_once(':') else {
        return Err(format!(
            "password files are not supported: write basicauth:REALM,USER:PASSWORD in place of {account:?}, or let nginx check passwords (auth_basic_user_file)"
        ));
    };
    if realm.contains(['"', '\\', '\r', '\n']) {
        return Err(format!(
            "the realm {realm:?} contains a character that HTTP forbids"
        ));
    }
    Ok(Action::Authenticate {
        realm: realm.to_owned(),
        account: Account {
            user: user.to_owned(),
            password: password.to_owned(),
        },
        next,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_write() {
        for (text, part) in [
            ("^/x", "two words"),
            ("( break:", "regular expression"),
            ("^/x cgi:/tmp", "action cgi is not supported"),
            ("^/x return:99", "no status"),
            ("^/x addheader:novalue", "addheader:NAME: VALUE"),
            ("^/x addheader:a b: c", "no name of a header"),
            ("^/x addvar:=x", "addvar:NAME=VALUE"),
            ("^/x basicauth:Realm,/etc/htpasswd", "password files"),
            ("^/x log:${nonsense[x]}", "not known"),
            ("^/x log:${open", "closing brace"),
        ] {
            let error = parse_pattern_rule(Subject::Path, text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = parse_condition_rule(false, "equal:one break:").unwrap_err();
        assert!(error.contains("two arguments"), "{error}");
        let error = parse_condition_rule(false, "ipv4in:${REMOTE_ADDR};x break:").unwrap_err();
        assert!(error.contains("no network"), "{error}");
    }

    #[test]
    fn a_template_may_contain_dollars() {
        let rule = parse_pattern_rule(Subject::Path, "^/x log:$ $a 5$").unwrap();
        assert_eq!(
            rule.action,
            Action::Log(Template::parse("$ $a 5$").unwrap())
        );
    }
}
