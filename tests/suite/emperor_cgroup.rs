//! Cgroups of vassals: one for each, their limits, and refusals where none can be made.
//!
//! What needs groups starts its emperor in a fresh one, and is left out where none can be made: `KIT_CGROUP` names a
//! directory of cgroup v2 to make it in; else it is the root of all groups, for root. Limits need its controllers there.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, app, drop_in, ini, site};
use crate::kit::server::send;
use crate::kit::wait::{DEADLINE, eventually, within};
use crate::kit::*;

const WWW_DATA: u32 = 33;

/// A fresh group, for an emperor to be started in.
struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes one whose children can have these controllers; `None`, and a line about it, where that cannot be.
    fn with(controllers: &[&str]) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if under_uwsgi() {
            return None;
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ruwsgi-test-{}-{number}", std::process::id());
        let below = std::env::var_os("KIT_CGROUP").map(PathBuf::from);
        let path = below.or_else(root_of_groups)?.join(name);
        if let Err(error) = fs::create_dir(&path) {
            eprintln!("left out: {} cannot be made: {error}", path.display());
            return None;
        }
        let group = Self { path };
        let there = group.read("cgroup.controllers");
        let missing = |it: &&&str| !there.split(' ').any(|word| word == **it);
        if let Some(missing) = controllers.iter().find(missing) {
            let path = group.path.display();
            eprintln!(
                "left out: {path} has no {missing} controller (KIT_CGROUP names another place)"
            );
            return None;
        }
        // else the kernel swaps before it kills
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
        Some(group)
    }

    /// An emperor that is started in it.
    fn emperor(&self, site: &Site, options: &[&str]) -> Emperor {
        Self::emperor_in(&self.path, site, options)
    }

    fn emperor_in(path: &Path, site: &Site, options: &[&str]) -> Emperor {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", path.display());
        Emperor::under(site, options, &["sh", "-c", &script, "sh"])
    }

    fn read(&self, file: &str) -> String {
        let text = fs::read_to_string(self.path.join(file));
        text.unwrap_or_default().trim_end().to_owned()
    }

    fn has(&self, child: &str) -> bool {
        self.path.join(child).exists()
    }

    fn children(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap().flatten();
        entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        let gone = within(DEADLINE, || {
            for child in self.children() {
                let _ = fs::remove_dir(self.path.join(child));
            }
            fs::remove_dir(&self.path).is_ok() || !self.path.exists()
        });
        if !gone {
            eprintln!("{} is left", self.path.display());
        }
    }
}

/// Where cgroup v2 is mounted, if its root may be written to.
fn root_of_groups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let path = line
        .and_then(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    if path.is_none() || !is_root() {
        eprintln!("left out: this needs cgroup v2, and root or KIT_CGROUP");
        return None;
    }
    path
}

/// An application that tells which group it is in.
const PLACE: &str = "\
def application(environ, start_response):
    start_response('200 OK', [])
    lines = open('/proc/self/cgroup').read().splitlines()
    return [line.encode() for line in lines if line.startswith('0::')]
";

/// Drops in a vassal that tells its group.
fn drop_in_place(site: &Site, name: &str, more: &str) {
    site.write(&format!("{name}.py"), PLACE);
    site.write(&format!("vassals/{name}.ini"), &(ini(site, name) + more));
}

fn is_in(emperor: &Emperor, name: &str, group: &str) {
    let what = format!("{name} is in {group}");
    let server = &emperor.server;
    server.eventually(&what, || emperor.ask(name).ends_with(&format!("/{group}")));
}

#[test]
fn an_emperor_that_has_no_group_of_its_own_does_not_start_with_limits() {
    if under_uwsgi() {
        return;
    }
    // whatever group this is, the tests live in it too
    for option in ["--cgroup-memory-max=100M", "--cgroup-pids-max=max"] {
        let site = site();
        let words = ["--emperor", "vassals", option];
        let refusal = site.server().only(&words).refused();
        assert_eq!(refusal.code, Some(1));
        assert!(
            refusal.log.contains("the vassals cannot have cgroups"),
            "{}",
            refusal.log
        );
    }
}

#[test]
fn an_instance_without_an_emperor_has_no_group() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of(&app("one"));
    let refusal = site.server().set("cgroup-memory-max", "512M").refused();
    assert_eq!(refusal.code, Some(1));
    for word in ["MemoryMax=", "CPUQuota=", "TasksMax=", "ruwsgi@.service"] {
        assert!(refusal.log.contains(word), "{}", refusal.log);
    }
    let ini = site.at("one.ini");
    site.write("one.ini", "[uwsgi]\nhttp = :0\ncgroup-cpu-max = 50%\n");
    let said = site.operator(&["check", &ini]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("applies only to a vassal"), "{said}");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    if under_uwsgi() {
        return;
    }
    for (option, value, hint) in [
        ("cgroup-memory-max", "512", "write 512M"),
        ("cgroup-memory-max", "half", "write for example 512M"),
        ("cgroup-cpu-max", "half", "write a share of one CPU"),
        ("cgroup-pids-max", "0", "no application runs without a task"),
    ] {
        let site = Site::of(&app("one"));
        let refusal = site.server().set(option, value).refused();
        assert!(
            refusal.log.contains(hint),
            "{option} = {value}: {}",
            refusal.log
        );
    }
}

#[test]
fn a_vassal_that_asks_for_limits_where_there_are_no_groups_fails_alone() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    drop_in(&site, "good", "good");
    site.write("bad.py", &app("bad"));
    site.write(
        "vassals/bad.ini",
        &(ini(&site, "bad") + "cgroup-pids-max = 50\n"),
    );
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "600000"]);
    emperor.says("good", "good");
    emperor.server.expect_log("the emperor creates no cgroups");
    let server = &emperor.server;
    server.eventually("it is told", || emperor.state("bad").0 == "backing off");
    assert!(
        emperor
            .state("bad")
            .1
            .contains("the emperor creates no cgroups")
    );
    drop_in(&site, "bad", "mended");
    emperor.says("bad", "mended");
    // and one that serves goes on without them
    site.write(
        "vassals/good.ini",
        &(ini(&site, "good") + "cgroup-pids-max = 50\n"),
    );
    emperor
        .server
        .wait_for_log("vassal good.ini: its reload is given up");
    emperor.says("good", "good");
    emperor.server.stop();
}

#[test]
fn each_vassal_runs_in_a_group_of_its_own() {
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    drop_in_place(&site, "a", "");
    drop_in_place(&site, "b", "");
    fs::rename(site.file("vassals/b.ini"), site.file("vassals/b c+d.ini")).unwrap();
    let emperor = group.emperor(&site, &["--cgroup-memory-max", "max"]);
    is_in(&emperor, "a", "vassal-a.ini");
    is_in(&emperor, "b", "vassal-b%20c%2Bd.ini");
    let master = emperor.server.master.to_string();
    assert_eq!(group.read("emperor/cgroup.procs"), master);
    let inside = group.read("vassal-a.ini/cgroup.procs");
    let pid = emperor.pid("a");
    let mut family = vec![pid];
    family.extend(proc::children(pid).iter().map(|process| process.pid));
    assert!(family.len() >= 3, "{family:?}");
    for pid in family {
        assert!(
            inside.lines().any(|line| line == pid.to_string()),
            "{pid}: {inside}"
        );
    }
    // a reload stays in it, and a new process enters it
    site.write("vassals/a.ini", &ini(&site, "a"));
    emperor.server.wait_for_log("vassal a.ini: reloaded");
    is_in(&emperor, "a", "vassal-a.ini");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    let server = &emperor.server;
    server.eventually("its group is gone", || !group.has("vassal-a.ini"));
    assert!(group.has("vassal-b%20c%2Bd.ini"));
    emperor.server.stop();
    assert_eq!(group.children(), [""; 0]);
}

#[test]
fn what_lives_on_keeps_its_group() {
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    let spawning = "\
import subprocess
def application(environ, start_response):
    start_response('200 OK', [])
    child = subprocess.Popen(['sleep', '600'], start_new_session=True)
    return [str(child.pid).encode()]
";
    site.write("a.py", spawning);
    site.write("vassals/a.ini", &ini(&site, "a"));
    let emperor = group.emperor(&site, &["--cgroup-pids-max", "max"]);
    let server = &emperor.server;
    let mut left = 0;
    server.eventually("it has started something", || {
        left = emperor.ask("a").parse().unwrap_or(0);
        left > 0
    });
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    server.wait_for_log(&format!("stays: pid {left} lives on in it"));
    assert!(group.has("vassal-a.ini"));
    // the next one joins it
    drop_in_place(&site, "a", "");
    is_in(&emperor, "a", "vassal-a.ini");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    server.wait_for_lines(&format!("stays: pid {left} lives on in it"), 2);
    send(left, Signal::SIGKILL);
    server.eventually("its group is gone", || !group.has("vassal-a.ini"));
    emperor.server.stop();
}

#[test]
fn an_emperor_that_is_no_longer_root_makes_groups_too() {
    if needs_root() {
        return;
    }
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    chown(site.path(), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    drop_in_place(&site, "a", "");
    let options = [
        "--uid",
        "www-data",
        "--gid",
        "www-data",
        "--cgroup-memory-max",
        "max",
    ];
    let emperor = group.emperor(&site, &options);
    is_in(&emperor, "a", "vassal-a.ini");
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&group.path.join("vassal-a.ini")), WWW_DATA);
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    let server = &emperor.server;
    server.eventually("its group is gone", || !group.has("vassal-a.ini"));
    emperor.server.stop();
    assert_eq!(group.children(), [""; 0]);
}

#[test]
fn a_tyrants_tenant_cannot_leave_his_group() {
    if needs_root() {
        return;
    }
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    let escaping = format!(
        "\
import glob
def application(environ, start_response):
    start_response('200 OK', [])
    opened = []
    for path in glob.glob('{0}/*') + glob.glob('{0}/*/*'):
        try:
            open(path, 'w').close()
            opened.append(path)
        except OSError:
            pass
    return [repr(opened).encode()]
",
        group.path.display()
    );
    site.write("a.py", &escaping);
    fs::create_dir(site.file("run")).unwrap();
    chown(site.file("run"), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    site.write("a.ini", &ini(&site, "a").replace("a.sock", "run/a.sock"));
    chown(site.file("a.ini"), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    fs::rename(site.file("a.ini"), site.file("vassals/a.ini")).unwrap();
    let emperor = group.emperor(&site, &["--emperor-tyrant", "--cgroup-memory-max", "max"]);
    emperor.says("run/a", "[]");
    emperor.server.stop();
}

#[test]
fn a_vassals_own_file_narrows_what_the_emperor_allows() {
    let Some(group) = Group::with(&["memory", "cpu", "pids"]) else {
        return;
    };
    let site = site();
    drop_in_place(&site, "a", "");
    let narrow = "cgroup-memory-max = 100M\ncgroup-cpu-max = 20000 50000\ncgroup-pids-max = 600\n";
    drop_in_place(&site, "b", narrow);
    let options = [
        "--cgroup-memory-max",
        "200M",
        "--cgroup-cpu-max",
        "50%",
        "--cgroup-pids-max",
        "400",
    ];
    let emperor = group.emperor(&site, &options);
    is_in(&emperor, "a", "vassal-a.ini");
    is_in(&emperor, "b", "vassal-b.ini");
    let limits = |name: &str| {
        ["memory.max", "cpu.max", "pids.max"]
            .map(|file| group.read(&format!("vassal-{name}.ini/{file}")))
    };
    let own = ["209715200", "50000 100000", "400"];
    assert_eq!(limits("a"), own);
    assert_eq!(limits("b"), ["104857600", "20000 50000", "400"]);
    let status = emperor.command(&["status", "b"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    for part in ["limits", " of 100 MiB, cpu 40%, tasks ", " of 400"] {
        assert!(status.contains(part), "{status}");
    }
    // a reload takes them anew, in one direction and the other
    let server = &emperor.server;
    drop_in_place(&site, "b", "cgroup-memory-max = 1G\n");
    server.eventually("only the emperor's hold", || limits("b") == own);
    drop_in_place(&site, "b", "cgroup-pids-max = 300\n");
    server.eventually("its own holds", || limits("b")[2] == "300");
    emperor.server.stop();
}

#[test]
fn a_kill_for_want_of_the_groups_memory_is_told_as_such() {
    let Some(group) = Group::with(&["memory"]) else {
        return;
    };
    let site = site();
    let hungry = "\
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/much':
        return [str(len(b'x' * (400 << 20))).encode()]
    return [b'little']
";
    site.write("a.py", hungry);
    site.write(
        "vassals/a.ini",
        &(ini(&site, "a") + "cgroup-memory-max = 120M\n"),
    );
    drop_in(&site, "b", "undisturbed");
    let mut emperor = group.emperor(&site, &["--cgroup-memory-max", "max"]);
    emperor.says("a", "little");
    emperor.says("b", "undisturbed");
    let address = Address::Unix(site.file("a.sock"));
    let mut connection = address.try_connect().unwrap();
    connection.put(&get("/much").bytes());
    emperor
        .server
        .expect_log("its cgroup has reached memory.max");
    emperor.says("a", "little");
    emperor.says("b", "undisturbed");
    emperor.server.stop();
}

#[test]
fn a_vassal_cannot_have_more_processes_than_its_group_may() {
    let Some(group) = Group::with(&["pids"]) else {
        return;
    };
    let site = site();
    let forking = "\
import os, signal
def application(environ, start_response):
    start_response('200 OK', [])
    children = []
    try:
        while len(children) < 200:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return [b'fewer' if len(children) < 40 else b'all']
";
    site.write("a.py", forking);
    site.write("vassals/a.ini", &ini(&site, "a"));
    let emperor = group.emperor(&site, &["--cgroup-pids-max", "40"]);
    emperor.says("a", "fewer");
    emperor.server.stop();
}

#[test]
fn a_group_is_left_to_an_emperor_that_is_killed_and_taken_by_the_next() {
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    drop_in_place(&site, "a", "");
    let mut emperor = group.emperor(&site, &["--cgroup-memory-max", "max"]);
    is_in(&emperor, "a", "vassal-a.ini");
    emperor.server.signal(Signal::SIGKILL);
    emperor.server.wait_for_exit();
    eventually("the vassal is gone too", || {
        group.read("vassal-a.ini/cgroup.procs").is_empty()
    });
    drop(emperor);
    // a group whose children have controllers can hold no process, so the next one comes where this one was
    let own = group.path.join("emperor");
    let emperor = Group::emperor_in(&own, &site, &["--cgroup-memory-max", "max"]);
    is_in(&emperor, "a", "vassal-a.ini");
    emperor.server.stop();
}
