//! The listening sockets: inherited at the start, bound as configured, kept over reloads, removed at the end.

mod error;
mod inherit;
mod place;
#[cfg(test)]
mod tests;
mod wishes;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use crate::config::{Address, Config};
use crate::ipc::{Kept, KeptFile, Listener, Protocol};
use crate::sys::socket::{self, FileId, LocalAddress, TcpSettings};
use crate::sys::unix_socket::{self, Access, Removal};

pub(crate) use error::BindError;
pub(crate) use inherit::inherit;

use error::explain;
use place::{Place, has_v4_twin, name_of, places};
use wishes::Wishes;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) fd: OwnedFd,
    /// What the workers are told of it.
    pub(crate) listener: Listener,
    place: Place,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// We bound it; a Unix socket's file is that one.
    Ours(Option<FileId>),
    /// Whoever started us bound it, and passed it as that descriptor.
    Given(RawFd),
    /// An instance of before bound it, and the emperor has kept it; a Unix socket's file is that one.
    Lent(Option<FileId>),
}

impl Bound {
    /// The descriptor, to pass on.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its path and file, if we made one.
    fn own_file(&self) -> Option<(&Path, FileId)> {
        match (&self.place, self.origin) {
            (Place::Unix(path), Origin::Ours(Some(id)) | Origin::Lent(Some(id))) => {
                Some((path, id))
            }
            _ => None,
        }
    }

    /// What the emperor has to know to keep it.
    pub(crate) fn kept(&self) -> Kept {
        Kept {
            name: self.listener.name.clone(),
            file: self.own_file().map(|(path, id)| KeptFile {
                path: path.to_owned(),
                device: id.device,
                inode: id.inode,
            }),
        }
    }

    fn is(&self, place: &Place) -> bool {
        if let (Place::Number(number), Origin::Given(given)) = (place, self.origin) {
            return *number == given;
        }
        if let (Place::Tcp(a), Place::Tcp(b), Origin::Given(_)) = (place, &self.place, self.origin)
        {
            // systemd binds all interfaces as [::], the configuration says :port
            let all = a.ip().is_unspecified() && b.ip().is_unspecified();
            return a == b || (all && a.port() == b.port());
        }
        if let (Place::Unix(a), Place::Unix(b), Origin::Given(_)) =
            (place, &self.place, self.origin)
        {
            // /var/run and /run are the same directory
            let same = |a: &Path, b: &Path| {
                a.canonicalize()
                    .is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
            };
            return a == b || same(a, b);
        }
        self.place == *place
    }

    /// Whether clients still get to it: its file may have been removed or replaced.
    fn is_reachable(&self) -> bool {
        match (self.own_file(), &self.place, self.origin) {
            (Some((path, id)), ..) => FileId::of(path).is_ok_and(|found| found == id),
            // its file is not known to be there
            (None, Place::Unix(_), Origin::Lent(None)) => false,
            (None, ..) => true,
        }
    }
}

/// Binds what is configured: `socket`, `http-socket`, `http`, in that order, then what was inherited besides.
///
/// An address among `held` (what was inherited, or what the instance listened on before a reload) is kept, with
/// its backlog and mode brought up to date. Nothing of `held` is harmed when this fails; what was newly
/// bound is then gone again. What is no longer configured is the caller's to close, after [`vacuum_dropped`].
/// `besides` is an address that the emperor wants the instance to have.
pub(crate) fn bind_all(
    config: &Config,
    besides: Option<&Address>,
    held: &[Rc<Bound>],
) -> Result<Vec<Rc<Bound>>, BindError> {
    bind_wished(&Wishes::of(config)?.and(besides), held)
}

fn bind_wished(wishes: &Wishes, held: &[Rc<Bound>]) -> Result<Vec<Rc<Bound>>, BindError> {
    let places = places(wishes)?;
    let mut all: Vec<Rc<Bound>> = Vec::with_capacity(places.len());
    let mut unused: Vec<_> = held.iter().collect();
    let backlog = wishes.backlog();
    for (place, protocol) in &places {
        let found = unused.iter().position(|bound| bound.is(place));
        let kept = found
            .map(|at| unused.remove(at))
            .filter(|bound| still_reachable(bound));
        let bound = match kept {
            Some(bound) => keep(bound, *protocol, backlog, wishes),
            None => bind(place, *protocol, backlog, wishes, &places),
        };
        match bound {
            Ok(bound) => all.push(bound),
            Err(e) => {
                take_back(&all, held);
                return Err(e);
            }
        }
    }
    let besides = unused
        .into_iter()
        .filter(|bound| matches!(bound.origin, Origin::Given(_)));
    all.extend(besides.cloned());
    for (index, bound) in all.iter().enumerate() {
        report(index, bound, held);
    }
    Ok(all)
}

fn still_reachable(bound: &Bound) -> bool {
    let reachable = bound.is_reachable();
    if !reachable {
        tracing::warn!(
            "the file of unix socket {} was removed or replaced; binding it anew",
            bound.listener.name
        );
    }
    reachable
}

fn keep(
    bound: &Rc<Bound>,
    protocol: Protocol,
    backlog: u32,
    wishes: &Wishes,
) -> Result<Rc<Bound>, BindError> {
    let name = &bound.listener.name;
    let failed = |e: io::Error| BindError::Other(name.clone(), e.to_string());
    if wishes.backlog.is_some() || !matches!(bound.origin, Origin::Given(_)) {
        socket::listen(bound.fd(), backlog).map_err(failed)?;
    }
    if let (Some((path, id)), true) = (bound.own_file(), wishes.access != Access::default()) {
        // without root any more this may be refused, which is no reason to stop serving
        if let Err(e) = unix_socket::set_access(path, id, wishes.access) {
            tracing::warn!("unix socket {name} keeps its permissions: {e}");
        }
    }
    if bound.listener.protocol == protocol {
        return Ok(Rc::clone(bound));
    }
    let fd = bound.fd.try_clone().map_err(failed)?;
    let listener = Listener {
        protocol,
        ..bound.listener.clone()
    };
    Ok(Rc::new(Bound {
        fd,
        listener,
        place: bound.place.clone(),
        origin: bound.origin,
    }))
}

fn bind(
    place: &Place,
    protocol: Protocol,
    backlog: u32,
    wishes: &Wishes,
    places: &[(Place, Protocol)],
) -> Result<Rc<Bound>, BindError> {
    let name = name_of(place);
    let failed = |e: io::Error| BindError::Other(name.clone(), explain(&e, place));
    let (fd, file) = match place {
        Place::Unix(path) => {
            let placed = unix_socket::place(path, wishes.access, backlog);
            let (fd, id) = placed.map_err(|e| BindError::Unix(name.clone(), e))?;
            (fd, Some(id))
        }
        Place::Abstract(name) => (
            socket::listen_abstract(name, backlog).map_err(failed)?,
            None,
        ),
        Place::Tcp(address) => {
            let v6_only = has_v4_twin(*address, places);
            let settings = TcpSettings {
                v6_only,
                ..wishes.tcp
            };
            (
                socket::listen_tcp(*address, backlog, settings).map_err(failed)?,
                None,
            )
        }
        Place::Number(number) => return Err(BindError::NotInherited(*number)),
    };
    let listener = describe(fd.as_fd(), place, protocol);
    warn_if_public(place, &listener);
    Ok(Rc::new(Bound {
        fd,
        listener,
        place: place.clone(),
        origin: Origin::Ours(file),
    }))
}

fn describe(fd: BorrowedFd, place: &Place, protocol: Protocol) -> Listener {
    match socket::local_address(fd) {
        // the port that the kernel chose
        Ok(LocalAddress::Tcp(address)) => Listener {
            protocol,
            name: address.to_string(),
            port: address.port(),
        },
        _ => Listener {
            protocol,
            name: name_of(place),
            port: 0,
        },
    }
}

fn warn_if_public(place: &Place, listener: &Listener) {
    match place {
        Place::Tcp(address)
            if !address.ip().is_loopback() && listener.protocol == Protocol::Uwsgi =>
        {
            tracing::warn!(
                "uwsgi socket {}: every host that reaches it can send any request variables, REMOTE_USER for one; \
                 listen on 127.0.0.1 or a Unix socket if the web server is on this machine",
                listener.name
            );
        }
        _ => {}
    }
}

fn report(index: usize, bound: &Rc<Bound>, held: &[Rc<Bound>]) {
    let protocol = match bound.listener.protocol {
        Protocol::Uwsgi => "uwsgi",
        Protocol::Http => "http",
    };
    let family = match &bound.place {
        Place::Unix(_) | Place::Abstract(_) => "UNIX address ",
        Place::Tcp(_) => "TCP address ",
        Place::Number(_) => "",
    };
    let kept = held
        .iter()
        .any(|old| old.place == bound.place && old.origin == bound.origin);
    let verb = if kept { "inherited" } else { "bound to" };
    let (name, fd) = (&bound.listener.name, bound.fd.as_raw_fd());
    let chosen = match bound.place {
        Place::Tcp(address) if address.port() == 0 && !kept => " (port auto-assigned)",
        _ => "",
    };
    tracing::info!("{protocol} socket {index} {verb} {family}{name}{chosen} fd {fd}");
}

/// Removes the files of sockets newly bound in an attempt that failed.
fn take_back(made: &[Rc<Bound>], held: &[Rc<Bound>]) {
    for (path, id) in files_not_among(made, held) {
        let _ = unix_socket::remove(path, id);
    }
}

fn files_not_among<'a>(these: &'a [Rc<Bound>], those: &[Rc<Bound>]) -> Vec<(&'a Path, FileId)> {
    let theirs: Vec<_> = those.iter().filter_map(|bound| bound.own_file()).collect();
    these
        .iter()
        .filter_map(|bound| bound.own_file())
        .filter(|file| !theirs.contains(file))
        .collect()
}

/// Removes the files of Unix sockets that were `before`, and are not among those of `now`.
pub(crate) fn vacuum_dropped(before: &[Rc<Bound>], now: &[Rc<Bound>]) {
    for (path, id) in files_not_among(before, now) {
        // it was bound anew, because the file of before had gone
        let anew = |bound: &Rc<Bound>| bound.own_file().is_some_and(|(other, _)| other == path);
        if now.iter().any(anew) {
            continue;
        }
        let path_shown = path.display();
        match unix_socket::remove(path, id) {
            Ok(Removal::Removed) => tracing::info!("VACUUM: unix socket {path_shown} removed"),
            Ok(Removal::Gone) => {}
            Ok(Removal::Changed) => {
                tracing::warn!(
                    "VACUUM: unix socket {path_shown} was replaced by another file, which stays"
                );
            }
            Err(e) => tracing::warn!("VACUUM: unix socket {path_shown} could not be removed: {e}"),
        }
    }
}
