//! How an option keeps what was read: one value, perhaps one, or a list.

use crate::config::finding::Fault;
use crate::config::table::row::Takes;
use std::fmt::Debug;

/// What a text means, and a remark when it is accepted with a shake of the head.
pub(crate) type Read<T> = Result<(T, Option<Fault>), Fault>;

/// A type a value can have.
pub(crate) trait Value {
    /// What is kept.
    type Is: Debug + Clone;
    /// What a reader of the configuration gets.
    type Got<'a>;
    /// Whether the flag takes a value.
    const TAKES: Takes = Takes::Value;
    /// The value's name in the help.
    const ARG: &'static str;

    /// Reads one value.
    fn parse(text: &str) -> Read<Self::Is>;

    /// The values that stand in one text.
    fn split(text: &str) -> Vec<&str> {
        vec![text]
    }

    /// The value as it is handed out.
    fn got(is: &Self::Is) -> Self::Got<'_>;
}

/// What an option stores: one value, perhaps one, or a list.
pub(crate) trait Setting {
    /// What is kept.
    type Stored: Debug + Clone;
    /// What a reader of the configuration gets.
    type Got<'a>;
    /// Whether the flag takes a value.
    const TAKES: Takes;
    /// The value's name in the help.
    const ARG: &'static str;
    /// Whether values accumulate.
    const MANY: bool = false;

    /// The state before anything was read.
    fn unset() -> Self::Stored;

    /// Reads a text; the last one wins, or a list grows.
    fn set(stored: &mut Self::Stored, text: &str) -> Result<Option<Fault>, Fault>;

    /// The setting as it is handed out.
    fn get(stored: &Self::Stored) -> Self::Got<'_>;
}

/// A setting that always has a value, its default to begin with.
pub(crate) struct One<V>(std::marker::PhantomData<V>);

impl<V: Value> Setting for One<V>
where
    V::Is: Default,
{
    type Stored = V::Is;
    type Got<'a> = V::Got<'a>;
    const TAKES: Takes = V::TAKES;
    const ARG: &'static str = V::ARG;

    fn unset() -> V::Is {
        V::Is::default()
    }

    fn set(stored: &mut V::Is, text: &str) -> Result<Option<Fault>, Fault> {
        let (value, remark) = V::parse(text)?;
        *stored = value;
        Ok(remark)
    }

    fn get(stored: &V::Is) -> V::Got<'_> {
        V::got(stored)
    }
}

/// A setting that may be absent.
pub(crate) struct Maybe<V>(std::marker::PhantomData<V>);

impl<V: Value> Setting for Maybe<V> {
    type Stored = Option<V::Is>;
    type Got<'a> = Option<V::Got<'a>>;
    const TAKES: Takes = V::TAKES;
    const ARG: &'static str = V::ARG;

    fn unset() -> Option<V::Is> {
        None
    }

    fn set(stored: &mut Option<V::Is>, text: &str) -> Result<Option<Fault>, Fault> {
        let (value, remark) = V::parse(text)?;
        *stored = Some(value);
        Ok(remark)
    }

    fn get(stored: &Option<V::Is>) -> Option<V::Got<'_>> {
        stored.as_ref().map(V::got)
    }
}

/// A setting that may be given any number of times.
pub(crate) struct Many<V>(std::marker::PhantomData<V>);

impl<V: Value> Setting for Many<V>
where
    V::Is: 'static,
{
    type Stored = Vec<V::Is>;
    type Got<'a> = &'a [V::Is];
    const TAKES: Takes = V::TAKES;
    const ARG: &'static str = V::ARG;
    const MANY: bool = true;

    fn unset() -> Vec<V::Is> {
        Vec::new()
    }

    fn set(stored: &mut Vec<V::Is>, text: &str) -> Result<Option<Fault>, Fault> {
        let mut remarked = None;
        for part in V::split(text) {
            let (value, remark) = V::parse(part)?;
            stored.push(value);
            remarked = remarked.or(remark);
        }
        Ok(remarked)
    }

    fn get(stored: &Vec<V::Is>) -> &[V::Is] {
        stored
    }
}
