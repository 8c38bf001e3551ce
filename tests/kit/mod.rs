//! The kit of the black-box suite: sites in temporary directories, servers, clients of the uwsgi protocol and of
//! HTTP, and nginx.
//!
//! Tests wait for conditions, not for a fixed time. Each wait has a generous deadline and fails with the server's
//! log. Dropping a server stops it and checks the invariants of [`server::Server`].
//!
//! A test shares nothing with other tests and other instances on the machine: each site has its own runtime
//! directory, and [`free_port`] hands out ports of a block that only this process uses.
//!
//! - `RUWSGI_UNDER_TEST`: path of the server to test instead of this project's binary, such as uWSGI.
//! - `KIT_PYTHON`: Python interpreter of the applications, instead of `python3` from PATH.
//! - `KIT_BIG=1`: enables the tests that move gigabytes.

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

/// Path of the server under test.
pub fn binary() -> PathBuf {
    std::env::var_os("RUWSGI_UNDER_TEST").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_ruwsgi")),
        PathBuf::from,
    )
}

/// Whether uWSGI is under test; its `--version` prints a bare number.
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

/// States an intentional difference from uWSGI in one sentence. True if uWSGI is under test, so that the test skips
/// what follows. docs/differences.md lists every sentence (see `differences.rs`).
pub fn differs(_sentence: &str) -> bool {
    under_uwsgi()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether the test is to be skipped because it needs root.
pub fn needs_root() -> bool {
    if !is_root() {
        eprintln!("skipped: this test needs root");
    }
    !is_root()
}

/// An interpreter that every user can execute, for tests that drop privileges; `KIT_PYTHON` if every user can.
pub fn system_python() -> PathBuf {
    let asked = std::env::var_os("KIT_PYTHON").map(PathBuf::from);
    let mut candidates = asked.into_iter().chain([PathBuf::from("/usr/bin/python3")]);
    candidates
        .find(|path| path.exists() && reachable(path))
        .unwrap_or_else(|| PathBuf::from("python3"))
}

/// Whether every user can reach a path.
pub fn reachable(path: &Path) -> bool {
    path.ancestors()
        .all(|part| std::fs::metadata(part).is_ok_and(|it| it.permissions().mode() & 0o1 == 0o1))
}

/// A loopback port on which no process listens. It is below the range of the kernel's ephemeral ports, and in a block
/// of ports that belongs to this process, so that concurrent runs of the suite use different ports.
pub fn free_port() -> u16 {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::atomic::{AtomicU16, Ordering};
    const BLOCK: u16 = 200;
    const BLOCKS: u16 = 60;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // a process owns a block while it has the name of the block bound
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
