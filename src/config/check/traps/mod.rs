//! Finds mistakes in a valid configuration, for `ruwsgi check`. Mistakes that keep the site from starting or serving
//! are errors. Options without effect, open sockets and permissions are warnings.

mod files;
mod places;
mod settings;
mod survey;

use crate::config::finding::Finding;
use crate::config::read::invocation::Invocation;
use crate::config::table::options::Config;

use survey::Survey;

/// Finds the mistakes that keep the site from serving, and the likely mistakes. `has_socket`: an emperor gives the
/// instance a socket.
pub(crate) fn find(config: &Config, invocation: &Invocation, has_socket: bool) -> Vec<Finding> {
    let mut survey = Survey {
        config,
        invocation,
        found: Vec::new(),
    };
    survey.check_application_and_socket(has_socket);
    survey.two_applications();
    survey.open_sockets();
    survey.threads();
    survey.check_cheaper_and_idle();
    survey.groups();
    survey.secrets();
    survey.environment();
    survey.created_files();
    survey.program_files();
    survey.alarms();
    survey.accounts();
    survey.socket_permissions();
    survey.check_daemonize_and_root();
    survey.found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn said(content: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("site.ini"), content).unwrap();
        fs::set_permissions(
            directory.path().join("site.ini"),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        let old = directory.path().join("old");
        fs::create_dir_all(old.join("bin")).unwrap();
        fs::write(old.join("bin/python"), "").unwrap();
        fs::write(old.join("pyvenv.cfg"), "home = /usr\nversion = 3.8.1\n").unwrap();
        let moved = directory.path().join("moved");
        fs::create_dir_all(moved.join("bin")).unwrap();
        fs::write(directory.path().join("python3.11"), "").unwrap();
        std::os::unix::fs::symlink("../../python3.11", moved.join("bin/python")).unwrap();
        fs::write(moved.join("pyvenv.cfg"), "version = 3.12.1\n").unwrap();
        let argv = ["ruwsgi", "site.ini"].map(str::to_owned).to_vec();
        let invocation = Invocation::new(argv, Vec::new(), directory.path().to_owned());
        let config = crate::config::load(&invocation).unwrap();
        find(&config, &invocation, false)
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    fn says(content: &str, part: &str) -> bool {
        said(content).iter().any(|finding| finding.contains(part))
    }

    #[track_caller]
    fn all_say(cases: &[(&str, &str)]) {
        for (content, part) in cases {
            assert!(
                says(&format!("[uwsgi]\n{content}\n"), part),
                "{content}: {:?}",
                said(&format!("[uwsgi]\n{content}\n"))
            );
        }
    }

    #[test]
    fn obstacles_are_errors() {
        all_say(&[
            (
                "home = nowhere",
                "error: the virtual environment nowhere does not exist",
            ),
            (
                "home = old",
                "error: the virtual environment is for Python 3.8",
            ),
            (
                "uid = nobody-of-this-name",
                "error: there is no user nobody-of-this-name",
            ),
            ("chdir = /nowhere", "error: /nowhere is not a directory"),
            (
                "socket = /nowhere/a.sock",
                "error: the socket's directory /nowhere does not exist",
            ),
            (
                "master = true",
                "error: the configuration has no application",
            ),
            ("module = a", "error: the configuration has no socket"),
            (
                "attach-daemon = sleep 9\nmodule = a",
                "error: the configuration has no socket",
            ),
            ("wsgi-file = b.py", "error: the file b.py does not exist"),
            ("mount = /a=b.py", "error: the file b.py does not exist"),
        ]);
    }

    #[test]
    fn files_that_the_start_cannot_create_or_read_are_errors() {
        all_say(&[
            (
                "logto = /nowhere/log",
                "site.ini:2: error: the directory /nowhere does not exist",
            ),
            (
                "logger = file:/nowhere/log",
                "error: the directory /nowhere does not exist",
            ),
            ("pidfile = /nowhere/pid", "error: the directory /nowhere"),
            ("flock = /nowhere/lock", "error: the directory /nowhere"),
            (
                "master-fifo = /nowhere/fifo",
                "error: the directory /nowhere",
            ),
            ("chdir2 = nowhere", "error: nowhere is not a directory"),
            (
                "python-worker-override = b.py",
                "error: the file b.py does not exist",
            ),
            (
                "paste = config:/nowhere/a.ini#main",
                "error: the file /nowhere/a.ini does not exist",
            ),
            ("add-gid = nosuch", "error: there is no group nosuch"),
            (
                "logfile-chown = nosuch:root",
                "error: there is no user nosuch",
            ),
            (
                "attach-daemon2 = cmd=a,gid=nosuch",
                "error: there is no group nosuch",
            ),
        ]);
    }

    #[test]
    fn likely_mistakes_are_reported_with_their_place() {
        all_say(&[
            (
                "socket = :8001\nhttp = :80",
                "site.ini:2: warning: socket = :8001 beside http",
            ),
            ("chmod-socket = 666", "site.ini:2: warning: every user"),
            (
                "env = SECRET_KEY=abc",
                "site.ini:2: warning: SECRET_KEY looks like a secret",
            ),
            ("home = moved", "is for Python 3.12, but its bin/python is"),
            ("chown-socket = :no-such-group", "no group no-such-group"),
            (
                "socket = /run/nowhere/a.sock",
                "warning: the socket's directory /run/nowhere does not exist",
            ),
            (
                "exec-asap = mkdir /nowhere\npidfile = /nowhere/pid",
                "warning: the directory /nowhere does not exist",
            ),
            (
                "pidfile = /run/nowhere/pid",
                "warning: the directory /run/nowhere does not exist",
            ),
            ("log-alarm = mail oops", "warning: there is no alarm mail"),
            ("threads = 64", "one thread at a time"),
            ("module = a:b\ncallable = b", "site.ini:3"),
            ("module = a\nwsgi-file = b.py", "module has priority"),
            ("daemonize = true", "to the file true"),
            (
                "need-app = false",
                "warning: the configuration has no application",
            ),
            ("emperor = nowhere", "no directory nowhere"),
            ("die-on-term = false", "systemd cannot stop it"),
            ("die-on-idle = true", "has no effect without idle"),
            ("cheaper-step = 2", "has no effect without cheaper"),
        ]);
    }

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(
            said(
                "[uwsgi]\nmodule = a\nsocket = 127.0.0.1:8001\nuid = www-data\ngid = www-data\nenv = DEBUG=1\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn services_and_cron_commands_need_no_application_and_no_socket() {
        for content in ["attach-daemon = sleep 9", "cron = -1 -1 -1 -1 -1 true"] {
            let content = format!("[uwsgi]\n{content}\nuid = www-data\n");
            assert_eq!(said(&content), Vec::<String>::new());
        }
    }
}
