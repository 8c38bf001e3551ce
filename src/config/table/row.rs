//! A row of the option table.

/// Whether a flag takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `--opt`; `--opt=false` is understood too.
    Nothing,
    /// `--opt` or `--opt=value`.
    Maybe,
    /// `--opt value` or `--opt=value`.
    Value,
}

/// What an option does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It works.
    Served,
    /// It is taken without effect, for this reason.
    Accepted(&'static str),
    /// It is one of uWSGI's and not here; this is what to do instead.
    Absent(&'static str),
    /// It acts while the configuration is read.
    Directive,
}

/// One option: its names, what it takes and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The names, the usual one first.
    pub(crate) names: &'static [&'static str],
    /// The short flag.
    pub(crate) short: Option<char>,
    /// Whether the flag takes a value.
    pub(crate) takes: Takes,
    /// The value's name in the help.
    pub(crate) arg: &'static str,
    /// Whether it may be given several times.
    pub(crate) many: bool,
    /// The default as one would write it.
    pub(crate) default: Option<&'static str>,
    /// The heading it stands under.
    pub(crate) section: &'static str,
    /// What it does here.
    pub(crate) state: State,
    /// One or two sentences.
    pub(crate) doc: &'static str,
}

impl Row {
    /// The usual name.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// A row of uWSGI's that is taken without effect.
    pub(crate) const fn accepted(
        names: &'static [&'static str],
        takes: Takes,
        why: &'static str,
    ) -> Row {
        Row::bare(names, takes, State::Accepted(why))
    }

    /// A row of uWSGI's that is not here.
    pub(crate) const fn absent(
        names: &'static [&'static str],
        takes: Takes,
        instead: &'static str,
    ) -> Row {
        Row::bare(names, takes, State::Absent(instead))
    }

    /// A row that acts while the configuration is read.
    pub(crate) const fn directive(
        names: &'static [&'static str],
        takes: Takes,
        arg: &'static str,
        doc: &'static str,
    ) -> Row {
        Row {
            arg,
            doc,
            many: true,
            ..Row::bare(names, takes, State::Directive)
        }
    }

    /// The same with a short flag.
    pub(crate) const fn short(self, short: char) -> Row {
        Row {
            short: Some(short),
            ..self
        }
    }

    const fn bare(names: &'static [&'static str], takes: Takes, state: State) -> Row {
        Row {
            names,
            short: None,
            takes,
            arg: "VALUE",
            many: false,
            default: None,
            section: "",
            state,
            doc: "",
        }
    }
}
