//! Writes the server block of nginx for an instance.

use std::path::Path;

use crate::config::Config;
use crate::config::values::address::Address;
use crate::config::values::choice::Wire;

/// The server block that passes requests to the first socket of a configuration. `cwd` is the directory in which the
/// instance is started.
///
/// # Errors
/// A message, if the configuration has no socket or nginx cannot connect to the first socket.
pub(crate) fn server_block(config: &Config, cwd: &Path) -> Result<String, String> {
    let uwsgi = config.socket().iter();
    let uwsgi = uwsgi.map(|address| (address, config.protocol() == Wire::Uwsgi));
    let http = config.http_socket().iter().chain(config.http());
    let mut sockets = uwsgi.chain(http.map(|address| (address, false)));
    let (address, is_uwsgi) = sockets.next().ok_or("the configuration has no socket")?;
    let directory = cwd.join(config.chdir().unwrap_or_default());
    let upstream = upstream(address, &directory)?;
    let mut lines = match is_uwsgi {
        true => vec![
            "include uwsgi_params;".to_owned(),
            format!("uwsgi_pass {upstream};"),
        ],
        false => vec![
            "proxy_set_header Host $http_host;".to_owned(),
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;".to_owned(),
            "proxy_set_header X-Forwarded-Proto $scheme;".to_owned(),
            "proxy_redirect off;".to_owned(),
            format!("proxy_pass http://{upstream};"),
        ],
    };
    let kind = if is_uwsgi { "uwsgi" } else { "proxy" };
    // nginx waits 60 s for a response by default, so a longer harakiri needs a longer timeout
    if let Some(limit) = config.harakiri().filter(|limit| limit.as_secs() >= 60) {
        lines.push(format!("{kind}_read_timeout {}s;", limit.as_secs() + 5));
    }
    let name = config.name();
    let server_name = if name.contains('.') {
        name
    } else {
        "example.com"
    };
    let body: String = lines
        .iter()
        .map(|line| format!("        {line}\n"))
        .collect();
    Ok(format!(
        "server {{\n    listen 80;\n    # the host names of the site\n    server_name {server_name};\n    # the largest upload\n    client_max_body_size 75m;\n\n    location / {{\n{body}    }}\n}}\n"
    ))
}

/// Converts an address to the notation of nginx.
fn upstream(address: &Address, directory: &Path) -> Result<String, String> {
    match address {
        Address::Unix(path) => Ok(format!("unix:{}", directory.join(path).display())),
        Address::Fd(_) => Err(format!(
            "{address} is passed by systemd: use the address of the socket unit"
        )),
        _ if address.to_string().starts_with('@') => Err(format!(
            "nginx cannot connect to the abstract socket {address}: use a path"
        )),
        _ => {
            let text = address.to_string();
            let (host, port) = text.rsplit_once(':').unwrap_or(("", &text));
            match host {
                "" | "0.0.0.0" | "[::]" | "*" => Ok(format!("127.0.0.1:{port}")),
                host => Ok(format!("{host}:{port}")),
            }
        }
    }
}
