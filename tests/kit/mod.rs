//! The kit of the black-box suite: a site in a temporary directory, the real server on it, clients for
//! the uwsgi protocol and HTTP, an nginx.
//!
//! Everything waits for conditions, never for a time; every wait has a generous deadline and fails with
//! the server's log. When a server goes out of scope it is stopped and the invariants are checked (see
//! [`server::Server`]).
//!
//! - `RUWSGI_UNDER_TEST`: the server to test instead of our own binary, such as the original uWSGI.
//! - `KIT_PYTHON`: the interpreter of the applications instead of `python3` from PATH.
//! - `KIT_BIG=1`: also the tests that move gigabytes.

pub mod answer;
pub mod connection;
pub mod emperor;
pub mod http;
pub mod launch;
pub mod load;
pub mod log;
pub mod nginx;
pub mod packet;
pub mod proc;
pub mod server;
pub mod site;
pub mod venv;
pub mod wait;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use answer::Answer;
pub use connection::{Address, Connection};
pub use launch::Launch;
pub use packet::{Request, get, post};
pub use server::Server;
pub use site::Site;

/// The server under test.
pub fn binary() -> PathBuf {
    std::env::var_os("RUWSGI_UNDER_TEST").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_ruwsgi")),
        PathBuf::from,
    )
}

/// Whether the original uWSGI is under test; its `--version` is a bare number.
pub fn under_uwsgi() -> bool {
    static ORIGINAL: OnceLock<bool> = OnceLock::new();
    *ORIGINAL.get_or_init(|| {
        std::env::var_os("RUWSGI_UNDER_TEST").is_some()
            && std::process::Command::new(binary())
                .arg("--version")
                .output()
                .is_ok_and(|out| out.stdout.starts_with(b"2."))
    })
}

/// Says in one sentence where we differ from uWSGI on purpose; true where the original is under test, so
/// that the test leaves out what follows. docs/differences.md holds every sentence (see `differences.rs`).
pub fn differs(_sentence: &str) -> bool {
    under_uwsgi()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this test must be left out because only root can do what it needs.
pub fn needs_root() -> bool {
    if !is_root() {
        eprintln!("left out: only root can run this test");
    }
    !is_root()
}

/// An interpreter that every user can reach, for tests that drop privileges: `KIT_PYTHON`, if it is one.
pub fn system_python() -> PathBuf {
    let asked = std::env::var_os("KIT_PYTHON").map(PathBuf::from);
    let mut candidates = asked.into_iter().chain([PathBuf::from("/usr/bin/python3")]);
    candidates
        .find(|path| path.exists() && reachable(path))
        .unwrap_or_else(|| PathBuf::from("python3"))
}

/// Whether every user can get to a path.
pub fn reachable(path: &Path) -> bool {
    path.ancestors()
        .all(|part| std::fs::metadata(part).is_ok_and(|it| it.permissions().mode() & 0o1 == 0o1))
}

/// A loopback port that nobody listens on. Below the range from which the kernel takes ports for outgoing connections,
/// and in a block of ports that is this process's own, so that no other run of the suite gets the same one.
pub fn free_port() -> u16 {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::atomic::{AtomicU16, Ordering};
    const BLOCK: u16 = 200;
    const BLOCKS: u16 = 60;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // whoever has bound the name has the block, until its process ends
    static OURS: OnceLock<(u16, UnixDatagram)> = OnceLock::new();
    let claim = |block: u16| {
        let name = format!("ruwsgi-kit-ports-{block}");
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Some((block, UnixDatagram::bind_addr(&address).ok()?))
    };
    let (block, _) = OURS.get_or_init(|| {
        let mut claimed = None;
        wait::eventually("a block of ports is free", || {
            claimed = (0..BLOCKS).find_map(claim);
            claimed.is_some()
        });
        claimed.unwrap()
    });
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % BLOCK;
        let port = 20_000 + block * BLOCK + next;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
