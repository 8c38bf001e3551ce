//! Defines how an option parses and stores its values: one value, an optional value, or a list.

use std::fmt::Debug;

use crate::config::finding::Fault;

/// A parsed value, with a remark if the text is accepted but should be changed.
pub(crate) type Parsed<T> = Result<(T, Option<Fault>), Fault>;

/// Whether a flag takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// The flag is `--opt`, without a value. `--opt=false` is accepted too.
    Nothing,
    /// The flag is `--opt` or `--opt=value`.
    Maybe,
    /// The flag is `--opt value` or `--opt=value`.
    Value,
}

/// The type of an option's value. The trait defines how a text is parsed, stored and read.
pub(crate) trait Value {
    /// The type in which the configuration stores the value.
    type Stored: Debug + Clone;
    /// The type that readers of the configuration get.
    type Ref<'a>;
    /// Whether the flag takes a value.
    const TAKES: Takes = Takes::Value;
    /// The placeholder of the value in the help.
    const ARG: &'static str;

    /// Parses one value.
    fn parse(text: &str) -> Parsed<Self::Stored>;

    /// Splits a text into several values. By default, the whole text is one value.
    fn split(text: &str) -> Vec<&str> {
        vec![text]
    }

    /// Converts a stored value to the type that readers get.
    fn get(stored: &Self::Stored) -> Self::Ref<'_>;
}

/// The storage of an option: one value ([`One`]), an optional value ([`Maybe`]) or a list ([`Many`]).
pub(crate) trait Setting {
    /// The type in which the configuration stores the value.
    type Stored: Debug + Clone;
    /// The type that readers of the configuration get.
    type Ref<'a>;
    /// Whether the flag takes a value.
    const TAKES: Takes;
    /// The placeholder of the value in the help.
    const ARG: &'static str;
    /// Whether a new value is added to the previous values. Otherwise it replaces the previous value.
    const MANY: bool = false;

    /// The stored state of an option that has no value yet.
    fn unset() -> Self::Stored;

    /// Parses a text and stores the value: replaces the previous value, or appends to the list. Returns the first
    /// remark.
    fn set(stored: &mut Self::Stored, text: &str) -> Result<Option<Fault>, Fault>;

    /// Converts the stored state to the type that readers get.
    fn get(stored: &Self::Stored) -> Self::Ref<'_>;
}

/// A setting that always has a value, because the option has a default.
pub(crate) struct One<V>(std::marker::PhantomData<V>);

impl<V: Value> Setting for One<V>
where
    V::Stored: Default,
{
    type Stored = V::Stored;
    type Ref<'a> = V::Ref<'a>;
    const TAKES: Takes = V::TAKES;
    const ARG: &'static str = V::ARG;

    fn unset() -> V::Stored {
        V::Stored::default()
    }

    fn set(stored: &mut V::Stored, text: &str) -> Result<Option<Fault>, Fault> {
        let (value, remark) = V::parse(text)?;
        *stored = value;
        Ok(remark)
    }

    fn get(stored: &V::Stored) -> V::Ref<'_> {
        V::get(stored)
    }
}

/// A setting that may be absent.
pub(crate) struct Maybe<V>(std::marker::PhantomData<V>);

impl<V: Value> Setting for Maybe<V> {
    type Stored = Option<V::Stored>;
    type Ref<'a> = Option<V::Ref<'a>>;
    const TAKES: Takes = V::TAKES;
    const ARG: &'static str = V::ARG;

    fn unset() -> Option<V::Stored> {
        None
    }

    fn set(stored: &mut Option<V::Stored>, text: &str) -> Result<Option<Fault>, Fault> {
        let (value, remark) = V::parse(text)?;
        *stored = Some(value);
        Ok(remark)
    }

    fn get(stored: &Option<V::Stored>) -> Option<V::Ref<'_>> {
        stored.as_ref().map(V::get)
    }
}

/// A setting that may be given any number of times.
pub(crate) struct Many<V>(std::marker::PhantomData<V>);

impl<V: Value> Setting for Many<V>
where
    V::Stored: 'static,
{
    type Stored = Vec<V::Stored>;
    type Ref<'a> = &'a [V::Stored];
    const TAKES: Takes = V::TAKES;
    const ARG: &'static str = V::ARG;
    const MANY: bool = true;

    fn unset() -> Vec<V::Stored> {
        Vec::new()
    }

    fn set(stored: &mut Vec<V::Stored>, text: &str) -> Result<Option<Fault>, Fault> {
        let mut first_remark = None;
        for part in V::split(text) {
            let (value, remark) = V::parse(part)?;
            stored.push(value);
            first_remark = first_remark.or(remark);
        }
        Ok(first_remark)
    }

    fn get(stored: &Vec<V::Stored>) -> &[V::Stored] {
        stored
    }
}
