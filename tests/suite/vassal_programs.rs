//! Executable vassals: `emperor-magic-exec` and `emperor-wrapper`.

use std::fs;

use crate::kit::emperor::{Emperor, add_vassal, app, ini, site};
use crate::kit::*;

#[test]
fn an_executable_vassal_prints_its_configuration() {
    if differs(
        "Under emperor-magic-exec a vassal whose file fails when it is executed is not started, or continues as before.",
    ) {
        return;
    }
    let site = site();
    let script = |name: &str| format!("#!/bin/sh\ncat <<'END'\n{}\nEND\n", ini(&site, name));
    for name in ["one", "two", "read"] {
        site.write(&format!("{name}.py"), &app(name));
    }
    // neither a shell nor the parser of FILE:SECTION interprets special characters
    let name = "vassals/it's $(here) a:b.ini";
    site.write_executable(name, &script("one"));
    add_vassal(&site, "read", "read");
    let mut emperor = Emperor::with(&site, &["--emperor-magic-exec"]);
    emperor.expect_text("one", "one");
    emperor.expect_text("read", "read");
    site.write_executable(name, &script("two"));
    emperor.expect_text("two", "two");
    site.write_executable(name, "#!/bin/sh\nexit 3\n");
    emperor
        .server
        .expect_log("the previous generation continues");
    emperor.server.expect_log("exit status: 3");
    emperor.expect_text("two", "two");
    emperor.server.stop();
}

#[test]
fn without_the_option_no_vassal_is_executed() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let marker = site.at("marker");
    let text = format!("#!/bin/sh\n: > {marker}\n{}", ini(&site, "a"));
    site.write("a.py", &app("a"));
    site.write_executable("vassals/a.ini", &text);
    let emperor = Emperor::over(&site);
    // a parser of ini files ignores the text before the section
    emperor.expect_text("a", "a");
    assert!(!site.has("marker"));
    emperor.server.stop();
}

#[test]
fn the_first_wrapper_that_can_be_executed_starts_the_vassals() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    let wrapper = |name: &str| {
        let text = format!(
            "#!/bin/sh\necho {name} >> {}\nexec {} \"$@\"\n",
            site.at("used"),
            binary().display()
        );
        site.write_executable(name, &text);
        site.at(name)
    };
    let (first, second) = (wrapper("first"), wrapper("second"));
    let missing = site.at("missing");
    let used = |options: &[&str]| {
        let _ = fs::remove_file(site.file("used"));
        let emperor = Emperor::with(&site, options);
        emperor.expect_text("a", "one");
        emperor.server.stop();
        site.has("used").then(|| site.read("used"))
    };
    let overrides = [
        "--emperor-wrapper",
        &second,
        "--emperor-wrapper-override",
        &missing,
        "--emperor-wrapper-override",
        &first,
    ];
    assert_eq!(used(&overrides).as_deref(), Some("first\n"));
    let fallbacks = [
        "--emperor-wrapper",
        &missing,
        "--emperor-wrapper-fallback",
        &missing,
        "--emperor-wrapper-fallback",
        &second,
    ];
    assert_eq!(used(&fallbacks).as_deref(), Some("second\n"));
    assert_eq!(used(&["--emperor-wrapper-fallback", &first]), None);
}
