//! Files of vassals: adding, editing, replacing and removing them.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use crate::kit::emperor::{Emperor, add_vassal, app, ini, site};
use crate::kit::*;

#[test]
fn adding_a_file_starts_a_vassal_and_removing_it_stops_the_vassal() {
    if differs(
        "A vassal is started, reloaded or stopped within a fraction of a second after its file changes; uWSGI scans every few seconds.",
    ) {
        return;
    }
    let site = site();
    let emperor = Emperor::over(&site);
    add_vassal(&site, "a", "one");
    emperor.expect_text("a", "one");
    add_vassal(&site, "b", "two");
    emperor.expect_text("b", "two");
    let removed = Instant::now();
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor
        .server
        .eventually("the socket is gone", || !site.has("a.sock"));
    assert!(removed.elapsed() < wait::PROMPTLY);
    fs::rename(site.file("vassals/b.ini"), site.file("vassals/b.ini.skip")).unwrap();
    emperor
        .server
        .eventually("the socket is gone", || !site.has("b.sock"));
    emperor.server.stop();
}

#[test]
fn each_way_of_saving_a_file_is_one_reload() {
    if differs("A second edit within the same second is noticed.") {
        return;
    }
    let site = site();
    let emperor = Emperor::over(&site);
    add_vassal(&site, "a", "0");
    emperor.expect_text("a", "0");
    let file = site.file("vassals/a.ini");
    let text = ini(&site, "a");
    let ways: [(&str, &dyn Fn()); 4] = [
        ("written in place", &|| fs::write(&file, &text).unwrap()),
        ("renamed over", &|| site.write("vassals/a.ini", &text)),
        ("deleted and created", &|| {
            fs::rename(&file, site.file("vassals/a.ini~")).unwrap();
            fs::write(&file, &text).unwrap();
        }),
        ("touched", &|| {
            let file = fs::File::options().append(true).open(&file).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
        }),
    ];
    for (number, (way, save)) in (1..).zip(ways) {
        site.write("a.py", &app(&number.to_string()));
        save();
        emperor.expect_text("a", &number.to_string());
        emperor
            .server
            .wait_for_lines("vassal a.ini: reloaded", number);
        assert_eq!(
            emperor.server.log_lines("vassal a.ini: has changed").len(),
            number,
            "{way}"
        );
    }
    emperor.server.stop();
}

#[test]
fn a_broken_edit_keeps_the_old_application_and_is_reported() {
    if differs(
        "After an edit that makes a vassal unusable the running application continues, and ruwsgi ls shows the error.",
    ) {
        return;
    }
    let site = site();
    let mut emperor = Emperor::over(&site);
    add_vassal(&site, "a", "old");
    emperor.expect_text("a", "old");
    site.write("vassals/a.ini", &(ini(&site, "a") + "processes = -1\n"));
    emperor
        .server
        .expect_log("the previous generation continues");
    let (state, reason) = emperor.state("a");
    assert_eq!(state, "ready");
    assert!(reason.contains("processes = -1"), "{reason}");
    emperor.expect_text("a", "old");
    add_vassal(&site, "a", "new");
    emperor.expect_text("a", "new");
    // the vassal serves the new code before it reports the reload
    emperor
        .server
        .eventually("the reason is cleared", || emperor.state("a").1.is_empty());
    emperor.server.stop();
}

#[test]
fn a_changed_link_or_link_target_is_a_reload() {
    if differs("A change of a symbolic link's target is noticed, also of a link on the path to it.")
    {
        return;
    }
    let site = site();
    for release in ["one", "two"] {
        fs::create_dir(site.file(release)).unwrap();
        site.write(&format!("{release}/site.ini"), &ini(&site, release));
        site.write(&format!("{release}.py"), &app(release));
    }
    symlink(site.file("one"), site.file("current")).unwrap();
    symlink(site.file("current/site.ini"), site.file("vassals/a.ini")).unwrap();
    let emperor = Emperor::over(&site);
    emperor.expect_text("one", "one");
    site.write("one.py", &app("edited"));
    site.write("one/site.ini", &ini(&site, "one"));
    emperor.expect_text("one", "edited");
    symlink(site.file("two"), site.file("next")).unwrap();
    fs::rename(site.file("next"), site.file("current")).unwrap();
    emperor.expect_text("two", "two");
    emperor
        .server
        .eventually("the old socket is gone", || !site.has("one.sock"));
    emperor.server.stop();
}

#[test]
fn a_failing_vassal_affects_no_other_and_is_retried_at_once_after_an_edit() {
    if differs(
        "A vassal that fails is retried after its own delay, which doubles, and at once when its file changes.",
    ) {
        return;
    }
    let site = site();
    add_vassal(&site, "good", "good");
    site.write("vassals/bad.ini", "[uwsgi]\nprocesses = -1\n");
    site.write("raises.py", "raise RuntimeError('my own words')\n");
    site.write("vassals/raises.ini", &ini(&site, "raises"));
    let mut emperor = Emperor::with(
        &site,
        &[
            "--emperor-throttle",
            "600000",
            "--emperor-max-throttle",
            "600000",
        ],
    );
    emperor.server.expect_log("tried again in 600");
    emperor.expect_text("good", "good");
    emperor.server.eventually("both back off", || {
        ["bad", "raises"]
            .iter()
            .all(|name| emperor.state(name).0 == "backing off")
    });
    assert!(emperor.state("bad").1.contains("processes = -1"));
    assert!(
        emperor.state("raises").1.contains("my own words"),
        "{:?}",
        emperor.state("raises")
    );
    // the reason has the traceback and the line that the vassal wrote; the emperor does not log them again
    let emperors = emperor.server.log_lines("emperor[");
    assert!(!emperors.iter().any(|line| line.contains("my own words")));
    add_vassal(&site, "bad", "repaired");
    emperor.expect_text("bad", "repaired");
    site.write("raises.py", &app("repaired too"));
    let output = emperor.command(&["retry", "raises", "--wait"]);
    assert!(output.status.success(), "{output:?}");
    emperor.expect_text("raises", "repaired too");
    emperor.server.stop();
}

#[test]
fn the_vassal_directory_may_be_created_later() {
    if differs(
        "A vassal directory that does not exist is logged, and its vassals are started when it appears.",
    ) {
        return;
    }
    let site = Site::empty();
    let emperor = Emperor::with(&site, &["--emperor-freq", "1"]);
    assert_eq!(emperor.server.log_lines("there is no directory").len(), 1);
    add_vassal(&site, "a", "one");
    emperor.expect_text("a", "one");
    fs::remove_dir_all(site.file("vassals")).unwrap();
    emperor
        .server
        .eventually("the socket is gone", || !site.has("a.sock"));
    add_vassal(&site, "a", "two");
    emperor.expect_text("a", "two");
    emperor.server.stop();
}

#[test]
fn a_vassal_may_be_a_section_of_a_file() {
    if differs("emperor = sites.ini:blog starts a vassal for each section of that file.") {
        return;
    }
    let site = site();
    for name in ["blog", "shop"] {
        site.write(&format!("{name}.py"), &app(name));
    }
    let section = |name: &str| ini(&site, name).replace("[uwsgi]", &format!("[{name}]"));
    let both = section("blog") + &section("shop");
    site.write("sites.ini", &both);
    let emperor = Emperor::with(
        &site,
        &["--emperor", "sites.ini:blog", "--emperor", "*.ini:shop"],
    );
    emperor.expect_text("blog", "blog");
    emperor.expect_text("shop", "shop");
    assert_eq!(
        emperor.state("sites").0,
        "",
        "the names are those of the sections"
    );
    let output = emperor.command(&["status", "blog"]);
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.starts_with("sites.ini:blog: ready"), "{output}");
    // an edit of the file reloads both vassals; a removed section makes only its own vassal fail
    site.write("shop.py", &app("sale"));
    site.write("sites.ini", &both.replace("[blog]", "[gone]"));
    emperor.expect_text("shop", "sale");
    emperor.expect_text("blog", "blog");
    fs::remove_file(site.file("sites.ini")).unwrap();
    emperor.server.eventually("both are gone", || {
        !site.has("blog.sock") && !site.has("shop.sock")
    });
    emperor.server.stop();
}
