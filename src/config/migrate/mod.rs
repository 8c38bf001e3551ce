//! Other configurations written as ini files of ruwsgi's, with a comment for each change.

mod gunicorn;
mod ini;
mod python;
mod supervisor;
mod vassal;
mod words;

/// Where a configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An ini file of uWSGI's.
    Uwsgi,
    /// gunicorn's configuration file.
    GunicornFile,
    /// gunicorn's command line.
    GunicornCommand,
    /// supervisor's configuration file.
    Supervisor,
}

/// The ini file that does what a configuration says.
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
