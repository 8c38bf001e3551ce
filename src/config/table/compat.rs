//! The defaults that are not uWSGI's: one table makes `compat = uwsgi` and the page about them.

use crate::config::table::options::{self, Config};

/// A default that differs.
struct Difference {
    option: &'static str,
    /// What uWSGI does when the option is not given, as one would write it.
    theirs: &'static str,
    /// What ruwsgi does then, where the table has no default to show.
    ours: &'static str,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        option: "buffer-size",
        theirs: "4096",
        ours: "",
        why: "a request with a few cookies is larger, and uWSGI drops it",
    },
    Difference {
        option: "listen",
        theirs: "100",
        ours: "what the kernel allows",
        why: "the kernel's limit is the one that is tuned",
    },
    Difference {
        option: "vacuum",
        theirs: "false",
        ours: "",
        why: "a socket nobody listens on helps nobody",
    },
    Difference {
        option: "need-app",
        theirs: "false",
        ours: "",
        why: "a site that cannot be loaded should say so at the start",
    },
    Difference {
        option: "die-on-term",
        theirs: "false",
        ours: "SIGTERM stops",
        why: "everything else on a Unix system stops at SIGTERM",
    },
    Difference {
        option: "http-keepalive",
        theirs: "0",
        ours: "",
        why: "browsers and proxies ask more than once",
    },
];

/// Gives the options their defaults in uWSGI; what is set afterwards wins.
pub(crate) fn restore(config: &mut Config) {
    for difference in DIFFERENCES {
        // a test holds that each of them parses
        let _ = config.set(difference.option, difference.theirs);
    }
}

/// The page docs/differences-defaults.md.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Defaults that are not uWSGI's

<!-- Written by `ruwsgi defaults-page` from src/config/table/compat.rs; do not edit. -->

`compat = uwsgi` brings uWSGI's back, all of them at once; an option that is given wins over it wherever it stands.

| option | uWSGI | ruwsgi | why |
|---|---|---|---|
",
    );
    for difference in DIFFERENCES {
        let default = options::find(difference.option)
            .and_then(|row| row.default)
            .map(|default| format!("`{default}`"));
        let ours = default.unwrap_or_else(|| difference.ours.to_owned());
        page.push_str(&format!(
            "| `{}` | `{}` | {ours} | {} |\n",
            difference.option, difference.theirs, difference.why
        ));
    }
    page.push_str(
        "
`master`, `enable-threads` and `single-interpreter` are off in uWSGI unless they are given, and always on here.

An unknown name is ignored by uWSGI and reported here, with a suggestion; a value that is no number where one is
needed, or neither true nor false, is an error here and 0, or true, in uWSGI. [configuration.md](configuration.md) says
what else is read more strictly. [differences.md](differences.md) lists what differs at work.
",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_uwsgis_parses() {
        for difference in DIFFERENCES {
            assert_eq!(
                Config::defaults().set(difference.option, difference.theirs),
                Ok(None)
            );
            let row = options::find(difference.option).map(|row| row.default.is_none());
            assert_eq!(
                row,
                Some(!difference.ours.is_empty()),
                "{}",
                difference.option
            );
        }
    }
}
