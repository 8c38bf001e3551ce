//! Binds the configured sockets, and keeps the sockets that are already bound.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use crate::config::{Address, Config};
use crate::ipc::{Listener, Protocol};
use crate::net::unix_socket;
use crate::sys::socket::{self, TcpSettings};

use super::bound_socket::{BoundSocket, Origin, describe};
use super::endpoint::{Endpoint, has_v4_twin, resolve_all};
use super::error::BindError;
use super::listen_options::ListenOptions;
use super::socket_permissions::SocketPermissions;
use super::vacuum::remove_made;

/// Binds the configured sockets and returns all listening sockets of the instance, in this order: the options `socket`,
/// `http-socket` and `http`; `emperor_address`, the address that the emperor gives the instance; the inherited sockets
/// that are not configured.
///
/// `held` are the sockets that were inherited, or bound before a reload. A configured socket in `held` is kept, and its
/// backlog, permissions and protocol are updated. The caller closes the sockets of `held` that are no longer
/// configured, after [`super::vacuum_dropped`].
///
/// # Errors
/// When a socket cannot be bound. The list `held` is unchanged then, and the files of newly bound sockets are removed.
pub(crate) fn bind_all(
    config: &Config,
    emperor_address: Option<&Address>,
    held: &[Rc<BoundSocket>],
) -> Result<Vec<Rc<BoundSocket>>, BindError> {
    bind_configured(
        &ListenOptions::new(config)?.with_address(emperor_address),
        held,
    )
}

pub(super) fn bind_configured(
    options: &ListenOptions,
    held: &[Rc<BoundSocket>],
) -> Result<Vec<Rc<BoundSocket>>, BindError> {
    let endpoints = resolve_all(options)?;
    let mut all: Vec<Rc<BoundSocket>> = Vec::with_capacity(endpoints.len());
    let mut unused: Vec<_> = held.iter().collect();
    let backlog = options.backlog();
    for (endpoint, protocol) in &endpoints {
        let found = unused.iter().position(|socket| socket.matches(endpoint));
        let kept = found
            .map(|at| unused.remove(at))
            .filter(|socket| is_still_reachable(socket));
        let socket = match kept {
            Some(socket) => keep(socket, *protocol, backlog, options),
            None => bind(endpoint, *protocol, backlog, options, &endpoints),
        };
        match socket {
            Ok(socket) => all.push(socket),
            Err(error) => {
                remove_made(&all, held);
                return Err(error);
            }
        }
    }
    let inherited = unused
        .into_iter()
        .filter(|socket| matches!(socket.origin, Origin::Inherited(_)));
    all.extend(inherited.cloned());
    for (index, socket) in all.iter().enumerate() {
        log_socket(index, socket, held);
    }
    Ok(all)
}

fn is_still_reachable(socket: &BoundSocket) -> bool {
    let reachable = socket.is_reachable();
    if !reachable {
        tracing::warn!(
            "unix socket {}: its file was removed or replaced; it is bound again",
            socket.listener.name
        );
    }
    reachable
}

/// Keeps a socket that is bound already, and updates its backlog, permissions and protocol to the configuration.
fn keep(
    socket: &Rc<BoundSocket>,
    protocol: Protocol,
    backlog: u32,
    options: &ListenOptions,
) -> Result<Rc<BoundSocket>, BindError> {
    let name = &socket.listener.name;
    let failed = |error: io::Error| BindError::Other(name.clone(), error.to_string());
    if options.backlog.is_some() || !matches!(socket.origin, Origin::Inherited(_)) {
        socket::listen(socket.fd(), backlog).map_err(failed)?;
    }
    if let (Some((path, id)), true) = (
        socket.own_file(),
        options.permissions != SocketPermissions::default(),
    ) {
        // this fails if the process is no longer root; the socket then keeps its permissions, and the instance serves
        if let Err(error) = options.permissions.apply_to(path, id) {
            tracing::warn!("unix socket {name} keeps its permissions: {error}");
        }
    }
    if socket.listener.protocol == protocol {
        return Ok(Rc::clone(socket));
    }
    let fd = socket.fd.try_clone().map_err(failed)?;
    let listener = Listener {
        protocol,
        ..socket.listener.clone()
    };
    Ok(Rc::new(BoundSocket {
        fd,
        listener,
        endpoint: socket.endpoint.clone(),
        origin: socket.origin,
    }))
}

fn bind(
    endpoint: &Endpoint,
    protocol: Protocol,
    backlog: u32,
    options: &ListenOptions,
    endpoints: &[(Endpoint, Protocol)],
) -> Result<Rc<BoundSocket>, BindError> {
    let name = endpoint.to_string();
    let failed = |error: io::Error| BindError::Other(name.clone(), explain(&error, endpoint));
    let (fd, file) = match endpoint {
        Endpoint::Unix(path) => {
            let placed = unix_socket::place(path, options.permissions, backlog);
            let (fd, id) = placed.map_err(|error| BindError::Unix(name.clone(), error))?;
            (fd, Some(id))
        }
        Endpoint::Abstract(name) => {
            let fd = socket::listen_abstract(name, backlog).map_err(failed)?;
            (fd, None)
        }
        Endpoint::Tcp(address) => {
            let settings = TcpSettings {
                v6_only: has_v4_twin(*address, endpoints),
                ..options.tcp
            };
            let fd = socket::listen_tcp(*address, backlog, settings).map_err(failed)?;
            (fd, None)
        }
        Endpoint::Descriptor(number) => return Err(BindError::NotInherited(*number)),
    };
    let listener = describe(fd.as_fd(), endpoint, protocol);
    warn_if_public(endpoint, &listener);
    Ok(Rc::new(BoundSocket {
        fd,
        listener,
        endpoint: endpoint.clone(),
        origin: Origin::Own(file),
    }))
}

/// Explains why a socket could not be bound, with the remedy.
fn explain(error: &io::Error, endpoint: &Endpoint) -> String {
    let port = match endpoint {
        Endpoint::Tcp(address) => address.port(),
        _ => 0,
    };
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "another process listens on it; stop that one first, or choose another address".into()
        }
        Some(libc::EACCES) if port < 1024 => format!(
            "ports below 1024 are for root; start as root with uid set, keep the capability net_bind_service (cap, or emperor-cap of its emperor), or choose another port than {port}"
        ),
        Some(libc::EADDRNOTAVAIL) => "this machine has no such address; see ip address".into(),
        _ => error.to_string(),
    }
}

fn warn_if_public(endpoint: &Endpoint, listener: &Listener) {
    let Endpoint::Tcp(address) = endpoint else {
        return;
    };
    if !address.ip().is_loopback() && listener.protocol == Protocol::Uwsgi {
        tracing::warn!(
            "uwsgi socket {}: every host that reaches it can send any request variables, REMOTE_USER for one; \
             listen on 127.0.0.1 or a Unix socket if the web server is on this machine",
            listener.name
        );
    }
}

fn log_socket(index: usize, socket: &Rc<BoundSocket>, held: &[Rc<BoundSocket>]) {
    let protocol = match socket.listener.protocol {
        Protocol::Uwsgi => "uwsgi",
        Protocol::Http => "http",
    };
    let family = match &socket.endpoint {
        Endpoint::Unix(_) | Endpoint::Abstract(_) => "UNIX address ",
        Endpoint::Tcp(_) => "TCP address ",
        Endpoint::Descriptor(_) => "",
    };
    let kept = held
        .iter()
        .any(|old| old.endpoint == socket.endpoint && old.origin == socket.origin);
    let verb = if kept { "inherited" } else { "bound to" };
    let (name, fd) = (&socket.listener.name, socket.fd.as_raw_fd());
    let chosen = match socket.endpoint {
        Endpoint::Tcp(address) if address.port() == 0 && !kept => " (port auto-assigned)",
        _ => "",
    };
    tracing::info!("{protocol} socket {index} {verb} {family}{name}{chosen} fd {fd}");
}
