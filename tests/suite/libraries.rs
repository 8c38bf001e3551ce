//! Libraries that examine uWSGI before they work: imported with the configuration of their documentation, and without it.
//!
//! They are installed from the package index; without it the set-up fails.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kit::*;

const PACKAGES: [&str; 7] = [
    "sentry-sdk",
    "ddtrace",
    "newrelic",
    "launchdarkly-server-sdk",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-wsgi",
    "prometheus_client",
];

/// Options by which the libraries' documentation turns threads and forks on.
const DOCUMENTED: [(&str, &str); 4] = [
    ("master", "true"),
    ("enable-threads", "true"),
    ("single-interpreter", "true"),
    ("py-call-uwsgi-fork-hooks", "true"),
];

fn venv() -> PathBuf {
    venv::shared("libraries", &system_python(), &PACKAGES)
}

/// Serves `module` with two workers and these options.
fn serve(module: &str, options: &[(&str, &str)]) -> Server {
    let site = Site::with("libraries");
    let launch = site.server().set_all(options).set_all(&[
        ("module", module),
        ("processes", "2"),
        ("import", "recorder"),
    ]);
    launch.set("home", venv().display()).start()
}

/// The response of the application; fails if the log has a warning or an error.
fn facts(server: &Server) -> Value {
    let facts = server.get("/").expect(200).json();
    let log = server.log();
    let is_bad = |line: &&str| {
        let line = line.to_lowercase();
        ["warn", "error", "traceback", "important"]
            .iter()
            .any(|word| line.contains(word))
            && !line.contains("the application runs as root")
    };
    let bad: Vec<&str> = log.lines().filter(is_bad).collect();
    assert!(bad.is_empty(), "{bad:#?}\n{log}");
    facts
}

/// Fails unless the library has read these options.
fn expect_read(facts: &Value, options: &[&str]) {
    let read = facts["read"].as_array().unwrap();
    for option in options {
        assert!(
            read.contains(&json!(option)),
            "{option} was not read: {facts}"
        );
    }
}

/// The configurations: the documented one, that with `lazy-apps`, and one that leaves all to the defaults of ruwsgi. None
/// under uWSGI, whose log always has warnings.
fn configurations() -> Vec<Vec<(&'static str, &'static str)>> {
    if under_uwsgi() {
        return Vec::new();
    }
    let mut lazy = DOCUMENTED.to_vec();
    lazy.push(("lazy-apps", "true"));
    vec![DOCUMENTED.to_vec(), lazy, Vec::new()]
}

#[test]
fn sentry_finds_threads_and_fork_hooks() {
    for options in configurations() {
        let facts = facts(&serve("sentry_app", &options));
        expect_read(
            &facts,
            &["threads", "enable-threads", "py-call-uwsgi-fork-hooks"],
        );
    }
}

#[test]
fn ddtrace_accepts_the_configuration() {
    for mut options in configurations() {
        let facts = facts(&serve("ddtrace_app", &options));
        expect_read(
            &facts,
            &["enable-threads", "py-call-uwsgi-fork-hooks", "skip-atexit"],
        );
        assert_eq!(facts["registers_atexit"], true);
        options.push(("skip-atexit", "true"));
        let facts = self::facts(&serve("ddtrace_app", &options));
        assert_eq!(facts["registers_atexit"], false);
    }
}

#[test]
fn new_relic_accepts_version_and_threads() {
    for options in configurations() {
        let facts = facts(&serve("newrelic_app", &options));
        expect_read(&facts, &["enable-threads"]);
        let expected = json!({"Dispatcher": "uWSGI", "Dispatcher Version": "2.0.31"});
        assert_eq!(facts["environment"], expected);
    }
}

#[test]
fn launchdarkly_accepts_the_configuration() {
    for options in configurations() {
        let facts = facts(&serve("launchdarkly_app", &options));
        expect_read(&facts, &["enable-threads"]);
        assert_eq!(facts["initialized"], true);
    }
}

#[test]
fn opentelemetry_exports_the_spans_of_a_worker() {
    for options in configurations() {
        let server = serve("opentelemetry_app", &options);
        server.eventually("a request before is exported", || {
            facts(&server)["spans"].as_u64().unwrap() > 0
        });
    }
}

#[test]
fn prometheus_counts_the_requests_of_all_workers() {
    for mut options in configurations() {
        let metrics = tempfile::tempdir().unwrap();
        let variable = format!("PROMETHEUS_MULTIPROC_DIR={}", metrics.path().display());
        options.push(("env", &variable));
        let server = serve("prometheus_app", &options);
        let mut workers = std::collections::HashSet::new();
        let mut requests = 0.0;
        server.eventually("both workers have counted", || {
            let facts = facts(&server);
            requests += 1.0;
            assert_eq!(facts["total"], requests);
            workers.insert(facts["worker"].as_u64());
            workers.len() == 2
        });
    }
}
