//! An emperor over the vassals of a site, and its clients.

use std::fs;
use std::process::Output;

use super::*;

/// An emperor over the directory `vassals/` of a site. Its control socket is the file `control`.
pub struct Emperor {
    pub server: Server,
    pub site: Site,
}

/// Source of an application that responds with `text`.
pub fn app(text: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    )
}

/// A site with an empty directory `vassals/`.
pub fn site() -> Site {
    let site = Site::empty();
    fs::create_dir(site.file("vassals")).unwrap();
    site
}

impl Emperor {
    /// Starts an emperor over the site's vassals.
    pub fn over(site: &Site) -> Self {
        Self::with(site, &[])
    }

    /// Starts an emperor with more options.
    pub fn with(site: &Site, options: &[&str]) -> Self {
        Self::under(site, options, &[])
    }

    /// Starts an emperor with more options through a wrapper: a command that executes its arguments.
    pub fn under(site: &Site, options: &[&str], wrapper: &[&str]) -> Self {
        let control = site.at("control");
        let mut words = vec!["--emperor", "vassals", "--emperor-control", &control];
        words.extend(options);
        let mut server = site.server().only(&words).under(wrapper).spawn();
        server.allow_any_exit();
        server.wait_for_log("the emperor has started with");
        Self {
            server,
            site: site.clone(),
        }
    }

    /// The body of the vassal's response; empty while it does not serve.
    pub fn ask(&self, name: &str) -> String {
        ask(&self.site, name)
    }

    /// Waits until the vassal responds with this text.
    #[track_caller]
    pub fn expect_text(&self, name: &str, text: &str) {
        self.server
            .eventually(&format!("{name} responds with {text}"), || {
                self.ask(name) == text
            });
    }

    /// Runs `ruwsgi WORDS` on the emperor's control socket.
    pub fn command(&self, words: &[&str]) -> Output {
        self.site
            .ruwsgi(words)
            .args(["--control", &self.site.at("control")])
            .output()
            .unwrap()
    }

    /// State and reason of a vassal in `ruwsgi ls`.
    pub fn state(&self, name: &str) -> (String, String) {
        let row = self.row(name);
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }

    /// The vassal's row of `ruwsgi ls`; null if there is none.
    fn row(&self, name: &str) -> serde_json::Value {
        let output = self.command(&["ls", "--json"]);
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut rows = rows.as_array().cloned().unwrap_or_default().into_iter();
        let row = rows.find(|row| row["name"] == format!("{name}.ini"));
        row.unwrap_or_default()
    }

    /// Process id of a vassal in `ruwsgi ls`; waits until it has one.
    #[track_caller]
    pub fn pid(&self, name: &str) -> i32 {
        let mut pid = None;
        self.server
            .eventually(&format!("{name} has a process"), || {
                pid = self.row(name)["pid"].as_i64();
                pid.is_some()
            });
        i32::try_from(pid.unwrap()).unwrap()
    }
}

/// The body of the vassal's response; empty while it does not serve.
pub fn ask(site: &Site, name: &str) -> String {
    use std::io::Write;
    let address = Address::Unix(site.file(&format!("{name}.sock")));
    let Ok(mut connection) = address.try_connect() else {
        return String::new();
    };
    let sent = connection.write_all(&get("/").bytes());
    sent.map(|()| connection.answer().text())
        .unwrap_or_default()
}

/// Configuration of a vassal whose application is `NAME.py` of the site.
pub fn ini(site: &Site, name: &str) -> String {
    let python = system_python();
    format!(
        "[uwsgi]\nsocket = {}\nchmod-socket = 666\nchdir = {}\nwsgi-file = {name}.py\npython = {}\n",
        site.at(&format!("{name}.sock")),
        site.path().display(),
        python.display()
    )
}

/// Writes an application that responds with `text`, and adds its vassal.
pub fn add_vassal(site: &Site, name: &str, text: &str) {
    site.write(&format!("{name}.py"), &app(text));
    site.write(&format!("vassals/{name}.ini"), &ini(site, name));
}
