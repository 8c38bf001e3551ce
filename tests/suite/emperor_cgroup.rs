//! Cgroups of vassals: one for each, their limits, and refusals without write access to cgroups.
//!
//! Tests that need cgroups start their emperor in a new one. They are skipped if it cannot be created. `KIT_CGROUP`
//! names a directory of cgroup v2 for it; the default is the root of the hierarchy, for root. Tests of limits need
//! the controllers in that directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, add_vassal, app, ini, site};
use crate::kit::server::send;
use crate::kit::wait::{DEADLINE, eventually, within};
use crate::kit::*;

const WWW_DATA: u32 = 33;

/// A new cgroup in which an emperor is started.
struct Group {
    path: PathBuf,
}

impl Group {
    /// Creates a cgroup whose children have these controllers. If that fails, prints why and returns `None`.
    fn with(controllers: &[&str]) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if under_uwsgi() {
            return None;
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ruwsgi-test-{}-{number}", std::process::id());
        let below = std::env::var_os("KIT_CGROUP").map(PathBuf::from);
        let path = below.or_else(cgroup_root)?.join(name);
        if let Err(error) = fs::create_dir(&path) {
            eprintln!("skipped: {} cannot be created: {error}", path.display());
            return None;
        }
        let group = Self { path };
        let there = group.read("cgroup.controllers");
        let missing = |it: &&&str| !there.split(' ').any(|word| word == **it);
        if let Some(missing) = controllers.iter().find(missing) {
            let path = group.path.display();
            eprintln!(
                "skipped: {path} has no {missing} controller (set KIT_CGROUP to another directory)"
            );
            return None;
        }
        // the kernel would swap before it kills
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
        Some(group)
    }

    /// Starts an emperor in the cgroup.
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
            eprintln!("{} cannot be removed", self.path.display());
        }
    }
}

/// The mount point of cgroup v2, if it is writable.
fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let path = line
        .and_then(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    if path.is_none() || !is_root() {
        eprintln!("skipped: this needs cgroup v2, and root or KIT_CGROUP");
        return None;
    }
    path
}

/// An application that responds with its cgroup.
const PLACE: &str = "\
def application(environ, start_response):
    start_response('200 OK', [])
    lines = open('/proc/self/cgroup').read().splitlines()
    return [line.encode() for line in lines if line.startswith('0::')]
";

/// Adds a vassal that responds with its cgroup.
fn add_vassal_with_group(site: &Site, name: &str, more: &str) {
    site.write(&format!("{name}.py"), PLACE);
    site.write(&format!("vassals/{name}.ini"), &(ini(site, name) + more));
}

fn wait_for_cgroup(emperor: &Emperor, name: &str, group: &str) {
    let what = format!("{name} is in {group}");
    let server = &emperor.server;
    server.eventually(&what, || emperor.ask(name).ends_with(&format!("/{group}")));
}

#[test]
fn an_emperor_that_is_not_alone_in_its_cgroup_refuses_limits() {
    if under_uwsgi() {
        return;
    }
    // the test process is in the emperor's cgroup too
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
fn an_instance_without_an_emperor_has_no_cgroup() {
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
    let printed = site.command(&["check", &ini]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("applies only to a vassal"), "{printed}");
}

#[test]
fn invalid_limits_are_refused() {
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
fn without_cgroups_only_a_vassal_with_limits_fails() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "good", "good");
    site.write("bad.py", &app("bad"));
    site.write(
        "vassals/bad.ini",
        &(ini(&site, "bad") + "cgroup-pids-max = 50\n"),
    );
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "600000"]);
    emperor.expect_text("good", "good");
    emperor.server.expect_log("the emperor creates no cgroups");
    let server = &emperor.server;
    server.eventually("it is reported", || emperor.state("bad").0 == "backing off");
    assert!(
        emperor
            .state("bad")
            .1
            .contains("the emperor creates no cgroups")
    );
    add_vassal(&site, "bad", "repaired");
    emperor.expect_text("bad", "repaired");
    // a vassal that already serves goes on without limits
    site.write(
        "vassals/good.ini",
        &(ini(&site, "good") + "cgroup-pids-max = 50\n"),
    );
    emperor
        .server
        .wait_for_log("vassal good.ini: reload failed");
    emperor.expect_text("good", "good");
    emperor.server.stop();
}

#[test]
fn each_vassal_runs_in_a_separate_cgroup() {
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    add_vassal_with_group(&site, "a", "");
    add_vassal_with_group(&site, "b", "");
    fs::rename(site.file("vassals/b.ini"), site.file("vassals/b c+d.ini")).unwrap();
    let emperor = group.emperor(&site, &["--cgroup-memory-max", "max"]);
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    wait_for_cgroup(&emperor, "b", "vassal-b%20c%2Bd.ini");
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
    // a reload keeps the cgroup, and a new process enters it
    site.write("vassals/a.ini", &ini(&site, "a"));
    emperor.server.wait_for_log("vassal a.ini: reloaded");
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    let server = &emperor.server;
    server.eventually("its group is gone", || !group.has("vassal-a.ini"));
    assert!(group.has("vassal-b%20c%2Bd.ini"));
    emperor.server.stop();
    assert_eq!(group.children(), [""; 0]);
}

#[test]
fn a_cgroup_with_a_surviving_process_stays() {
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
    server.eventually("it has started a process", || {
        left = emperor.ask("a").parse().unwrap_or(0);
        left > 0
    });
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    server.wait_for_log(&format!("stays: pid {left} lives on in it"));
    assert!(group.has("vassal-a.ini"));
    // the next vassal with the name enters the same cgroup
    add_vassal_with_group(&site, "a", "");
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    server.wait_for_lines(&format!("stays: pid {left} lives on in it"), 2);
    send(left, Signal::SIGKILL);
    server.eventually("its group is gone", || !group.has("vassal-a.ini"));
    emperor.server.stop();
}

#[test]
fn an_emperor_that_has_dropped_root_creates_cgroups() {
    if needs_root() {
        return;
    }
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    chown(site.path(), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    add_vassal_with_group(&site, "a", "");
    let options = [
        "--uid",
        "www-data",
        "--gid",
        "www-data",
        "--cgroup-memory-max",
        "max",
    ];
    let emperor = group.emperor(&site, &options);
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&group.path.join("vassal-a.ini")), WWW_DATA);
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    let server = &emperor.server;
    server.eventually("its group is gone", || !group.has("vassal-a.ini"));
    emperor.server.stop();
    assert_eq!(group.children(), [""; 0]);
}

#[test]
fn a_tenant_cannot_leave_its_cgroup() {
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
    emperor.expect_text("run/a", "[]");
    emperor.server.stop();
}

#[test]
fn a_vassal_may_lower_the_limits_of_the_emperor() {
    let Some(group) = Group::with(&["memory", "cpu", "pids"]) else {
        return;
    };
    let site = site();
    add_vassal_with_group(&site, "a", "");
    let narrow = "cgroup-memory-max = 100M\ncgroup-cpu-max = 20000 50000\ncgroup-pids-max = 600\n";
    add_vassal_with_group(&site, "b", narrow);
    let options = [
        "--cgroup-memory-max",
        "200M",
        "--cgroup-cpu-max",
        "50%",
        "--cgroup-pids-max",
        "400",
    ];
    let emperor = group.emperor(&site, &options);
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    wait_for_cgroup(&emperor, "b", "vassal-b.ini");
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
    // a reload removes limits and adds limits
    let server = &emperor.server;
    add_vassal_with_group(&site, "b", "cgroup-memory-max = 1G\n");
    server.eventually("only the limits of the emperor apply", || {
        limits("b") == own
    });
    add_vassal_with_group(&site, "b", "cgroup-pids-max = 300\n");
    server.eventually("the limit of the vassal applies", || {
        limits("b")[2] == "300"
    });
    emperor.server.stop();
}

#[test]
fn an_oom_kill_in_the_cgroup_is_reported_as_such() {
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
    add_vassal(&site, "b", "undisturbed");
    let mut emperor = group.emperor(&site, &["--cgroup-memory-max", "max"]);
    emperor.expect_text("a", "little");
    emperor.expect_text("b", "undisturbed");
    let address = Address::Unix(site.file("a.sock"));
    let mut connection = address.try_connect().unwrap();
    connection.put(&get("/much").bytes());
    emperor
        .server
        .expect_log("its cgroup has reached memory.max");
    emperor.expect_text("a", "little");
    emperor.expect_text("b", "undisturbed");
    emperor.server.stop();
}

#[test]
fn a_vassal_cannot_exceed_the_process_limit_of_its_cgroup() {
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
    emperor.expect_text("a", "fewer");
    emperor.server.stop();
}

#[test]
fn the_cgroup_of_a_killed_emperor_is_used_by_the_next() {
    let Some(group) = Group::with(&[]) else {
        return;
    };
    let site = site();
    add_vassal_with_group(&site, "a", "");
    let mut emperor = group.emperor(&site, &["--cgroup-memory-max", "max"]);
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    emperor.server.signal(Signal::SIGKILL);
    emperor.server.wait_for_exit();
    eventually("the vassal is gone too", || {
        group.read("vassal-a.ini/cgroup.procs").is_empty()
    });
    drop(emperor);
    // a cgroup whose children have controllers holds no process, so the next emperor starts in the child of the first
    let own = group.path.join("emperor");
    let emperor = Group::emperor_in(&own, &site, &["--cgroup-memory-max", "max"]);
    wait_for_cgroup(&emperor, "a", "vassal-a.ini");
    emperor.server.stop();
}
