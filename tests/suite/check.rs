//! `ruwsgi check` and the command line: findings, exit statuses, suggestions; and starts without a socket.

use std::os::unix::fs::symlink;

use crate::kit::*;

/// Exit status and output of `ruwsgi WORDS`.
#[track_caller]
fn printed(site: &Site, words: &[&str]) -> (Option<i32>, String) {
    let output = site.command(words);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Fails unless `ruwsgi WORDS` exits with this status and prints all `parts`.
#[track_caller]
fn expect(site: &Site, words: &[&str], status: i32, parts: &[&str]) {
    let (code, text) = printed(site, words);
    assert_eq!(code, Some(status), "{words:?}: {text}");
    for part in parts {
        assert!(
            text.contains(part),
            "{words:?}: {part:?} is missing in\n{text}"
        );
    }
}

/// A complete configuration with a good socket and application, and more lines.
fn complete(site: &Site, more: &str) -> String {
    format!(
        "[uwsgi]\nwsgi-file = {}\nsocket = {}\nchmod-socket = 660\nuid = www-data\ngid = www-data\nvacuum = false\n{more}\n",
        site.at("app.py"),
        site.at("app.sock"),
    )
}

#[test]
fn what_keeps_a_site_from_starting_or_serving_is_an_error_of_check() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let good = complete(&site, "");
    let [application, socket] = [1, 2].map(|line| good.lines().nth(line).unwrap().to_owned());
    let without = |line: &str| good.replace(&format!("{line}\n"), "");
    for (content, finding) in [
        (
            "module = app\n".to_owned(),
            "site.ini:1: error: site.ini has no section [uwsgi]",
        ),
        (
            without(&application),
            "site.ini:1: error: the configuration has no application",
        ),
        (
            without(&socket),
            "site.ini:1: error: the configuration has no socket",
        ),
        (
            complete(&site, "home = /nowhere/venv"),
            "site.ini:8: error: the virtual environment /nowhere/venv does not exist",
        ),
        (
            complete(&site, "chdir = /nowhere"),
            "site.ini:8: error: /nowhere is not a directory",
        ),
        (
            complete(&site, "wsgi-file = nosuch.py"),
            "site.ini:8: error: the file nosuch.py does not exist",
        ),
        (
            complete(&site, "gid = nosuch"),
            "site.ini:8: error: there is no group nosuch",
        ),
        (
            complete(&site, "socket = /nowhere/a.sock"),
            "site.ini:8: error: the socket's directory /nowhere does not exist",
        ),
        (
            complete(&site, "emperor = vassals"),
            "site.ini:8: error: an emperor serves no application itself",
        ),
        (complete(&site, "socket = :99999"), "site.ini:8: error: "),
    ] {
        site.write("site.ini", &content);
        expect(&site, &["check", "site.ini"], 1, &[finding]);
    }
    // the same start fails
    site.write("site.ini", &without(&socket));
    let refusal = site.server().only(&["site.ini"]).refused();
    assert_eq!(refusal.code, Some(1));
}

#[test]
fn warnings_are_failures_with_strict_only() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    site.write("site.ini", &complete(&site, "vaccum = true"));
    let finding = ["warning: unknown option vaccum"];
    expect(&site, &["check", "site.ini"], 0, &finding);
    expect(&site, &["check", "--strict", "site.ini"], 1, &finding);
    expect(
        &site,
        &["check", "--strict", "--json", "site.ini"],
        1,
        &["\"severity\": \"warning\""],
    );
    let (_, text) = printed(&site, &["check", "site.ini"]);
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn all_vassals_of_an_emperor_are_checked() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    site.write("vassals/good.ini", &complete(&site, ""));
    site.write("vassals/notes.txt", "no vassal");
    expect(
        &site,
        &["check", "--emperor", "vassals"],
        0,
        &["good.ini: no errors or warnings\n"],
    );
    site.write("vassals/bad.ini", "[uwsgi]\nmodule = app\n");
    symlink("/nowhere/site.ini", site.file("vassals/gone.ini")).unwrap();
    expect(
        &site,
        &["check", "--emperor", "vassals"],
        1,
        &[
            "bad.ini:1: error: the configuration has no socket",
            "gone.ini:1: error: the emperor skips this file: it is a symbolic link to /nowhere/site.ini, which does not exist",
            "good.ini: no errors or warnings\n",
        ],
    );
    expect(
        &site,
        &["check", "--emperor", "vassals/g*d.ini"],
        0,
        &["good.ini"],
    );
    expect(
        &site,
        &["check", "--emperor", "nowhere"],
        1,
        &["there is no directory"],
    );
}

#[test]
fn an_instance_without_a_socket_is_refused() {
    let site = Site::with("hello");
    let launch = site
        .server()
        .only(&["--master", "--wsgi-file", "app.py", "--need-app"]);
    let refusal = launch.refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("socket"), "{}", refusal.log);
}

#[test]
fn a_reload_that_removes_the_last_socket_is_refused() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let server = site.server().start();
    site.write("site.ini", "[uwsgi]\nwsgi-file = app.py\n");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("no socket is configured");
    server.get("/").expect_text("hello\n");
}

#[test]
fn services_need_no_application_and_no_socket() {
    let site = Site::empty();
    let server = site
        .server()
        .only(&[
            "--master",
            "--need-app",
            "--die-on-term",
            "--attach-daemon",
            "echo > started; exec sleep 1000",
        ])
        .spawn();
    server.eventually("the service runs", || site.has("started"));
    if !under_uwsgi() {
        assert_eq!(server.workers(), [0; 0]);
        let log = server.log();
        assert!(
            log.contains("ready: services only") && !log.contains("worker 1"),
            "{log}"
        );
        let (_, text) = printed(&site, &["scale", "ruwsgi", "1"]);
        assert!(text.contains("no socket, so it has no workers"), "{text}");
    }
    server.stop();
}

#[test]
fn cron_commands_need_no_application_and_no_socket() {
    let site = Site::empty();
    let server = site
        .server()
        .only(&[
            "--master",
            "--die-on-term",
            "--cron",
            "-1 -1 -1 -1 -1 echo > ran",
        ])
        .spawn();
    server.eventually("the command runs", || site.has("ran"));
    server.stop();
}

#[test]
fn an_application_without_a_socket_is_loaded_beside_a_service() {
    let site = Site::of("open('loaded', 'w').close()\ndef application(e, s): pass\n");
    let server = site
        .server()
        .only(&[
            "--master",
            "--die-on-term",
            "--wsgi-file",
            "app.py",
            "--attach-daemon",
            "echo > started; exec sleep 1000",
        ])
        .spawn();
    server.eventually("both", || site.has("started") && site.has("loaded"));
    if !under_uwsgi() {
        server.wait_for_log("is loaded but not served");
    }
    server.stop();
}

#[test]
fn misspelled_verbs_and_flags_get_a_suggestion() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    for (words, hint) in [
        (&["relaod", "blog"][..], "did you mean ruwsgi reload?"),
        (&["chekc", "site.ini"], "did you mean ruwsgi check?"),
        (&["check", "--stric", "x.ini"], "did you mean --strict?"),
        (&["ls", "--jsno"], "did you mean --json?"),
        (
            &["show-config", "--orgin", "x.ini"],
            "did you mean --origin?",
        ),
        (
            &["migrate", "--form", "gunicorn", "x"],
            "did you mean --from?",
        ),
        (&["--harakari", "4"], "did you mean --harakiri?"),
        (&["check", "--wrong"], "see ruwsgi check --help"),
    ] {
        expect(&site, words, 1, &[hint]);
    }
    for verb in ["check", "migrate", "show-config", "ls", "scale"] {
        expect(&site, &[verb, "--help"], 0, &["Usage: ruwsgi"]);
        expect(&site, &["help", verb], 0, &["Usage: ruwsgi"]);
    }
    expect(&site, &["help"], 0, &["--socket"]);
}

#[test]
fn the_habits_of_gunicorn_get_the_command_that_works() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    site.write("project/__init__.py", "");
    site.write("project/wsgi.py", &site.read("app.py"));
    site.write("gunicorn.conf.py", "wsgi_app = 'project.wsgi'\n");
    let (code, text) = printed(&site, &["project.wsgi"]);
    assert_eq!(code, Some(1));
    let (_, command) = text.trim_end().split_once("write ruwsgi ").unwrap();
    let port = format!("127.0.0.1:{}", free_port());
    let command = command.replace("127.0.0.1:8000", &port);
    let words: Vec<&str> = command.split(' ').collect();
    let server = site.server().only(&words).start();
    server.http().get("/").expect_text("hello\n");
    server.stop();

    let migrate = "ruwsgi migrate --from gunicorn gunicorn.conf.py > site.ini && ruwsgi site.ini";
    for words in [
        &["-c", "gunicorn.conf.py"][..],
        &["-c", "gunicorn.conf.py", "project.wsgi"],
        &["--config", "gunicorn.conf.py"],
    ] {
        expect(&site, words, 1, &[migrate]);
    }
    expect(
        &site,
        &["app.py"],
        1,
        &["write ruwsgi --http-socket 127.0.0.1:8000 --wsgi-file app.py"],
    );
    expect(
        &site,
        &["-w", "4", "-b", ":80", "app:application"],
        1,
        &["ruwsgi migrate --from gunicorn \"gunicorn -w 4 -b :80 app:application\""],
    );
}

#[test]
fn a_mounted_module_may_be_called_wsgi() {
    if differs(
        "A mount of project.wsgi is the module if there is no such file; uWSGI looks for the file only.",
    ) {
        return;
    }
    let site = Site::with("hello");
    site.write("project/__init__.py", "");
    site.write("project/wsgi.py", &site.read("app.py"));
    let server = site.server().set("mount", "/a=project.wsgi").start();
    server.get("/a/").expect_text("hello\n");
}

#[test]
fn an_option_without_effect_is_a_note_of_check_and_a_line_of_the_log() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    site.write(
        "site.ini",
        &complete(&site, "master = true\nthunder-lock = true"),
    );
    let note = "site.ini:8: note: master has no effect: ruwsgi always has a master\n";
    let parts = [
        note,
        "thunder-lock has no effect: ",
        "site.ini: no errors or warnings\n",
    ];
    expect(&site, &["check", "--strict", "site.ini"], 0, &parts);
    expect(
        &site,
        &["check", "--json", "site.ini"],
        0,
        &["\"severity\": \"note\""],
    );
    let server = site.server().set("thunder-lock", true).start();
    assert_eq!(
        server
            .log_lines("accepted without effect: thunder-lock")
            .len(),
        1
    );
    server.stop();
}

#[test]
fn a_vassal_on_demand_needs_no_socket_in_its_file() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let vassal = complete(&site, "").replace(&format!("socket = {}\n", site.at("app.sock")), "");
    site.write("vassals/a.ini", &vassal);
    let missing = "the configuration has no socket";
    expect(&site, &["check", "--emperor", "vassals"], 1, &[missing]);
    site.write(
        "emperor.ini",
        "[uwsgi]\nemperor = vassals\nemperor-on-demand-directory = run\n",
    );
    expect(
        &site,
        &["check", "--emperor", "emperor.ini"],
        0,
        &["a.ini: no errors or warnings"],
    );
    site.write(
        "emperor.ini",
        "[uwsgi]\nemperor = vassals\nemperor-on-demand-extension = .sock\n",
    );
    expect(&site, &["check", "--emperor", "emperor.ini"], 1, &[missing]);
    site.write("vassals/a.ini.sock", "127.0.0.1:1\n");
    expect(
        &site,
        &["check", "--emperor", "emperor.ini"],
        0,
        &["a.ini: no errors or warnings"],
    );
    site.write("vassals/a.ini.socket", "127.0.0.1:1\n");
    expect(
        &site,
        &["check", "--emperor", "vassals"],
        0,
        &["a.ini: no errors or warnings"],
    );
    site.write(
        "emperor.ini",
        "[uwsgi]\nemperor = vassals\nprocesses = none\nemperor-stats = :x\n",
    );
    expect(
        &site,
        &["check", "--emperor", "emperor.ini"],
        1,
        &["emperor.ini:4: error"],
    );
}
