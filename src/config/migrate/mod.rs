//! Conversion of other configurations to ini files of ruwsgi, with a comment for each change.

mod gunicorn;
mod ini;
mod python;
mod supervisor;
mod vassal;
mod words;

/// The source of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An ini file of uWSGI.
    Uwsgi,
    /// A configuration file of gunicorn.
    GunicornFile,
    /// A command line of gunicorn.
    GunicornCommand,
    /// A configuration file of supervisor.
    Supervisor,
}

/// Converts a configuration to an ini file.
pub(crate) fn migrate(origin: Origin, text: &str) -> String {
    match origin {
        Origin::Uwsgi => ini::clean(text),
        Origin::GunicornFile => gunicorn::from_file(text),
        Origin::GunicornCommand => gunicorn::from_command(text),
        Origin::Supervisor => supervisor::from_file(text),
    }
}

#[cfg(test)]
mod tests;
