//! Messages: each names the option, the file or the directory that it is about.

use crate::kit::*;

/// The log of a start that fails.
#[track_caller]
fn refusal(site: &Site, words: &[&str]) -> String {
    let mut all = vec!["--socket", "app.sock", "--wsgi-file", "app.py"];
    all.extend(words);
    let refusal = site.server().only(&all).refused();
    assert!(
        refusal.code.is_some_and(|code| code != 0),
        "{}",
        refusal.log
    );
    refusal.log
}

#[test]
fn an_unknown_user_is_reported_with_its_option() {
    if under_uwsgi() || !is_root() {
        return;
    }
    let site = Site::with("hello");
    for (option, value) in [
        ("uid", "nosuch"),
        ("gid", "nosuch"),
        ("chown-socket", "nosuch"),
        ("add-gid", "nosuch"),
    ] {
        let log = refusal(&site, &[&format!("--{option}"), value]);
        assert!(log.contains(&format!("{option} = nosuch: ")), "{log}");
        assert_eq!(log.matches("there is no such").count(), 1, "{log}");
        assert_eq!(
            log.contains("chown-socket"),
            option == "chown-socket",
            "{log}"
        );
    }
}

#[test]
fn a_missing_directory_is_named() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    for words in [
        ["--logto", "/nowhere/log"],
        ["--logto2", "/nowhere/log"],
        ["--daemonize", "/nowhere/log"],
        ["--pidfile", "/nowhere/pid"],
        ["--master-fifo", "/nowhere/fifo"],
        ["--chdir2", "/nowhere/below"],
        ["--chdir", "/nowhere/below"],
        ["--control-socket", "/nowhere/control"],
    ] {
        let log = refusal(&site, &words);
        assert!(
            log.contains("the directory /nowhere does not exist"),
            "{log}"
        );
        assert!(!log.contains("os error"), "{log}");
    }
}

#[test]
fn a_missing_wrapper_of_an_emperor_is_named() {
    if under_uwsgi() {
        return;
    }
    let site = emperor::site();
    emperor::add_vassal(&site, "a", "one");
    let emperor = emperor::Emperor::with(&site, &["--emperor-wrapper", "/nowhere/wrapper"]);
    emperor
        .server
        .wait_for_log("/nowhere/wrapper: the directory /nowhere does not exist");
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    site.write(
        "site.ini",
        "[uwsgi]\nsocket = app.sock\nwsgi-file = app.py\nprocname = $(NO_SUCH_NAME)/x\nini = $(NO_SUCH_FILE)/more.ini\n",
    );
    let output = site.command(&["check", "site.ini"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "the environment has no variable NO_SUCH_NAME",
        "the environment has no variable NO_SUCH_FILE",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn comments_after_values_are_warned_of() {
    if differs(
        "A comment after a value, which is part of the value, gets a warning; uWSGI says nothing.",
    ) {
        return;
    }
    let site = Site::with("hello");
    site.write(
        "site.ini",
        "[uwsgi]\nsocket = app.sock\nwsgi-file = app.py\nbase = /srv # the root\npythonpath = %(base)\n\
         env = A=b # text\nlogto = /x # text\nmount = /a=app.py # text\nattach-daemon = sleep 9 # shell\n",
    );
    let output = site.command(&["check", "site.ini"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.contains("a comment after a value"));
    let places: Vec<&str> = lines.filter_map(|line| line.split(':').nth(1)).collect();
    assert_eq!(places, ["4", "5", "6", "7", "8", "9"], "{text}");
}
