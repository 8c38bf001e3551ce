//! Takes over the listening sockets that this process inherits.

use std::os::fd::{AsFd, RawFd};
use std::rc::Rc;

use crate::config::{Address, Config};
use crate::ipc::Protocol;
use crate::sys::environment;
use crate::sys::inherited_socket::{self, InheritedSocket};

use super::bound_socket::{BoundSocket, Origin, describe};
use super::endpoint::Endpoint;
use super::error::BindError;
use super::listen_options::ListenOptions;

/// Takes over the inherited sockets, in this order: the sockets that the emperor has kept (`on_demand`), the sockets
/// that systemd passed (`LISTEN_FDS`), the descriptors that the configuration names as `fd://`, and descriptor 0 if it
/// listens (unless `skip-zero`). Removes systemd's variables from the environment.
///
/// Must be called once only, while the process has one thread and before it opens any other descriptor.
///
/// # Errors
/// [`BindError::Descriptor`] for a descriptor that is no listening stream socket, [`BindError::Owner`] for an unknown
/// user or group.
pub(crate) fn inherit(
    config: &Config,
    on_demand: &[InheritedSocket],
) -> Result<Vec<Rc<BoundSocket>>, BindError> {
    let options = ListenOptions::new(config)?;
    let mut all = Vec::new();
    for kept in on_demand {
        let socket = adopt(kept.number, options.protocol)?;
        all.push(Rc::new(BoundSocket {
            origin: Origin::OnDemand(kept.file),
            ..socket
        }));
    }
    all.extend(inherit_others(&options, systemd_numbers())?);
    Ok(all)
}

/// Takes over `numbers`, the descriptors that systemd passed, then the configured descriptors, and then descriptor 0.
pub(super) fn inherit_others(
    options: &ListenOptions,
    mut numbers: Vec<RawFd>,
) -> Result<Vec<Rc<BoundSocket>>, BindError> {
    let from_systemd = numbers.len();
    if from_systemd > 0 {
        tracing::info!("systemd passed {from_systemd} socket(s)");
    }
    for (address, _) in &options.addresses {
        match address {
            Address::Fd(number) if !numbers.contains(number) => numbers.push(*number),
            _ => {}
        }
    }
    if !options.skips_zero && !numbers.contains(&0) && inherited_socket::check_listening(0).is_ok()
    {
        numbers.push(0);
    }
    numbers
        .into_iter()
        .map(|number| adopt(number, options.protocol).map(Rc::new))
        .collect()
}

/// Reads from the environment which descriptors systemd passed to this process: sd_listen_fds(3). Removes the
/// variables, because they do not apply to children.
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

fn adopt(number: RawFd, protocol: Protocol) -> Result<BoundSocket, BindError> {
    let fd = inherited_socket::adopt(number)
        .map_err(|error| BindError::Descriptor(format!("fd://{number}"), error))?;
    let endpoint = Endpoint::of_inherited(fd.as_fd(), number);
    let listener = describe(fd.as_fd(), &endpoint, protocol);
    Ok(BoundSocket {
        fd,
        listener,
        endpoint,
        origin: Origin::Inherited(number),
    })
}
