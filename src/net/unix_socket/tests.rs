//! Tests with real sockets in temporary directories.
#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;

/// Creates a socket file at `path` on which no process listens. A program that another test has started may hold the
/// socket for a moment longer.
fn put_stale(path: &Path) -> FileId {
    let (_, id) = put(path).unwrap();
    while probe_unix(path).unwrap() != Probe::Stale(id) {
        std::thread::yield_now();
    }
    id
}

fn put(path: &Path) -> Result<(OwnedFd, FileId), PlaceError> {
    place(path, SocketPermissions::default(), 10)
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_is_left_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let old = put_stale(&path);
    let (_second, id) = put(&path).unwrap();
    assert_ne!(id, old);
    assert_eq!(FileId::of(&path).unwrap(), id);
    UnixStream::connect(&path).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_path_is_never_missing_while_its_stale_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    put_stale(&path);
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            for _ in 0..200 {
                put_stale(&path);
            }
        });
        while !replacing.is_finished() {
            assert!(path.symlink_metadata().is_ok());
        }
    });
}

#[test]
fn of_many_that_start_at_once_one_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    put_stale(&path);
    let results: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| put(&path))).collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let serving: Vec<_> = results.iter().flatten().collect();
    assert_eq!(serving.len(), 1, "{results:?}");
    assert_eq!(FileId::of(&path).unwrap(), serving[0].1);
}

#[test]
fn a_live_socket_and_other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let (_live, id) = put(&path).unwrap();
    assert!(matches!(put(&path), Err(PlaceError::Live)));
    assert_eq!(FileId::of(&path).unwrap(), id);
    let file = dir.path().join("data");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(
        put(&file),
        Err(PlaceError::NotASocket("a regular file"))
    ));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let link = dir.path().join("link");
    symlink(&file, &link).unwrap();
    assert!(matches!(
        put(&link),
        Err(PlaceError::NotASocket("a symbolic link"))
    ));
    assert!(matches!(
        put(dir.path()),
        Err(PlaceError::NotASocket("a directory"))
    ));
    assert!(matches!(
        put(&dir.path().join("no/s")),
        Err(PlaceError::NoDirectory(_))
    ));
}

#[test]
fn mode_and_owner_are_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let gid = user::is_root().then_some(4321);
    let permissions = SocketPermissions {
        mode: Some(0o664),
        uid: None,
        gid,
    };
    let (_socket, id) = place(&path, permissions, 10).unwrap();
    let about = std::fs::metadata(&path).unwrap();
    assert_eq!(about.mode() & 0o7777, 0o664);
    assert!(gid.is_none_or(|gid| about.gid() == gid));
    let private = SocketPermissions {
        mode: Some(0o600),
        ..SocketPermissions::default()
    };
    private.apply_to(&path, id).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn a_deep_directory_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let path = deep.join("s.sock");
    let (socket, _) = put(&path).unwrap();
    assert!(matches!(put(&path), Err(PlaceError::Live)));
    drop(socket);
    let (_socket, id) = loop {
        match put(&path) {
            Err(PlaceError::Live) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_eq!(remove(&path, id).unwrap(), Removal::Removed);
    assert!(matches!(
        put(&deep.join("n".repeat(110))),
        Err(PlaceError::TooLong)
    ));
}

#[test]
fn only_the_same_file_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let (_socket, id) = put(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(remove(&path, id).unwrap(), Removal::Gone);
    std::fs::write(&path, "").unwrap();
    std::fs::write(dir.path().join("other"), "").unwrap();
    let other = FileId::of(&dir.path().join("other")).unwrap();
    assert_eq!(remove(&path, other).unwrap(), Removal::Changed);
    assert!(path.exists());
}
