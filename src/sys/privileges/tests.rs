//! The tests drop privileges in separate processes, because a process cannot regain its privileges.
#![allow(clippy::unwrap_used)]

use caps::Capability;

use super::*;
use std::process::Command;

const ARGUMENTS: &str = "RUWSGI_TEST_DROP";

/// Runs in a separate process (see `dropped`), because a process cannot regain its privileges.
#[test]
fn child_that_drops_privileges() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let fields: Vec<_> = arguments.split('/').collect();
    let [uid, gid, add, caps] = fields[..] else {
        panic!("four fields");
    };
    let list = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let option = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let [add, caps] = [add, caps].map(list);
    let caps: Vec<Capability> = caps.iter().map(|name| name.parse().unwrap()).collect();
    let request = Privileges {
        uid: option(uid),
        gid: option(gid),
        add_gids: &add,
        caps: &caps,
        ..Privileges::default()
    };
    match drop_privileges(&request) {
        Ok(dropped) => {
            println!("said: {dropped}");
            let status = Command::new("cat")
                .arg("/proc/self/status")
                .output()
                .unwrap();
            println!("{}", String::from_utf8(status.stdout).unwrap());
        }
        Err(error) => println!("refused: {error}"),
    }
}

fn dropped(arguments: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("sys::privileges::tests::child_that_drops_privileges")
        .env(ARGUMENTS, arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_contains(output: &str, expected: &str) {
    assert!(
        output.replace('\t', " ").contains(expected),
        "no {expected:?} in {output}"
    );
}

#[test]
fn a_user_implies_its_groups() {
    if !is_root() {
        return;
    }
    let Ok(user) = find_user_of("uid", "nobody") else {
        return;
    };
    let (uid, (_, gid)) = (user.uid, user.entry.unwrap());
    let output = dropped("nobody///");
    assert_contains(
        &output,
        &format!("said: runs as nobody (uid {uid}, gid {gid}, groups {gid})"),
    );
    assert_contains(&output, &format!("Uid: {uid} {uid} {uid} {uid}"));
    assert_contains(&output, &format!("Gid: {gid} {gid} {gid} {gid}"));
    assert_contains(&output, &format!("Groups: {gid} \n"));
    assert_contains(&output, "CapEff: 0000000000000000");
}

#[test]
fn numbers_without_an_entry_need_a_group() {
    if !is_root() {
        return;
    }
    assert_contains(&dropped("54321///"), "refused: user 54321 has no entry");
    let output = dropped("54321/54322/7 8/");
    assert_contains(&output, "Uid: 54321 54321 54321 54321");
    assert_contains(&output, "Gid: 54322 54322 54322 54322");
    assert_contains(&output, "Groups: 7 8 \n");
}

#[test]
fn kept_capabilities_reach_an_executed_program() {
    if !is_root() {
        return;
    }
    let output = dropped("54321/54321//CAP_NET_BIND_SERVICE CAP_KILL");
    assert_contains(&output, "with the capabilities kill, net_bind_service");
    assert_contains(&output, "CapEff: 0000000000000420");
    assert_contains(&output, "CapPrm: 0000000000000420");
}

#[test]
fn unknown_names_are_refused_by_name() {
    assert_contains(
        &dropped("nosuchuser///"),
        "refused: uid = nosuchuser: there is no such user",
    );
    assert_contains(
        &dropped("/nosuchgroup//"),
        "refused: gid = nosuchgroup: there is no such group",
    );
}

#[test]
fn without_root_only_the_present_identity_is_granted() {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    if is_root() {
        return;
    }
    let output = dropped(&format!("{uid}/{gid}//"));
    assert_contains(&output, "said: runs as");
    assert_contains(&dropped("0///"), "refused: cannot become user root");
}
