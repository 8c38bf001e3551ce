//! The configuration of the built binary: flags, files and messages.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The command `ruwsgi ARGUMENTS` in a directory, not started. It has no environment variable that is an option, and a
/// runtime directory without other instances.
fn ruwsgi(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ruwsgi"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UWSGI_")
            || name.to_string_lossy().starts_with("RUWSGI_")
        {
            command.env_remove(name);
        }
    }
    command.env("RUWSGI_RUNTIME_DIRECTORY", directory.join(".run"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A temporary directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn output(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = directory(files);
    ruwsgi(directory.path(), arguments).output().unwrap()
}

/// The output of `ruwsgi check` for a file with this content, an application and a socket; and whether it succeeds.
fn check(content: &str) -> (String, bool) {
    const REST: &str = "\n[uwsgi]\nmodule = a\nsocket = 127.0.0.1:1\nuid = www-data\n";
    let content = format!("{content}{REST}");
    let output = output(&[("site.ini", &content)], &["check", "site.ini"]);
    assert_eq!(text(&output.stderr), "");
    (text(&output.stdout), output.status.success())
}

/// The lines of `--show-config`, without the first and the last line.
fn shown(files: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = ["--show-config", "--no-server"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let output = output(files, &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let text = text(&output.stdout);
    let lines = text
        .strip_prefix(
            ";uWSGI instance configuration\n[uwsgi]\nshow-config = true\nno-server = true\n",
        )
        .unwrap();
    lines
        .strip_suffix(";end of configuration\n")
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

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
fn docs_options_md_is_generated_from_the_table() {
    let output = output(&[], &["options-page"]);
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md")).unwrap();
    assert!(
        text(&output.stdout) == page,
        "regenerate it: ruwsgi options-page > docs/options.md"
    );
}

#[test]
fn docs_absent_md_is_generated_from_the_table() {
    let output = output(&[], &["absent-page"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/absent.md");
    let page = text(&output.stdout);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        page == fs::read_to_string(path).unwrap_or_default(),
        "regenerate it: ruwsgi absent-page > docs/absent.md"
    );
}

#[test]
fn docs_differences_defaults_md_is_generated_from_the_table() {
    let output = output(&[], &["defaults-page"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/differences-defaults.md");
    assert!(
        text(&output.stdout) == fs::read_to_string(path).unwrap(),
        "regenerate it: ruwsgi defaults-page > docs/differences-defaults.md"
    );
}

#[test]
fn the_examples_of_the_migration_page_are_configurations() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md"))
        .unwrap();
    let mut blocks = page
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').unwrap());
    let mut example = |language: &str| blocks.find(|(found, _)| *found == language).unwrap().1;
    for (name, from, content) in [
        ("site.ini", "uwsgi", example("ini")),
        ("gunicorn.conf.py", "gunicorn", example("python")),
        ("blog.conf", "supervisor", example("conf")),
    ] {
        let directory = directory(&[(name, content)]);
        let written = ruwsgi(directory.path(), &["migrate", "--from", from, name])
            .output()
            .unwrap();
        assert!(written.status.success(), "{}", text(&written.stderr));
        fs::write(directory.path().join("new.ini"), &written.stdout).unwrap();
        let read = ruwsgi(directory.path(), &["show-config", "new.ini"])
            .output()
            .unwrap();
        assert_eq!(text(&read.stderr), "", "{name}:\n{}", text(&written.stdout));
        assert!(
            text(&read.stdout).contains("module = blog.wsgi"),
            "{}",
            text(&read.stdout)
        );
    }
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
        ("site.ini: no errors or warnings\n".to_owned(), true)
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
fn a_placeholder_that_is_used_is_not_a_typo() {
    assert_eq!(
        check("[uwsgi]\nproject = blog\nprocname = %(project)\n").0,
        "site.ini: no errors or warnings\n"
    );
    let (printed, content) =
        check("[uwsgi]\nstrict = true\nproject = blog\nchdir = /srv/%(project)\n");
    assert!(!content);
    assert!(
        printed.contains("set-placeholder = project=..."),
        "{printed}"
    );
}

#[test]
fn the_last_value_wins_and_a_placeholder_is_the_first_value() {
    let files = [(
        "site.ini",
        "[uwsgi]\nworkers = 2\nworkers = 3\npidfile = /run/%(workers).pid\n",
    )];
    assert_eq!(
        shown(&files, &["site.ini"])[1..],
        ["workers = 2", "workers = 3", "pidfile = /run/2.pid"]
    );
    let files = [(
        "site.ini",
        "[uwsgi]\nname = a\npidfile = /run/%(name).pid\n",
    )];
    assert_eq!(
        shown(&files, &["--set", "name=b", "--ini", "site.ini"])
            .last()
            .unwrap(),
        "pidfile = /run/b.pid"
    );
}

#[test]
fn the_environment_comes_first() {
    let directory = directory(&[("site.ini", "[uwsgi]\nthreads = 2\n")]);
    let output = ruwsgi(
        directory.path(),
        &["--show-config", "--no-server", "--ini", "site.ini"],
    )
    .env("UWSGI_HTTP_SOCKET", ":80")
    .env("RUWSGI_THREADS", "9")
    .env("UWSGI_RELOADS", "1")
    .output()
    .unwrap();
    let printed = text(&output.stdout);
    assert!(
        printed.contains("[uwsgi]\nhttp-socket = :80\nthreads = 9\n")
            || printed.contains("[uwsgi]\nthreads = 9\nhttp-socket = :80\n"),
        "{printed}"
    );
    assert!(
        printed.ends_with("ini = site.ini\nthreads = 2\n;end of configuration\n"),
        "{printed}"
    );
    assert!(!printed.contains("reloads"), "{printed}");
}

#[test]
fn sections_includes_and_conditions_are_followed() {
    let files = [
        (
            "site.ini",
            "ignored = 1\n[uwsgi]\nini = :base\ninclude = %d/more.ini\ninherit = last.ini\nif-env = HOME\nthreads = 2\nendif =\n[base]\nthreads = 1\n[other]\nthreads = 9\n",
        ),
        ("more.ini", "[uwsgi]\nprocname = %n-%N\n"),
        ("last.ini", "[uwsgi]\nthreads = 5\n"),
    ];
    let lines = shown(&files, &["--ini", "site.ini"]);
    let threads: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("threads = "))
        .collect();
    assert_eq!(threads, ["1", "2", "5"]);
    assert!(
        lines.contains(&"procname = more-site".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn standard_input_can_be_a_configuration() {
    use std::io::Write;
    let directory = directory(&[]);
    let mut child = ruwsgi(
        directory.path(),
        &["--show-config", "--no-server", "--ini", "-"],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"[uwsgi]\nthreads = 3")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(text(&output.stdout).contains("threads = 3\n"));
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
fn every_file_format_gives_the_same_options() {
    for (name, content) in [
        (
            "site.ini",
            "[uwsgi]\nbase = %n\nprocesses = 2\nenv = A=%(base)\nenv = B=2\n",
        ),
        (
            "site.yaml",
            "uwsgi:\n  base: '%n'\n  processes: 2\n  env: [A=%(base), B=2]\n",
        ),
        (
            "site.json",
            "{\"uwsgi\": {\"base\": \"%n\", \"processes\": 2, \"env\": [\"A=%(base)\", \"B=2\"]}}",
        ),
        (
            "site.toml",
            "[uwsgi]\nbase = '%n'\nprocesses = 2\nenv = ['A=%(base)', 'B=2']\n",
        ),
        (
            "site.xml",
            "<uwsgi><base>%n</base><processes>2</processes><env>A=%(base)</env><env>B=2</env></uwsgi>",
        ),
    ] {
        let output = output(&[(name, content)], &["show-config", name]);
        let printed = text(&output.stdout);
        assert_eq!(
            printed,
            "[uwsgi]\nbase = site\nprocesses = 2\nenv = A=site\nenv = B=2\n",
            "{name}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_plugin_for_another_language_is_refused() {
    assert_eq!(
        check("[uwsgi]\nplugins = python3,http,router_static\nplugin = 0:python\n").0,
        "site.ini: no errors or warnings\n"
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
fn a_custom_option_is_replaced_by_its_options() {
    let printed = shown(
        &[(
            "a.ini",
            "[uwsgi]\nstrict =\nblog = 4\ndeclare-option = site = chdir=%(base)/$1 ; processes=$2;vacuum\nset-ph = base=/srv\n\
             site = shop 8\ndeclare-option = blog=site=blog $1\n",
        )],
        &["a.ini"],
    );
    let made = |line: &str| printed.iter().filter(|printed| *printed == line).count();
    for line in [
        "chdir = /srv/shop",
        "processes = 8",
        "chdir = /srv/blog",
        "processes = 4",
    ] {
        assert_eq!(made(line), 1, "{line} of {printed:#?}");
    }
    // a declaration after the option applies at the position of the option
    let at = |line: &str| printed.iter().position(|printed| printed == line);
    assert!(at("processes = 4") < at("processes = 8"));
    assert_eq!(made("vacuum = "), 2);
    for (line, part) in [
        ("declare-option = a", "has no ="),
        ("declare-option = threads=b=c", "already an option"),
        ("declare-option = a=a=$1\na = 1", "refers to itself"),
    ] {
        let (printed, content) = check(&format!("[uwsgi]\n{line}\n"));
        assert!(!content && printed.contains(part), "{printed}");
    }
}

#[test]
fn blacklist_and_whitelist_restrict_options() {
    for (content, forbidden) in [
        (
            "blacklist = threads uid\nthreads = 2\nend-blacklist =\nuid = 1\n",
            "site.ini:3: error: threads is forbidden by blacklist",
        ),
        (
            "blacklist = threads\nset = threads=2\nend-blacklist =\n",
            "site.ini:3: error: threads is forbidden",
        ),
        (
            "blacklist = threads\nini = inner.ini\nend-blacklist =\n",
            "inner.ini:2: error: threads is forbidden",
        ),
        (
            "blacklist = threads\ndeclare-option = a=threads=$1\na = 2\nend-blacklist =\n",
            "threads is forbidden",
        ),
        (
            "whitelist = uid module\nuid = 1\nmaster = true\n",
            "site.ini:4: error: master is forbidden by whitelist",
        ),
        (
            "whitelist = uid\nuid = 1\nend-whitelist =\n",
            "site.ini:4: error: end-whitelist is forbidden by whitelist",
        ),
    ] {
        let files = [
            ("site.ini", format!("[uwsgi]\n{content}")),
            ("inner.ini", "[uwsgi]\nthreads = 3\n".to_owned()),
        ];
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let output = output(&files, &["check", "site.ini"]);
        assert!(
            text(&output.stdout).contains(forbidden),
            "{}",
            text(&output.stdout)
        );
        assert!(!output.status.success());
    }
    let allowed = "[uwsgi]\ndeclare-option = a=threads=$1\nwhitelist = a processes end-whitelist\na = 2\nprocesses = 2\nend-whitelist =\nvacuum = true\n";
    let (printed, content) = check(allowed);
    assert!(content, "{printed}");
}

#[test]
fn commands_provide_values_and_files_and_other_schemes_are_refused() {
    let printed = shown(
        &[
            (
                "a.ini",
                "[uwsgi]\nprocesses = @(exec://expr 1 + 2)\nini = exec://cat more.txt\nini = exec://cat more.txt:other\n",
            ),
            (
                "more.txt",
                "[uwsgi]\nthreads = 2\nprocname = %n\n[other]\nlisten = 7\n",
            ),
        ],
        &["a.ini"],
    );
    for line in ["processes = 3", "threads = 2", "procname = a", "listen = 7"] {
        assert!(
            printed.iter().any(|printed| printed == line),
            "{line} of {printed:#?}"
        );
    }
    for (line, part) in [
        (
            "threads = @(exec://echo 2; exit 3)",
            "it failed (exit status: 3)",
        ),
        (
            "ini = http://127.0.0.1/a.ini",
            "write exec://curl -fsS http://127.0.0.1/a.ini",
        ),
        ("ini = fd://3", "only files and exec:// are supported"),
        ("a = @(data://0)", "only files and exec:// are supported"),
        (
            "if-hostname-match = (web\nendif =",
            "the regular expression is invalid",
        ),
    ] {
        let (printed, content) = check(&format!("[uwsgi]\n{line}\n"));
        assert!(!content && printed.contains(part), "{printed}");
    }
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
fn every_option_of_the_page_about_limits_exists() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md"));
    let page = page.unwrap();
    let options = text(
        &ruwsgi(Path::new("."), &["options-page"])
            .output()
            .unwrap()
            .stdout,
    );
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(3));
    let names: Vec<&str> = cells
        .filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in &names {
        let heading = format!("\n### {name}\n");
        assert!(options.contains(&heading), "{name} is no option");
    }
    for name in [
        "limit-connections",
        "limit-buffers",
        "limit-spool",
        "limit-headers",
        "max-fd",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
}

#[test]
fn conditions_match_the_host_name_by_regular_expressions() {
    let content = "[uwsgi]\nif-hostname-match = .\nthreads = 2\nendif =\nif-hostname-match = ^$\nthreads = 3\nendif =\nif-not-hostname-match = ^$\nprocesses = 4\nendif =\n";
    let lines = shown(&[("site.ini", content)], &["site.ini"]);
    let set = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert!(lines.contains(&"threads = 2".to_owned()), "{lines:?}");
    assert_eq!((set("threads"), set("processes")), (1, 1), "{lines:?}");
}
