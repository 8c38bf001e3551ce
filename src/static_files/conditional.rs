//! Decides by the conditions of a request what is sent of a file (RFC 9110, 13 and 14).

use std::ops::Range;

use super::entity_tag::{self, Comparison};
use super::range::{self, Requested};
use super::time::{self, Modified};

/// The headers of a request that make its response depend on the state of the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// The value of If-Match.
    pub if_match: Option<&'a [u8]>,
    /// The value of If-None-Match.
    pub if_none_match: Option<&'a [u8]>,
    /// The value of If-Modified-Since.
    pub if_modified_since: Option<&'a [u8]>,
    /// The value of If-Unmodified-Since.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// The value of Range.
    pub range: Option<&'a [u8]>,
    /// The value of If-Range.
    pub if_range: Option<&'a [u8]>,
}

/// The facts about a file by which clients check their copies of the file.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// The strong entity tag.
    pub tag: Option<&'a str>,
    /// The modification time.
    pub modified: Option<Modified>,
}

/// The part of a file that is sent, with the status of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The whole file (200).
    Whole,
    /// A part of the file (206).
    Part(Range<u64>),
    /// Several parts of the file (206, multipart/byteranges).
    Parts(Vec<Range<u64>>),
    /// No part, because the client's copy is current (304).
    NotModified,
    /// No part, because the file is not in the state that the client expects (412).
    PreconditionFailed,
    /// No part, because the client requests bytes that the file does not have (416).
    Unsatisfiable,
}

/// Decides what is sent of a file of `size` bytes. The conditions are checked in the order of RFC 9110, 13.2.2.
/// `takes_ranges` is false if ranges are switched off, and for HEAD, where ranges have no meaning.
pub fn plan(
    conditions: &Conditions<'_>,
    validators: Validators<'_>,
    size: u64,
    takes_ranges: bool,
) -> Plan {
    if !expectations_hold(conditions, validators) {
        return Plan::PreconditionFailed;
    }
    if is_current(conditions, validators) {
        return Plan::NotModified;
    }
    let range = conditions
        .range
        .filter(|_| takes_ranges && range_applies(conditions, validators));
    match range.map(|header| range::requested(header, size)) {
        None | Some(Requested::Whole) => Plan::Whole,
        Some(Requested::Nothing) => Plan::Unsatisfiable,
        Some(Requested::Parts(mut parts)) => match parts.len() {
            1 => parts.pop().map_or(Plan::Whole, Plan::Part),
            _ => Plan::Parts(parts),
        },
    }
}

/// Whether the file is in the state that the client expects: checks If-Match, or If-Unmodified-Since if there is no
/// If-Match.
fn expectations_hold(conditions: &Conditions<'_>, validators: Validators<'_>) -> bool {
    if let Some(list) = conditions.if_match {
        let tag = validators.tag.unwrap_or_default();
        return entity_tag::matches(list, tag, Comparison::Strong);
    }
    let since = conditions
        .if_unmodified_since
        .and_then(time::parse_http_date);
    match (since, validators.modified) {
        (Some(since), Some(modified)) => modified.seconds <= since,
        _ => true,
    }
}

/// Whether the client's copy is current: checks If-None-Match, or If-Modified-Since if there is no If-None-Match.
fn is_current(conditions: &Conditions<'_>, validators: Validators<'_>) -> bool {
    if let Some(list) = conditions.if_none_match {
        let tag = validators.tag.unwrap_or_default();
        return entity_tag::matches(list, tag, Comparison::Weak);
    }
    let since = conditions.if_modified_since.and_then(time::parse_http_date);
    match (since, validators.modified) {
        (Some(since), Some(modified)) => modified.seconds <= since,
        _ => false,
    }
}

/// Whether the parts that the client already has are parts of the present file: checks If-Range.
fn range_applies(conditions: &Conditions<'_>, validators: Validators<'_>) -> bool {
    let Some(condition) = conditions.if_range else {
        return true;
    };
    if condition.trim_ascii_start().starts_with(b"\"") {
        return validators.tag.map(str::as_bytes) == Some(condition.trim_ascii());
    }
    match (time::parse_http_date(condition), validators.modified) {
        (Some(date), Some(modified)) => date == modified.seconds,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"t\"";
    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";

    fn planned(conditions: &Conditions<'_>) -> Plan {
        let modified = Modified {
            seconds: 784_111_777,
            nanos: 5,
        };
        let validators = Validators {
            tag: Some(TAG),
            modified: Some(modified),
        };
        plan(conditions, validators, 10, true)
    }

    fn none() -> Conditions<'static> {
        Conditions::default()
    }

    #[test]
    fn if_none_match_decides_before_if_modified_since() {
        let tags = |list: &'static [u8], since| Conditions {
            if_none_match: Some(list),
            if_modified_since: since,
            ..none()
        };
        assert_eq!(planned(&tags(b"\"t\"", None)), Plan::NotModified);
        assert_eq!(planned(&tags(b"W/\"t\"", Some(BEFORE))), Plan::NotModified);
        assert_eq!(planned(&tags(b"*", None)), Plan::NotModified);
        assert_eq!(planned(&tags(b"\"u\"", Some(AFTER))), Plan::Whole);
        let since = |date: &'static [u8]| Conditions {
            if_modified_since: Some(date),
            ..none()
        };
        assert_eq!(planned(&since(DATE)), Plan::NotModified);
        assert_eq!(planned(&since(AFTER)), Plan::NotModified);
        assert_eq!(planned(&since(BEFORE)), Plan::Whole);
        assert_eq!(planned(&since(b"never")), Plan::Whole);
    }

    #[test]
    fn expectations_of_the_client_are_checked_first() {
        let expected = |tags, since| Conditions {
            if_match: tags,
            if_unmodified_since: since,
            if_none_match: Some(b"*"),
            ..none()
        };
        let (other, own) = (Some(&b"\"u\""[..]), Some(TAG.as_bytes()));
        assert_eq!(planned(&expected(other, None)), Plan::PreconditionFailed);
        assert_eq!(planned(&expected(own, Some(BEFORE))), Plan::NotModified);
        let weak = Some(&b"W/\"t\""[..]);
        assert_eq!(planned(&expected(weak, None)), Plan::PreconditionFailed);
        assert_eq!(
            planned(&expected(None, Some(BEFORE))),
            Plan::PreconditionFailed
        );
        assert_eq!(planned(&expected(None, Some(DATE))), Plan::NotModified);
    }

    #[test]
    fn ranges_apply_only_to_the_file_that_the_client_knows() {
        let range = |header: &'static [u8], condition| Conditions {
            range: Some(header),
            if_range: condition,
            ..none()
        };
        assert_eq!(planned(&range(b"bytes=1-2", None)), Plan::Part(1..3));
        assert_eq!(
            planned(&range(b"bytes=1-2,4-", None)),
            Plan::Parts(vec![1..3, 4..10])
        );
        assert_eq!(planned(&range(b"bytes=10-", None)), Plan::Unsatisfiable);
        for (condition, applies) in [
            (TAG.as_bytes(), true),
            (b"\"u\"", false),
            (b"W/\"t\"", false),
            (DATE, true),
            (BEFORE, false),
            (AFTER, false),
            (b"x", false),
        ] {
            let expected = if applies {
                Plan::Part(1..3)
            } else {
                Plan::Whole
            };
            let planned = planned(&range(b"bytes=1-2", Some(condition)));
            assert_eq!(planned, expected, "{}", condition.escape_ascii());
        }
        let validators = Validators {
            tag: None,
            modified: None,
        };
        let head = plan(&range(b"bytes=1-2", None), validators, 10, false);
        assert_eq!(head, Plan::Whole);
    }
}
