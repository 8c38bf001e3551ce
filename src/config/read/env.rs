//! Environment variables that are options: `UWSGI_NAME` and `RUWSGI_NAME`.

use crate::log;

/// The option name of an environment variable; `None` if the variable is not an option.
pub(crate) fn option_name(variable: &str) -> Option<String> {
    let name = ["UWSGI_", "RUWSGI_"]
        .iter()
        .find_map(|prefix| variable.strip_prefix(prefix))?;
    (!is_reserved(variable)).then(|| name.to_ascii_lowercase().replace('_', "-"))
}

/// Whether a variable has the prefix of an option, but has another purpose in uWSGI or ruwsgi.
fn is_reserved(name: &str) -> bool {
    const UWSGI: &[&str] = &[
        "UWSGI_RELOADS",
        "UWSGI_VASSALS_DIR",
        "UWSGI_EMPEROR_FD",
        "UWSGI_BROODLORD_NUM",
        "UWSGI_EMPEROR_FD_CONFIG",
        "UWSGI_EMPEROR_PROXY",
        "UWSGI_JAIL_PID",
        "UWSGI_ORIGINAL_PROC_NAME",
    ];
    // variables that ruwsgi itself uses; a vassal removes its emperor's variables before it reads its configuration
    const RUWSGI: &[&str] = &[
        "RUWSGI_FALLBACK",
        "RUWSGI_LOG",
        "RUWSGI_MODULE",
        "RUWSGI_RUNTIME_DIRECTORY",
        "RUWSGI_UNDER_TEST",
        log::VASSAL_NAME,
    ];
    RUWSGI.contains(&name)
        || UWSGI.contains(&name)
        || name.starts_with("RUWSGI_TEST_")
        || name.starts_with("UWSGI_VASSAL_")
}
