//! The options that act while the configuration is read.

use crate::config::table::row::{Row, Takes::Maybe, Takes::Nothing, Takes::Value};

/// What a directive does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Read another configuration now.
    Load,
    /// Read another configuration after everything else.
    Inherit,
    /// Define an option, `name=value`.
    Set,
    /// Define a placeholder, `name=value`.
    SetPlaceholder,
    /// Begin a condition.
    If,
    /// Begin a loop.
    For,
    /// End a condition or a loop.
    End,
    /// Print the value.
    Print,
    /// Define an option of one's own.
    Declare,
    /// Permit or forbid options.
    Permit,
    /// Name another configuration, for when this one cannot be used.
    Fallback,
}

/// The rows; what each does is in [`act`].
pub(crate) static DIRECTIVES: &[Row] = &[
    Row::directive(
        &["ini"],
        Value,
        "FILE[:SECTION]",
        "Read this ini file here; - is standard input, :section the same file again.",
    ),
    Row::directive(
        &["yaml", "yml"],
        Value,
        "FILE[:SECTION]",
        "Read this YAML file here.",
    )
    .short('y'),
    Row::directive(
        &["json", "js"],
        Value,
        "FILE[:SECTION]",
        "Read this JSON file here.",
    )
    .short('j'),
    Row::directive(
        &["toml"],
        Value,
        "FILE[:SECTION]",
        "Read this TOML file here.",
    ),
    Row::directive(
        &["xml", "xmlconfig"],
        Value,
        "FILE[:ID]",
        "Read this XML file here.",
    )
    .short('x'),
    Row::directive(
        &["include", "config"],
        Value,
        "FILE[:SECTION]",
        "Read this configuration file here, by its extension.",
    ),
    Row::directive(
        &["inherit"],
        Value,
        "FILE[:SECTION]",
        "Read this configuration file after everything else, so that it wins.",
    ),
    Row::directive(
        &["set"],
        Value,
        "NAME=VALUE",
        "Define an option or a placeholder.",
    )
    .short('S'),
    Row::directive(
        &["set-placeholder", "set-ph"],
        Value,
        "NAME=VALUE",
        "Define a placeholder, to be used as %(NAME).",
    ),
    Row::directive(
        &["declare-option", "declare-option2"],
        Value,
        "NAME=OPTION=VALUE;...",
        "Define an option of your own: NAME = A B adds these options, in whose values $1 is A and $2 is B.",
    ),
    Row::directive(
        &["blacklist"],
        Value,
        "NAME ...",
        "These options may not be given until end-blacklist; another blacklist takes the place of this one.",
    ),
    Row::directive(&["end-blacklist"], Nothing, "", "Ends the blacklist."),
    Row::directive(
        &["whitelist"],
        Value,
        "NAME ...",
        "Only these options may be given until end-whitelist, which has to be one of them.",
    ),
    Row::directive(&["end-whitelist"], Nothing, "", "Ends the whitelist."),
    Row::directive(
        &["fallback-config"],
        Value,
        "FILE[:SECTION]",
        "Start with this configuration instead if this one is wrong or the start fails with status 1. In a vassal, only if it is wrong.",
    ),
    Row::directive(
        &["print", "iprint"],
        Value,
        "TEXT",
        "Print this text when the configuration is read.",
    ),
    Row::directive(
        &["if-env", "ifenv"],
        Value,
        "NAME[=VALUE]",
        "What follows until endif counts if the variable is set; %(_) is its value.",
    ),
    Row::directive(
        &["if-not-env"],
        Value,
        "NAME[=VALUE]",
        "What follows until endif counts unless the variable is set.",
    ),
    Row::directive(
        &["if-opt"],
        Value,
        "NAME[=VALUE]",
        "What follows until endif counts if the option was given before.",
    ),
    Row::directive(
        &["if-not-opt"],
        Value,
        "NAME[=VALUE]",
        "What follows until endif counts unless the option was given before.",
    ),
    Row::directive(
        &["if-exists", "ifexists"],
        Value,
        "PATH",
        "What follows until endif counts if the path exists.",
    ),
    Row::directive(
        &["if-not-exists"],
        Value,
        "PATH",
        "What follows until endif counts unless the path exists.",
    ),
    Row::directive(
        &["if-file"],
        Value,
        "PATH",
        "What follows until endif counts if the path is a file.",
    ),
    Row::directive(
        &["if-not-file"],
        Value,
        "PATH",
        "What follows until endif counts unless the path is a file.",
    ),
    Row::directive(
        &["if-dir", "ifdir", "if-directory"],
        Value,
        "PATH",
        "What follows until endif counts if the path is a directory.",
    ),
    Row::directive(
        &["if-not-dir"],
        Value,
        "PATH",
        "What follows until endif counts unless the path is a directory.",
    ),
    Row::directive(
        &["if-plugin", "ifplugin"],
        Value,
        "NAME",
        "What follows until endif counts if uWSGI's plugin of this name has its counterpart here.",
    ),
    Row::directive(
        &["if-not-plugin"],
        Value,
        "NAME",
        "What follows until endif counts unless the plugin has its counterpart here.",
    ),
    Row::directive(
        &["if-hostname"],
        Value,
        "NAME",
        "What follows until endif counts on the host of this name.",
    ),
    Row::directive(
        &["if-not-hostname"],
        Value,
        "NAME",
        "What follows until endif counts on every other host.",
    ),
    Row::directive(
        &["if-reload"],
        Nothing,
        "",
        "What follows until endif counts when the instance reloads.",
    ),
    Row::directive(
        &["if-not-reload"],
        Nothing,
        "",
        "What follows until endif counts when the instance starts.",
    ),
    Row::directive(&["endif", "end-if"], Maybe, "", "Ends a condition."),
    Row::directive(
        &["for"],
        Value,
        "ITEM ...",
        "What follows until endfor is repeated for each item; %(_) is the item.",
    ),
    Row::directive(
        &["for-glob"],
        Value,
        "PATTERN",
        "What follows until endfor is repeated for each path that matches.",
    ),
    Row::directive(
        &["for-times"],
        Value,
        "COUNT",
        "What follows until endfor is repeated this many times; %(_) counts from 1.",
    ),
    Row::directive(
        &["for-readline"],
        Value,
        "FILE",
        "What follows until endfor is repeated for each line of the file.",
    ),
    Row::directive(&["endfor", "end-for"], Maybe, "", "Ends a loop."),
];

/// What the directive of this name does; nothing if it is none.
pub(crate) fn act(name: &str) -> Option<Act> {
    match name {
        "ini" | "include" | "config" | "yaml" | "yml" | "json" | "js" | "toml" | "xml"
        | "xmlconfig" => Some(Act::Load),
        "inherit" => Some(Act::Inherit),
        "set" => Some(Act::Set),
        "set-placeholder" | "set-ph" => Some(Act::SetPlaceholder),
        "print" | "iprint" => Some(Act::Print),
        "declare-option" | "declare-option2" => Some(Act::Declare),
        "blacklist" | "end-blacklist" | "whitelist" | "end-whitelist" => Some(Act::Permit),
        "fallback-config" => Some(Act::Fallback),
        "endif" | "end-if" | "endfor" | "end-for" => Some(Act::End),
        "for" | "for-glob" | "for-times" | "for-readline" => Some(Act::For),
        "ifenv" | "ifexists" | "ifdir" | "ifplugin" => Some(Act::If),
        _ if name.starts_with("if-") && DIRECTIVES.iter().any(|row| row.names.contains(&name)) => {
            Some(Act::If)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_acts() {
        for name in DIRECTIVES.iter().flat_map(|row| row.names) {
            assert!(act(name).is_some(), "{name}");
        }
    }
}
