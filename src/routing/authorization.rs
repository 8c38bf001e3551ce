//! The header Authorization with the scheme Basic (RFC 7617).

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user name and a password.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Account {
    /// The user name.
    pub(super) user: String,
    /// The password.
    pub(super) password: String,
}

impl Account {
    /// The user name, if the value of the header names this account and its password. The time of the comparison does
    /// not depend on the position of the first wrong byte.
    pub(super) fn admits(&self, authorization: &[u8]) -> bool {
        let expected = format!("{}:{}", self.user, self.password);
        credentials(authorization).is_some_and(|given| is_equal(&given, expected.as_bytes()))
    }
}

/// The decoded `user:password` of a header; `None` if the scheme is not Basic or the text is no Base64.
fn credentials(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, text) = authorization.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then_some(())?;
    BASE64.decode(text.trim_ascii()).ok()
}

/// Compares two texts in a time that depends on their lengths only.
fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    let differing = given
        .iter()
        .zip(expected)
        .fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0 && given.len() == expected.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_account_is_admitted() {
        let account = Account {
            user: "foo".to_owned(),
            password: "b:r".to_owned(),
        };
        assert!(account.admits(b"Basic Zm9vOmI6cg=="));
        assert!(account.admits(b"basic  Zm9vOmI6cg"));
        for wrong in [
            &b"Basic Zm9vOmI6cgo="[..],
            b"Basic Zm9vOmI6",
            b"Basic ",
            b"Bearer Zm9vOmI6cg==",
            b"Basic Zm9vOmI6cg=*",
            b"Basic Z",
            b"",
        ] {
            assert!(!account.admits(wrong), "{wrong:?}");
        }
    }
}
