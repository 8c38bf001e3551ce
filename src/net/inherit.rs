//! The sockets that this process was started with.

use std::os::fd::{AsFd, RawFd};
use std::rc::Rc;

use crate::config::{Address, Config};
use crate::ipc::Protocol;
use crate::sys::environment;
use crate::sys::inherited_socket::InheritedSocket;
use crate::sys::socket::{self, LocalAddress};

use super::error::BindError;
use super::place::Place;
use super::wishes::Wishes;
use super::{Bound, Origin, describe};

/// Takes over the sockets that this process was started with: systemd's (`LISTEN_FDS`), descriptor 0 if it
/// listens, those that the configuration names as `fd://`, and those that the emperor has `lent`. To be called once,
/// before there are threads and before anything else is opened.
pub(crate) fn inherit(
    config: &Config,
    lent: &[InheritedSocket],
) -> Result<Vec<Rc<Bound>>, BindError> {
    let wishes = Wishes::of(config)?;
    let mut all = Vec::new();
    for lent in lent {
        let bound = adopt(lent.number, wishes.protocol)?;
        all.push(Rc::new(Bound {
            origin: Origin::Lent(lent.file),
            ..bound
        }));
    }
    all.extend(inherit_wished(&wishes, systemd_numbers())?);
    Ok(all)
}

pub(super) fn inherit_wished(
    wishes: &Wishes,
    mut numbers: Vec<RawFd>,
) -> Result<Vec<Rc<Bound>>, BindError> {
    let from_systemd = numbers.len();
    for (address, _) in &wishes.addresses {
        match address {
            Address::Fd(number) if !numbers.contains(number) => numbers.push(*number),
            _ => {}
        }
    }
    if from_systemd > 0 {
        tracing::info!("systemd passed {from_systemd} socket(s)");
    }
    if !numbers.contains(&0) && socket::check_listening(0).is_ok() {
        numbers.push(0);
    }
    numbers
        .into_iter()
        .map(|number| adopt(number, wishes.protocol).map(Rc::new))
        .collect()
}

/// The descriptors that systemd passed to this very process. The variables go, since children must not
/// believe them.
fn systemd_numbers() -> Vec<RawFd> {
    let [pid, count, _names] =
        ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(environment::take);
    let number = |text: Option<std::ffi::OsString>| text?.to_str()?.parse::<u32>().ok();
    match (number(pid), number(count)) {
        (Some(pid), Some(count)) if pid == std::process::id() => {
            (3..).take(count as usize).collect()
        }
        _ => Vec::new(),
    }
}

fn adopt(number: RawFd, protocol: Protocol) -> Result<Bound, BindError> {
    let named = |e| BindError::Descriptor(format!("fd://{number}"), e);
    let fd = socket::adopt(number).map_err(named)?;
    let place = match socket::local_address(fd.as_fd()) {
        Ok(LocalAddress::Unix(path)) => Place::Unix(path),
        Ok(LocalAddress::Abstract(name)) => Place::Abstract(name),
        Ok(LocalAddress::Tcp(address)) => Place::Tcp(address),
        Ok(LocalAddress::Other) | Err(_) => Place::Number(number),
    };
    let listener = describe(fd.as_fd(), &place, protocol);
    Ok(Bound {
        fd,
        listener,
        place,
        origin: Origin::Given(number),
    })
}
