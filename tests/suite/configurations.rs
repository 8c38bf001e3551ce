//! The files of tests/config/real, written after the patterns of configurations in use: each is started with a stub
//! application and asked for pages. tests/config/real/answers.txt has the responses of uWSGI to the same requests.
//! `UPDATE_DOCS=1 RUWSGI_UNDER_TEST=/path/to/uwsgi cargo test --workspace --test suite -- configurations::` writes it; uWSGI needs
//! an interpreter that every user can execute.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::kit::http::Http;
use crate::kit::*;

/// The application: it responds with what the configuration determines.
const STUB: &str = r#"
import os, sys
from urllib.parse import unquote
def application(environ, start_response):
    names = environ['QUERY_STRING'].split(',')
    facts = [
        ('path', environ.get('SCRIPT_NAME', '') + '|' + environ['PATH_INFO']),
        ('directory', os.getcwd()),
        ('user', '%d:%d' % (os.getuid(), os.getgid())),
        ('threads', environ['wsgi.multithread']),
        ('processes', environ['wsgi.multiprocess']),
        ('optimize', sys.flags.optimize),
    ] + [(name, os.environ.get(name)) for name in names if name]
    body = ''.join('%s=%s\n' % fact for fact in facts).encode()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body))), ('X-Removed', '1')])
    return [body]
app = api = handler = application
def create_app():
    return application
"#;

/// A file, and what it needs: `app:PATH` the stub, `venv:PATH` a virtual environment, `dir:PATH` a directory,
/// `file:PATH` an empty file, `write:PATH=TEXT` a file, `vassal:PATH` a vassal's file, `env:NAME=VALUE` a variable of
/// the server, `daemon:PATH` the pidfile of a server that detaches itself, `root` rights to change the user.
/// `uwsgi:ADDRESS` and `http:ADDRESS` are the sockets that are asked, `path:PATH` what for. `only-ruwsgi` marks a file
/// that uWSGI, as pip builds it, does not serve.
type Case = (&'static str, &'static str);

const FRAMEWORKS: &[Case] = &[
    (
        "django-tutorial.ini",
        "app:srv/mysite/mysite/wsgi.py venv:srv/mysite/env uwsgi:/srv/mysite/mysite.sock",
    ),
    (
        "django-extras.ini",
        "root app:srv/shop/shop/wsgi.py daemon:tmp/shop-safe.pid uwsgi:127.0.0.1:49152",
    ),
    (
        "django-placeholders.ini",
        "root app:home/deploy/invoices/invoices/wsgi.py venv:home/deploy/envs/invoices dir:run/uwsgi uwsgi:/run/uwsgi/invoices.sock",
    ),
    (
        "django-cookiecutter.ini",
        "app:app/config/wsgi.py http::8000",
    ),
    (
        "django-cookiecutter-static.ini",
        "app:code/project/wsgi.py dir:code/public/static http::8000",
    ),
    (
        "django-two-hosts.ini",
        "app:srv/portal/django_stub/wsgi.py venv:srv/venvs/portal uwsgi:127.0.0.1:3031",
    ),
    (
        "django-gid-only.ini",
        "root app:srv/api/src/api/wsgi.py venv:srv/api/venv file:srv/api/reload uwsgi::8001",
    ),
    ("flask-sock.ini", "app:wsgi.py uwsgi:/notes.sock"),
    (
        "flask-factory.ini",
        "app:srv/notes/notes.py http:127.0.0.1:5000",
    ),
    (
        "flask-callable.ini",
        "app:srv/shortener/run.py dir:srv/shortener/lib uwsgi:127.0.0.1:5050 http::5051",
    ),
    (
        "pyramid.ini",
        "app:board/entry.py dir:var/log/board daemon:var/run/board.pid uwsgi:/tmp/board.sock",
    ),
    (
        "bottle-file.ini",
        "app:srv/sensors/service.py http:127.0.0.1:9090",
    ),
    (
        "web2py-handler.ini",
        "root app:srv/web2py/wsgihandler.py uwsgi:/tmp/web2py.socket",
    ),
    (
        "mounts.ini",
        "app:srv/suite/wiki/wsgi.py app:srv/suite/forum/wsgi.py app:srv/suite/front.py dir:run/suite uwsgi:/run/suite/suite.sock path:/wiki/page path:/forum/page path:/page",
    ),
    (
        "mount-below-prefix.ini",
        "app:srv/tracker/tracker/wsgi.py uwsgi:/srv/tracker/tracker.sock path:/tracker/page only-ruwsgi",
    ),
];

const SET_UPS: &[Case] = &[
    (
        "paas-vassal.ini",
        "app:home/paas/apps/store/store/app.py venv:home/paas/envs/store dir:home/paas/nginx dir:home/paas/logs/store uwsgi:/home/paas/nginx/store.sock",
    ),
    (
        "paas-worker-vassal.ini",
        "app:home/paas/apps/store/store/app.py venv:home/paas/envs/store dir:home/paas/logs/store http:127.0.0.1:38212 uwsgi:127.0.0.1:38213",
    ),
    (
        "openstack-identity.ini",
        "app:usr/bin/identity-wsgi-public dir:var/run/uwsgi uwsgi:/var/run/uwsgi/identity-public.socket",
    ),
    (
        "openstack-inventory.ini",
        "root app:usr/bin/inventory-api venv:var/lib/openstack/venv http:0.0.0.0:8778",
    ),
    (
        "openstack-compute.ini",
        "app:usr/local/bin/compute-api-wsgi dir:var/run/uwsgi uwsgi:/var/run/uwsgi/compute-api.socket",
    ),
    (
        "automation-controller.ini",
        "app:var/lib/controller/controller/wsgi.py dir:var/run/controller uwsgi:127.0.0.1:8050",
    ),
    (
        "automation-hub.ini",
        "app:var/lib/hub/hub/entry.py file:etc/hub/settings.py file:etc/hub/workers http::8051",
    ),
    (
        "metasearch.ini",
        "root app:usr/local/search/src/engine/webapp.py venv:usr/local/search/pyenv dir:usr/local/search/src/engine/static http:127.0.0.1:8888",
    ),
    (
        "metasearch-behind-proxy.ini",
        "root app:opt/engine/engine/webapp.py dir:run/engine uwsgi:/run/engine/socket",
    ),
    (
        "erp.ini",
        "root app:opt/erp/setup/erp-wsgi.py dir:var/log/erp http:127.0.0.1:8069",
    ),
    (
        "mailing-lists.ini",
        "root app:opt/lists/web/wsgi.py program:opt/lists/web/manage.py dir:opt/lists/web/logs http:0.0.0.0:8000 uwsgi:127.0.0.1:8080",
    ),
    (
        "mailing-lists-jobs.ini",
        "app:opt/lists/web/wsgi.py program:opt/lists/web/manage.py dir:run/lists uwsgi:/run/lists/web.sock",
    ),
    (
        "error-tracker.ini",
        "app:usr/src/tracker/tracker/wsgi.py http:0.0.0.0:9000 uwsgi:127.0.0.1:9002",
    ),
    (
        "error-tracker-logs.ini",
        "app:usr/src/tracker/tracker/wsgi.py http:0.0.0.0:9000",
    ),
    (
        "ipam.ini",
        "root app:opt/ipam/ipam/ipam/wsgi.py venv:opt/ipam/venv uwsgi:127.0.0.1:8001",
    ),
    (
        "graphs.ini",
        "root app:opt/graphs/conf/wsgi.py dir:opt/graphs/webapp uwsgi:localhost:8081",
    ),
    (
        "graphs-simple.ini",
        "app:opt/graphs/conf/wsgi.py dir:run/graphs dir:var/log/graphs daemon:run/graphs/uwsgi.pid uwsgi:localhost:8081",
    ),
    (
        "translations.ini",
        "root app:home/translate/site/translate/wsgi.py venv:home/translate/venv uwsgi:127.0.0.1:8080",
    ),
    (
        "bookmarks.ini",
        "root app:etc/bookmarks/siteroot/wsgi.py dir:etc/bookmarks/static env:BM_REQUEST_TIMEOUT=40 http::9090",
    ),
    (
        "bookmarks-plain.ini",
        "app:etc/bookmarks/siteroot/wsgi.py write:etc/bookmarks/manage.py=import~time;time.sleep(60) env:BM_REQUEST_TIMEOUT=40 http::9090",
    ),
    (
        "home-server.ini",
        "root app:app/home/home/wsgi.py dir:data/logs file:data/logs/reopen http:0.0.0.0:5000",
    ),
    (
        "home-supervisor-console.ini",
        "app:app/home/home/wsgi.py dir:run/home uwsgi:/run/home/home.sock",
    ),
];

const IMAGES: &[Case] = &[
    ("container-stdin.ini", "app:app/main.py http::5000"),
    (
        "container-hooks.ini",
        "root app:app/main.py uwsgi:/tmp/uwsgi.sock",
    ),
    (
        "container-port.ini",
        "app:app/web.py env:PORT=5000 env:WEB_CONCURRENCY=2 http::5000",
    ),
    (
        "container-home.ini",
        "app:app/src/wsgi.py env:APP_ROOT=/app http:0.0.0.0:8080",
    ),
    (
        "cluster-pod.ini",
        "app:srv/service/service/asgi_free.py http:0.0.0.0:8080 only-ruwsgi",
    ),
    (
        "cluster-json-log.ini",
        "app:srv/service/service/app.py http:0.0.0.0:8080",
    ),
    ("function-runner.ini", "app:var/task/handler.py http::8081"),
    (
        "shared-hosting.ini",
        "app:home/member/api/wsgi.py venv:home/member/envs/api dir:home/member/envs/api-site http::26015",
    ),
];

const VASSALS: &[Case] = &[
    (
        "vassalname.ini",
        "app:srv/www/vassalname/vassalname/wsgi.py venv:srv/www/vassalname/venv dir:run/uwsgi uwsgi:/run/uwsgi/vassalname.sock",
    ),
    ("vassal-directory.ini", "app:wsgi.py uwsgi:/app.sock"),
    (
        "vassal-distribution.ini",
        "root app:srv/vassal-distribution/app.wsgi venv:srv/vassal-distribution/venv dir:run/uwsgi/app/vassal-distribution dir:var/log/uwsgi/app uwsgi:/run/uwsgi/app/vassal-distribution/socket",
    ),
    (
        "vassal-domain.ini",
        "app:srv/www/vassal-domain.example.org/index.py dir:srv/www/vassal-domain.example.org/lib dir:run/sockets uwsgi:/run/sockets/vassal-domain.example.org.sock",
    ),
    (
        "emperor.ini",
        "root app:srv/vassal.py vassal:etc/uwsgi/vassals/a.ini write:etc/uwsgi/vassals-default.ini=[uwsgi]~env=SHARED=1 dir:var/log/uwsgi dir:run/uwsgi uwsgi:/run/a.sock",
    ),
    (
        "emperor-statistics.ini",
        "app:srv/vassal.py vassal:etc/uwsgi/vassals/a.ini write:etc/uwsgi/vassals-default.ini=[uwsgi]~env=SHARED=1 uwsgi:/run/a.sock",
    ),
    (
        "for-sockets.ini",
        "app:srv/many/many.py dir:run/many uwsgi:/run/many/one.sock uwsgi:/run/many/three.sock",
    ),
    (
        "for-glob.ini",
        "app:srv/parts/parts.py write:srv/parts/conf.d/1.ini=[uwsgi]~http-socket=127.0.0.1:8000 write:srv/parts/conf.d/2.ini=[uwsgi]~env=PART=2 http:127.0.0.1:8000",
    ),
    (
        "if-env.ini",
        "app:srv/branch/branch/wsgi.py env:APP_PREFIX=/x http:127.0.0.1:8000",
    ),
    (
        "if-file.ini",
        "app:srv/switch/switch.py dir:srv/switch/run uwsgi:/srv/switch/run/switch.sock",
    ),
    (
        "sections.ini",
        "app:srv/sections/sections/wsgi.py dir:run/sections uwsgi:/run/sections/production.sock",
    ),
    (
        "included.ini",
        "app:srv/included/included.py write:etc/uwsgi/common.ini=[uwsgi]~master=true~processes=2~env=COMMON=1 uwsgi:/run/included.sock",
    ),
    (
        "computed.ini",
        "app:srv/computed/computed.py write:srv/computed/RELEASE=r12 uwsgi:/run/computed.sock",
    ),
];

const LOGS: &[Case] = &[
    (
        "log-rotated.ini",
        "app:srv/diary/diary.py dir:run/diary dir:var/log/diary file:var/log/diary/reopen file:var/log/diary/rotate uwsgi:/run/diary/diary.sock",
    ),
    (
        "log-split.ini",
        "app:srv/split/split.py dir:var/log/split uwsgi:127.0.0.1:3032",
    ),
    (
        "log-network.ini",
        "app:srv/network/network.py uwsgi:/run/network.sock",
    ),
    (
        "log-syslog.ini",
        "app:srv/journal/journal.py uwsgi:/run/journal.sock",
    ),
    (
        "log-alarms.ini",
        "app:srv/alarmed/alarmed.py uwsgi:/run/alarmed.sock",
    ),
    (
        "log-buffered.ini",
        "root app:srv/buffered/buffered.py dir:var/log/buffered dir:run daemon:run/buffered.pid uwsgi:/run/buffered.sock",
    ),
];

const SMALL_OPTIONS: &[Case] = &[
    (
        "headers.ini",
        "app:srv/headers/headers.py http:127.0.0.1:7001",
    ),
    ("tuned.ini", "app:srv/tuned/tuned.py uwsgi:127.0.0.1:7002"),
    (
        "scaled.ini",
        "app:srv/scaled/scaled.py uwsgi:/run/scaled.sock",
    ),
    (
        "hooked.ini",
        "app:srv/hooked/hooked.py uwsgi:/run/hooked.sock",
    ),
    (
        "companions.ini",
        "app:srv/companions/companions.py uwsgi:/run/companions.sock",
    ),
    (
        "misspelled.ini",
        "app:srv/misspelled/misspelled.py uwsgi:/run/misspelled.sock",
    ),
    (
        "commented-values.ini",
        "app:srv/commented/commented.py uwsgi:/run/commented.sock",
    ),
    (
        "network-http.ini",
        "app:srv/network-http/web.py http::8082 uwsgi:127.0.0.1:8083",
    ),
    (
        "shared-sockets.ini",
        "app:srv/shared-sockets/shared.py uwsgi:127.0.0.1:7003 http:/run/shared.sock",
    ),
    (
        "reloaded.ini",
        "app:srv/reloaded/reloaded/wsgi.py file:srv/reloaded/reload file:srv/reloaded/chain file:srv/reloaded/workers uwsgi:/run/reloaded.sock",
    ),
    (
        "environment.ini",
        "app:srv/environment/environment.py write:srv/environment/env/FROM_DIRECTORY=yes uwsgi:/run/environment.sock",
    ),
    (
        "unprivileged.ini",
        "root app:srv/unprivileged/application.py dir:run/unprivileged uwsgi:/run/unprivileged/socket",
    ),
];

const FORMATS: &[Case] = &[
    (
        "site.yaml",
        "app:srv/yaml/site_yaml.py dir:run/yaml uwsgi:/run/yaml/site.sock",
    ),
    (
        "deployment.yml",
        "app:srv/deployment/deployment.py http:127.0.0.1:7004 only-ruwsgi",
    ),
    (
        "site.json",
        "app:srv/json/site_json.py dir:run/json uwsgi:/run/json/site.sock uwsgi:127.0.0.1:7005 only-ruwsgi",
    ),
    (
        "site.xml",
        "app:srv/xml/site_xml.py dir:run/xml uwsgi:/run/xml/site.sock",
    ),
];

const FAMILIES: &[Case] = &[
    (
        "greenlets.ini",
        "app:srv/greenlets/greenlets.py http:127.0.0.1:7006 only-ruwsgi",
    ),
    (
        "spooler.ini",
        "app:srv/spooled/spooled.py dir:srv/spooled/tasks uwsgi:/run/spooled.sock",
    ),
    (
        "mules.ini",
        "app:srv/mules/mules.py write:srv/mules/work.py=import~time;time.sleep(60) uwsgi:/run/mules.sock",
    ),
    (
        "cached.ini",
        "app:srv/cached/cached.py uwsgi:/run/cached.sock",
    ),
    ("routed.ini", "app:srv/routed/routed.py http:127.0.0.1:7007"),
    (
        "statistics.ini",
        "app:srv/statistics/statistics_site.py uwsgi:/run/statistics.sock",
    ),
    (
        "pushed.ini",
        "app:srv/pushed/pushed.py uwsgi:/run/pushed.sock only-ruwsgi",
    ),
    (
        "static-files.ini",
        "app:srv/static-files/static_site.py dir:srv/static-files/htdocs dir:srv/static-files/assets http:127.0.0.1:7008",
    ),
];

/// The files that ruwsgi may refuse, and the family of the options that it does not support. A file leaves the list when
/// it is served.
const WAITING: &[(&str, &str)] = &[
    ("graphs.ini", "carbon"),
    ("greenlets.ini", "gevent"),
    ("pushed.ini", "metrics, carbon"),
    ("spooler.ini", "spooler"),
];

#[test]
fn files_of_frameworks_are_served() {
    serve_all(FRAMEWORKS);
}

#[test]
fn files_of_well_known_set_ups_are_served() {
    serve_all(SET_UPS);
}

#[test]
fn files_of_container_images_are_served() {
    serve_all(IMAGES);
}

#[test]
fn files_of_vassals_and_with_logic_are_served() {
    serve_all(VASSALS);
}

#[test]
fn files_with_loggers_are_served() {
    serve_all(LOGS);
}

#[test]
fn files_with_small_options_are_served() {
    serve_all(SMALL_OPTIONS);
}

#[test]
fn files_of_other_formats_are_served() {
    serve_all(FORMATS);
}

#[test]
fn files_with_processes_and_services_of_their_own_are_served() {
    serve_all(FAMILIES);
}

#[test]
fn every_file_has_a_case() {
    let groups = [
        FRAMEWORKS,
        SET_UPS,
        IMAGES,
        VASSALS,
        LOGS,
        SMALL_OPTIONS,
        FORMATS,
        FAMILIES,
    ];
    let mut known: Vec<&str> = groups
        .iter()
        .copied()
        .flatten()
        .map(|case| case.0)
        .collect();
    known.push("answers.txt");
    known.sort_unstable();
    let entries = fs::read_dir(directory()).unwrap();
    let mut files: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, known);
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/real")
}

/// Starts all files of a group, one after the other, and reports all that fail.
#[track_caller]
fn serve_all(cases: &[Case]) {
    let mut failed = Vec::new();
    for (file, needs) in cases {
        let needs: Vec<&str> = needs.split(' ').collect();
        let judged_alone = needs.contains(&"only-ruwsgi");
        if needs.contains(&"root") && needs_root() || judged_alone && under_uwsgi() {
            continue;
        }
        let waiting = WAITING.iter().find(|(name, _)| name == file);
        let outcome = std::panic::catch_unwind(|| match waiting {
            Some((_, family)) if !under_uwsgi() => refused_or_served(file, &needs, family),
            _ => serve(file, &needs),
        });
        if outcome.is_err() {
            failed.push(*file);
        }
    }
    assert!(failed.is_empty(), "not served: {failed:?}; see above");
}

/// Checks that a file of [`WAITING`] is refused by the name of an option that is not supported, or is served.
fn refused_or_served(file: &str, needs: &[&str], family: &str) {
    let ground = Ground::of(file, needs);
    let mut server = ground.launch().spawn();
    server.allow_any_exit();
    server.allow_socket_file();
    server.expect_log("");
    let questions = ground.questions();
    let listens = || questions.iter().any(|it| it.address.try_connect().is_ok());
    server.eventually("it starts or refuses", || {
        server_has_ended(&server) || listens()
    });
    let is_refused = server_has_ended(&server);
    if is_refused {
        server.wait_for_exit();
        assert!(
            server.log().contains("is not supported"),
            "{file}: {}",
            server.log()
        );
    }
    drop(server);
    if !is_refused {
        eprintln!("{file} is not refused any longer for {family}: remove it from WAITING");
        serve(file, needs);
    }
}

fn server_has_ended(server: &Server) -> bool {
    server.processes().is_empty()
}

fn serve(file: &str, needs: &[&str]) {
    let ground = Ground::of(file, needs);
    let mut server = ground.launch().spawn();
    server.allow_any_exit();
    server.allow_socket_file();
    if under_uwsgi() {
        server.expect_log("uWSGI");
    }
    if let Some(pidfile) = needs.iter().find_map(|need| need.strip_prefix("daemon:")) {
        assert!(
            server.wait_for_exit().unwrap().success(),
            "{file}: {}",
            server.log()
        );
        let pid = || ground.site.read(pidfile).trim().parse().ok();
        server.eventually("the daemon has written its pidfile", || pid().is_some());
        server.adopt_daemon(pid().unwrap());
    }
    for question in ground.questions() {
        let answer = ground.ask(&mut server, &question);
        compare(
            &format!("{file} {}", question.name),
            &answer,
            question.is_http,
        );
    }
    if under_uwsgi() {
        return kill_all(server);
    }
    server.stop();
}

/// Ends a uWSGI that was not configured to stop at SIGTERM.
fn kill_all(mut server: Server) {
    server.eventually("no process is left", || {
        for process in server.processes() {
            let pid = nix::unistd::Pid::from_raw(process.pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        server.processes().is_empty()
    });
    server.wait_for_exit();
}

/// A request to one socket of a file.
struct Question {
    /// The socket and the path, as they are written in the case.
    name: String,
    address: Address,
    is_http: bool,
    uri: String,
}

/// A site with the file of a case and all that it needs. Absolute paths of the file lead below the site, and its ports
/// are replaced by free ones.
struct Ground {
    site: Site,
    file: String,
    needs: Vec<String>,
    ports: BTreeMap<String, u16>,
    text: String,
}

impl Ground {
    fn of(file: &str, needs: &[&str]) -> Ground {
        let text = fs::read_to_string(directory().join(file)).unwrap();
        let mut ground = Ground {
            site: Site::empty(),
            file: file.to_owned(),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
            ports: BTreeMap::new(),
            text: String::new(),
        };
        ground.text = ground.localized(&text);
        ground.site.write(file, &ground.text);
        for directory in ["tmp", "run", "var/run", "var/log/uwsgi"] {
            fs::create_dir_all(ground.site.file(directory)).unwrap();
        }
        for need in needs {
            ground.prepare(need);
        }
        // users of the files write here
        venv::run(
            std::process::Command::new("chmod")
                .args(["-R", "a+rwX"])
                .arg(ground.site.path()),
        );
        ground
    }

    fn prepare(&mut self, need: &str) {
        let Some((kind, rest)) = need.split_once(':') else {
            return;
        };
        let path = self.site.file(rest);
        match kind {
            "app" => self.site.write(rest, STUB),
            "file" => self.site.write(rest, ""),
            "dir" => fs::create_dir_all(path).unwrap(),
            "program" => {
                self.site.write(rest, "#!/bin/sh\nexec sleep 60\n");
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            "venv" => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let venv = venv::shared("migration", &system_python(), &[]);
                std::os::unix::fs::symlink(venv, path).unwrap();
            }
            "write" => {
                let (name, text) = rest.split_once('=').unwrap();
                let text = match name.ends_with(".py") {
                    true => text.replace('~', " "),
                    false => text.replace('~', "\n"),
                };
                let text = self.localized(&text);
                self.site.write(name, &text);
            }
            "env" => {
                if let Some(port) = rest.strip_prefix("PORT=") {
                    self.ports.insert(port.to_owned(), free_port());
                }
            }
            "vassal" => {
                fs::create_dir_all(self.site.file("run")).unwrap();
                let text = "[uwsgi]\nsocket = /run/a.sock\nwsgi-file = /srv/vassal.py\n";
                let text = self.localized(text);
                self.site.write(rest, &text);
            }
            _ => {}
        }
    }

    /// Replaces the directories of a machine by those of the site, and ports by free ones.
    fn localized(&mut self, text: &str) -> String {
        const DIRECTORIES: [&str; 11] = [
            "app", "code", "data", "etc", "home", "opt", "run", "srv", "tmp", "usr", "var",
        ];
        const KEPT: [&str; 2] = ["usr/bin/env", "etc/mime.types"];
        let site = self.site.at("");
        let site = site.trim_end_matches('/');
        let mut out = String::new();
        let mut before = '\n';
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let after = &rest[next.len_utf8()..];
            let begins = !before.is_alphanumeric() && !")}/.*".contains(before);
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
            let is_ours = DIRECTORIES
                .iter()
                .any(|it| after.strip_prefix(it).is_some_and(ends));
            if next == '/' && begins && is_ours && !KEPT.iter().any(|it| after.starts_with(it)) {
                out.push_str(site);
            }
            out.push(next);
            rest = after;
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            if next == ':' && (4..=5).contains(&digits) {
                let port = &after[..digits];
                let free = *self.ports.entry(port.to_owned()).or_insert_with(free_port);
                write!(out, "{free}").unwrap();
                rest = &after[digits..];
            }
            before = next;
        }
        out
    }

    fn launch(&self) -> Launch {
        let python = system_python();
        let directory = python.parent().unwrap().to_str().unwrap().to_owned();
        let path = format!("{directory}:/usr/local/bin:/usr/bin:/bin");
        let flag = match self.file.rsplit_once('.').unwrap().1 {
            "yml" | "yaml" => "--yaml",
            "json" => "--json",
            "xml" => "--xml",
            _ => "--ini",
        };
        let launch = self.site.server().only(&[flag, &self.file]);
        let given = self
            .needs
            .iter()
            .filter_map(|need| need.strip_prefix("env:"));
        given.fold(launch.envvar("PATH", &path), |launch, pair| {
            let (name, value) = pair.split_once('=').unwrap();
            match (name, self.ports.get(value)) {
                ("APP_ROOT", _) => launch.envvar(name, &self.site.at(&value[1..])),
                ("PORT", _) => launch.envvar(name, &self.port(value)),
                _ => launch.envvar(name, value),
            }
        })
    }

    /// The free port in the place of a port of the file.
    fn port(&self, port: &str) -> String {
        self.ports
            .get(port)
            .map_or_else(|| port.to_owned(), ToString::to_string)
    }

    fn questions(&self) -> Vec<Question> {
        let mut paths: Vec<&str> = self.values("path:").collect();
        if paths.is_empty() {
            paths.push("/page");
        }
        let names = self.variables().join(",");
        let mut questions = Vec::new();
        for (kind, is_http) in [("uwsgi:", false), ("http:", true)] {
            for address in self.values(kind) {
                for path in &paths {
                    questions.push(Question {
                        name: format!("{kind}{address} {path}"),
                        address: self.address(address),
                        is_http,
                        uri: format!("{path}?{names}"),
                    });
                }
            }
        }
        questions
    }

    fn values<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.needs
            .iter()
            .filter_map(move |need| need.strip_prefix(kind))
    }

    fn address(&self, text: &str) -> Address {
        match text.rsplit_once(':') {
            Some((host, port)) => {
                let host = host.replace("0.0.0.0", "127.0.0.1");
                Address::parse(&format!("{host}:{}", self.port(port)), self.site.path())
            }
            None => Address::Unix(self.site.file(&text[1..])),
        }
    }

    /// Names of the variables that the files set for the application.
    fn variables(&self) -> Vec<String> {
        let written = self.needs.iter().filter(|need| need.starts_with("write:"));
        let texts = written.map(String::as_str).chain([self.text.as_str()]);
        let words = texts.flat_map(|text| text.split(['\n', '~', '"', '<', '>', ' ']));
        let mut names: Vec<String> = words
            .filter_map(|word| word.rsplit_once('=').map(|it| it.0))
            .map(|name| name.rsplit('=').next().unwrap().to_owned())
            .filter(|name| {
                name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The response to a question, once the server gives one.
    #[track_caller]
    fn ask(&self, server: &mut Server, question: &Question) -> Answer {
        let mut found = None;
        wait::within(std::time::Duration::from_secs(15), || {
            if server.exited().is_some_and(|status| !status.success()) {
                return true;
            }
            let Ok(mut connection) = question.address.try_connect() else {
                return false;
            };
            let answer = match question.is_http {
                true => Http::on(connection).get(&question.uri),
                false => {
                    connection.put(&get(&question.uri).bytes());
                    connection.answer()
                }
            };
            let is_there = answer.status != 0;
            found = is_there.then_some(answer);
            is_there
        });
        let log = server.log();
        let Some(mut answer) = found else {
            panic!("{}: no response; the log:\n{log}", question.name);
        };
        let own = format!("{}:{}", nix::unistd::geteuid(), nix::unistd::getegid());
        let text = answer
            .text()
            .replace(&format!("user={own}\n"), "user=own\n");
        let site = self.site.at("");
        answer.body = text
            .replace(site.trim_end_matches('/'), "SITE")
            .into_bytes();
        answer
    }
}

/// Headers that the server of HTTP adds by itself, or whose value depends on the length of the site's path.
const INCIDENTAL: [&str; 4] = ["date", "connection", "keep-alive", "content-length"];

/// Compares a response with that of uWSGI, or writes it down.
#[track_caller]
fn compare(name: &str, answer: &Answer, is_http: bool) {
    let headers = answer.headers.iter().filter(|(key, value)| {
        let key = key.to_ascii_lowercase();
        // a configured Connection header is the only one that says close over the uwsgi protocol
        let is_configured = key == "connection" && !is_http && value == "close";
        is_configured || !INCIDENTAL.contains(&key.as_str())
    });
    let headers: String = headers
        .map(|(key, value)| format!("{key}: {value}\n"))
        .collect();
    let got = format!("{}\n{headers}{}", answer.status, answer.text());
    static FILE: Mutex<()> = Mutex::new(());
    let path = directory().join("answers.txt");
    let _one_at_a_time = FILE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut known = read_answers(&path);
    if under_uwsgi() && std::env::var_os("UPDATE_DOCS").is_some() {
        known.insert(name.to_owned(), got);
        let text: String = known
            .iter()
            .map(|(name, answer)| format!("## {name}\n{answer}"))
            .collect();
        fs::write(path, text).unwrap();
        return;
    }
    match known.get(name) {
        Some(answer) => assert_eq!(&got, answer, "{name}"),
        // uWSGI does not serve it
        None => assert!(got.starts_with("200\n"), "{name}: {got}"),
    }
}

fn read_answers(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let answers = text.split("## ").filter_map(|part| part.split_once('\n'));
    answers
        .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
        .collect()
}
