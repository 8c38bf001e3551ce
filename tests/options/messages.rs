//! Flags, commands and messages: what the binary prints about a configuration, and how it exits.

use std::fs;
use std::process::Command;

use super::{check, directory, output, ruwsgi, text};

#[test]
fn the_version_is_printed() {
    let output = output(&[], &["--version"]);
    assert_eq!(
        text(&output.stdout),
        format!("ruwsgi {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(output.status.success());
}

#[test]
fn the_help_names_every_served_option() {
    let output = output(&[], &["--help"]);
    let help = text(&output.stdout);
    for flag in [
        "--socket",
        "-s",
        "--processes",
        "--virtualenv",
        "--ini",
        "--if-env",
        "check",
    ] {
        assert!(help.contains(flag), "{flag} is not in the help");
    }
    assert!(output.status.success());
}

#[test]
fn all_faults_are_reported_at_once_with_their_lines() {
    let (printed, content) =
        check("[uwsgi]\nthreads = auto\nvaccum = true\n\nhttp = :99999\nxslt-ext = 3\n");
    assert!(!content);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[0],
        "site.ini:2: warning: threads = auto: the value is not a whole number; 0 is used, as in uWSGI; write a number; in a file, %k is the number of CPU cores"
    );
    assert_eq!(
        lines[1],
        "site.ini:3: warning: unknown option vaccum, and no %(vaccum) refers to it; did you mean vacuum?"
    );
    assert_eq!(
        lines[2],
        "site.ini:5: error: http = :99999: there is no port 99999; ports are 0 to 65535"
    );
    assert!(
        lines[3].starts_with("site.ini:6: error: xslt-ext is not supported; "),
        "{}",
        lines[3]
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn warnings_alone_do_not_fail_a_check() {
    let (printed, content) = check("[uwsgi]\nvaccum = true\n");
    assert!(content, "{printed}");
    assert_eq!(
        check("[uwsgi]\nmaster\n"),
        (
            "site.ini:2: note: master has no effect: ruwsgi always has a master\nsite.ini: no errors or warnings\n"
                .to_owned(),
            true
        )
    );
}

#[test]
fn a_configuration_error_prevents_the_start_and_is_printed_on_standard_error() {
    let output = output(
        &[(
            "site.ini",
            "[uwsgi]\nchmod-socket = 664 # group\nthreads = -1",
        )],
        &["--ini", "site.ini"],
    );
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stderr);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(
        printed
            .lines()
            .all(|line| line.starts_with("ruwsgi: site.ini:")),
        "{printed}"
    );
    assert!(printed.contains("write 664"), "{printed}");
}

#[test]
fn a_file_that_is_missing_or_not_a_configuration_is_reported_by_name() {
    let printed = |arguments: &[&str]| {
        let output = output(&[("app.py", "")], arguments);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert_eq!(
        printed(&["none.ini"]),
        "ruwsgi: command line: error: none.ini cannot be read: no such file\n"
    );
    assert!(printed(&["app.py"]).contains("--wsgi-file app.py"));
    assert!(printed(&["--ini", "/dev/zero"]).contains("not a regular file"));
    assert!(printed(&[]).contains("nothing to serve"));
}

#[test]
fn a_file_that_includes_itself_is_an_error() {
    let (printed, content) = check("[uwsgi]\nini = site.ini\nini = site.ini\n");
    assert!(!content);
    assert!(
        printed.contains("read too often or too deeply"),
        "{printed}"
    );
}

#[test]
fn a_missing_section_is_reported() {
    let printed = text(
        &output(
            &[("site.ini", "[uwsgi ]\nthreads = 3\n")],
            &["check", "site.ini"],
        )
        .stdout,
    );
    assert!(
        printed.contains("site.ini:1: error: site.ini has no section [uwsgi], so nothing is read from it; the line must be exactly [uwsgi]\n"),
        "{printed}"
    );
}

#[test]
fn a_check_has_json_output() {
    let files = [(
        "site.ini",
        "[uwsgi]\nuid = www-data\nmodule = a\nsocket = :99999\n",
    )];
    let output = output(&files, &["check", "--json", "site.ini"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &findings[0];
    assert_eq!(
        (first["file"].as_str(), first["line"].as_u64()),
        (Some("site.ini"), Some(4))
    );
    assert_eq!(first["severity"], "error");
    assert_eq!(first["hint"], "ports are 0 to 65535");
}

#[test]
fn the_effective_configuration_shows_the_place_of_each_value() {
    let directory = directory(&[(
        "site.ini",
        "[uwsgi]\nworkers = 2\nini = :more\nprocesses = 3\n[more]\nenv = A=1\n",
    )]);
    let output = ruwsgi(
        directory.path(),
        &[
            "show-config",
            "--origin",
            "--ini",
            "site.ini",
            "--env",
            "B=2",
        ],
    )
    .env("UWSGI_THREADS", "2")
    .output()
    .unwrap();
    let printed = text(&output.stdout);
    let given: Vec<&str> = printed
        .lines()
        .take_while(|line| !line.starts_with("default\t"))
        .collect();
    assert_eq!(
        given,
        [
            "environment\tthreads = 2",
            "site.ini:6\tenv = A=1",
            "site.ini:4\tprocesses = 3",
            "command line\tenv = B=2"
        ]
    );
    assert!(printed.contains("default\tbuffer-size = 65535\n"));
    assert!(!printed.contains("default\tprocesses"));
}

#[test]
fn a_plugin_for_another_language_is_refused() {
    let (printed, content) =
        check("[uwsgi]\nplugins = python3,http,router_static\nplugin = 0:python\n");
    assert!(
        content && printed.ends_with("site.ini: no errors or warnings\n"),
        "{printed}"
    );
    let (printed, content) = check("[uwsgi]\nplugins = php\n");
    assert!(!content);
    assert!(
        printed.contains("the plugin php is not supported"),
        "{printed}"
    );
}

#[test]
fn stop_and_reload_report_an_invalid_pid_file() {
    let files = [
        ("empty.pid", ""),
        ("garbage.pid", "abc\n"),
        ("dead.pid", "999999999\n"),
        ("everyone.pid", "-1\n"),
    ];
    for file in [
        "none.pid",
        "empty.pid",
        "garbage.pid",
        "dead.pid",
        "everyone.pid",
    ] {
        for flag in ["--stop", "--reload"] {
            let output = output(&files, &[flag, file]);
            assert_eq!(output.status.code(), Some(1), "{flag} {file}");
            assert!(
                text(&output.stderr).contains(file),
                "{flag} {file}: {}",
                text(&output.stderr)
            );
        }
    }
}

#[test]
fn stop_and_reload_signal_the_process_of_the_pid_file() {
    let directory = tempfile::tempdir().unwrap();
    // the name of its file makes it a ruwsgi
    let program = directory.path().join("ruwsgi-1.2");
    fs::copy("/bin/sleep", &program).unwrap();
    for (flag, signal) in [("--stop", 2), ("--reload", 1)] {
        // a shell sets SIGINT to ignored for commands in the background
        let mut child = Command::new("env")
            .arg("--default-signal=INT,HUP")
            .args([program.as_os_str(), "60".as_ref()])
            .spawn()
            .unwrap();
        while !std::fs::read_to_string(format!("/proc/{}/comm", child.id()))
            .is_ok_and(|name| name.trim() == "ruwsgi-1.2")
        {
            std::thread::yield_now();
        }
        let output = output(&[("a.pid", &format!("{}\n", child.id()))], &[flag, "a.pid"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let status = child.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(signal)
        );
    }
}

#[test]
fn a_file_cannot_forge_a_message() {
    let (printed, _) = check("[uwsgi]\nsocket = :1\u{1b}[2J\rfake.ini:1\n");
    assert!(
        !printed.contains('\u{1b}') && !printed.contains('\r'),
        "{printed:?}"
    );
}

#[test]
fn a_fallback_replaces_a_configuration_that_is_invalid_or_fails_to_start() {
    const SECOND: &str = "[uwsgi]\nprint = second\nshow-config = true\nno-server = true\nfallback-config = second.ini\n";
    for (first, why) in [
        (
            "threads = -1\n",
            "threads = -1: the number must not be negative",
        ),
        (
            "socket = /nonexistent/a.sock\nmodule = a\n",
            "/nonexistent does not exist",
        ),
    ] {
        let first = format!("[uwsgi]\nfallback-config = second.ini\n{first}");
        let files = [("first.ini", first.as_str()), ("second.ini", SECOND)];
        let output = output(&files, &["--ini", "first.ini"]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            err.contains(why) && err.contains("starting with second.ini instead"),
            "{err}"
        );
        assert!(
            out.contains("print = second") && output.status.success(),
            "{out}"
        );
    }
    let broken = "[uwsgi]\nthreads = -1\nfallback-config = first.ini\n";
    let output = output(&[("first.ini", broken)], &["--ini", "first.ini"]);
    let err = text(&output.stderr);
    assert_eq!(
        err.matches("starting with first.ini instead").count(),
        1,
        "{err}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn http_to_must_be_a_socket_of_the_instance() {
    let (output, ok) = check("[uwsgi]\nhttp = :8000\nhttp-to = 127.0.0.1:1\n");
    assert!(ok, "{output}");
    let (output, ok) = check("[uwsgi]\nhttp = :8000\nhttp-to = 127.0.0.1:2\n");
    let part = "http-to = 127.0.0.1:2 is no socket of this instance";
    assert!(!ok && output.contains(part), "{output}");
}

#[test]
fn a_tuning_option_without_a_meaning_here_is_a_warning() {
    for option in [
        "map-socket = 0:1",
        "http-websockets = true",
        "websockets-max-size = 1024",
        "plugins-list = true",
        "http-auto-gzip = true",
        "http-modifier1 = 9",
        "drop-after-apps = true",
    ] {
        let (output, ok) = check(&format!("[uwsgi]\n{option}\n"));
        assert!(ok && output.contains("has no effect"), "{output}");
    }
}

#[test]
fn a_refused_option_comes_with_the_way_out() {
    for (option, way_out) in [
        ("fastrouter = :80", "uwsgi_pass unix:/run/site.sock"),
        ("zerg = /run/pool", "upstream site"),
        ("mount-as-root = tmpfs /x", "TemporaryFileSystem="),
        ("namespace = /ns", "PrivateMounts="),
        ("suwsgi-socket = :1", "use nginx for TLS"),
        ("ssl-socket = :1", "use nginx for TLS"),
        ("legion-cron = x", "flock -n"),
        ("cgroup = /a", "cgroup-memory-max"),
    ] {
        let (output, ok) = check(&format!("[uwsgi]\n{option}\n"));
        assert!(!ok && output.contains(way_out), "{option}: {output}");
    }
}
