//! A tenant who is hostile: what he says as his vassal, and what he does with his file, harms nobody but himself.

use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};

use crate::kit::emperor::{Emperor, drop_in, ini, site};
use crate::kit::*;

/// A tenant and one whom he would like to be.
const TENANT: u32 = 12_002;
const OTHER: u32 = 12_001;

/// A vassal's file of that owner, put in its place whole.
fn own(site: &Site, path: &str, owner: u32, text: &str) {
    let made = site.file("made");
    fs::write(&made, text).unwrap();
    chown(&made, Some(owner), Some(owner)).unwrap();
    fs::rename(made, site.file(path)).unwrap();
}

#[test]
fn a_link_to_a_file_of_another_is_not_run_as_him() {
    if needs_root()
        || differs(
            "Under emperor-tyrant a vassal is not started when a symbolic link on the way to its file belongs to neither root nor the file's owner.",
        )
    {
        return;
    }
    let site = site();
    site.write("a.py", &crate::kit::emperor::app("a"));
    fs::create_dir(site.file("run")).unwrap();
    chown(site.file("run"), Some(OTHER), Some(OTHER)).unwrap();
    let text = ini(&site, "a").replace("a.sock", "run/a.sock");
    own(&site, "others.ini", OTHER, &text);
    let link = site.file("vassals/a.ini");
    symlink(site.file("others.ini"), &link).unwrap();
    lchown(&link, Some(TENANT), Some(TENANT)).unwrap();
    let mut emperor = Emperor::with(&site, &["--emperor-tyrant"]);
    emperor.server.expect_log("a link on the way to it");
    assert_eq!(emperor.state("a").0, "failed");
    // root's links are the usual way
    lchown(&link, Some(0), Some(0)).unwrap();
    emperor.says("run/a", "a");
    // a link behind it that is somebody else's, as in a directory of his
    symlink(site.file("others.ini"), site.file("his")).unwrap();
    lchown(site.file("his"), Some(TENANT), Some(TENANT)).unwrap();
    symlink(site.file("his"), site.file("aside")).unwrap();
    fs::rename(site.file("aside"), &link).unwrap();
    emperor.server.expect_log("a link on the way to it");
    emperor
        .server
        .eventually("it is stopped", || emperor.state("a").0 == "failed");
    emperor.server.stop();
}

#[test]
fn a_file_that_is_exchanged_while_its_vassal_starts_is_not_read() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    drop_in(&site, "a", "a");
    let output = std::process::Command::new(binary())
        .args(["--ini", "a.ini"])
        .current_dir(site.file("vassals"))
        .env("RUWSGI_VASSAL", "a.ini")
        .env("RUWSGI_EMPEROR_OWNER", OTHER.to_string())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&format!("to uid {OTHER} when")), "{told}");
}
