//! Tests of the consistency of the table, and of whole configurations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use super::table::options;
use super::table::row::State;
use super::values::choice::Owner;
use super::*;

/// The configuration of an ini file, or the report of its faults.
fn ini(content: impl AsRef<[u8]>) -> Result<Config, Report> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("site.ini"), content).unwrap();
    load(&typed(directory.path(), &["--ini", "site.ini"]))
}

pub(super) fn typed(cwd: &std::path::Path, arguments: &[&str]) -> Invocation {
    let argv = std::iter::once("ruwsgi")
        .chain(arguments.iter().copied())
        .map(str::to_owned)
        .collect();
    Invocation::new(argv, vec![("HOME".into(), "/root".into())], cwd.to_owned())
}

fn good(content: &str) -> Config {
    ini(content).unwrap_or_else(|report| panic!("{report}"))
}

fn bad(content: &str) -> String {
    ini(content)
        .expect_err("a fault was not reported")
        .to_string()
}

#[test]
fn names_are_unique_and_fields_are_named_after_them() {
    let mut names = HashSet::new();
    let mut shorts = HashSet::new();
    for row in options::rows() {
        for name in row.names {
            assert!(names.insert(*name), "{name} is there twice");
        }
        if let Some(short) = row.short {
            assert!(shorts.insert(short), "-{short} is there twice");
        }
    }
    for (name, field) in options::FIELDS {
        assert_eq!(name.replace('-', "_"), *field);
    }
}

#[test]
fn every_default_parses() {
    for row in options::SERVED {
        if let Some(default) = row.default {
            assert_eq!(
                Config::defaults().set(row.name(), default),
                Ok(None),
                "{}",
                row.name()
            );
        }
    }
}

#[test]
fn every_name_of_uwsgi_is_in_the_table() {
    for name in include_str!("../../tests/config/names-of-uwsgi.txt").lines() {
        assert!(
            options::find(name).is_some() || ["help", "usage", "version"].contains(&name),
            "{name} is not known"
        );
    }
}

#[test]
fn what_is_not_here_says_what_to_do_and_what_is_accepted_says_why() {
    for row in options::rows() {
        match row.state {
            State::Accepted(text) | State::Ignored(text) | State::Absent(text) => {
                assert!(!text.is_empty(), "{}", row.name())
            }
            State::Served | State::Directive(_) => {
                assert!(row.doc.ends_with('.'), "{}", row.name())
            }
        }
    }
}

#[test]
fn without_options_everything_has_its_default() {
    let config = good("[uwsgi]\n");
    assert_eq!(
        (config.processes(), config.threads(), config.buffer_size()),
        (1, 1, 65535)
    );
    assert_eq!(config.socket_timeout(), Duration::from_secs(4));
    assert_eq!(config.worker_reload_mercy(), Duration::from_secs(60));
    assert_eq!(config.http_keepalive(), Duration::from_secs(5));
    assert!(config.vacuum() && config.need_app() && !config.lazy_apps());
    assert_eq!(
        (config.die_on_term(), config.listen(), config.chdir()),
        (None, None, None)
    );
    assert_eq!((config.protocol(), config.limit_post()), (Wire::Uwsgi, 0));
    assert!(config.socket().is_empty() && config.env().is_empty());
    assert_eq!(config.name(), "site");
}

#[test]
fn the_tutorials_file_is_read_as_it_stands() {
    let config = good(
        "# mysite_uwsgi.ini file\n[uwsgi]\n\n# Django-related settings\n# the base directory (full path)\nchdir           = /path/to/your/project\n\
         # Django's wsgi file\nmodule          = project.wsgi\n# the virtualenv (full path)\nhome            = /path/to/virtualenv\n\n\
         # process-related settings\n# master\nmaster          = true\n# maximum number of worker processes\nprocesses       = 10\n\
         # the socket (use the full path to be safe\nsocket          = /path/to/your/project/mysite.sock\n\
         # ... with appropriate permissions - may be needed\n# chmod-socket    = 664\n# clear environment on exit\nvacuum          = true\n",
    );
    assert_eq!(config.warnings(), []);
    assert_eq!(config.module(), Some("project.wsgi"));
    assert_eq!(config.home(), Some("/path/to/virtualenv"));
    assert_eq!(config.processes(), 10);
    assert_eq!(
        config.socket(),
        [Address::Unix("/path/to/your/project/mysite.sock".into())]
    );
}

#[test]
fn values_are_read_by_their_types() {
    let config = good(
        "[uwsgi]\nhttp = :80,127.0.0.1:81\nsocket = @a\nuwsgi-socket = b.sock\nchmod-socket = 0660\nchown-socket = www-data:\nlimit-as = 128\n\
         umask = 022\ncap = setuid, net_bind_service\nenv = A=b=c\nenv=D= e\nmount = /x/=a.py\nmount = /=b:c\nhttp-keepalive = 1\npost-buffering = 4096\ndie-on-term = false\n",
    );
    assert_eq!(config.http().len(), 2);
    assert_eq!(config.socket().len(), 2);
    assert_eq!(config.chmod_socket(), Some(0o660));
    assert_eq!(
        config.chown_socket(),
        Some(Owner {
            user: Some("www-data".into()),
            group: None
        })
    );
    assert_eq!(config.limit_as(), Some(128 << 20));
    assert_eq!(config.umask(), Some(0o22));
    use caps::Capability::{CAP_NET_BIND_SERVICE, CAP_SETUID};
    assert_eq!(config.cap(), [CAP_SETUID, CAP_NET_BIND_SERVICE]);
    assert_eq!(
        config.env(),
        [
            ("A".to_owned(), Some("b=c".to_owned())),
            ("D".to_owned(), Some("e".to_owned()))
        ]
    );
    assert_eq!(
        config.mount(),
        [
            ("/x".to_owned(), "a.py".to_owned()),
            ("/".to_owned(), "b:c".to_owned())
        ]
    );
    assert_eq!(config.http_keepalive(), Duration::from_secs(5));
    assert_eq!(config.post_buffering(), Some(4096));
    assert_eq!(config.die_on_term(), Some(false));
}

#[test]
fn a_number_ends_at_the_first_other_character_with_a_warning() {
    for (line, part) in [
        ("threads = auto", "%k"),
        ("processes = \"4\"", "remove the quotes"),
        ("processes =", "the value is empty"),
        ("vacuum = n", "neither true nor false; true is used"),
        ("vacuum = false # no", "a line of its own"),
        ("log-slow = True", "0 is used, as in uWSGI"),
        (
            "socket-timeout = 5m",
            "5 is used, as in uWSGI; write the time in whole seconds",
        ),
        ("harakiri = 30 # half a minute", "a comment after a value"),
        ("buffer-size = 32k", "32768 is used, uWSGI reads 32"),
        ("limit-post = 20M", "20971520 is used, uWSGI reads 20"),
        ("reload-on-rss = 1G", "1024 is used, uWSGI reads 1"),
        ("env = A=b # text", "a comment after a value"),
    ] {
        let config = good(&format!("[uwsgi]\n{line}\n"));
        let said: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
        assert!(
            said.len() == 1 && said[0].contains(part),
            "{line}: {said:?}"
        );
    }
    let config = good("[uwsgi]\nthreads = auto\nlimit-post = 20M\nreload-on-rss = 1G\n");
    assert_eq!((config.threads(), config.limit_post()), (1, 20 << 20));
    assert_eq!(config.reload_on_rss(), Some(1 << 30));
}

#[test]
fn a_socket_may_refer_to_a_shared_one() {
    let config = good("[uwsgi]\nsocket = =1\nhttp = =0\nshared-socket = :80\nshared-socket = /a\n");
    assert_eq!(config.socket()[0].to_string(), "/a");
    assert_eq!(config.http()[0].to_string(), ":80");
    let said = bad("[uwsgi]\nsocket = =1\nshared-socket = :80\n");
    assert!(said.contains("the last one is =0"), "{said}");
}

#[test]
fn a_value_that_does_not_parse_is_an_error_with_the_way_out() {
    for (line, part) in [
        ("processes = -1", "negative"),
        ("buffer-size = 0", "more than 0"),
        ("chmod-socket = 8", "octal"),
        ("chmod-socket = 1777", "three octal digits"),
        ("mount = app.py", "="),
        ("mount = x=app.py", "/x=app.py"),
        ("env = =value", "NAME=value"),
        ("protocol = fastcgi", "not supported"),
        ("umask = 9", "octal"),
        ("module =", "the value is empty"),
        ("= 3", "the name before = is missing"),
        ("limit-post = 99999999999999999999", "too large"),
        ("socket = unix:/run/a.sock", "write /run/a.sock"),
    ] {
        let said = bad(&format!("[uwsgi]\n{line}\n"));
        assert!(
            said.starts_with("site.ini:2: error: ") && said.contains(part),
            "{line}: {said}"
        );
    }
}

#[test]
fn what_uwsgi_understands_by_luck_is_accepted_with_a_warning() {
    for line in [
        "socket-timeout = 30 ; seconds",
        "socket-timeout = 30s",
        "threads = 0",
        "vacuum = true # yes",
        "buffer-size = 70000",
        "post-buffering = true",
        "http = 8000",
    ] {
        assert_eq!(
            good(&format!("[uwsgi]\n{line}\n")).warnings().len(),
            1,
            "{line}"
        );
    }
    assert_eq!(good("[uwsgi]\nbuffer-size = 70000\n").buffer_size(), 65535);
}

#[test]
fn compat_brings_the_defaults_of_uwsgi_back_and_what_is_given_wins() {
    let config = good("[uwsgi]\nvacuum = true\ncompat = uwsgi\n");
    assert_eq!((config.buffer_size(), config.listen()), (4096, Some(100)));
    assert_eq!(
        (config.need_app(), config.die_on_term()),
        (false, Some(false))
    );
    assert!(config.vacuum());
    assert!(bad("[uwsgi]\ncompat = gunicorn\n").contains("write compat = uwsgi"));
}

#[test]
fn a_reload_reads_the_files_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.ini");
    fs::write(&file, "[uwsgi]\nthreads = 2").unwrap();
    let invocation = typed(directory.path(), &["a.ini"]);
    assert_eq!(load(&invocation).unwrap().threads(), 2);
    fs::write(&file, "[uwsgi]\nthreads = 3").unwrap();
    assert_eq!(load(&invocation).unwrap().threads(), 3);
}

#[test]
fn an_instance_without_a_file_is_named_after_its_application() {
    let name = |arguments: &[&str]| {
        load(&typed("/".as_ref(), arguments))
            .unwrap()
            .name()
            .to_owned()
    };
    assert_eq!(name(&["--module", "mysite.wsgi:app"]), "mysite");
    assert_eq!(name(&["--wsgi-file", "/srv/test.py"]), "test");
    assert_eq!(name(&["--http", ":80"]), "ruwsgi");
}

#[test]
fn a_block_that_is_never_ended_is_said_and_blocks_do_not_nest() {
    assert!(
        good("[uwsgi]\nif-env = NOPE\nthreads = 3\n").warnings()[0]
            .what
            .contains("has no end")
    );
    assert!(bad("[uwsgi]\nif-env = HOME\nif-env = HOME\nendif =\n").contains("cannot be nested"));
}

#[test]
fn loops_and_placeholders_that_explode_are_errors() {
    assert!(bad("[uwsgi]\nfor-times = 4000000000\nenv = A=%(_)\nendfor =\n").contains("too large"));
    assert!(bad("[uwsgi]\na = %(a)\nchdir = %(a)\n").contains("itself"));
    assert!(
        bad("[uwsgi]\nfor-times = 1000\nini = site.ini\nendfor =\n")
            .contains("read too often or too deeply")
    );
}

#[test]
fn text_that_is_not_utf8_counts_in_values_only() {
    assert!(ini(b"[uwsgi]\n# caf\xe9\nthreads = 2\n").is_ok());
    assert!(
        ini(b"[uwsgi]\nprocname = caf\xe9\n")
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
    assert!(
        ini(b"[uwsgi]\nprocname = a\0b\n")
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
}

#[test]
fn unresolved_placeholders_are_pointed_out() {
    let warnings = good("[uwsgi]\nchdir = %(bsae)/x\nhome = $(VENV)\n")
        .warnings()
        .to_vec();
    assert!(
        warnings[0].what.contains("bsae is not defined"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].what.contains("no variable VENV"),
        "{warnings:?}"
    );
}

#[test]
fn the_options_of_workers_are_passed_as_they_are_configured() {
    let options = good("[uwsgi]\nlimit-post = 1000\nsocket-timeout = 7\n").worker_options();
    assert_eq!(options.limit_post, 1000);
    assert_eq!(options.socket_timeout, Duration::from_secs(7));
    assert_eq!(options.buffer_size, 65535);
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(
        serde_json::from_str::<WorkerOptions>(&text).unwrap(),
        options
    );
}
