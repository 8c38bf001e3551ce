//! Privileges are dropped in processes of their own, since they do not come back.
#![allow(clippy::unwrap_used)]

use caps::Capability;

use super::*;
use std::process::Command;

const ARGUMENTS: &str = "RUWSGI_TEST_DROP";

/// Runs in a process of its own (see `dropped`), since privileges do not come back.
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
    let wish = Wish {
        uid: option(uid),
        gid: option(gid),
        add_gids: &add,
        caps: &caps,
        ..Wish::default()
    };
    match drop_privileges(&wish) {
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
        .arg("sys::user::tests::child_that_drops_privileges")
        .env(ARGUMENTS, arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_says(output: &str, expected: &str) {
    assert!(
        output.replace('\t', " ").contains(expected),
        "no {expected:?} in {output}"
    );
}

#[test]
fn a_user_takes_its_groups_with_it() {
    if !is_root() {
        return;
    }
    let Ok(user) = find_user("nobody") else {
        return;
    };
    let (uid, (_, gid)) = (user.uid, user.entry.unwrap());
    let output = dropped("nobody///");
    assert_says(
        &output,
        &format!("said: runs as nobody (uid {uid}, gid {gid}, groups {gid})"),
    );
    assert_says(&output, &format!("Uid: {uid} {uid} {uid} {uid}"));
    assert_says(&output, &format!("Gid: {gid} {gid} {gid} {gid}"));
    assert_says(&output, &format!("Groups: {gid} \n"));
    assert_says(&output, "CapEff: 0000000000000000");
}

#[test]
fn numbers_without_an_entry_need_a_group() {
    if !is_root() {
        return;
    }
    assert_says(&dropped("54321///"), "refused: user 54321 has no entry");
    let output = dropped("54321/54322/7 8/");
    assert_says(&output, "Uid: 54321 54321 54321 54321");
    assert_says(&output, "Gid: 54322 54322 54322 54322");
    assert_says(&output, "Groups: 7 8 \n");
}

#[test]
fn kept_capabilities_reach_an_executed_program() {
    if !is_root() {
        return;
    }
    let output = dropped("54321/54321//CAP_NET_BIND_SERVICE CAP_KILL");
    assert_says(&output, "with the capabilities kill, net_bind_service");
    assert_says(&output, "CapEff: 0000000000000420");
    assert_says(&output, "CapPrm: 0000000000000420");
}

#[test]
fn unknown_names_are_refused_by_name() {
    assert_says(
        &dropped("nosuchuser///"),
        "refused: user nosuchuser not found",
    );
    assert_says(
        &dropped("/nosuchgroup//"),
        "refused: group nosuchgroup not found",
    );
}

#[test]
fn without_root_only_what_one_is_already_is_granted() {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    if is_root() {
        return;
    }
    let output = dropped(&format!("{uid}/{gid}//"));
    assert_says(&output, "said: runs as");
    assert_says(&dropped("0///"), "refused: cannot become user root");
}
