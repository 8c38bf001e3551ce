//! The emperor: failure and stop of vassals, the stop of the emperor, statistics and users.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, add_vassal, app, ask, ini, site};
use crate::kit::proc::{self, descriptors};
use crate::kit::server::send;
use crate::kit::wait::within;
use crate::kit::*;

const WWW_DATA: u32 = 33;

#[test]
fn the_control_commands_work() {
    if differs("ruwsgi ls, status, reload, stop, start and retry control the emperor's vassals.") {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    let emperor = Emperor::over(&site);
    emperor.expect_text("a", "one");
    let listed = String::from_utf8(emperor.command(&["ls"]).stdout).unwrap();
    assert!(listed.contains("a.ini  ready"), "{listed}");
    let status = String::from_utf8(emperor.command(&["status", "a"]).stdout).unwrap();
    assert!(status.contains("requests  1"), "{status}");
    site.write("a.py", &app("two"));
    assert!(
        emperor
            .command(&["reload", "a.ini", "--wait"])
            .status
            .success()
    );
    // a worker of the old generation may have accepted the connection before it was retired
    emperor.expect_text("a", "two");
    assert!(emperor.command(&["stop", "a", "--wait"]).status.success());
    assert_eq!(emperor.state("a").0, "stopped");
    assert!(!site.has("a.sock"));
    assert!(emperor.command(&["start", "a", "--wait"]).status.success());
    assert_eq!(emperor.ask("a"), "two");
    let missing = emperor.command(&["status", "b"]);
    assert!(!missing.status.success());
    emperor.server.stop();
}

#[test]
fn no_vassal_is_started_while_the_emperor_stops() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write(
        "a.py",
        "import os, time\ndef application(environ, start_response):\n    open('begun', 'w').close()\n    while not os.path.exists('go'):\n        time.sleep(0.01)\n    start_response('200 OK', [])\n    return [b'one']\n",
    );
    site.write("vassals/a.ini", &ini(&site, "a"));
    add_vassal(&site, "b", "two");
    let mut emperor = Emperor::over(&site);
    emperor.expect_text("b", "two");
    emperor
        .server
        .eventually("a is ready", || emperor.state("a").0 == "ready");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| emperor.ask("a"));
        emperor
            .server
            .eventually("the request is handled", || site.has("begun"));
        emperor.server.signal(Signal::SIGTERM);
        emperor
            .server
            .eventually("b is gone", || emperor.state("b").0.is_empty());
        assert_eq!(emperor.state("a").0, "stopping");
        let output = emperor.command(&["start", "a"]);
        assert!(!output.status.success(), "{output:?}");
        let output = String::from_utf8_lossy(&output.stderr);
        assert!(output.contains("the emperor is stopping"), "{output}");
        site.write("go", "");
        assert_eq!(client.join().unwrap(), "one");
    });
    let status = emperor.server.wait_for_exit().unwrap();
    assert!(status.success(), "{status:?}");
    assert_eq!(emperor.server.log_lines("vassal b.ini: found").len(), 1);
}

#[test]
fn a_failed_start_is_reported_with_its_traceback() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "600000"]);
    emperor.expect_text("a", "one");
    assert!(emperor.command(&["stop", "a", "--wait"]).status.success());
    site.write("a.py", "raise RuntimeError('my own words')\n");
    for verb in ["start", "retry"] {
        let output = emperor.command(&[verb, "a", "--wait"]);
        assert!(!output.status.success(), "{output:?}");
        let output = String::from_utf8_lossy(&output.stderr);
        for part in [
            "a.ini is backing off: ",
            "Traceback (most recent call last)",
            "RuntimeError: my own words",
        ] {
            assert!(
                output.contains(part),
                "{verb}: {part} is missing in {output}"
            );
        }
        emperor.server.expect_log("my own words");
    }
    let output = emperor.command(&["retry", "a", "--wait", "--json"]);
    assert!(!output.status.success(), "{output:?}");
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let traceback = rows[0]["traceback"].as_str().unwrap();
    assert!(traceback.contains("my own words"), "{traceback}");
    site.write("a.py", &app("repaired"));
    assert!(emperor.command(&["retry", "a", "--wait"]).status.success());
    emperor.expect_text("a", "repaired");
    emperor.server.stop();
}

#[test]
fn status_describes_the_emperor() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    for name in ["a", "b", "c"] {
        add_vassal(&site, name, name);
    }
    let options = [
        "--emperor-throttle",
        "700",
        "--vassal-set",
        "key=secret",
        "--pidfile",
        "the.pid",
    ];
    let emperor = Emperor::with(&site, &options);
    for name in ["a", "b", "c"] {
        emperor.expect_text(name, name);
    }
    assert!(emperor.command(&["stop", "b", "--wait"]).status.success());
    let pid = emperor.server.master;
    let output = emperor.command(&["status"]);
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    for part in [
        "emperor: ready\n",
        &format!("  pid       {pid}\n"),
        "  ready for ",
        "  version   ",
        "  user      ",
        &format!("  source    {}\n", site.at("vassals")),
        "2 ready, 1 stopped",
        "  option    emperor-throttle = 700\n",
        "  option    emperor-max-throttle = 180000\n",
        "  option    vassal-set = key=secret\n",
    ] {
        assert!(output.contains(part), "{part} is missing in {output}");
    }
    let pidfile = site.at("the.pid");
    for words in [&["status", "--json"][..], &["status", &pidfile, "--json"]] {
        let output = emperor.command(words);
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
        let row = &rows[0];
        assert_eq!(row["pid"], pid, "{row}");
        assert_eq!(row["emperor"]["vassals"]["ready"], 2, "{row}");
        assert!(row["emperor"]["vassals_kib"].as_u64() > row["memory_kib"].as_u64());
    }
    emperor.server.stop();
}

#[test]
fn the_vassals_of_a_killed_emperor_end() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    add_vassal(&site, "b", "two");
    let mut emperor = Emperor::over(&site);
    emperor.expect_text("a", "one");
    emperor.expect_text("b", "two");
    send(emperor.server.master, Signal::SIGKILL);
    emperor.server.wait_for_exit();
    emperor.server.stop();
    assert!(!site.has("a.sock") && !site.has("b.sock"));
}

#[test]
fn a_vassal_whose_master_is_killed_is_restarted() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "10"]);
    emperor.expect_text("a", "one");
    let before = emperor.pid("a");
    send(before, Signal::SIGKILL);
    emperor.server.expect_log("unexpectedly");
    emperor.expect_text("a", "one");
    assert_ne!(emperor.pid("a"), before);
    emperor.server.stop();
}

#[test]
fn hup_reloads_all_vassals_and_leaks_no_descriptor() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    for name in ["a", "b", "c"] {
        add_vassal(&site, name, "1");
    }
    let emperor = Emperor::over(&site);
    ["a", "b", "c"]
        .iter()
        .for_each(|name| emperor.expect_text(name, "1"));
    let before = descriptors(emperor.server.master);
    for round in 2..5 {
        ["a", "b", "c"]
            .iter()
            .for_each(|name| site.write(&format!("{name}.py"), &app(&round.to_string())));
        emperor.server.signal(Signal::SIGHUP);
        ["a", "b", "c"]
            .iter()
            .for_each(|name| emperor.expect_text(name, &round.to_string()));
        emperor.server.wait_for_lines(": reloaded", 3 * (round - 1));
    }
    assert_eq!(descriptors(emperor.server.master), before);
    emperor.server.stop();
}

/// Numbers of a process's sockets, and of its anonymous inodes and memfds. Shells pass neither on to children.
fn descriptor_kinds(pid: i32) -> (usize, usize) {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let (mut sockets, mut others) = (0, 0);
    for target in entries.filter_map(|entry| fs::read_link(entry.path()).ok()) {
        let target = target.to_string_lossy().into_owned();
        sockets += usize::from(target.starts_with("socket:"));
        others += usize::from(
            ["anon_inode:", "/memfd:"]
                .iter()
                .any(|it| target.starts_with(it)),
        );
    }
    (sockets, others)
}

#[test]
fn a_vassal_inherits_no_descriptor_of_the_emperor() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let launch = site.server().envvar("UWSGI_VASSAL_SET_PLACEHOLDER", "x=y");
    let launch = launch.envvar("UWSGI_EMPEROR_FREQ", "2");
    site.write(
        "a.py",
        "import json, os\n\
         def application(environ, start_response):\n\
         \x20   start_response('200 OK', [])\n\
         \x20   names = {n for n in os.environ if 'UWSGI' in n or 'NOTIFY' in n}\n\
         \x20   names -= {'UWSGI_ORIGINAL_PROC_NAME', 'UWSGI_RELOADS'}  # every application gets them\n\
         \x20   return [json.dumps(sorted(names)).encode()]\n",
    );
    site.write("vassals/a.ini", &ini(&site, "a"));
    let control = site.at("control");
    let server = launch
        .only(&["--emperor", "vassals", "--emperor-control", &control])
        .spawn();
    server.eventually("it answers", || ask(&site, "a") == r#"["RUWSGI_VASSAL"]"#);
    let emperor = Emperor {
        server,
        site: site.clone(),
    };
    let vassal = descriptor_kinds(emperor.pid("a"));
    emperor.server.stop();
    let mut alone = site.server().only(&["--ini", "vassals/a.ini"]).spawn();
    alone.allow_any_exit();
    alone.eventually("it answers", || ask(&site, "a") == "[]");
    // the vassal has a channel to the emperor, the other instance has a control socket
    alone.eventually("both have the same numbers of descriptors", || {
        descriptor_kinds(alone.master) == vassal
    });
    alone.stop();
}

#[test]
fn a_python_shim_runs_once_for_all_vassals_except_in_directories_with_their_own_version() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let shim = format!(
        "#!/bin/sh\npwd >> {}\necho {}\n",
        site.at("asked"),
        system_python().display()
    );
    fs::create_dir(site.file("shims")).unwrap();
    site.write_executable("shims/python3", &shim);
    for name in ["a", "b", "c"] {
        site.write(&format!("{name}/{name}.py"), &app(name));
        let own = format!("chdir = {}/{name}\n", site.path().display());
        let text = ini(&site, name).lines().fold(own, |text, line| {
            let left_out = ["chdir", "python", "["]
                .iter()
                .any(|key| line.starts_with(key));
            if left_out { text } else { text + line + "\n" }
        });
        site.write(&format!("vassals/{name}.ini"), &format!("[uwsgi]\n{text}"));
    }
    site.write("c/.python-version", "3.12\n");
    let path = format!("{}:/usr/bin:/bin", site.at("shims"));
    let control = site.at("control");
    let words = ["--emperor", "vassals", "--emperor-control", &control];
    let server = site.server().envvar("PATH", &path).only(&words).spawn();
    for name in ["a", "b", "c"] {
        server.eventually(&format!("{name} answers"), || ask(&site, name) == name);
    }
    assert_eq!(site.read("asked"), format!("/\n{}\n", site.at("c")));
    server.stop();
}

#[test]
fn vassal_set_options_and_hooks_apply_to_each_vassal() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    for hook in ["started", "stopped"] {
        let file = site.at(&format!("{hook}.txt"));
        site.write_executable(hook, &format!("#!/bin/sh\necho \"$1\" >> {file}\n"));
    }
    site.write(
        "a.py",
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [os.environ['ONE'].encode(), os.environ['TWO'].encode()]\n",
    );
    site.write("all.ini", "[uwsgi]\nenv = TWO=2\n");
    site.write("vassals/a.ini", &ini(&site, "a"));
    let (started, stopped, all) = (site.at("started"), site.at("stopped"), site.at("all.ini"));
    let options = [
        "--vassal-set",
        "env=ONE=1",
        "--vassals-include",
        &all,
        "--vassals-start-hook",
        &started,
        "--vassals-stop-hook",
        &stopped,
    ];
    let emperor = Emperor::with(&site, &options);
    emperor.expect_text("a", "12");
    assert_eq!(site.read("started.txt"), "a.ini\n");
    emperor.server.stop();
    assert_eq!(site.read("stopped.txt"), "a.ini\n");
}

#[test]
fn two_emperors_do_not_share_vassals() {
    if differs("A second emperor over the same directories is refused.") {
        return;
    }
    let site = site();
    let emperor = Emperor::over(&site);
    let control = site.at("control");
    let words = ["--emperor", "vassals", "--emperor-control", &control];
    let refusal = site.server().only(&words).refused();
    assert_eq!(refusal.code, Some(1));
    assert!(refusal.log.contains("another emperor"), "{}", refusal.log);
    emperor.server.stop();
}

#[test]
fn vassals_run_as_the_user_of_the_emperor_and_their_uid_option_is_reported() {
    if needs_root()
        || differs(
            "A vassal's uid that its emperor cannot set is logged as an error; uWSGI ignores it.",
        )
    {
        return;
    }
    let site = site();
    fs::create_dir(site.file("run")).unwrap();
    chown(site.path(), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    site.write(
        "a.py",
        &fs::read_to_string(format!(
            "{}/tests/apps/privileges/app.py",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap(),
    );
    site.write("vassals/a.ini", &(ini(&site, "a") + "uid = nobody\n"));
    let emperor = Emperor::with(&site, &["--uid", "www-data", "--gid", "www-data"]);
    emperor.server.wait_for_log("have no effect");
    emperor
        .server
        .eventually("it answers", || emperor.ask("a").contains("uids"));
    let identity: serde_json::Value = serde_json::from_str(&emperor.ask("a")).unwrap();
    assert_eq!(
        identity["now"]["uids"],
        serde_json::json!([WWW_DATA, WWW_DATA, WWW_DATA])
    );
    assert_eq!(fs::metadata(site.file("a.sock")).unwrap().uid(), WWW_DATA);
    assert_eq!(proc::status(emperor.server.master, "Uid"), "33 33 33 33");
    emperor.server.stop();
}

#[test]
fn a_tyrant_runs_each_vassal_as_its_owner_and_none_as_root() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site();
    let owners = [("a", WWW_DATA), ("b", 65_534), ("d", 1), ("c", 0)];
    let facts = fs::read_to_string(format!(
        "{}/tests/apps/privileges/app.py",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    for (name, owner) in owners {
        fs::create_dir(site.file(name)).unwrap();
        chown(site.file(name), Some(owner), Some(owner)).unwrap();
        site.write(&format!("{name}.py"), &facts);
        let text = ini(&site, name).replace(&format!("{name}.sock"), &format!("{name}/app.sock"));
        site.write(&format!("{name}.ini"), &text);
        chown(site.file(&format!("{name}.ini")), Some(owner), Some(owner)).unwrap();
        fs::rename(
            site.file(&format!("{name}.ini")),
            site.file(&format!("vassals/{name}.ini")),
        )
        .unwrap();
    }
    let mut emperor = Emperor::with(&site, &["--emperor-tyrant"]);
    emperor.server.expect_log("would run as root");
    for (name, owner) in &owners[..3] {
        let at = format!("{name}/app");
        emperor
            .server
            .eventually("it answers", || emperor.ask(&at).contains("uids"));
        let identity: serde_json::Value = serde_json::from_str(&emperor.ask(&at)).unwrap();
        assert_eq!(
            identity["now"]["uids"],
            serde_json::json!([owner, owner, owner])
        );
        assert_eq!(
            identity["now"]["gids"],
            serde_json::json!([owner, owner, owner])
        );
        assert_eq!(
            fs::metadata(site.file(&format!("{at}.sock")))
                .unwrap()
                .uid(),
            *owner
        );
    }
    assert_eq!(emperor.state("c").0, "failed");
    assert!(!within(Duration::from_millis(300), || site.has("c/app.sock")));
    emperor.server.stop();
}

#[test]
fn the_statistics_have_the_format_of_uwsgi() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    site.write("vassals/bad.ini", "[uwsgi]\nprocesses = -1\n");
    let at = site.at("stats.sock");
    let options = ["--emperor-stats", &at, "--emperor-throttle", "600000"];
    let mut emperor = Emperor::with(&site, &options);
    // a worker may respond before the emperor receives the ready message
    let server = &emperor.server;
    server.eventually("it is ready", || emperor.state("a").0 == "ready");
    emperor.server.expect_log("tried again in 600");
    let statistics = || {
        use std::io::Read;
        let mut text = String::new();
        let address = Address::Unix(site.file("stats.sock"));
        let mut connection = address.try_connect().unwrap();
        connection.read_to_string(&mut text).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let pid = emperor.pid("a");
    let statistics = statistics();
    assert_eq!(statistics["pid"], emperor.server.master);
    let vassals = statistics["vassals"].as_array().unwrap();
    assert_eq!(vassals.len(), 2);
    let vassal = &vassals[0];
    assert_eq!(vassal["id"], "a.ini");
    assert_eq!(vassal["pid"], pid);
    for key in ["loyal", "ready", "accepting"] {
        assert_eq!(vassal[key], 1, "{vassal}");
    }
    for key in ["born", "last_mod", "first_run", "last_run", "last_ready"] {
        assert!(vassal[key].as_u64().unwrap() > 1_700_000_000, "{vassal}");
    }
    assert_eq!(vassal["respawns"], 0);
    assert_eq!(statistics["blacklist"][0]["id"], "bad.ini");
    assert_eq!(statistics["blacklist"][0]["attempt"], 1);
    emperor.server.stop();
    assert!(!site.has("stats.sock"));
}

#[test]
fn the_command_line_of_the_tutorial_runs_an_emperor_as_a_daemon() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site();
    chown(site.path(), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    add_vassal(&site, "a", "one");
    let (control, pid) = (site.at("control"), site.at("pid"));
    let words = [
        "--emperor",
        "vassals",
        "--uid",
        "www-data",
        "--gid",
        "www-data",
        "--daemonize",
        &site.at("log"),
        "--emperor-control",
        &control,
        "--pidfile",
        &pid,
    ];
    let launch = site.server().logging_to("log").only(&words);
    let mut server = launch.spawn();
    let status = server.wait_for_exit();
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    server.eventually("the pidfile has a pid", || site.read("pid").ends_with('\n'));
    server.adopt_daemon(site.read("pid").trim().parse().unwrap());
    server.eventually("it answers", || ask(&site, "a") == "one");
    assert_eq!(proc::status(server.master, "Uid"), "33 33 33 33");
    assert_eq!(fs::metadata(site.file("a.sock")).unwrap().uid(), WWW_DATA);
    server.stop();
    assert!(!site.has("a.sock"));
}
