//! A real nginx in front of a server, in the site's directory, on a free port of the loopback interface.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::connection::Address;
use super::http::Http;
use super::{Answer, Site, free_port, is_root, server, wait};

/// A running nginx; dropping it stops it.
pub struct Nginx {
    site: Site,
    child: Child,
    port: u16,
}

/// The uwsgi_params file of nginx.
const PARAMS: [(&str, &str); 15] = [
    ("QUERY_STRING", "$query_string"),
    ("REQUEST_METHOD", "$request_method"),
    ("CONTENT_TYPE", "$content_type"),
    ("CONTENT_LENGTH", "$content_length"),
    ("REQUEST_URI", "$request_uri"),
    ("PATH_INFO", "$document_uri"),
    ("DOCUMENT_ROOT", "$document_root"),
    ("SERVER_PROTOCOL", "$server_protocol"),
    ("REQUEST_SCHEME", "$scheme"),
    ("HTTPS", "$https if_not_empty"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("SERVER_PORT", "$server_port"),
    ("SERVER_NAME", "$server_name"),
    ("UNUSED_BY_NGINX", "\"\""),
];

impl Nginx {
    /// Starts an nginx that passes all requests to this uwsgi socket.
    #[track_caller]
    pub fn before(site: &Site, upstream: &Address) -> Self {
        Self::with(site, upstream, "root", "")
    }

    /// Starts an nginx whose workers run as `user` (if the tests run as root), with `more` directives in its `server`
    /// block.
    #[track_caller]
    pub fn with(site: &Site, upstream: &Address, user: &str, more: &str) -> Self {
        let port = free_port();
        site.write(
            "nginx.conf",
            &configuration(site, upstream, user, port, more),
        );
        let log = File::create(site.file("nginx.log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(binary())
            .args([
                "-p",
                &site.at(""),
                "-e",
                &site.at("nginx-error.log"),
                "-c",
                &site.at("nginx.conf"),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("nginx is needed for this test: {e}"));
        let nginx = Self {
            site: site.clone(),
            child,
            port,
        };
        wait::eventually("nginx listens", || nginx.address().try_connect().is_ok());
        nginx
    }

    fn address(&self) -> Address {
        Address::Tcp(format!("127.0.0.1:{}", self.port))
    }

    /// Connects an HTTP client.
    #[track_caller]
    pub fn http(&self) -> Http {
        Http::on(self.address().try_connect().unwrap())
    }

    /// Sends a GET request and reads the response.
    #[track_caller]
    pub fn get(&self, uri: &str) -> Answer {
        self.http().get(uri)
    }

    /// The port on which nginx listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The error log.
    pub fn errors(&self) -> String {
        self.site.read("nginx-error.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        server::send(self.child.id().cast_signed(), Signal::SIGTERM);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "---- nginx's log ----\n{}{}",
                self.site.read("nginx.log"),
                self.errors()
            );
        }
    }
}

fn binary() -> &'static str {
    match std::path::Path::new("/usr/sbin/nginx").exists() {
        true => "/usr/sbin/nginx",
        false => "nginx",
    }
}

fn configuration(site: &Site, upstream: &Address, user: &str, port: u16, more: &str) -> String {
    let user = if is_root() {
        format!("user {user};")
    } else {
        String::new()
    };
    let to = match upstream {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Tcp(address) => address.clone(),
        Address::Abstract(name) => panic!("nginx cannot reach @{name}"),
    };
    let at = site.path().display();
    let params: String = PARAMS
        .iter()
        .map(|(key, value)| format!("            uwsgi_param {key} {value};\n"))
        .collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {at}/nginx-{kind};\n"))
        .collect();
    format!(
        "{user}
worker_processes 1;
daemon off;
pid {at}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}    access_log off;
    client_max_body_size 75m;
    server {{
        listen 127.0.0.1:{port};
        server_name example.com;
        {more}
        location / {{
{params}            uwsgi_pass {to};
        }}
    }}
}}
"
    )
}
