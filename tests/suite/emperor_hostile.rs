//! Hostile tenants: neither messages of a vassal nor changes of its file harm others.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{chown, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, add_vassal, app, ini, site};
use crate::kit::server::send;
use crate::kit::*;

/// Users: a hostile tenant and another user.
const TENANT: u32 = 12_002;
const OTHER: u32 = 12_001;

/// Replaces a vassal's file atomically by one of this owner.
fn write_as(site: &Site, path: &str, owner: u32, text: &str) {
    let made = site.file("made");
    fs::write(&made, text).unwrap();
    chown(&made, Some(owner), Some(owner)).unwrap();
    fs::rename(made, site.file(path)).unwrap();
}

#[test]
fn a_link_to_a_file_of_another_user_is_not_run_as_that_user() {
    if needs_root()
        || differs(
            "Under emperor-tyrant a vassal is not started when a symbolic link on the way to its file belongs to neither root nor the file's owner.",
        )
    {
        return;
    }
    let site = site();
    site.write("a.py", &app("a"));
    fs::create_dir(site.file("run")).unwrap();
    chown(site.file("run"), Some(OTHER), Some(OTHER)).unwrap();
    let text = ini(&site, "a").replace("a.sock", "run/a.sock");
    write_as(&site, "others.ini", OTHER, &text);
    let link = site.file("vassals/a.ini");
    symlink(site.file("others.ini"), &link).unwrap();
    lchown(&link, Some(TENANT), Some(TENANT)).unwrap();
    let mut emperor = Emperor::with(&site, &["--emperor-tyrant"]);
    emperor.server.expect_log("a link on the way to it");
    assert_eq!(emperor.state("a").0, "failed");
    // links of root are allowed
    lchown(&link, Some(0), Some(0)).unwrap();
    emperor.expect_text("run/a", "a");
    // a link of another user behind a link of root, as in a directory of that user
    symlink(site.file("others.ini"), site.file("tenant-link")).unwrap();
    lchown(site.file("tenant-link"), Some(TENANT), Some(TENANT)).unwrap();
    symlink(site.file("tenant-link"), site.file("aside")).unwrap();
    fs::rename(site.file("aside"), &link).unwrap();
    emperor.server.expect_log("a link on the way to it");
    emperor
        .server
        .eventually("it is stopped", || emperor.state("a").0 == "failed");
    emperor.server.stop();
}

#[test]
fn a_file_replaced_during_the_start_of_its_vassal_is_not_read() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "a");
    let output = site
        .ruwsgi(&["--ini", "a.ini"])
        .current_dir(site.file("vassals"))
        .env("RUWSGI_EMPEROR_FILE", "a.ini")
        .env("RUWSGI_EMPEROR_OWNER", OTHER.to_string())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let output = String::from_utf8_lossy(&output.stderr);
    assert!(output.contains(&format!("to uid {OTHER} when")), "{output}");
}

/// A program that a tenant runs instead of ruwsgi for the vassal `evil`. `c` is the channel to the emperor; `say`
/// sends a message on it.
fn wrapper(site: &Site, evil: &str) -> String {
    let (python, binary) = (system_python(), binary());
    let text = format!(
        r#"#!{}
import array, json, os, signal, socket, struct, sys, time
if os.environ['RUWSGI_VASSAL'] != 'evil.ini':
    os.execv('{}', ['ruwsgi'] + sys.argv[1:])
c = socket.socket(fileno=int(os.environ['RUWSGI_EMPEROR_FD']))
def say(message, *fds):
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
    c.sendmsg([json.dumps(message).encode()], beside)
{evil}"#,
        python.display(),
        binary.display()
    );
    site.write_executable("wrapper", &text);
    site.at("wrapper")
}

/// An emperor over a working vassal, `good`, and a hostile one, `evil`.
fn emperor_with(evil: &str) -> Emperor {
    let site = site();
    add_vassal(&site, "good", "good");
    site.write("vassals/evil.ini", "[uwsgi]\n");
    let emperor = Emperor::with(&site, &["--emperor-wrapper", &wrapper(&site, evil)]);
    emperor.expect_text("good", "good");
    emperor
}

/// Kills the hostile process and stops the emperor.
fn stop(emperor: Emperor) {
    let evil = emperor.pid("evil");
    emperor.server.signal(Signal::SIGTERM);
    send(evil, Signal::SIGKILL);
    emperor.server.stop();
}

#[test]
fn a_vassal_that_does_not_read_its_channel_blocks_no_other() {
    if under_uwsgi() {
        return;
    }
    let emperor = emperor_with("say('Ready')\ntime.sleep(1000)\n");
    let ready = || emperor.state("evil").0 == "ready";
    emperor.server.eventually("it is ready", ready);
    // more messages than the channel's buffer holds
    for _ in 0..3_200 {
        let mut client = UnixStream::connect(emperor.site.file("control")).unwrap();
        let asked = client.write_all(b"{\"verb\":\"status\",\"name\":\"evil\",\"wait\":true}\n");
        asked.unwrap();
    }
    assert_eq!(emperor.state("good").0, "ready");
    stop(emperor);
}

#[test]
fn unexpected_descriptors_are_closed_without_blocking() {
    if under_uwsgi() {
        return;
    }
    // a connection whose peer does not read, and whose close(2) blocks (SO_LINGER)
    let mut emperor = emperor_with(
        "listener = socket.create_server(('127.0.0.1', 0))\n\
         one = socket.create_connection(listener.getsockname())\n\
         other, _ = listener.accept()\n\
         if os.fork() == 0:\n\
        \x20   one.close()\n\
        \x20   c.recv(1)\n\
        \x20   os._exit(0)\n\
         one.setblocking(False)\n\
         try:\n\
        \x20   while True: one.send(bytes(65536))\n\
         except BlockingIOError: pass\n\
         one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 1000))\n\
         for _ in range(60): say('Ready')\n\
         say('Ready', one.fileno())\n\
         one.close()\n\
         time.sleep(1000)\n",
    );
    emperor
        .server
        .expect_log("descriptors with a message that takes none");
    assert_eq!(emperor.state("good").0, "ready");
    emperor.server.stop();
}

#[test]
fn only_listening_sockets_are_kept() {
    if under_uwsgi() {
        return;
    }
    let mut emperor = emperor_with(
        "zero = os.open('/dev/zero', os.O_RDONLY)\n\
         say({'Sockets': {'kept': [{'name': 'zero', 'file': None}], 'waits': True}}, zero)\n\
         time.sleep(1000)\n",
    );
    emperor.server.expect_log("no listening socket");
    let (state, reason) = emperor.state("evil");
    assert!(
        ["backing off", "starting"].contains(&state.as_str()),
        "{state}"
    );
    assert!(reason.contains("no listening socket"), "{reason}");
    emperor.server.stop();
}

#[test]
fn an_on_demand_vassal_that_never_serves_is_not_restarted_endlessly() {
    if under_uwsgi() {
        return;
    }
    let begin = Instant::now();
    let emperor = emperor_with(
        "listener = socket.create_server(('127.0.0.1', 0))\n\
         client = socket.create_connection(listener.getsockname())\n\
         kept = [{'name': 'here', 'file': None}]\n\
         say({'Sockets': {'kept': kept, 'waits': True}}, listener.fileno())\n",
    );
    let starts = || {
        emperor
            .server
            .log_lines("evil.ini: a client connects")
            .len()
    };
    emperor
        .server
        .eventually("it is started again after a pause", || starts() > 5);
    let most = 5 + begin.elapsed().as_secs();
    assert!(starts() as u64 <= most, "{} of {most}", starts());
    emperor.server.stop();
}

#[test]
fn messages_of_a_vassal_are_escaped_in_logs_and_on_terminals() {
    if under_uwsgi() {
        return;
    }
    let mut emperor = emperor_with(
        "say({'Failed': {'reason': '\\x1b[2J\\ngood.ini  gone' + 'y' * 900000, 'told': False}})\n",
    );
    emperor.server.expect_log("\\x1b[2J\\x0agood.ini");
    let listed = String::from_utf8(emperor.command(&["ls"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(
        listed.len() < 10_000 && !listed.contains('\x1b'),
        "{listed}"
    );
    emperor.server.stop();
}

#[test]
fn a_user_cannot_block_the_control_socket_for_root() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let emperor = emperor_with("say('Ready')\ntime.sleep(1000)\n");
    let file = emperor.site.file("vassals/evil.ini");
    chown(file, Some(TENANT), Some(TENANT)).unwrap();
    // the file has changed, and the vassal does not report a reload
    emperor
        .server
        .eventually("it reloads", || emperor.state("evil").0 == "reloading");
    let flood = format!(
        "import os, socket, sys\n\
         os.setgid({TENANT})\n\
         os.setuid({TENANT})\n\
         held = []\n\
         reload = b'{{\"verb\":\"reload\",\"name\":\"evil\",\"wait\":true}}\\n'\n\
         for _ in range(40):\n\
        \x20   client = socket.socket(socket.AF_UNIX)\n\
        \x20   client.connect({:?})\n\
        \x20   try: client.send(reload)\n\
        \x20   except OSError: pass\n\
        \x20   held.append(client)\n\
         print('held', flush=True)\n\
         sys.stdin.read()\n",
        emperor.site.at("control")
    );
    let mut tenant = std::process::Command::new(system_python())
        .args(["-c", &flood])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 4];
    let mut stdout = tenant.stdout.take().unwrap();
    stdout.read_exact(&mut held).unwrap();
    assert_eq!(&held, b"held");
    // the clients that use up the connections wait for a response that never arrives
    assert_eq!(emperor.state("good").0, "ready");
    drop(tenant.stdin.take());
    tenant.wait().unwrap();
    stop(emperor);
}

#[test]
fn another_user_has_no_access_to_keys_and_environment_of_the_emperor() {
    if needs_root()
        || differs(
            "Under emperor-tyrant a vassal inherits only PATH, the language and the time zone from the emperor's environment.",
        )
    {
        return;
    }
    let site = site();
    fs::create_dir(site.file("run")).unwrap();
    chown(site.file("run"), Some(OTHER), Some(OTHER)).unwrap();
    // the number of the system call keyctl(2) depends on the architecture
    let keys = "import ctypes, os, platform\n\
        libc = ctypes.CDLL(None)\n\
        KEYCTL = {'x86_64': 250, 'aarch64': 219}.get(platform.machine(), 219)\n\
        SESSION = -3\n\
        own = libc.syscall(KEYCTL, 0, SESSION, 0)\n";
    let facts = "def application(environ, start_response):\n\
        \x20   start_response('200 OK', [])\n\
        \x20   return [f'{own} {\" \".join(os.environ)}'.encode()]\n";
    site.write("a.py", &format!("{keys}{facts}"));
    let text = ini(&site, "a").replace("a.sock", "run/a.sock");
    write_as(&site, "vassals/a.ini", OTHER, &text);
    // the stop hook runs with the emperor's environment
    site.write_executable(
        "hook",
        "#!/bin/sh\necho \"$PASSWORD\" > \"${0%/*}/password\"\n",
    );
    let options = ["--emperor-tyrant", "--vassals-stop-hook", &site.at("hook")];
    let emperor = Emperor::under(&site, &options, &["env", "PASSWORD=secret"]);
    emperor
        .server
        .eventually("it answers", || !emperor.ask("run/a").is_empty());
    let answer = emperor.ask("run/a");
    let (key, variables) = answer.split_once(' ').unwrap();
    for name in variables.split(' ') {
        let of_the_log = ["JOURNAL_STREAM", "RUWSGI_VASSAL"].contains(&name);
        let of_the_instance = ["UWSGI_ORIGINAL_PROC_NAME", "UWSGI_RELOADS"].contains(&name);
        let everybodys = ["PATH", "LANG", "LANGUAGE", "TZ", "TERM"].contains(&name);
        assert!(
            of_the_log || of_the_instance || everybodys || name.starts_with("LC_"),
            "{variables}"
        );
    }
    assert!(variables.split(' ').any(|name| name == "PATH"));
    let ours = session_keyring();
    assert!(ours.is_empty() || ours != key, "{answer}");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor.server.eventually("the hook has run", || {
        site.has("password") && site.read("password") == "secret\n"
    });
    emperor.server.stop();
}

/// The serial number of the session keyring that an emperor inherits from the tests; empty if there is none.
fn session_keyring() -> String {
    let ask = "import ctypes, platform\n\
        number = {'x86_64': 250, 'aarch64': 219}.get(platform.machine(), 219)\n\
        print(ctypes.CDLL(None).syscall(number, 0, -3, 0))\n";
    let output = std::process::Command::new(system_python())
        .args(["-c", ask])
        .output()
        .unwrap();
    let key = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if key == "-1" { String::new() } else { key }
}

#[test]
fn each_vassal_leads_a_session() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "a", "a");
    let emperor = Emperor::over(&site);
    emperor.expect_text("a", "a");
    let pid = emperor.pid("a");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, pid.to_string());
    emperor.server.stop();
}
