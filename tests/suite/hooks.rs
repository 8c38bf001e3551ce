//! Hooks: `exec-*` and `hook-*`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::kit::*;

/// The lines of a file of the site.
fn lines(site: &Site, file: &str) -> Vec<String> {
    site.read(file).lines().map(str::to_owned).collect()
}

#[test]
fn the_hooks_of_a_start_run_in_order() {
    let site = Site::with("hello");
    let mut launch = site.server();
    let moments = [
        "asap", "pre-jail", "in-jail", "as-root", "as-user", "pre-app", "post-app",
    ];
    for moment in moments {
        launch = launch
            .set(
                &format!("exec-{moment}"),
                format!("echo exec {moment} >> order"),
            )
            .set(
                &format!("hook-{moment}"),
                format!("exec:echo hook {moment} >> order"),
            );
    }
    let server = launch.start();
    server.get("/").expect_text("hello\n");
    server.stop();
    if differs(
        "Each hook of the start runs once; uWSGI repeats as-root and as-user hooks for root without uid, and skips as-user hooks for other users.",
    ) {
        return;
    }
    let moments = moments
        .iter()
        .filter(|moment| is_root() || **moment != "as-root");
    let expected: Vec<String> = moments
        .flat_map(|moment| [format!("hook {moment}"), format!("exec {moment}")])
        .collect();
    assert_eq!(lines(&site, "order"), expected);
}

#[test]
fn a_failed_command_ends_the_start() {
    for moment in ["asap", "pre-jail", "as-user", "pre-app", "post-app"] {
        if under_uwsgi() && moment == "as-user" && !is_root() {
            continue;
        }
        let site = Site::with("hello");
        let refusal = site
            .server()
            .set(&format!("exec-{moment}"), "echo my own words; exit 3")
            .set("attach-daemon", "echo > started; exec sleep 1000")
            .refused();
        assert_eq!(refusal.code, Some(1), "{moment}: {}", refusal.log);
        assert!(refusal.log.contains("my own words"), "{}", refusal.log);
        assert!(!site.has("started"), "{moment}");
        if !under_uwsgi() {
            assert!(
                refusal.log.contains("exited with status 3"),
                "{}",
                refusal.log
            );
            assert!(!site.has("app.sock"), "{moment}: nothing is left");
        }
    }
}

#[test]
fn safeexec_may_fail() {
    let site = Site::with("hello");
    let server = site
        .server()
        .set("hook-asap", "safeexec:exit 3")
        .set("hook-asap", "exec:echo > behind")
        .start();
    server.get("/").expect_text("hello\n");
    assert!(site.has("behind"));
}

#[test]
fn commands_have_the_environment_of_the_application_and_log_their_output() {
    let site = Site::with("hello");
    let server = site
        .server()
        .set("env", "COLOUR=green")
        .set("exec-asap", "echo the colour is $COLOUR")
        .start();
    server.wait_for_log("the colour is green");
    if !under_uwsgi() {
        assert!(server.log_lines("the colour is")[0].contains("[info] asap["));
    }
}

#[test]
fn file_actions_change_files() {
    let site = Site::with("hello");
    let mut launch = site.server();
    for action in [
        "mkdir:made",
        "write:made/f one",
        "append:made/f two",
        "appendn:made/f three",
        "chmod:made/f 604",
        "creat:made/g",
        "writen:made/h line",
        "unlink:made/g",
        "sticky:made",
        "print:all is done",
    ] {
        launch = launch.set("hook-asap", action);
    }
    let server = launch.start();
    server.wait_for_log("all is done");
    assert_eq!(site.read("made/f"), "onetwothree\n");
    assert_eq!(site.read("made/h"), "line\n");
    assert!(!site.has("made/g"));
    let mode = |name: &str| fs::metadata(site.file(name)).unwrap().permissions().mode();
    assert_eq!(mode("made/f") & 0o777, 0o604);
    assert_eq!(mode("made") & 0o1000, 0o1000);
}

#[test]
fn mkdir_of_an_existing_directory_succeeds() {
    let site = Site::with("hello");
    site.server().set("hook-asap", "mkdir:made").start().stop();
    if differs("The mkdir hook succeeds when the directory exists.") {
        return;
    }
    site.server().set("hook-asap", "mkdir:made").start().stop();
}

#[test]
fn chown_takes_names_and_numbers() {
    if needs_root() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let site = Site::with("hello");
    let server = site
        .server()
        .set("hook-asap", "creat:f")
        .set("hook-asap", "creat:g")
        .set("hook-asap", "chown:f nobody daemon")
        .set("hook-asap", "chown2:g 7 8")
        .start();
    let owner = |name: &str| {
        let file = fs::metadata(site.file(name)).unwrap();
        (file.uid(), file.gid())
    };
    assert_eq!(owner("f"), (65534, 1));
    assert_eq!(owner("g"), (7, 8));
    server.stop();
}

#[test]
fn a_hook_can_change_the_environment_and_directory_of_the_application() {
    let app = "import os\n\
        SEEN = (os.getcwd().rsplit('/')[-1] + ' ' + os.environ.get('COLOUR', 'none')).encode()\n\
        def application(environ, start_response):\n    \
            start_response('200 OK', [])\n    \
            return [SEEN]\n";
    let site = Site::of(app);
    if differs(
        "The application sees variables that hook-pre-app sets by putenv; uWSGI's Python has read the environment before.",
    ) {
        return;
    }
    fs::create_dir(site.file("below")).unwrap();
    let server = site
        .server()
        .set("wsgi-file", site.at("app.py"))
        .set("hook-pre-app", format!("cd:{}", site.at("below")))
        .set("hook-pre-app", "putenv:COLOUR=green")
        .start();
    server.get("/").expect_text("below green");
}

#[test]
fn a_hook_can_wait_for_a_file() {
    let site = Site::with("hello");
    let mut server = site
        .server()
        .set(
            "hook-pre-app",
            format!("wait_for_file:{}", site.at("awaited")),
        )
        .spawn();
    server.wait_for_log("waiting for");
    assert!(server.exited().is_none() && server.workers().is_empty());
    site.write("awaited", "");
    server.eventually("it answers", || {
        server.address().try_connect().is_ok_and(|mut connection| {
            connection.put(&get("/").bytes());
            connection.answer().text() == "hello\n"
        })
    });
    server.stop();
}

#[test]
fn a_hook_can_exit_with_a_status() {
    let refusal = Site::with("hello")
        .server()
        .set("hook-asap", "exit:17")
        .refused();
    assert_eq!(refusal.code, Some(17), "{}", refusal.log);
    let refusal = Site::with("hello")
        .server()
        .set("hook-post-app", "exit:18")
        .refused();
    assert_eq!(refusal.code, Some(18), "{}", refusal.log);
}

#[test]
fn a_stop_during_a_hook_leaves_no_process_behind() {
    if differs(
        "SIGTERM interrupts a hook during the start; uWSGI handles it when the hook is done.",
    ) {
        return;
    }
    let site = Site::with("hello");
    for moment in ["pre-app", "post-app"] {
        let mut server = site
            .server()
            .set(&format!("exec-{moment}"), "echo the hook runs; sleep 1000")
            .spawn();
        server.wait_for_log("the hook runs");
        server.allow_any_exit();
        server.signal(Signal::SIGTERM);
        server.wait_for_exit();
        assert!(!site.has("app.sock"));
    }
}

#[test]
fn no_request_is_served_before_the_hooks_after_loading_have_finished() {
    let app = "def application(environ, start_response):\n    \
            open('served', 'w').close()\n    \
            start_response('200 OK', [])\n    \
            return [b'hello']\n";
    let site = Site::of(app);
    let hook = "echo > begun; while ! test -e asked; do sleep 0.02; done; sleep 0.3; test -e served && echo > early; true";
    let mut server = site.server().set("exec-post-app", hook).spawn();
    server.eventually("the hook runs", || site.has("begun"));
    let mut pending = server.ask(&get("/"));
    site.write("asked", "");
    pending.answer().expect_text("hello");
    assert!(!site.has("early"), "{}", server.log());
    assert!(server.exited().is_none());
    server.stop();
}

#[test]
fn a_reload_repeats_the_hooks_of_the_application() {
    let site = Site::with("generation");
    let server = site
        .server()
        .set("exec-asap", "echo >> asap")
        .set("exec-as-user", "echo >> as-user")
        .set("exec-pre-app", "echo >> pre-app")
        .set("exec-post-app", "echo >> post-app")
        .start();
    let before = server.get("/").text();
    server.signal(Signal::SIGHUP);
    server.eventually("the next generation answers", || {
        server.get("/").text() != before
    });
    let count = |file: &str| lines(&site, file).len();
    assert_eq!((count("pre-app"), count("post-app")), (2, 2));
    if differs(
        "A reload runs the pre-app and post-app hooks of the new generation; earlier hooks and hook-master-start run once, as-user-atexit at the end only, because the master is not executed again.",
    ) {
        return;
    }
    assert_eq!((count("asap"), count("as-user")), (1, 1));
}

#[test]
fn a_hook_that_hangs_during_a_reload_is_killed_and_the_reload_fails() {
    if differs("A hook that exceeds hook-harakiri fails its reload; uWSGI waits for the hook.") {
        return;
    }
    for moment in ["pre-app", "post-app"] {
        let site = Site::with("generation");
        let mut server = site
            .server()
            .set("hook-harakiri", "1")
            .set(
                &format!("exec-{moment}"),
                "if test -e hang; then echo $$ > hanging; exec sleep 1000; fi",
            )
            .start();
        let before = server.get("/").text();
        site.write("hang", "");
        server.signal(Signal::SIGHUP);
        server.wait_for_log("did not finish within 1 s (hook-harakiri); it was killed");
        server.expect_log("hook-harakiri");
        let pid = site.read("hanging").trim().parse().unwrap();
        server.eventually("it is gone", || !proc::is_running(pid));
        assert_eq!(server.get("/").text(), before, "{moment}");
        fs::remove_file(site.file("hang")).unwrap();
        server.signal(Signal::SIGHUP);
        server.eventually("the next generation answers", || {
            server.get("/").text() != before
        });
        server.stop();
    }
}

#[test]
fn a_failed_hook_of_a_reload_keeps_the_old_generation() {
    if differs("A failing hook fails the reload; the instance continues.") {
        return;
    }
    for moment in ["pre-app", "post-app"] {
        let site = Site::with("generation");
        let server = site
            .server()
            .set(&format!("exec-{moment}"), "test ! -e broken")
            .start();
        let before = server.get("/").text();
        site.write("broken", "");
        server.signal(Signal::SIGHUP);
        server.wait_for_log("exited with status 1");
        server.get("/").expect_text(&before);
        fs::remove_file(site.file("broken")).unwrap();
        server.signal(Signal::SIGHUP);
        server.eventually("the next generation answers", || {
            server.get("/").text() != before
        });
    }
}

#[test]
fn requests_are_served_while_a_reload_waits_for_its_hooks() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("generation");
    let server = site
        .server()
        .set(
            "exec-pre-app",
            "echo >> begun; while test -e hold; do sleep 0.02; done",
        )
        .start();
    let before = server.get("/").text();
    site.write("hold", "");
    server.signal(Signal::SIGHUP);
    server.eventually("the hook runs", || lines(&site, "begun").len() == 2);
    server.get("/").expect_text(&before);
    fs::remove_file(site.file("hold")).unwrap();
    server.eventually("the next generation answers", || {
        server.get("/").text() != before
    });
}

#[test]
fn a_hook_can_redefine_a_signal() {
    let app = "import os, time\n\
        def application(environ, start_response):\n    \
            open('begun', 'w').close()\n    \
            while not os.path.exists('go'):\n        \
                time.sleep(0.01)\n    \
            start_response('200 OK', [])\n    \
            return [b'finished']\n";
    let site = Site::of(app);
    let mut server = site
        .server()
        .set("die-on-term", "false")
        .set(
            "hook-master-start",
            "unix_signal:15 gracefully_kill_them_all",
        )
        .start();
    let mut pending = server.ask(&get("/"));
    server.eventually("the request runs", || site.has("begun"));
    server.signal(Signal::SIGTERM);
    if !under_uwsgi() {
        server.wait_for_log("stopping");
    }
    site.write("go", "");
    pending.answer().expect_text("finished");
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn the_accepting_hook_runs_for_each_worker() {
    let site = Site::with("hello");
    let mut launch = site.server().set("processes", 2);
    for moment in [
        "post-fork",
        "accepting",
        "accepting-once",
        "accepting1",
        "accepting1-once",
    ] {
        launch = launch.set(&format!("hook-{moment}"), format!("exec:echo >> {moment}"));
    }
    let server = launch.start();
    let counts = || {
        [
            "post-fork",
            "accepting",
            "accepting-once",
            "accepting1",
            "accepting1-once",
        ]
        .map(|file| lines(&site, file).len())
    };
    server.eventually("all of them ran", || counts() == [2, 2, 2, 1, 1]);
    for worker in server.wait_for_workers(2) {
        server::send(worker, Signal::SIGKILL);
    }
    server.eventually("the hooks of each worker ran again", || {
        counts() == [4, 4, 2, 2, 1]
    });
}

#[test]
fn a_touched_file_runs_its_hook_or_its_command() {
    for (option, action) in [
        ("hook-touch", "exec:echo >> ran"),
        ("touch-exec", "echo >> ran"),
    ] {
        let site = Site::with("hello");
        site.write("touched", "1");
        let server = site
            .server()
            .set(option, format!("{} {action}", site.at("touched")))
            .start();
        server.get("/").expect_text("hello\n");
        if under_uwsgi() {
            // uWSGI compares modification times in whole seconds
            return;
        }
        assert!(!site.has("ran"));
        site.write("touched", "2");
        server.eventually("it ran", || lines(&site, "ran").len() == 1);
    }
}

#[test]
fn the_exit_hooks_run_after_all_processes_have_ended() {
    let site = Site::with("hello");
    let server = site
        .server()
        .set("attach-daemon", "echo $$ > id; exec sleep 1000")
        .set(
            "exec-as-user-atexit",
            "kill -0 $(cat id) && echo too early > early; echo goodbye > output",
        )
        .start();
    server.eventually("the daemon runs", || site.read("id").ends_with('\n'));
    server.stop();
    assert_eq!(site.read("output"), "goodbye\n");
    assert!(!site.has("early"));
}

#[test]
fn the_exit_hooks_also_run_after_a_failed_start() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of("raise RuntimeError('my own words')\n");
    let refusal = site
        .server()
        .set("exec-as-user-atexit", "echo goodbye > output")
        .refused();
    assert_eq!(refusal.code, Some(22));
    assert_eq!(site.read("output"), "goodbye\n");
}

#[test]
fn unsupported_hooks_are_refused_by_name() {
    if differs(
        "Hooks that mount file systems, call C functions or set the host name are refused; an unknown action is refused with a list of the known ones.",
    ) {
        return;
    }
    for (option, value, part) in [
        (
            "hook-as-root",
            "mount:proc none /proc",
            "unknown action mount",
        ),
        ("hook-post-app", "call:uwsgi_log x", "unknown action call"),
        ("hook-asap", "exce:true", "unknown action exce"),
        ("hook-accepting", "cd:/", "have started"),
        (
            "hook-asap",
            "unix_signal:15 kill_them_all",
            "use hook-master-start",
        ),
    ] {
        let refusal = Site::with("hello").server().set(option, value).refused();
        assert_eq!(refusal.code, Some(1), "{option}");
        assert!(refusal.log.contains(part), "{}", refusal.log);
    }
}
