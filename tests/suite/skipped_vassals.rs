//! Files that define no vassal although their names are those of vassals: the log and `ruwsgi ls` name the reason.

use std::fs;
use std::os::unix::fs::symlink;

use crate::kit::emperor::*;
use crate::kit::*;

#[test]
fn a_dangling_link_is_listed_with_the_reason_until_its_target_exists() {
    if differs(
        "A file that an emperor skips is logged, and ruwsgi ls shows why; uWSGI skips it in silence.",
    ) {
        return;
    }
    let site = site();
    symlink(site.at("blog.ini"), site.file("vassals/blog.ini")).unwrap();
    fs::create_dir(site.file("vassals/folder.ini")).unwrap();
    let emperor = Emperor::with(&site, &["--emperor-freq", "1"]);
    let reason = format!(
        "it is a symbolic link to {}, which does not exist",
        site.at("blog.ini")
    );
    assert_eq!(emperor.state("blog"), ("skipped".into(), reason.clone()));
    let (state, why) = emperor.state("folder");
    assert_eq!(
        (state.as_str(), why.as_str()),
        ("skipped", "it is a directory, not a regular file")
    );
    let started = emperor.command(&["start", "blog"]);
    let message = String::from_utf8(started.stderr).unwrap();
    assert!(message.contains(&reason), "{message}");
    site.write("blog.py", &app("one"));
    site.write("blog.ini", &ini(&site, "blog"));
    emperor.expect_text("blog", "one");
    assert_eq!(emperor.state("blog").0, "ready");
    fs::remove_file(site.file("blog.ini")).unwrap();
    emperor.server.eventually("it is skipped again", || {
        emperor.state("blog").0 == "skipped"
    });
    fs::remove_file(site.file("vassals/blog.ini")).unwrap();
    emperor
        .server
        .eventually("it is gone", || emperor.state("blog").0.is_empty());
    let lines = emperor.server.log_lines("skipped: it is a symbolic link");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_link_into_a_closed_directory_is_listed_with_the_reason() {
    if under_uwsgi() || !is_root() {
        return;
    }
    let site = site();
    site.write("closed/blog.ini", &ini(&site, "blog"));
    fs::set_permissions(
        site.file("closed"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    symlink(site.at("closed/blog.ini"), site.file("vassals/blog.ini")).unwrap();
    let emperor = Emperor::with(&site, &["--uid", "www-data", "--gid", "www-data"]);
    let (state, reason) = emperor.state("blog");
    assert_eq!(state, "skipped");
    assert!(
        reason.contains("www-data has no permission to search the directories of"),
        "{reason}"
    );
}
