//! Listening addresses in uWSGI's notation.

use std::fmt;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::config::finding::Fault;

/// Maximum length of a Unix socket path in bytes: `sun_path` has 108 bytes including the NUL at its end, see unix(7).
const MAX_UNIX_PATH: usize = 107;

/// A listening address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// A Unix socket at a path; a relative path is resolved after `chdir`.
    Unix(PathBuf),
    /// A Unix socket in the abstract namespace, without its leading NUL.
    Abstract(Vec<u8>),
    /// A TCP socket. An empty host means all interfaces. Port 0 lets the kernel choose a port.
    Tcp {
        /// A host name, an IPv4 address, an IPv6 address without brackets, or an empty text.
        host: String,
        /// The port.
        port: u16,
    },
    /// An inherited descriptor.
    Fd(RawFd),
}

impl Address {
    /// Parses an address in uWSGI's notation: `/path`, `name.sock`, `@name`, `:8000`, `host:port`, `[v6]:port` or
    /// `fd://3`.
    ///
    /// # Errors
    /// When the text is not a supported address. The hint shows the right notation.
    pub(crate) fn parse(text: &str) -> Result<Address, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the value has no address")
                .hint("write a path, :8000, host:port or fd://3"));
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return descriptor(number);
        }
        if let Some(name) = text.strip_prefix('@').or_else(|| text.strip_prefix("\\0")) {
            return abstract_name(name);
        }
        if let Some(fault) = foreign_notation(text) {
            return Err(fault);
        }
        if !text.contains(':') || text.starts_with(['/', '.']) {
            return unix(text);
        }
        tcp(text)
    }

    /// Whether other machines can reach the address; host names other than `localhost` count as public.
    pub(crate) fn is_public(&self) -> bool {
        match self {
            Address::Tcp { host, .. } => {
                !(host == "localhost" || host == "::1" || host.starts_with("127."))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Fd(number) => write!(f, "fd://{number}"),
        }
    }
}

fn descriptor(number: &str) -> Result<Address, Fault> {
    match number.parse::<RawFd>() {
        Ok(number) if number >= 0 => Ok(Address::Fd(number)),
        _ => {
            Err(Fault::new("the descriptor is not a number").hint("write fd://3 for descriptor 3"))
        }
    }
}

fn abstract_name(name: &str) -> Result<Address, Fault> {
    match name.len() {
        0 => Err(Fault::new("the abstract socket has no name").hint("write @name")),
        len if len > MAX_UNIX_PATH => Err(too_long(len)),
        _ => Ok(Address::Abstract(name.as_bytes().to_vec())),
    }
}

fn unix(path: &str) -> Result<Address, Fault> {
    match path.len() {
        len if len > MAX_UNIX_PATH => Err(too_long(len)),
        _ => Ok(Address::Unix(PathBuf::from(path))),
    }
}

fn too_long(len: usize) -> Fault {
    Fault::new(format!(
        "the path has {len} bytes; the maximum for a Unix socket is {MAX_UNIX_PATH}"
    ))
    .hint("use a shorter path")
}

/// The fault for an address in the notation of another server, or in a notation of uWSGI that ruwsgi does not support.
fn foreign_notation(text: &str) -> Option<Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(
            Fault::new("the prefix unix: is not used here")
                .hint(format!("write {}", path.trim_start_matches("//"))),
        );
    }
    if text.contains("://") {
        return Some(
            Fault::new("an address is not a URL").hint("write host:port, :port or a path"),
        );
    }
    if text.starts_with('=') {
        return Some(
            Fault::new("the value is the number of a shared socket")
                .hint("write the address itself"),
        );
    }
    if text.contains(".*:") {
        return Some(
            Fault::new("an address with a * is not supported")
                .hint("write the address itself, or :port for all addresses"),
        );
    }
    None
}

fn tcp(text: &str) -> Result<Address, Fault> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return unix(text);
    };
    let host = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok() || inner.contains('%'))
            .ok_or_else(|| {
                Fault::new("the text in brackets is not an IPv6 address").hint("write [::1]:8000")
            })?,
        None if host.contains(':') => {
            return Err(Fault::new("an IPv6 address needs brackets").hint("write [::1]:8000"));
        }
        None => host,
    };
    if host.contains(['/', ' ', '\t', '@']) {
        return Err(Fault::new(format!("{host} is not a host name"))
            .hint("write host:port, :port or a path"));
    }
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && host.contains('.')
        && host.parse::<std::net::Ipv4Addr>().is_err()
    {
        return Err(Fault::new(format!("{host} is not an IPv4 address"))
            .hint("write four numbers from 0 to 255"));
    }
    Ok(Address::Tcp {
        host: host.to_owned(),
        port: parse_port(port)?,
    })
}

fn parse_port(text: &str) -> Result<u16, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the port is missing").hint("write :8000 or host:8000"));
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new(format!("the port {text} is not a number")));
    }
    text.parse()
        .map_err(|_| Fault::new(format!("there is no port {text}")).hint("ports are 0 to 65535"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(text: &str) -> String {
        let fault = Address::parse(text).unwrap_err();
        format!("{}; {}", fault.what, fault.hint.unwrap_or_default())
    }

    #[test]
    fn every_spelling_of_uwsgi_is_read_and_written_back() {
        for text in [
            "/run/site.sock",
            "site.sock",
            "./site.sock",
            "@name",
            ":8000",
            "127.0.0.1:8000",
            "localhost:0",
            "[::1]:80",
            "fd://3",
            "/odd:path.sock",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Address::parse("\\0name").unwrap(),
            Address::Abstract(b"name".to_vec())
        );
        assert_eq!(
            Address::parse(":8000").unwrap(),
            Address::Tcp {
                host: String::new(),
                port: 8000
            }
        );
    }

    #[test]
    fn a_port_that_does_not_exist_is_refused() {
        assert_eq!(
            fault(":99999"),
            "there is no port 99999; ports are 0 to 65535"
        );
        assert!(fault("localhost:").contains("missing"));
        assert!(fault(":http").contains("not a number"));
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_refused() {
        assert!(Address::parse(&"x".repeat(107)).is_ok());
        assert!(fault(&"x".repeat(108)).contains("107"));
        assert!(fault(&format!("@{}", "x".repeat(108))).contains("107"));
    }

    #[test]
    fn the_spellings_of_other_servers_get_the_way_out() {
        assert!(fault("unix:/run/site.sock").ends_with("write /run/site.sock"));
        assert!(fault("unix:///run/site.sock").ends_with("write /run/site.sock"));
        assert!(fault("http://localhost:8000").contains("not a URL"));
        assert!(fault("::1:8000").contains("brackets"));
        assert!(fault("[nonsense]:80").contains("IPv6"));
        assert!(fault("127.0.0.999:80").contains("IPv4"));
    }
}
