//! Sources of options: files, the environment, placeholders, conditions, custom options.

use std::process::Stdio;

use super::{check, directory, output, ruwsgi, shown, text};

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
fn conditions_match_the_host_name_by_regular_expressions() {
    let content = "[uwsgi]\nif-hostname-match = .\nthreads = 2\nendif =\nif-hostname-match = ^$\nthreads = 3\nendif =\nif-not-hostname-match = ^$\nprocesses = 4\nendif =\n";
    let lines = shown(&[("site.ini", content)], &["site.ini"]);
    let set = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert!(lines.contains(&"threads = 2".to_owned()), "{lines:?}");
    assert_eq!((set("threads"), set("processes")), (1, 1), "{lines:?}");
}
