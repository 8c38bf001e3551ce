//! Loading applications: modules, files, callables, paths, environment.

use crate::kit::*;

/// A module that responds with the value of an expression.
fn answering(expression: &str) -> String {
    format!(
        "import os, sys\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [str(({expression})).encode()]\n"
    )
}

fn site_answering(expression: &str) -> Site {
    Site::of(&answering(expression))
}

/// Starts the server, which must respond with `text`.
#[track_caller]
fn expect(launch: Launch, text: &str) {
    launch.start().get("/").expect_text(text);
}

/// A server, not started, with an application `NAME.py` for each pair of a mount option's value and NAME. Each
/// application responds with its name, SCRIPT_NAME and PATH_INFO.
fn mounting(mounts: &[(&str, &str)]) -> Launch {
    let site = Site::empty();
    let mut launch = site.server();
    for (mount, name) in mounts {
        let shown = format!("'{name}', environ['SCRIPT_NAME'], environ['PATH_INFO']");
        site.write(&format!("{name}.py"), &answering(&shown));
        launch = launch.set("mount", mount);
    }
    launch
}

#[test]
fn a_module_is_served() {
    let site = site_answering("__name__");
    expect(site.server().set("module", "app"), "app");
}

#[test]
fn a_module_in_a_package_is_served() {
    let site = Site::empty();
    site.write("project/__init__.py", "");
    site.write("project/wsgi.py", &answering("__name__"));
    expect(site.server().set("module", "project.wsgi"), "project.wsgi");
    expect(
        site.server().set("wsgi", "project.wsgi:application"),
        "project.wsgi",
    );
}

#[test]
fn a_callable_has_three_notations() {
    let site = Site::empty();
    site.write(
        "app.py",
        &answering("'called'").replace("def application", "def app"),
    );
    expect(site.server().set("module", "app:app"), "called");
    expect(
        site.server().set("module", "app").set("callable", "app"),
        "called",
    );
    expect(
        site.server()
            .set("wsgi-file", "app.py")
            .set("callable", "app"),
        "called",
    );
}

#[test]
fn a_factory_is_called_once() {
    let site = Site::empty();
    let app = answering("'made'").replace("def application", "def inner");
    let app = app + "def make():\n    open('made', 'a').write('x')\n    return inner\n";
    site.write("app.py", &app);
    let server = site.server().set("module", "app:make()").start();
    server.get("/").expect_text("made");
    server.get("/").expect_text("made");
    server.stop();
    assert_eq!(site.read("made"), "x");
}

#[test]
fn a_callable_object_is_served() {
    let site = Site::of(
        "class Application:\n    \
             def __call__(self, environ, start_response):\n        \
                 start_response('200 OK', [])\n        \
                 return [b'object']\n\
         application = Application()\n",
    );
    expect(site.server(), "object");
}

#[test]
fn a_file_in_any_directory_is_served() {
    let site = Site::empty();
    site.write(
        "deep/odd-name.wsgi",
        &answering("os.path.basename(__file__)"),
    );
    let file = site.at("deep/odd-name.wsgi");
    expect(site.server().set("wsgi-file", &file), "odd-name.wsgi");
    expect(
        site.server().set("file", "deep/odd-name.wsgi"),
        "odd-name.wsgi",
    );
}

#[test]
fn the_working_directory_is_in_sys_path() {
    let site = site_answering("__import__('beside').WORD");
    site.write("beside.py", "WORD = 'beside'");
    expect(site.server(), "beside");
    expect(site.server().set("module", "app"), "beside");
}

#[test]
fn chdir_applies_before_the_import() {
    let site = Site::empty();
    site.write("project/app.py", &answering("os.getcwd()"));
    let launch = site
        .server()
        .set("socket", site.at("app.sock"))
        .set("chdir", "project")
        .set("module", "app");
    expect(launch, &site.at("project"));
}

#[test]
fn chdir2_applies_after_the_import() {
    let site = Site::empty();
    site.write("after/x", "");
    site.write(
        "app.py",
        &format!(
            "import os\nBORN = os.getcwd()\n{}",
            answering("(BORN, os.getcwd())")
        ),
    );
    let expected = format!(
        "('{}', '{}')",
        site.at("").trim_end_matches('/'),
        site.at("after")
    );
    expect(
        site.server()
            .set("socket", site.at("app.sock"))
            .set("chdir2", site.at("after")),
        &expected,
    );
}

#[test]
fn a_missing_directory_is_refused() {
    let refusal = site_answering("1")
        .server()
        .set("chdir", "/nowhere/at/all")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    if !under_uwsgi() {
        assert!(refusal.log.contains("/nowhere/at/all"), "{}", refusal.log);
    }
}

#[test]
fn the_last_pythonpath_is_first_in_sys_path() {
    let site = site_answering("__import__('which').WORD, [p.rstrip('/') for p in sys.path[:2]]");
    site.write("one/which.py", "WORD = 'one'");
    site.write("two/which.py", "WORD = 'two'");
    let launch = site
        .server()
        .set("pythonpath", site.at("one"))
        .set("python-path", site.at("two"));
    let expected = format!("('two', ['{}', '{}'])", site.at("two"), site.at("one"));
    expect(launch, &expected);
}

#[test]
fn a_pythonpath_may_be_a_pattern() {
    let site = site_answering("__import__('found').WORD");
    site.write("libs/a/found.py", "WORD = 'found'");
    site.write("libs/b/other.py", "");
    expect(site.server().set("pp", site.at("libs/*")), "found");
}

#[test]
fn variables_are_set_and_unset_before_the_import() {
    variables_are_set_and_unset(false);
}

#[test]
fn a_variable_without_a_value_is_unset() {
    variables_are_set_and_unset(true);
}

fn variables_are_set_and_unset(by_env: bool) {
    let site = Site::of(&format!(
        "import os\nBORN = os.environ.get('KIT_SET'), os.environ.get('KIT_UNSET')\n{}",
        answering("BORN, os.environ['KIT_SET'], os.environ['KIT_SPACED']")
    ));
    let launch = site
        .server()
        .envvar("KIT_UNSET", "x")
        .set("env", "KIT_SET=a=b")
        // without `=`, env removes the variable
        .set(if by_env { "env" } else { "unenv" }, "KIT_UNSET");
    let mut server = launch.set("env", "KIT_SPACED=c d").start();
    server.get("/").expect_text("(('a=b', None), 'a=b', 'c d')");
    if by_env && !under_uwsgi() {
        server.expect_log("env = KIT_UNSET: the value has no =");
    }
}

#[test]
fn the_servers_environment_reaches_the_application() {
    let site = site_answering("os.environ['KIT_GIVEN']");
    expect(site.server().envvar("KIT_GIVEN", "given"), "given");
}

#[test]
fn pyargv_is_in_sys_argv() {
    let site = site_answering("sys.argv[1:]");
    expect(
        site.server().set("pyargv", "one --two 3"),
        "['one', '--two', '3']",
    );
}

#[test]
fn import_options_load_modules_with_the_application() {
    let site = site_answering("sorted(m for m in sys.modules if m.startswith('extra'))");
    site.write("extra_one.py", "");
    site.write("extra_two.py", "");
    let launch = site
        .server()
        .set("import", "extra_one")
        .set("pyimport", "extra_two");
    expect(launch, "['extra_one', 'extra_two']");
}

#[test]
fn a_warmup_path_is_requested_before_the_first_fork() {
    if differs(
        "warmup = PATH requests that path once before the workers are forked; uWSGI has no such option.",
    ) {
        return;
    }
    let site = Site::of(
        "import os\n\
         seen = []\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             seen.append((environ['PATH_INFO'], environ['REQUEST_METHOD'], os.getpid()))\n    \
             return [' '.join('%s%s' % (p, '' if pid == os.getpid() else '!') for p, m, pid in seen).encode()]\n",
    );
    let server = site
        .server()
        .set("warmup", "/one?x=1")
        .set("warmup", "/two")
        .start();
    server.get("/here").expect_text("/one! /two! /here");
}

#[test]
fn with_lazy_apps_each_worker_loads_for_itself() {
    for (option, loads) in [("threads", 1), ("lazy-apps", 2)] {
        let site = Site::of(&format!(
            "import os\nopen('loads', 'a').write('%d\\n' % os.getpid())\n{}",
            answering("os.getpid()")
        ));
        let server = site
            .server()
            .set("processes", 2)
            .set(option, if loads == 1 { "1" } else { "true" })
            .start();
        server.get("/").expect(200);
        server.eventually("it is loaded", || {
            site.read("loads").lines().count() >= loads
        });
        let workers = server.wait_for_workers(2);
        server.stop();
        let pids: Vec<i32> = site
            .read("loads")
            .lines()
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert_eq!(pids.len(), loads);
        assert_eq!(
            pids.iter().all(|pid| workers.contains(pid)),
            loads == 2,
            "{option}"
        );
    }
}

#[test]
fn sys_executable_is_the_interpreter() {
    if differs(
        "sys.executable is the Python interpreter, as multiprocessing needs it; in uWSGI it is uwsgi.",
    ) {
        return;
    }
    let site =
        site_answering("os.path.realpath(sys.executable) == os.path.realpath('/proc/self/exe')");
    expect(site.server(), "True");
}

#[test]
fn applications_may_use_multiprocessing() {
    if under_uwsgi() {
        return; // uWSGI's sys.executable is not Python
    }
    let site = Site::of(
        "import multiprocessing, worker_side\n\
         def application(environ, start_response):\n    \
             with multiprocessing.get_context('spawn').Pool(1) as pool:\n        \
                 answer = pool.map(worker_side.double, [21])\n    \
             start_response('200 OK', [])\n    \
             return [str(answer).encode()]\n",
    );
    site.write("worker_side.py", "def double(n):\n    return 2 * n\n");
    expect(site.server(), "[42]");
}

#[test]
fn applications_are_mounted_by_path() {
    let mounts = [("/one=one.py", "one"), ("/one/two=two:application", "two")];
    let launch = mounting(&mounts).set("manage-script-name", "true");
    let server = launch.start();
    server.get("/one/x").expect_text("('one', '/one', '/x')");
    server.get("/one").expect_text("('one', '/one', '')");
    server
        .get("/one/two/x/y")
        .expect_text("('two', '/one/two', '/x/y')");
    server
        .get("/one/twofold")
        .expect_text("('one', '/one', '/twofold')");
}

#[test]
fn a_proxys_script_name_stays_in_front_of_the_mount_point() {
    if differs(
        "With manage-script-name, the SCRIPT_NAME that the web server sends stays in front of the mount point; uWSGI replaces it.",
    ) {
        return;
    }
    let launch = mounting(&[("/=all.py", "all"), ("/one=one.py", "one")]);
    let server = launch.set("manage-script-name", "true").start();
    let ask =
        |script_name: &str, path: &str| server.send(&get(path).var("SCRIPT_NAME", script_name));
    // the proxy has removed its prefix from PATH_INFO, or not
    for path in ["/one/x", "/apps/one/x"] {
        for prefix in ["/apps", "/apps/"] {
            ask(prefix, path).expect_text("('one', '/apps/one', '/x')");
        }
    }
    for path in ["/x", "/apps/x"] {
        ask("/apps", path).expect_text("('all', '/apps', '/x')");
    }
    ask("/apps", "/applesauce").expect_text("('all', '/apps', '/applesauce')");
    // the proxy names the mount point itself
    ask("/one", "/one/x").expect_text("('one', '/one', '/x')");
    ask("", "/one/x").expect_text("('one', '/one', '/x')");
}

#[test]
fn an_application_mounted_at_the_root_serves_all_other_paths() {
    let launch = mounting(&[("/=all.py", "all"), ("/one=one.py", "one")]);
    let server = launch.set("manage-script-name", "true").start();
    server.get("/one/x").expect_text("('one', '/one', '/x')");
    server
        .get("/other/x")
        .expect_text("('all', '', '/other/x')");
    server.get("/onex").expect_text("('all', '', '/onex')");
}

#[test]
fn a_path_outside_all_mount_points_is_for_the_first_application() {
    let site = Site::empty();
    let shown = "environ['SCRIPT_NAME'], environ['PATH_INFO']";
    site.write("one.py", &answering(&format!("'one', {shown}")));
    site.write("two.py", &answering(&format!("'two', {shown}")));
    let launch = site.server().set("manage-script-name", "true");
    let launch = launch
        .set("mount", "/one=one.py")
        .set("worker-mount", "/two=two.py");
    let server = launch.clone().start();
    server.get("/two/x").expect_text("('two', '/two', '/x')");
    server.get("/other").expect_text("('one', '', '/other')");
    drop(server);
    let server = launch.set("no-default-app", "true").start();
    server.get("/two/x").expect_text("('two', '/two', '/x')");
    if !differs(
        "With no-default-app a path outside all mount points gets 404; in uWSGI it gets 500.",
    ) {
        server.get("/other").expect(404);
    }
}

#[test]
fn the_trailing_slash_of_a_mount_point_is_ignored() {
    if differs(
        "A mount point with a trailing slash is the same as without it; uWSGI reads past its buffer.",
    ) {
        return;
    }
    let launch = mounting(&[("/one/=one.py", "one")]);
    let server = launch.set("manage-script-name", "true").start();
    server.get("/one").expect_text("('one', '/one', '')");
    server.get("/one/x").expect_text("('one', '/one', '/x')");
}

#[test]
fn without_manage_script_name_the_script_name_of_the_request_selects_the_application() {
    let server = mounting(&[("/one=one.py", "one"), ("/two=two.py", "two")]).start();
    let request = get("/two/x").var("SCRIPT_NAME", "/two");
    server
        .send(&request)
        .expect_text("('two', '/two', '/two/x')");
}
