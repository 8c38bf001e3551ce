//! The row type of the option table.

use crate::config::values::setting::Takes;

/// The action of a directive: an option that acts while the configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directive {
    /// Read another file now.
    Load,
    /// Read another file after everything else.
    Inherit,
    /// Set environment variables from the files of a directory.
    EnvironmentDirectory,
    /// Read a PasteDeploy file and serve its application.
    Paste,
    /// Define an option: `name=value`.
    Set,
    /// Define a placeholder: `name=value`.
    SetPlaceholder,
    /// Begin a condition.
    If,
    /// Begin a loop.
    For,
    /// End a condition or a loop.
    End,
    /// Print the value.
    Print,
    /// Define a custom option.
    Declare,
    /// Begin or end a list of permitted or forbidden options.
    Permit,
    /// Name the configuration to use if this configuration fails.
    Fallback,
}

/// How ruwsgi treats an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The option has an effect.
    Served,
    /// The option is accepted without effect, for this reason.
    Accepted(&'static str),
    /// The option has no meaning in ruwsgi. It is accepted with a warning that gives this reason.
    Ignored(&'static str),
    /// The option of uWSGI is not supported; the text is the alternative.
    Absent(&'static str),
    /// The option acts while the configuration is read.
    Directive(Directive),
}

/// An option: names, value, state and documentation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The names; the first name is the canonical name.
    pub(crate) names: &'static [&'static str],
    /// The short flag.
    pub(crate) short: Option<char>,
    /// Whether the flag takes a value.
    pub(crate) takes: Takes,
    /// The placeholder of the value in the help.
    pub(crate) arg: &'static str,
    /// Whether values accumulate.
    pub(crate) many: bool,
    /// The default in the notation of a configuration file.
    pub(crate) default: Option<&'static str>,
    /// The heading in the help.
    pub(crate) section: &'static str,
    /// How ruwsgi treats the option.
    pub(crate) state: State,
    /// The documentation: one or two sentences.
    pub(crate) doc: &'static str,
}

impl Row {
    /// The canonical name.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Creates the row of an option that is accepted without effect.
    pub(crate) const fn accepted(
        names: &'static [&'static str],
        takes: Takes,
        why: &'static str,
    ) -> Row {
        Row::bare(names, takes, State::Accepted(why))
    }

    /// Creates the row of an option that is accepted without effect and with a warning.
    pub(crate) const fn ignored(
        names: &'static [&'static str],
        takes: Takes,
        why: &'static str,
    ) -> Row {
        Row::bare(names, takes, State::Ignored(why))
    }

    /// Creates the row of an option that is not supported.
    pub(crate) const fn absent(
        names: &'static [&'static str],
        takes: Takes,
        instead: &'static str,
    ) -> Row {
        Row::bare(names, takes, State::Absent(instead))
    }

    /// Creates the row of a directive.
    pub(crate) const fn directive(
        directive: Directive,
        names: &'static [&'static str],
        takes: Takes,
        arg: &'static str,
        doc: &'static str,
    ) -> Row {
        Row {
            arg,
            doc,
            many: true,
            ..Row::bare(names, takes, State::Directive(directive))
        }
    }

    /// Returns the row with this short flag added.
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
