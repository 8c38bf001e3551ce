//! Starts that fail: the reason is logged in one sentence, with the traceback.

use std::fs;

use crate::kit::launch::Refusal;
use crate::kit::*;

/// Fails unless the start fails with the expected exit status and the log contains all `words`.
#[track_caller]
fn refused(launch: Launch, words: &[&str]) -> Refusal {
    let refusal = launch.refused();
    assert!(
        refusal.code.is_some_and(|code| code != 0),
        "{:?}: {}",
        refusal.code,
        refusal.log
    );
    for word in words {
        assert!(
            refusal.log.contains(word),
            "{word:?} is not in the log:\n{}",
            refusal.log
        );
    }
    refusal
}

#[test]
fn a_missing_module_is_refused() {
    let site = Site::with("hello");
    let refusal = refused(
        site.server().set("module", "nosuch.wsgi"),
        &["nosuch", "ModuleNotFoundError"],
    );
    assert_eq!(refusal.code, Some(22));
    assert!(!site.has("app.sock"), "the socket is removed");
}

#[test]
fn a_missing_file_is_refused() {
    let refusal = refused(
        Site::empty().server().set("wsgi-file", "nosuch.py"),
        &["nosuch.py"],
    );
    assert_eq!(refusal.code, Some(22));
}

#[test]
fn a_missing_callable_is_refused() {
    let site = Site::with("hello");
    let refusal = refused(site.server().set("module", "app:nosuch"), &[]);
    assert_eq!(refusal.code, Some(22));
    refused(
        site.server()
            .set("wsgi-file", "app.py")
            .set("callable", "nosuch"),
        &["app.py"],
    );
    if !under_uwsgi() {
        assert!(refusal.log.contains("nosuch"), "{}", refusal.log);
        refused(site.server().set("module", "os"), &["application", "os"]);
    }
}

#[test]
fn an_application_that_is_not_callable_is_refused() {
    let site = Site::of("application = 7\n");
    refused(site.server().set("wsgi-file", "app.py"), &["application"]);
    if differs(
        "A callable object that is not callable is refused at the start; with module uWSGI fails at each request.",
    ) {
        return;
    }
    refused(site.server().set("module", "app"), &["application"]);
}

#[test]
fn a_syntax_error_is_refused_with_its_location() {
    let site = Site::of("def application(environ start_response):\n    pass\n");
    refused(site.server(), &["SyntaxError", "app.py"]);
    refused(
        site.server().set("module", "app"),
        &["SyntaxError", "app.py"],
    );
}

#[test]
fn an_exception_at_import_is_refused_with_its_traceback() {
    let site = Site::of("def inner():\n    raise RuntimeError('my own words')\ninner()\n");
    let refusal = refused(
        site.server(),
        &["RuntimeError: my own words", "line 2, in inner"],
    );
    let tracebacks = refusal
        .log
        .matches("Traceback (most recent call last)")
        .count();
    assert_eq!(tracebacks, 1, "{}", refusal.log);
}

#[test]
fn a_system_exit_at_import_is_refused() {
    let site = Site::of("import sys\nsys.exit('my own words')\n");
    refused(site.server(), &["my own words"]);
}

#[test]
fn a_failed_import_is_refused() {
    if differs(
        "A module of the import option that cannot be imported is an error; uWSGI prints the traceback and continues.",
    ) {
        return;
    }
    refused(
        Site::with("hello").server().set("import", "nosuch"),
        &["nosuch", "ModuleNotFoundError"],
    );
}

#[test]
fn a_missing_mounted_application_is_refused() {
    refused(
        Site::empty().server().set("mount", "/one=nosuch.py"),
        &["nosuch"],
    );
}

#[test]
fn with_lazy_apps_a_load_failure_is_refused() {
    let refusal = refused(
        Site::with("hello")
            .server()
            .set("module", "nosuch")
            .set("lazy-apps", "true"),
        &["nosuch"],
    );
    assert_eq!(refusal.code, Some(22));
}

#[test]
fn a_start_without_an_application_is_refused() {
    if differs(
        "An application that cannot be loaded is an error also without need-app; uWSGI starts and answers 500.",
    ) {
        return;
    }
    let site = Site::empty();
    let launch = site
        .server()
        .only(&["--socket", "app.sock", "--module", "nosuch"]);
    refused(launch, &["nosuch"]);
}

#[test]
fn a_missing_virtual_environment_is_refused() {
    let refusal = refused(
        Site::with("hello").server().set("home", "/nowhere/venv"),
        &["/nowhere/venv"],
    );
    assert_eq!(refusal.code, Some(1));
}

#[test]
fn a_broken_virtual_environment_is_refused() {
    if differs(
        "A virtual environment without its interpreter is refused; uWSGI does not need the interpreter.",
    ) {
        return;
    }
    let site = Site::with("hello");
    site.write("venv/pyvenv.cfg", "home = /gone/bin\nversion = 3.11.2\n");
    fs::create_dir(site.file("venv/bin")).unwrap();
    std::os::unix::fs::symlink("/gone/bin/python3", site.file("venv/bin/python")).unwrap();
    let refusal = refused(
        site.server().set("virtualenv", site.at("venv")),
        &[&site.at("venv")],
    );
    assert_eq!(refusal.code, Some(1));
    refused(
        site.server().set("home", site.at("nothing-in-it")),
        &["nothing-in-it"],
    );
}

#[test]
fn a_python_that_is_too_old_is_refused() {
    if differs("A Python older than 3.10 is refused; uWSGI serves the version it was built for.") {
        return;
    }
    let site = Site::with("hello");
    let Some(python) = crate::kit::venv::another_python(&["3.8", "3.9"]) else {
        eprintln!("skipped: no old Python version is installed");
        return;
    };
    refused(site.server().set("python", python.display()), &["3.10"]);
}

#[test]
fn a_python_that_cannot_be_run_is_refused() {
    if under_uwsgi() {
        return; // uWSGI has no such option
    }
    let site = Site::with("hello");
    refused(
        site.server().set("python", "/nowhere/python3"),
        &["/nowhere/python3"],
    );
    site.write_executable("python3", "no program");
    refused(
        site.server().set("python", site.at("python3")),
        &["python3"],
    );
}

#[test]
fn a_file_that_is_not_a_configuration_is_refused() {
    let site = Site::empty();
    let refusal = refused(
        site.server().only(&["--ini", "nosuch.ini"]),
        &["nosuch.ini"],
    );
    assert_eq!(refusal.code, Some(1));
}

#[test]
fn an_unknown_option_on_the_command_line_is_refused() {
    let site = Site::with("hello");
    let refusal = refused(
        site.server()
            .only(&["--socket", "app.sock", "--no-such-option"]),
        &["no-such-option"],
    );
    assert_eq!(refusal.code, Some(1));
}

#[test]
fn a_misspelt_option_in_a_file_is_reported() {
    if differs("An unknown option in a file is reported with a suggestion; uWSGI ignores it.") {
        return;
    }
    let server = Site::with("hello").server().set("harakari", 30).start();
    server.get("/").expect_text("hello\n");
    server.wait_for_log("harakari");
    let lines = server.log_lines("harakari");
    assert!(
        lines.len() == 1 && lines[0].contains("harakiri") && lines[0].contains("site.ini"),
        "{}",
        server.log()
    );
}
