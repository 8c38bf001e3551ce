//! Converts configurations of uWSGI, gunicorn and supervisor to ini files of ruwsgi, with a comment for each change.

mod gunicorn;
mod ini;
pub(crate) mod nginx;
mod python;
mod supervisor;
mod vassal;
mod words;

pub(crate) use vassal::Migrated;

/// The kind of configuration that is converted.
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

/// The name, as in `--from`, of the program whose configuration `text` certainly is. The names systemd and nginx are
/// also returned, although their configurations cannot be converted.
pub(crate) fn recognized(text: &str) -> Option<&'static str> {
    let has = |prefixes: &[&str]| {
        let mut lines = text.lines().map(str::trim_start);
        lines.any(|line| prefixes.iter().any(|prefix| line.starts_with(prefix)))
    };
    let sections: [(&str, &[&str]); 4] = [
        ("uwsgi", &["[uwsgi"]),
        ("supervisor", &["[program:", "[supervisord"]),
        ("systemd", &["[Service]", "[Unit]"]),
        ("nginx", &["server {", "upstream ", "location "]),
    ];
    let section = sections.iter().find(|(_, prefixes)| has(prefixes));
    let is_python = || {
        has(&["import ", "from ", "def "])
            || python::assignments(text).iter().any(|(name, value)| {
                let is_setting = ["bind", "workers", "wsgi_app", "worker_class", "accesslog"];
                is_setting.contains(&name.as_str()) && !matches!(value, python::Literal::Other(_))
            })
    };
    match section {
        Some((name, _)) => Some(name),
        None => (!has(&["["]) && is_python()).then_some("gunicorn"),
    }
}

/// Converts a configuration to ini files. `file` is the path of the input.
pub(crate) fn migrate(origin: Origin, file: &str, text: &str) -> Vec<Migrated> {
    let only = match origin {
        Origin::Uwsgi => ini::clean(text),
        Origin::GunicornFile => gunicorn::from_file(file, text),
        Origin::GunicornCommand => gunicorn::from_command(text),
        Origin::Supervisor => return supervisor::from_file(text),
    };
    vec![Migrated::only(only)]
}

#[cfg(test)]
mod tests;
