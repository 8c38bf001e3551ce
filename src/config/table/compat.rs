//! The defaults that differ from uWSGI: one table for `compat = uwsgi` and for docs/differences-defaults.md.

use super::options::{self, Config};

/// An option whose default differs from uWSGI's.
struct Difference {
    option: &'static str,
    /// The default of uWSGI in the notation of a configuration file.
    uwsgi: &'static str,
    /// A description of ruwsgi's behaviour, for an option without a default in the table.
    ruwsgi: &'static str,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        option: "buffer-size",
        uwsgi: "4096",
        ruwsgi: "",
        why: "requests with several cookies are larger, and uWSGI drops them",
    },
    Difference {
        option: "listen",
        uwsgi: "100",
        ruwsgi: "the limit of the kernel (net.core.somaxconn)",
        why: "operators tune the limit of the kernel",
    },
    Difference {
        option: "vacuum",
        uwsgi: "false",
        ruwsgi: "",
        why: "a leftover socket has no use",
    },
    Difference {
        option: "need-app",
        uwsgi: "false",
        ruwsgi: "",
        why: "an application that fails to load must be reported at the start",
    },
    Difference {
        option: "die-on-term",
        uwsgi: "false",
        ruwsgi: "SIGTERM stops the instance",
        why: "SIGTERM stops every other Unix service",
    },
    Difference {
        option: "http-keepalive",
        uwsgi: "0",
        ruwsgi: "",
        why: "browsers and proxies send more than one request",
    },
];

/// Sets the defaults of uWSGI. Values that are set later replace these defaults.
pub(crate) fn restore(config: &mut Config) {
    for difference in DIFFERENCES {
        // a test ensures that every value parses
        let _ = config.set(difference.option, difference.uwsgi);
    }
}

/// The content of docs/differences-defaults.md.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Defaults that differ from uWSGI

<!-- Written by `ruwsgi defaults-page` from src/config/table/compat.rs; do not edit. -->

`compat = uwsgi` restores all defaults of uWSGI. An option that is given has priority over `compat`, in any order.

| option | uWSGI | ruwsgi | why |
|---|---|---|---|
",
    );
    for difference in DIFFERENCES {
        let default = options::find(difference.option)
            .and_then(|row| row.default)
            .map(|default| format!("`{default}`"));
        let ruwsgi = default.unwrap_or_else(|| difference.ruwsgi.to_owned());
        page.push_str(&format!(
            "| `{}` | `{}` | {ruwsgi} | {} |\n",
            difference.option, difference.uwsgi, difference.why
        ));
    }
    page.push_str(
        "
`master`, `enable-threads` and `single-interpreter` are off by default in uWSGI and always on in ruwsgi.

uWSGI ignores unknown names; ruwsgi reports them with a suggestion. It warns of texts that are read otherwise than they look:
a number with other characters behind it, and a switch that is neither true nor false.
[configuration.md](configuration.md) lists the other differences in reading a configuration,
[differences.md](differences.md) the differences at run time.
",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_uwsgi_parses() {
        for difference in DIFFERENCES {
            assert_eq!(
                Config::defaults().set(difference.option, difference.uwsgi),
                Ok(None)
            );
            let row = options::find(difference.option).map(|row| row.default.is_none());
            assert_eq!(
                row,
                Some(!difference.ruwsgi.is_empty()),
                "{}",
                difference.option
            );
        }
    }
}
