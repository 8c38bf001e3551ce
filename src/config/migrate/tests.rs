//! Every migrated file is a valid configuration.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::{Config, Invocation, Report, load};
use super::*;

fn read(text: &str) -> Result<Config, Report> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.ini"), text).unwrap();
    load(&Invocation::new(
        vec!["ruwsgi".into(), "a.ini".into()],
        vec![],
        directory.path().to_owned(),
    ))
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|report| panic!("{text}\n{report}"))
}

#[test]
fn a_command_line_of_gunicorn_becomes_a_vassal() {
    let written = migrate(
        Origin::GunicornCommand,
        "/venv/bin/gunicorn -w4 --threads 2 -b unix:/run/site.sock --bind=127.0.0.1:8000 --chdir /srv/site -e A=1 --graceful-timeout 30 site.wsgi:application --user www-data --log-file - --max-requests 1000",
    );
    let config = good(&written);
    assert_eq!((config.processes(), config.threads()), (4, 2));
    assert_eq!(config.http_socket().len(), 2);
    assert_eq!(config.module(), Some("site.wsgi:application"));
    assert_eq!(
        (config.chdir(), config.uid()),
        (Some("/srv/site"), Some("www-data"))
    );
    assert_eq!(config.worker_reload_mercy().as_secs(), 30);
    assert!(written.contains("max-requests = 1000"), "{written}");
}

#[test]
fn a_configuration_file_of_gunicorn_becomes_a_vassal() {
    let written = migrate(
        Origin::GunicornFile,
        "import multiprocessing\n\nbind = '0.0.0.0:8000'  # everywhere\nworkers = multiprocessing.cpu_count() * 2 + 1\nthreads = 4\nraw_env = [\n    'A=1, 2',\n    \"B=x%y\",\n]\n\
         errorlog = '/var/log/site.log'\nreload = False\npidfile = None\ndef when_ready(server):\n    x = 3\nwsgi_app = 'site:app'\nforwarded_allow_ips = '*'\n",
    );
    let config = good(&written);
    assert!(config.processes() >= 3 && config.processes() % 2 == 1);
    assert_eq!(config.threads(), 4);
    assert_eq!(
        config.env(),
        [
            ("A".to_owned(), Some("1, 2".to_owned())),
            ("B".to_owned(), Some("x%y".to_owned()))
        ]
    );
    assert_eq!(
        (config.module(), config.logto(), config.pidfile()),
        (Some("site:app"), Some("/var/log/site.log"), None)
    );
}

/// The converted text. If there are several files, their texts follow each other.
fn migrate(origin: Origin, text: &str) -> String {
    let files = super::migrate(origin, "/srv/gunicorn.conf.py", text);
    files
        .into_iter()
        .map(|it| it.text)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_file_of_gunicorn_with_another_worker_class_becomes_a_service() {
    let written = migrate(
        Origin::GunicornFile,
        "worker_class = 'uvicorn.workers.UvicornWorker'\nwsgi_app = 'site:app'\nbind = ':8000'\nchdir = '/srv/site'\n",
    );
    assert!(
        written.contains("\nattach-daemon = gunicorn -c /srv/gunicorn.conf.py\n"),
        "{written}"
    );
    assert!(
        !written.contains("\nhttp-socket") && !written.contains("\nmodule"),
        "{written}"
    );
    let nameless = migrate(
        Origin::GunicornFile,
        "worker_class = 'uvicorn.workers.UvicornWorker'\n",
    );
    assert!(
        nameless.contains("# attach-daemon = gunicorn -c /srv/gunicorn.conf.py MODULE:APP\n"),
        "{nameless}"
    );
}

#[test]
fn programs_beside_the_only_web_program_become_its_services() {
    let text = "[program:web]\ncommand=gunicorn site:app\nuser=www-data\n[program:worker]\ncommand=celery -Q a,b worker\ndirectory=/srv/site\nuser=www-data\nstopwaitsecs=60\nstopsignal=QUIT\nnumprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\nenvironment=A=\"it's\"\n[program:other]\ncommand=sleep 5\nuser=nobody\n";
    let files = super::migrate(Origin::Supervisor, "", text);
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["web", "other"]);
    let web = good(&files[0].text);
    let services = web.companions();
    assert_eq!(services.len(), 2, "{}", files[0].text);
    assert_eq!(
        services[0].command,
        "exec env A='it'\\''s' celery -Q a,b worker"
    );
    assert_eq!(services[0].chdir.as_deref(), Some("/srv/site"));
    assert_eq!(
        (services[0].stop_signal, services[0].mercy.as_secs()),
        (3, 60)
    );
    assert!(
        files[1].text.contains("attach-daemon = sleep 5\n"),
        "{}",
        files[1].text
    );
}

#[test]
fn several_web_programs_are_files_and_the_others_one_more() {
    let text = "[program:a]\ncommand=gunicorn a:app -b :8001\n[program:b]\ncommand=gunicorn b:app -b :8002\n[program:beat]\ncommand=celery beat\n[program:work]\ncommand=celery worker\n";
    let files = super::migrate(Origin::Supervisor, "", text);
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "services"]);
    assert_eq!(good(&files[2].text).companions().len(), 2);
}

#[test]
fn programs_of_supervisor_become_vassals() {
    let written = migrate(
        Origin::Supervisor,
        "[supervisord]\nlogfile=/x\n[program:blog]\ncommand=/venv/bin/gunicorn blog.wsgi:application\n    --bind 127.0.0.1:8001 --workers 3 ; three\ndirectory=/srv/blog\nuser=www-data\nautostart=true\n\
         stopsignal=INT\nstopwaitsecs=20\nenvironment=A=\"1,2\",B='x',C=3\nstdout_logfile=/var/log/%(program_name)s.log\nstdout_logfile_maxbytes=20MB\n",
    );
    let config = good(&written);
    assert_eq!(config.home(), Some("/venv"));
    assert_eq!(config.processes(), 3);
    assert_eq!(config.module(), Some("blog.wsgi:application"));
    assert_eq!(
        (config.chdir(), config.uid(), config.logto()),
        (
            Some("/srv/blog"),
            Some("www-data"),
            Some("/var/log/blog.log")
        )
    );
    assert_eq!(config.env().len(), 3);
    assert_eq!(config.env()[0], ("A".to_owned(), Some("1,2".to_owned())));
    let two = migrate(
        Origin::Supervisor,
        "[program:a]\ncommand=uwsgi --ini a.ini -p 2\n[program:b]\ncommand=sleep 5\n",
    );
    assert!(
        two.contains("processes = 2\n") && two.contains("attach-daemon2 = cmd=sleep 5,name=b\n"),
        "{two}"
    );
}

#[test]
fn a_line_of_supervisor_that_is_not_a_setting_does_not_hide_the_programs() {
    let written = migrate(
        Origin::Supervisor,
        "[program:a]\ncommand=sleep 5\nnonsense\n= 3\n[broken\ndirectory=C:\\srv \\\n[program:b]\ncommand=\"sleep\" 6\n",
    );
    for line in ["cmd=sleep 5", "chdir=C:\\srv \\", "cmd=\"sleep\" 6"] {
        assert!(written.contains(line), "{line}\n---\n{written}");
    }
}

#[test]
fn a_file_of_uwsgi_is_cleaned_with_a_comment_for_each_change() {
    let written = migrate(
        Origin::Uwsgi,
        "\u{feff}# my site\r\n[uwsgi]\r\nmaster = true\nbase = /srv # here\nchdir = %(base)/app\nmodule = a # the app\nprocesses = 4 ; all\nenv = A=b # text\nlogto = /x # text\nattach-daemon = echo 1 # shell\nvacuum = true\ndie-on-term = true\nvaccum = true\n\
         chmod_socket = 666\nthreads = 2\nsocket = /run/a.sock\nlegion = x\nthreads = -2\n",
    );
    for line in [
        "# my site",
        "[uwsgi]\nmaster = true",
        "chdir = %(base)/app",
        "# comment moved to its own line: ; all\nprocesses = 4",
        "# comment moved to its own line: # text\nenv = A=b\n",
        "# comment moved to its own line: # text\nlogto = /x\n",
        "# comment moved to its own line: # shell\nattach-daemon = echo 1\n",
        "# comment moved to its own line: # here\nbase = /srv\n",
        "# removed, because it is the default: vacuum = true",
        "# removed, because SIGTERM stops the instance by default: die-on-term = true",
        "did you mean vacuum?\n# vaccum = true",
        "# chmod-socket = 666",
        "# removed, because ruwsgi has no clusters of instances: this instance serves alone: legion = x",
        "# error: the number must not be negative",
    ] {
        assert!(written.contains(line), "{line}\n---\n{written}");
    }
    let config = good(&written.replace("threads = -2\n", ""));
    assert_eq!(config.warnings(), []);
    assert_eq!((config.processes(), config.chdir()), (4, Some("/srv/app")));
}

proptest! {
    #[test]
    fn nothing_that_is_migrated_panics_or_smuggles_a_section(text in "(\\[program:[a-z]{1,3}\\]|command=gunicorn|environment=|bind = |[a-z_]{1,8} ?= ?|-[bwk]|[\\[\\]()'\",%=# ;\\\\éa-z0-9\\n\\r]{1,6}){0,12}") {
        for origin in [Origin::Uwsgi, Origin::GunicornFile, Origin::GunicornCommand, Origin::Supervisor] {
            let written = migrate(origin, &text);
            if matches!(origin, Origin::GunicornFile | Origin::GunicornCommand) {
                prop_assert_eq!(written.lines().filter(|line| line.starts_with('[')).count(), 1);
            }
        }
    }
}
