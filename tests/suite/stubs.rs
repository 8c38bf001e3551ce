//! The type stubs of the modules uwsgi and uwsgidecorators: complete, and accepted by mypy.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::kit::*;

/// An application that uses what the stubs describe.
const SAMPLE: &str = "\
import uwsgi
from uwsgidecorators import harakiri, mulefunc, postfork, timer

@timer(5)
def refresh(signum: int) -> None:
    uwsgi.mule_msg(b'x', 1)

@mulefunc
def add(a: int, b: int) -> None: ...

@postfork(2)
def second() -> None: ...

@harakiri(3)
def length(text: str) -> int:
    return len(text)

number: int = length('a')
sent: bool = add(1, 2)
rss, vsz = uwsgi.mem()
";

fn stubs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python/stubs")
}

/// The names that a stub defines at its top level.
fn names(stub: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(stubs().join(stub)).unwrap();
    let name = |line: &str| {
        let line = line.strip_prefix("def ").unwrap_or(line);
        let line = line.strip_prefix("class ").unwrap_or(line);
        let end = line.find(|it: char| !it.is_alphanumeric() && it != '_')?;
        let is_defined = line[end..].starts_with([':', '(']);
        (is_defined && end > 0 && !line.starts_with(['_', ' '])).then(|| line[..end].to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn the_stubs_list_what_the_modules_have() {
    if under_uwsgi() {
        return; // the stubs describe ruwsgi's modules
    }
    let site = Site::of(
        "import types, uwsgi, uwsgidecorators\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             public = lambda names: [name for name in names if not name.startswith('_')]\n    \
             return [' '.join(public(dir(uwsgi)) + ['env', '|'] + uwsgidecorators.__all__).encode()]\n",
    );
    let server = site.server().set("queue", 10).set("sharedarea", 1).start();
    let text = server.get("/").text();
    let (uwsgi, decorators) = text.split_once(" | ").unwrap();
    let found = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    // the application sets the hooks
    let hooks = [
        "post_fork_hook",
        "atexit",
        "after_req_hook",
        "mule_msg_hook",
    ];
    let mut declared = names("uwsgi.pyi");
    declared.retain(|name| !hooks.contains(&name.as_str()));
    assert_eq!(declared, found(uwsgi));
    assert_eq!(names("uwsgidecorators.pyi"), found(decorators));
}

#[test]
fn mypy_accepts_the_stubs() {
    let venv = venv::shared("mypy", &system_python(), &["mypy"]);
    let site = Site::of(SAMPLE);
    let mut mypy = Command::new(venv.join("bin/mypy"));
    let files = ["uwsgi.pyi", "uwsgidecorators.pyi"].map(|name| stubs().join(name));
    mypy.arg("--strict").args(files).arg(site.at("app.py"));
    mypy.arg("--cache-dir").arg(site.file("cache"));
    venv::run(mypy.env("MYPYPATH", stubs()));
}
