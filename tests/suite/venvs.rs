//! Virtual environments and interpreters: one server for any of them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kit::*;

/// A site whose application responds with facts about its interpreter.
fn site() -> Site {
    let site = Site::empty();
    site.write(
        "app.py",
        "import json, sys\n\
         def application(environ, start_response):\n    \
             try:\n        \
                 import only_there\n    \
             except ImportError:\n        \
                 only_there = None\n    \
             facts = {k: getattr(sys, k) for k in ('executable', 'prefix', 'base_prefix', 'path')}\n    \
             facts['version'] = '%d.%d' % sys.version_info[:2]\n    \
             facts['found'] = only_there is not None\n    \
             start_response('200 OK', [])\n    \
             return [json.dumps(facts).encode()]\n",
    );
    site
}

/// A virtual environment of this interpreter with a module `only_there`.
fn venv(python: &Path) -> PathBuf {
    let name = format!("plain-{}", python.display().to_string().replace('/', "-"));
    let venv = venv::shared(&name, python, &[]);
    let libraries = std::fs::read_dir(venv.join("lib"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(libraries.join("site-packages/only_there.py"), "").unwrap();
    venv
}

fn facts(launch: Launch) -> Value {
    launch.start().get("/").expect(200).json()
}

#[test]
fn every_virtualenv_option_sets_the_environment() {
    let venv = venv(&system_python());
    for option in ["home", "virtualenv", "venv", "pyhome"] {
        let facts = facts(site().server().set(option, venv.display()));
        assert_eq!(facts["found"], true, "{option}");
        assert_eq!(facts["prefix"], venv.to_str().unwrap(), "{option}");
        assert_ne!(facts["prefix"], facts["base_prefix"]);
    }
}

#[test]
fn sys_executable_is_in_the_virtual_environment() {
    if differs(
        "sys.executable is the virtual environment's interpreter; in uWSGI it is uwsgi or a guess.",
    ) {
        return;
    }
    let venv = venv(&system_python());
    let facts = facts(site().server().set("home", venv.display()));
    let executable = PathBuf::from(facts["executable"].as_str().unwrap());
    assert_eq!(executable.parent().unwrap(), venv.join("bin"));
}

#[test]
fn a_relative_virtual_environment_is_below_chdir() {
    let site = site();
    std::os::unix::fs::symlink(venv(&system_python()), site.file("env")).unwrap();
    let launch = site
        .server()
        .set("socket", site.at("app.sock"))
        .set("chdir", site.at(""))
        .set("home", "env");
    assert_eq!(facts(launch)["found"], true);
}

#[test]
fn without_the_option_no_virtual_environment_is_used() {
    if under_uwsgi() {
        return; // the tested uWSGI is installed in a virtual environment
    }
    let facts = facts(site().server());
    assert_eq!(facts["found"], false);
    assert_eq!(facts["prefix"], facts["base_prefix"]);
}

#[test]
fn one_server_serves_applications_of_two_pythons() {
    if differs(
        "The same binary serves any CPython from 3.10 on; uWSGI only the version it was built for.",
    ) {
        return;
    }
    let Some(other) = crate::kit::venv::another_python(&["3.12", "3.13"]) else {
        eprintln!("skipped: no second Python version is installed");
        return;
    };
    for python in [system_python(), other] {
        let venv = venv(&python);
        let (from_venv, plain) = (site(), site());
        let one = from_venv.server().set("home", venv.display()).start();
        let two = plain.server().set("python", python.display()).start();
        let (one, two) = (one.get("/").json(), two.get("/").json());
        assert_eq!(one["prefix"], venv.to_str().unwrap());
        assert_eq!(one["version"], two["version"]);
        assert_eq!(one["base_prefix"], two["prefix"]);
    }
}
