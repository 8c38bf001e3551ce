//! Mules and farms: messages, signals, programs, supervision and reloads.

use nix::sys::signal::Signal;

use crate::kit::proc::process;
use crate::kit::*;

/// Each mule appends what it handles to the file `handled`. `/msg/TEXT` sends to any mule, `/msg/TEXT/N` to mule N,
/// `/farm/TEXT` to the farm `both`, `/signal/N` raises a signal.
const APP: &str = "\
import os, time
import uwsgi

def note(what):
    with open('handled', 'a') as handled:
        handled.write('%s %d %d\\n' % (what, uwsgi.mule_id(), uwsgi.worker_id()))

def hook(message):
    text = message.decode()
    if text == 'hang':
        open('hangs', 'w').close()
        time.sleep(1000)
    if text == 'exit':
        os._exit(3)
    if text == 'fail':
        raise KeyError('broken hook')
    note(text)

uwsgi.mule_msg_hook = hook
for number, target in ((1, 'mule'), (2, 'mules'), (3, 'mule2'), (4, 'farm_both')):
    uwsgi.register_signal(number, target, lambda signal: note('signal%d' % signal))

def application(environ, start_response):
    words = environ['PATH_INFO'].split('/')[1:]
    found = None
    if words[0] == 'msg':
        found = uwsgi.mule_msg(words[1], *map(int, words[2:]))
    if words[0] == 'farm':
        found = uwsgi.farm_msg('both', words[1].encode())
    if words[0] == 'signal':
        found = uwsgi.signal(int(words[1]))
    if words[0] == 'long':
        found = uwsgi.mule_msg(b'x' * 1000000, 1)
    start_response('200 OK', [])
    return [repr(found).encode()]
";

fn handled(site: &Site) -> Vec<String> {
    let mut lines: Vec<String> = site.read("handled").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_mule_handles_the_messages_to_it() {
    let site = Site::of(APP);
    let server = site.server().set("mules", 2).start();
    server.get("/msg/two/2").expect_text("True");
    server.get("/msg/one/1").expect_text("True");
    server.eventually("both are handled", || handled(&site).len() >= 2);
    assert_eq!(handled(&site), ["one 1 0", "two 2 0"]);
    server.get("/msg/any").expect_text("True");
    server.eventually("a mule has handled it", || handled(&site).len() == 3);
    server.get("/msg/none/9").expect_text("False");
}

#[test]
fn a_farm_hands_each_message_to_one_mule() {
    let site = Site::of(APP);
    let launch = site.server().set("mules", 3).set("farm", "both:2,3");
    let server = launch.start();
    for _ in 0..10 {
        server.get("/farm/x").expect_text("None");
    }
    server.eventually("all are handled", || handled(&site).len() >= 10);
    assert_eq!(handled(&site).len(), 10);
    assert!(handled(&site).iter().all(|line| line != "x 1 0"));
}

#[test]
fn mules_handle_signals() {
    let site = Site::of(APP);
    let launch = site.server().set("mules", 2).set("farm", "both:1,2");
    let server = launch.start();
    // uWSGI may raise a signal before the mules listen
    server.get("/msg/ready/1");
    server.get("/msg/ready/2");
    server.eventually("both are ready", || handled(&site).len() == 2);
    for signal in 1..=4 {
        server.get(&format!("/signal/{signal}"));
    }
    server.eventually("all are handled", || handled(&site).len() >= 7);
    let lines = handled(&site);
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("signal1 "), 1, "{lines:?}");
    assert_eq!(count("signal2 "), 2, "{lines:?}");
    assert_eq!(count("signal3 2"), 1, "{lines:?}");
    assert_eq!(count("signal4 "), 1, "{lines:?}");
}

#[test]
fn a_mule_runs_a_program_and_is_replaced_when_it_ends() {
    let site = Site::of(APP);
    site.write(
        "work.py",
        "import os, uwsgi\n\
         with open('programs', 'a') as programs:\n    \
             programs.write('%s %d %r\\n' % (__name__, uwsgi.mule_id(), uwsgi.mule_get_msg(timeout=1)))\n\
         message = uwsgi.mule_get_msg()\n\
         with open('programs', 'a') as programs:\n    \
             programs.write('%r %d\\n' % (message, os.getpid()))\n",
    );
    let mut server = site.server().set("mule", "work.py").start();
    server.expect_log("");
    let lines = || site.read("programs").lines().count();
    server.eventually("the program waits", || lines() == 1);
    assert_eq!(site.read("programs"), "__main__ 1 b''\n");
    server.get("/msg/go/1").expect_text("True");
    server.eventually("another process runs the program", || lines() >= 3);
    assert!(site.read("programs").contains("b'go' "));
}

#[test]
fn a_mule_that_dies_is_replaced() {
    let site = Site::of(APP);
    let mut server = site.server().set("mules", 1).start();
    server.expect_log("");
    server.get("/msg/exit/1");
    server.get("/msg/fail/1");
    server.get("/msg/after/1");
    server.eventually("the next mule has handled the rest", || {
        handled(&site) == ["after 1 0"]
    });
    server.wait_for_log("KeyError: 'broken hook'");
    if under_uwsgi() {
        return;
    }
    server.wait_for_log("exited with status 3; the next one is forked");
}

#[test]
fn a_message_that_takes_too_long_costs_the_mule() {
    let site = Site::of(APP);
    let mut server = site
        .server()
        .set("mules", 1)
        .set("mule-harakiri", 1)
        .start();
    server.expect_log("");
    server.get("/msg/hang/1");
    server.get("/msg/after/1");
    server.eventually("the next mule handles the rest", || {
        handled(&site) == ["after 1 0"]
    });
    if !under_uwsgi() {
        server.wait_for_log("mule 1: killed after 1.");
    }
}

/// The process ids of the mules, as `ruwsgi status` shows them.
fn mules(server: &Server) -> Vec<i64> {
    let output = server.command(&["status", "site", "--json"]).stdout;
    let rows: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let generations = rows[0]["instance"]["generations"]
        .as_array()
        .unwrap()
        .clone();
    let mules = generations
        .iter()
        .flat_map(|it| it["mules"].as_array().unwrap().clone());
    mules.filter_map(|mule| mule["pid"].as_i64()).collect()
}

#[test]
fn a_reload_and_a_touched_file_replace_the_mules() {
    if differs("`ruwsgi status` shows the mules. A reload lets them finish their messages.") {
        return;
    }
    let site = Site::of(APP);
    site.write("touched", "1");
    let launch = site.server().set("mules", 2);
    let server = launch.set("touch-mules-reload", site.at("touched")).start();
    server.eventually("the mules run", || mules(&server).len() == 2);
    let first = mules(&server);
    let replaced = |old: &[i64]| {
        let now = mules(&server);
        now.len() == 2 && now.iter().all(|pid| !old.contains(pid))
    };
    server.signal(Signal::SIGHUP);
    server.eventually("the reload has replaced the mules", || replaced(&first));
    let second = mules(&server);
    server.eventually("the touch has replaced the mules", || {
        site.write("touched", "12");
        replaced(&second)
    });
    assert!(
        first
            .iter()
            .all(|pid| process(i32::try_from(*pid).unwrap()).is_none())
    );
    server.get("/msg/new/1").expect_text("True");
    server.eventually("a new mule handles messages", || {
        handled(&site).contains(&"new 1 0".to_owned())
    });
}

#[test]
fn a_long_message_is_refused() {
    if differs(
        "A message that is longer than mule-msg-size is refused: uwsgi.mule_msg returns False.",
    ) {
        return;
    }
    let site = Site::of(APP);
    let server = site.server().set("mules", 1).start();
    server.get("/long").expect_text("False");
    server.wait_for_log("a message of 1000000 bytes to a mule is lost: mule-msg-size is 65536");
}

#[test]
fn the_decorators_use_mules() {
    if under_uwsgi() {
        return; // uWSGI's wheel does not contain uwsgidecorators
    }
    let site = Site::of(
        "import uwsgi\n\
         from uwsgidecorators import farm, mule, mulefunc, mulemsg\n\
         def note(what):\n    \
             with open('handled', 'a') as handled:\n        \
                 handled.write('%s %d\\n' % (what, uwsgi.mule_id()))\n\
         @mule(1)\n\
         def forever():\n    \
             note('mule')\n    \
             uwsgi.mule_get_msg()\n\
         @mulemsg(2)\n\
         def message(text):\n    \
             note(text.decode())\n\
         @farm('both')\n\
         def of_farm(text):\n    \
             note('farm ' + text.decode())\n\
         @mulefunc(4)\n\
         def add(a, b=0):\n    \
             note('sum %d' % (a + b))\n\
         def application(environ, start_response):\n    \
             uwsgi.mule_msg(b'hello', 2)\n    \
             uwsgi.farm_msg('both', b'hello')\n    \
             add(3, b=4)\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    let launch = site.server().set("mules", 4).set("farm", "both:3");
    let server = launch.start();
    server.get("/").expect_text("ok");
    server.eventually("all have run", || {
        handled(&site) == ["farm hello 3", "hello 2", "mule 1", "sum 7 4"]
    });
}
