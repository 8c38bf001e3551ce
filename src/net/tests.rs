//! Tests with real sockets, in temporary directories and on loopback.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use crate::config::Address;
use crate::ipc::Protocol;
use crate::net::SocketPermissions;
use crate::sys::socket::TcpSettings;

use super::bind::bind_configured;
use super::bound_socket::Origin;
use super::endpoint::{Endpoint, has_v4_twin};
use super::inherit::inherit_others;
use super::listen_options::ListenOptions;
use super::*;

fn options(addresses: &[Address]) -> ListenOptions {
    ListenOptions {
        addresses: addresses
            .iter()
            .map(|address| (address.clone(), Protocol::Uwsgi))
            .collect(),
        protocol: Protocol::Uwsgi,
        skips_zero: true,
        backlog: None,
        permissions: SocketPermissions::default(),
        tcp: TcpSettings::default(),
    }
}

fn tcp(port: u16) -> Address {
    Address::Tcp {
        host: "127.0.0.1".into(),
        port,
    }
}

fn refused(addresses: &[Address], held: &[Rc<BoundSocket>]) -> String {
    bind_configured(&options(addresses), held)
        .unwrap_err()
        .to_string()
}

#[test]
fn every_kind_of_address_is_bound_in_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let hidden = format!("ruwsgi-bind-{}", std::process::id());
    let addresses = [
        Address::Unix(path.clone()),
        Address::Abstract(hidden.into()),
        tcp(0),
        tcp(0),
    ];
    let mut options = options(&addresses);
    options.addresses[3].1 = Protocol::Http;
    options.permissions.mode = Some(0o660);
    let all = bind_configured(&options, &[]).unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    assert_eq!(all[0].listener.name, path.display().to_string());
    assert_eq!(all[3].listener.protocol, Protocol::Http);
    let port = all[3].listener.port;
    assert!(port != 0 && port != all[2].listener.port);
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_reload_keeps_what_stays_adds_what_is_new_and_drops_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let [stays, goes, comes] = ["stays", "goes", "comes"].map(|name| dir.path().join(name));
    let before = [
        Address::Unix(goes.clone()),
        Address::Unix(stays.clone()),
        tcp(0),
    ];
    let before = bind_configured(&options(&before), &[]).unwrap();
    let after = [
        Address::Unix(stays.clone()),
        tcp(0),
        Address::Unix(comes.clone()),
    ];
    let after = bind_configured(&options(&after), &before).unwrap();
    assert!(Rc::ptr_eq(&after[0], &before[1]));
    assert!(Rc::ptr_eq(&after[1], &before[2]));
    assert_eq!(after.len(), 3);
    vacuum_dropped(&before, &after);
    assert!(!goes.exists() && stays.exists() && comes.exists());
    drop(before);
    // after several reloads the sockets still know their files
    let again = bind_configured(
        &options(&[
            Address::Unix(stays.clone()),
            tcp(0),
            Address::Unix(comes.clone()),
        ]),
        &after,
    );
    vacuum_dropped(&again.unwrap(), &[]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_kept_socket_may_change_its_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let before = bind_configured(&options(&[Address::Unix(path.clone())]), &[]).unwrap();
    let mut options = options(&[Address::Unix(path.clone())]);
    options.addresses[0].1 = Protocol::Http;
    let after = bind_configured(&options, &before).unwrap();
    assert_eq!(after[0].listener.protocol, Protocol::Http);
    vacuum_dropped(&before, &after);
    drop(before);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_failed_reload_leaves_the_old_sockets_and_no_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    let held = bind_configured(&options(&[Address::Unix(old.clone())]), &[]).unwrap();
    let missing = Address::Unix(dir.path().join("no/s"));
    let addresses = [
        Address::Unix(old.clone()),
        Address::Unix(new.clone()),
        missing,
    ];
    assert!(refused(&addresses, &held).contains("does not exist; create it first"));
    assert!(!new.exists());
    UnixStream::connect(&old).unwrap();
}

#[test]
fn a_socket_whose_file_was_removed_is_bound_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let before = bind_configured(&options(&[Address::Unix(path.clone())]), &[]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let after = bind_configured(&options(&[Address::Unix(path.clone())]), &before).unwrap();
    UnixStream::connect(&path).unwrap();
    vacuum_dropped(&before, &after);
    assert!(path.exists());
}

#[test]
fn a_replaced_file_is_not_vacuumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let all = bind_configured(&options(&[Address::Unix(path.clone())]), &[]).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(dir.path().join("spacer"), "").unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    vacuum_dropped(&all, &[]);
    assert!(path.exists());
}

#[test]
fn a_taken_missing_or_double_address_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _live = UnixListener::bind(&path).unwrap();
    let error = refused(&[Address::Unix(path.clone())], &[]);
    let name = path.display();
    assert_eq!(
        error,
        format!(
            "cannot listen on {name}: another instance serves on it; stop that one first, or choose another path"
        )
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = refused(&[tcp(taken.local_addr().unwrap().port())], &[]);
    assert!(error.contains("another process listens on it"), "{error}");
    let error = refused(
        &[Address::Tcp {
            host: "192.0.2.1".into(),
            port: 0,
        }],
        &[],
    );
    assert!(
        error.contains("this machine has no such address"),
        "{error}"
    );
    let other = Address::Unix(dir.path().join("twice"));
    assert!(refused(&[other.clone(), other], &[]).ends_with("configured twice"));
    assert!(refused(&[Address::Fd(77)], &[]).contains("was not inherited"));
}

#[test]
fn inherited_sockets_are_matched_by_address_and_number_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let unix = UnixListener::bind(&path).unwrap().into_raw_fd();
    let named = TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
    let besides = TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
    let mut options = options(&[Address::Fd(named), Address::Unix(path.clone())]);
    options.addresses[1].1 = Protocol::Http;
    let given = inherit_others(&options, vec![unix, besides]).unwrap();
    let all = bind_configured(&options, &given).unwrap();
    let numbers: Vec<_> = all.iter().map(|socket| socket.origin).collect();
    assert_eq!(numbers, [named, unix, besides].map(Origin::Inherited));
    assert_eq!(all[1].listener.protocol, Protocol::Http);
    drop(given);
    let reloaded = bind_configured(&options, &all).unwrap();
    assert_eq!(reloaded.len(), 3);
    vacuum_dropped(&reloaded, &[]);
    assert!(path.exists(), "the process that made the file removes it");
}

#[test]
fn both_wildcards_of_a_port_can_be_bound() {
    let Ok(probe) = TcpListener::bind("[::1]:0") else {
        return; // no IPv6 here
    };
    let port = probe.local_addr().unwrap().port();
    let v4: SocketAddr = (Ipv4Addr::UNSPECIFIED, port).into();
    let v6: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, port).into();
    let endpoints = [
        (Endpoint::Tcp(v4), Protocol::Http),
        (Endpoint::Tcp(v6), Protocol::Http),
    ];
    assert!(has_v4_twin(v6, &endpoints) && !has_v4_twin(v4, &endpoints));
    assert!(!has_v4_twin(v6, &endpoints[1..]));
}
