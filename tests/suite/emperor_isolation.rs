//! Isolation of vassals: failures of one vassal do not affect another.
//!
//! With `KIT_BIG=1` the test has a hundred vassals for five minutes, otherwise twelve for a few rounds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::kit::emperor::{Emperor, app, ask, ini, site};
use crate::kit::*;

/// The number of vassals of each faulty kind, the number of working vassals, and the duration.
struct Extent {
    faulty: usize,
    good: usize,
    time: Duration,
}

impl Extent {
    fn configured() -> Self {
        match std::env::var_os("KIT_BIG") {
            Some(_) => Self {
                faulty: 10,
                good: 50,
                time: Duration::from_secs(300),
            },
            None => Self {
                faulty: 1,
                good: 3,
                time: Duration::from_secs(3),
            },
        }
    }
}

/// An application that sometimes ends its process.
const CRASHES: &str = "import os, threading, random\n\
    threading.Timer(random.uniform(0.2, 3), os.abort).start()\n\
    def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'here']\n";

/// Adds the vassals of one kind.
fn add_vassals(site: &Site, kind: &str, count: usize, text: impl Fn(&str) -> String) {
    for number in 0..count {
        let name = format!("{kind}{number}");
        site.write(&format!("vassals/{name}.ini"), &text(&name));
    }
}

fn populate(site: &Site, extent: &Extent) {
    site.write("good.py", &app("here"));
    site.write("raises.py", "raise RuntimeError('no such luck')\n");
    site.write("crashes.py", CRASHES);
    let with = |name: &str, module: &str| {
        ini(site, name).replace(&format!("{name}.py"), &format!("{module}.py"))
    };
    add_vassals(site, "good", extent.good, |name| with(name, "good"));
    add_vassals(site, "edited", extent.faulty, |name| with(name, "good"));
    add_vassals(site, "raises", extent.faulty, |name| with(name, "raises"));
    add_vassals(site, "crashes", extent.faulty, |name| {
        with(name, "crashes") + "lazy-apps = true\n"
    });
    add_vassals(site, "malformed", extent.faulty, |_| {
        "[uwsgi]\nprocesses = -1\n".to_owned()
    });
    for number in 0..extent.faulty {
        let name = format!("linked{number}");
        for release in ["one", "two"] {
            site.write(&format!("{release}/{name}.ini"), &with(&name, "good"));
        }
        let vassal = site.file(&format!("vassals/{name}.ini"));
        symlink(site.file(&format!("one/{name}.ini")), vassal).unwrap();
    }
}

/// Edits the edited vassals, and changes the targets of the links.
fn disturb(site: &Site, extent: &Extent, round: usize) {
    for number in 0..extent.faulty {
        let edited = format!("vassals/edited{number}.ini");
        let text = site.read(&edited);
        site.write(&edited, &format!("{}\n; {round}\n", text.trim_end()));
        let name = format!("linked{number}.ini");
        let release = if round.is_multiple_of(2) {
            "two"
        } else {
            "one"
        };
        let aside = site.file(&format!("aside-{name}"));
        symlink(site.file(&format!("{release}/{name}")), &aside).unwrap();
        fs::rename(aside, site.file(&format!("vassals/{name}"))).unwrap();
    }
}

/// Sends requests to all working vassals in a loop. Returns the number of requests and the lost ones.
fn send_requests(site: &Site, extent: &Extent, over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut asked, mut lost) = (0, Vec::new());
    while !over.load(Ordering::Relaxed) {
        for number in 0..extent.good {
            asked += 1;
            let answer = ask(site, &format!("good{number}"));
            if answer != "here" {
                lost.push(format!("request {asked} to good{number}: {answer:?}"));
            }
        }
        // leaves CPU time to the vassals on a machine with two cores
        std::thread::sleep(Duration::from_millis(10));
    }
    (asked, lost)
}

/// The states of the vassals in `ruwsgi ls`, by kind.
fn states(emperor: &Emperor) -> BTreeMap<String, Vec<String>> {
    let output = emperor.command(&["ls", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        let name = row["name"].as_str().unwrap_or_default();
        let kind = name
            .trim_end_matches(".ini")
            .trim_end_matches(char::is_numeric);
        let state = row["state"].as_str().unwrap_or_default();
        states
            .entry(kind.to_owned())
            .or_default()
            .push(state.to_owned());
    }
    states
}

#[test]
fn faulty_vassals_cost_other_vassals_no_request() {
    if under_uwsgi() {
        return;
    }
    let extent = Extent::configured();
    let site = site();
    populate(&site, &extent);
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "500"]);
    for number in 0..extent.good {
        emperor.expect_text(&format!("good{number}"), "here");
    }
    let over = AtomicBool::new(false);
    let (asked, lost) = std::thread::scope(|scope| {
        let client = scope.spawn(|| send_requests(&site, &extent, &over));
        let end = Instant::now() + extent.time;
        for round in 0.. {
            disturb(&site, &extent, round);
            std::thread::sleep(Duration::from_millis(200));
            if Instant::now() > end {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    assert!(
        lost.is_empty(),
        "{} of {asked} are lost: {lost:?}",
        lost.len()
    );
    assert!(asked > extent.good);
    emperor.server.expect_log("no such luck");
    // after the last edit `ruwsgi ls` shows the expected state of every vassal
    emperor
        .server
        .eventually("ls shows the expected states", || {
            let states = states(&emperor);
            let all = |kind: &str, count: usize, expected: &[&str]| {
                let found = states.get(kind).map_or(&[][..], Vec::as_slice);
                found.len() == count && found.iter().all(|state| expected.contains(&state.as_str()))
            };
            let again = ["backing off", "starting", "waiting"];
            all("good", extent.good, &["ready"])
                && all("edited", extent.faulty, &["ready"])
                && all("linked", extent.faulty, &["ready"])
                && all("malformed", extent.faulty, &again)
                && all("raises", extent.faulty, &again)
                && all(
                    "crashes",
                    extent.faulty,
                    &["ready", "starting", "backing off"],
                )
        });
    for number in 0..extent.good {
        assert_eq!(emperor.state(&format!("good{number}")).1, "");
    }
    emperor.server.stop();
}
