//! Capabilities of vassals: `emperor-cap`. These tests need root.

use std::fs;
use std::os::unix::fs::chown;

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, add_vassal, app, ini, site};
use crate::kit::*;

const WWW_DATA: u32 = 33;
const NOBODY: u32 = 65_534;

const DAC_OVERRIDE: u64 = 1 << 1;
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// A port below 1024 on which no process listens.
fn privileged_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = (std::process::id() % 40) as u16 * 10;
    loop {
        let port = 600 + (seed + NEXT.fetch_add(1, Ordering::Relaxed)) % 400;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A capability set of a process, from its line in /proc; `u64::MAX` if there is no such process.
fn capability_set(pid: i32, key: &str) -> u64 {
    u64::from_str_radix(&proc::status(pid, key), 16).unwrap_or(u64::MAX)
}

/// Whether a process has exactly these capabilities and passes them to what it executes. A process of root passes
/// none: execve(2) gives root all capabilities of the bounding set.
fn has_exactly(pid: i32, bits: u64) -> bool {
    let is_root = proc::status(pid, "Uid") == "0 0 0 0";
    let handed_on = if is_root { 0 } else { bits };
    let possible = capability_set(pid, "CapBnd");
    [capability_set(pid, "CapEff"), capability_set(pid, "CapPrm")] == [bits; 2]
        && [capability_set(pid, "CapInh"), capability_set(pid, "CapAmb")] == [handed_on; 2]
        && (!is_root || possible == bits)
}

/// Waits until a vassal's master, zygote and worker have exactly these capabilities.
#[track_caller]
fn wait_for_capabilities(emperor: &Emperor, name: &str, bits: u64) {
    let what = format!("all processes of {name} have {bits:x}");
    emperor.server.eventually(&what, || {
        let master = emperor.pid(name);
        let children = proc::children(master);
        let children: Vec<i32> = children.iter().map(|child| child.pid).collect();
        children.len() == 2
            && has_exactly(master, bits)
            && children.iter().all(|child| has_exactly(*child, bits))
    });
}

/// A program that writes its capabilities to a file.
fn probe(site: &Site, name: &str, then: &str) -> String {
    let caps = site.at(&format!("run/{name}.caps"));
    let text =
        format!("#!/bin/sh\n{{ grep CapEff /proc/self/status > {caps}; }} 2> /dev/null\n{then}\n");
    site.write_executable(name, &text);
    site.at(name)
}

fn probed_capabilities(site: &Site, name: &str) -> u64 {
    let caps = fs::read_to_string(site.file(&format!("run/{name}.caps"))).unwrap_or_default();
    let bits = caps.split_whitespace().nth(1).unwrap_or_default();
    u64::from_str_radix(bits, 16).unwrap_or(u64::MAX)
}

/// A site whose directory `run/` belongs to `owner`.
fn site_with_run_directory(owner: u32) -> Site {
    let site = site();
    fs::create_dir(site.file("run")).unwrap();
    chown(site.file("run"), Some(owner), Some(owner)).unwrap();
    site
}

/// Adds a vassal whose file belongs to `owner` and whose socket is in `run/`.
fn add_vassal_in_run(site: &Site, name: &str, owner: u32, more: &str) {
    site.write(&format!("{name}.py"), &app(name));
    let text = ini(site, name).replace(&format!("{name}.sock"), &format!("run/{name}.sock"));
    site.write("new", &(text + more));
    chown(site.file("new"), Some(owner), Some(owner)).unwrap();
    fs::rename(site.file("new"), site.file(&format!("vassals/{name}.ini"))).unwrap();
}

/// Adds a vassal that listens on a TCP port.
fn add_vassal_at_port(site: &Site, name: &str, owner: u32, port: u16, more: &str) {
    site.write(&format!("{name}.py"), &app(name));
    let text = ini(site, name).replace(
        &site.at(&format!("{name}.sock")),
        &format!("127.0.0.1:{port}"),
    );
    site.write("new", &(text + more));
    chown(site.file("new"), Some(owner), Some(owner)).unwrap();
    fs::rename(site.file("new"), site.file(&format!("vassals/{name}.ini"))).unwrap();
}

/// The body of the response on a TCP port; empty if no vassal serves it.
fn answer_at(port: u16) -> String {
    let Ok(mut connection) = Address::Tcp(format!("127.0.0.1:{port}")).try_connect() else {
        return String::new();
    };
    connection.put(&get("/").bytes());
    connection.answer().text()
}

#[test]
fn a_vassal_of_another_user_has_the_configured_capabilities() {
    if needs_root()
        || differs(
            "emperor-cap also applies to vassals that do not run as root; uWSGI applies it to root's only.",
        )
    {
        return;
    }
    let site = site_with_run_directory(WWW_DATA);
    let port = privileged_port();
    add_vassal_in_run(&site, "a", WWW_DATA, "");
    add_vassal_at_port(&site, "b", WWW_DATA, port, "");
    let (start, stop) = (probe(&site, "start", ""), probe(&site, "stop", ""));
    let words = [
        "--uid=www-data",
        "--gid=www-data",
        "--emperor-cap=CAP_NET_BIND_SERVICE",
        "--cap=kill",
        "--vassals-start-hook",
        &start,
        "--vassals-stop-hook",
        &stop,
    ];
    let emperor = Emperor::with(&site, &words);
    emperor.expect_text("run/a", "a");
    let server = &emperor.server;
    server.eventually("the port is served", || answer_at(port) == "b");
    wait_for_capabilities(&emperor, "a", NET_BIND_SERVICE);
    // the emperor keeps only what it needs to pass the capabilities on
    let own = emperor.server.master;
    assert_eq!(capability_set(own, "CapPrm"), KILL | NET_BIND_SERVICE);
    for key in ["CapEff", "CapInh", "CapAmb"] {
        assert_eq!(capability_set(own, key), KILL, "{key}");
    }
    site.write("a.py", &app("two"));
    server::send(emperor.pid("a"), Signal::SIGHUP);
    emperor.expect_text("run/a", "two");
    wait_for_capabilities(&emperor, "a", NET_BIND_SERVICE);
    assert_eq!(probed_capabilities(&site, "start"), NET_BIND_SERVICE);
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor.server.eventually("the hook has run", || {
        probed_capabilities(&site, "stop") == KILL
    });
    emperor.server.stop();
}

#[test]
fn under_a_tyrant_each_vassal_has_them_also_on_demand_and_with_a_wrapper() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site_with_run_directory(NOBODY);
    let port = privileged_port();
    add_vassal_in_run(&site, "a", NOBODY, "");
    add_vassal_at_port(&site, "b", WWW_DATA, port, "on-demand = true\n");
    let program = format!("exec {} \"$@\"", binary().display());
    let wrapper = probe(&site, "wrapper", &program);
    let words = [
        "--emperor-tyrant",
        "--vassals-cap=net_bind_service",
        "--emperor-wrapper",
        &wrapper,
    ];
    let emperor = Emperor::with(&site, &words);
    emperor.expect_text("run/a", "a");
    wait_for_capabilities(&emperor, "a", NET_BIND_SERVICE);
    assert_eq!(
        proc::status(emperor.pid("a"), "Uid"),
        "65534 65534 65534 65534"
    );
    assert_eq!(probed_capabilities(&site, "wrapper"), NET_BIND_SERVICE);
    // the process that binds the socket ends before the first connection
    emperor
        .server
        .eventually("b is on demand", || emperor.state("b").0 == "on demand");
    assert_eq!(answer_at(port), "b");
    wait_for_capabilities(&emperor, "b", NET_BIND_SERVICE);
    emperor.server.stop();
}

#[test]
fn a_vassal_of_root_has_no_other_capabilities_and_regains_none() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "one");
    let mut emperor = Emperor::with(&site, &["--emperor-cap=net_bind_service,dac_override"]);
    emperor.expect_text("a", "one");
    wait_for_capabilities(&emperor, "a", NET_BIND_SERVICE | DAC_OVERRIDE);
    for process in proc::children(emperor.pid("a")) {
        assert_eq!(proc::status(process.pid, "Uid"), "0 0 0 0");
    }
    // the vassal cannot change its user, and fails before it tries
    site.write("b.py", &app("b"));
    let text = ini(&site, "b") + "uid = www-data\npidfile = b.pid\n";
    site.write("vassals/b.ini", &text);
    emperor.server.expect_log("without setgid, setuid");
    emperor.server.eventually("it is reported", || {
        emperor.state("b").1.contains("emperor-cap")
    });
    assert!(!site.has("b.sock") && !site.has("b.pid"));
    emperor.expect_text("a", "one");
    emperor.server.stop();
}

#[test]
fn a_vassal_of_root_may_change_its_user_with_setuid_and_setgid() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site();
    let vassals = [
        ("a", 0, "uid = www-data\n"),
        (
            "b",
            NET_BIND_SERVICE,
            "uid = www-data\ncap = net_bind_service\n",
        ),
    ];
    let ports = vassals.map(|(name, _, more)| {
        let port = privileged_port();
        add_vassal_at_port(&site, name, 0, port, more);
        port
    });
    let words = ["--emperor-cap=setuid,setgid,net_bind_service"];
    let emperor = Emperor::with(&site, &words);
    for ((name, kept, _), port) in vassals.into_iter().zip(ports) {
        emperor
            .server
            .eventually("it serves", || answer_at(port) == name);
        wait_for_capabilities(&emperor, name, kept);
        let master = emperor.pid(name);
        assert_eq!(proc::status(master, "Uid"), "33 33 33 33");
        assert_eq!(
            capability_set(master, "CapBnd"),
            SETUID | SETGID | NET_BIND_SERVICE
        );
    }
    emperor.server.stop();
}

#[test]
fn the_cap_option_of_a_vassal_removes_other_capabilities() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site_with_run_directory(WWW_DATA);
    // its uid has no effect, its cap has one
    add_vassal_in_run(&site, "a", WWW_DATA, "uid = nobody\ncap = kill\n");
    add_vassal_in_run(&site, "b", WWW_DATA, "cap = net_raw\n");
    let words = [
        "--uid=www-data",
        "--gid=www-data",
        "--emperor-cap=kill,net_bind_service",
    ];
    let mut emperor = Emperor::with(&site, &words);
    emperor.expect_text("run/a", "a");
    emperor.server.expect_log("have no effect");
    wait_for_capabilities(&emperor, "a", KILL);
    assert_eq!(proc::status(emperor.pid("a"), "Uid"), "33 33 33 33");
    emperor.server.expect_log("cap = net_raw");
    emperor.server.eventually("it is reported", || {
        emperor.state("b").1.contains("emperor-cap")
    });
    assert!(!site.has("run/b.sock"));
    emperor.server.stop();
}

#[test]
fn an_emperor_cannot_grant_capabilities_that_it_lacks() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let as_user: &[&str] = &["setpriv", "--reuid=33", "--regid=33", "--clear-groups"];
    let bounded: &[&str] = &["setpriv", "--bounding-set=-net_raw"];
    let powerless: &[&str] = &["setpriv", "--bounding-set=-setpcap"];
    for (under, capability, reason) in [
        (
            as_user,
            "net_bind_service",
            "emperor-cap = net_bind_service",
        ),
        (bounded, "kill,net_raw", "emperor-cap = net_raw"),
        (powerless, "kill", "without setpcap"),
    ] {
        let site = site_with_run_directory(WWW_DATA);
        add_vassal(&site, "a", "one");
        let (control, pidfile) = (site.at("run/control"), site.at("run/pid"));
        let words = [
            "--emperor",
            "vassals",
            "--emperor-control",
            &control,
            "--pidfile",
            &pidfile,
            "--emperor-cap",
            capability,
        ];
        let refusal = site.server().only(&words).under(under).refused();
        assert_eq!(refusal.code, Some(1), "{}", refusal.log);
        assert!(refusal.log.contains(reason), "{}", refusal.log);
        assert_eq!(refusal.log.lines().count(), 1, "{}", refusal.log);
        assert!(!site.has("run/pid") && !site.has("run/control"));
    }
}

#[test]
fn an_emperor_without_root_grants_its_inherited_capabilities() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = site_with_run_directory(WWW_DATA);
    add_vassal_in_run(&site, "a", WWW_DATA, "");
    let control = site.at("run/control");
    let words = ["--emperor", "vassals", "--emperor-control", &control];
    let words = [&words[..], &["--emperor-cap=kill"]].concat();
    let user = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups"];
    let more = ["--inh-caps=+kill,+chown", "--ambient-caps=+kill,+chown"];
    let server = site
        .server()
        .only(&words)
        .under(&[&user[..], &more].concat());
    let mut server = server.spawn();
    server.allow_any_exit();
    server.eventually("the vassal serves", || emperor::ask(&site, "run/a") == "a");
    let children = proc::children(server.master);
    assert!(has_exactly(children[0].pid, KILL), "{children:?}");
    server.stop();
}

#[test]
fn an_unknown_capability_is_a_configuration_error_with_its_location() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let text = "[uwsgi]\nemperor = vassals\nemperor-cap = net_bind_service, fly\nvassal-cap = 12\n";
    site.write("emperor.ini", text);
    let output = site.command(&["check", &site.at("emperor.ini")]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{printed}");
    assert!(
        printed.contains("emperor.ini:3") && printed.contains("fly"),
        "{printed}"
    );
    let refusal = site.server().only(&["emperor.ini"]).refused();
    assert!(
        refusal.log.contains("unknown capability fly"),
        "{}",
        refusal.log
    );
}
