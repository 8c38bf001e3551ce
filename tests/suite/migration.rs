//! The examples of docs/migration.md: each is migrated, started unchanged, and answers.

use std::path::Path;
use std::process::Command;

use crate::kit::http::Http;
use crate::kit::*;

/// The examples' application: it says which settings it was given.
const BLOG: &str = "import os\n\
    def application(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        return [b'blog with ' + os.environ.get('DJANGO_SETTINGS_MODULE', 'nothing').encode()]\n";

/// The page's blocks in this language.
fn examples(language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.split_once('\n'));
    blocks
        .filter(|(found, _)| *found == language)
        .map(|(_, text)| text.to_owned())
        .collect()
}

/// The place of the examples in a directory of the test's own.
struct Blog {
    site: Site,
    port: u16,
}

impl Blog {
    fn new() -> Blog {
        let site = Site::empty();
        site.write("srv/blog/blog/__init__.py", "");
        site.write("srv/blog/blog/wsgi.py", BLOG);
        let venv = venv::shared("migration", &system_python(), &[]);
        std::os::unix::fs::symlink(venv, site.file("srv/blog/venv")).unwrap();
        std::fs::create_dir(site.file("run")).unwrap();
        if is_root() {
            // where www-data can remove its socket
            std::os::unix::fs::chown(site.file("run"), Some(33), Some(33)).unwrap();
        }
        Blog {
            site,
            port: free_port(),
        }
    }

    /// The text with this directory's paths, and a port of its own, for those of the page.
    fn here(&self, text: &str) -> String {
        let user = if is_root() { "user=www-data\n" } else { "" };
        text.replace("/srv/blog", &self.site.at("srv/blog"))
            .replace("/run/blog.sock", &self.site.at("run/blog.sock"))
            .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", self.port))
            .replace("user=www-data\n", user)
    }

    /// Writes what `ruwsgi migrate` makes of these words to a file, and starts that.
    fn migrated(&self, from: &str, what: &str) -> Server {
        let migrated = Command::new(binary())
            .args(["migrate", "--from", from, what])
            .current_dir(self.site.path())
            .output()
            .unwrap();
        let ini = String::from_utf8(migrated.stdout).unwrap();
        assert!(migrated.status.success(), "{from}: {ini}");
        self.site.write("srv/blog/new.ini", &ini);
        let mut words = vec!["--ini", "srv/blog/new.ini"];
        if !ini.contains("\nchdir = ") {
            // started where the project is, as gunicorn is
            words.extend(["--chdir", "srv/blog"]);
        }
        let server = self.site.server().only(&words).start();
        server.wait_for_log("ready: ");
        server
    }

    /// Asks for a page over HTTP.
    #[track_caller]
    fn answers(&self, address: &str, part: &str) {
        let address = Address::parse(address, self.site.path());
        let mut client = Http::on(address.try_connect().unwrap());
        client.get("/").expect(200).says(part);
    }
}

#[test]
fn the_uwsgi_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    blog.site.write("site.ini", &blog.here(&examples("ini")[0]));
    let server = blog.migrated("uwsgi", "site.ini");
    let socket = Address::parse("run/blog.sock", blog.site.path());
    let mut connection = socket.try_connect().unwrap();
    connection.put(&get("/").bytes());
    connection.answer().expect(200).says("blog with nothing");
    server.stop();
}

#[test]
fn the_gunicorn_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    let file = blog.here(&examples("python")[0]);
    blog.site.write("gunicorn.conf.py", &file);
    let server = blog.migrated("gunicorn", "gunicorn.conf.py");
    blog.answers(
        &format!("127.0.0.1:{}", blog.port),
        "blog with blog.settings",
    );
    server.stop();
}

#[test]
fn the_gunicorn_command_line_of_the_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    let typed = examples("console").concat();
    let words = typed
        .split('"')
        .find(|words| words.starts_with("gunicorn "));
    let server = blog.migrated("gunicorn", &blog.here(words.unwrap()));
    blog.answers(&format!("127.0.0.1:{}", blog.port), "blog with nothing");
    server.stop();
}

#[test]
fn the_supervisor_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    blog.site
        .write("blog.conf", &blog.here(&examples("conf")[0]));
    let server = blog.migrated("supervisor", "blog.conf");
    blog.answers("run/blog.sock", "blog with blog.settings");
    server.stop();
}
