//! An emperor over the vassals of a site, and what asks and orders it.

use std::fs;
use std::process::{Command, Output};

use super::*;

/// An emperor over `vassals/` of a site, whose control socket is `control`.
pub struct Emperor {
    pub server: Server,
    pub site: Site,
}

/// An application that answers with a text.
pub fn app(text: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    )
}

/// A site with an empty directory of vassals.
pub fn site() -> Site {
    let site = Site::empty();
    fs::create_dir(site.file("vassals")).unwrap();
    site
}

impl Emperor {
    /// An emperor over the site's vassals.
    pub fn over(site: &Site) -> Self {
        Self::with(site, &[])
    }

    /// The same with more options.
    pub fn with(site: &Site, options: &[&str]) -> Self {
        Self::under(site, options, &[])
    }

    /// The same, started by words that execute what follows them.
    pub fn under(site: &Site, options: &[&str], wrapper: &[&str]) -> Self {
        let control = site.at("control");
        let mut words = vec!["--emperor", "vassals", "--emperor-control", &control];
        words.extend(options);
        let mut server = site.server().only(&words).under(wrapper).spawn();
        server.ends_otherwise();
        server.wait_for_log("the emperor has started with");
        Self {
            server,
            site: site.clone(),
        }
    }

    /// The answer of a vassal, empty while it does not serve.
    pub fn ask(&self, name: &str) -> String {
        ask(&self.site, name)
    }

    /// Waits until a vassal answers this.
    #[track_caller]
    pub fn says(&self, name: &str, text: &str) {
        self.server
            .eventually(&format!("{name} says {text}"), || self.ask(name) == text);
    }

    /// Runs `ruwsgi WORDS` against its control socket.
    pub fn command(&self, words: &[&str]) -> Output {
        Command::new(binary())
            .args(words)
            .args(["--control", &self.site.at("control")])
            .output()
            .unwrap()
    }

    /// The state and the reason that `ruwsgi ls` tells of a vassal.
    pub fn state(&self, name: &str) -> (String, String) {
        let row = self.row(name);
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }

    /// What `ruwsgi ls` tells of a vassal, nothing where there is none.
    fn row(&self, name: &str) -> serde_json::Value {
        let output = self.command(&["ls", "--json"]);
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut rows = rows.as_array().cloned().unwrap_or_default().into_iter();
        let row = rows.find(|row| row["name"] == format!("{name}.ini"));
        row.unwrap_or_default()
    }

    /// The process id that `ruwsgi ls` tells of a vassal; waits for one that has no process yet.
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

/// The answer of a vassal, empty while it does not serve.
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

/// The text of a vassal whose application is `NAME.py` of the site.
pub fn ini(site: &Site, name: &str) -> String {
    let python = system_python();
    format!(
        "[uwsgi]\nsocket = {}\nchmod-socket = 666\nchdir = {}\nwsgi-file = {name}.py\npython = {}\n",
        site.at(&format!("{name}.sock")),
        site.path().display(),
        python.display()
    )
}

/// Writes an application and drops its vassal into the directory.
pub fn drop_in(site: &Site, name: &str, text: &str) {
    site.write(&format!("{name}.py"), &app(text));
    site.write(&format!("vassals/{name}.ini"), &ini(site, name));
}
