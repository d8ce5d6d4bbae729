//! `[group]`: what is taken, and each thing that can be wrong with its place.

use std::path::PathBuf;

use super::{load_text, shown};
use crate::load_from;

const POOL: &str = "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10-192.0.2.50\"]\n";

fn member(name: &str, more: &str) -> String {
    format!("[[group.member]]\nname = \"{name}\"\n{more}\n")
}

fn refused(group: &str, expected: &[&str]) {
    let problems = load_text(&format!("{POOL}{group}")).expect_err("refused");
    assert_eq!(shown(&problems), expected, "for:\n{group}");
}

#[test]
fn ranks_first_then_names_and_the_port_that_is_meant() {
    let members = [
        member("c", "address = \"192.0.2.4\"\nrank = 1"),
        member("b", "address = \"[2001:db8::3]:9999\""),
        member("a", "address = \"2001:db8::2\""),
    ];
    let loaded = load_text(&format!("{POOL}{}", members.concat())).expect("used");
    let group = loaded.config.group.expect("a group");
    let ranks: Vec<String> =
        group.members.iter().map(|member| format!("{} {}", member.name, member.address)).collect();
    assert_eq!(ranks, ["c 192.0.2.4:9640", "a [2001:db8::2]:9640", "b [2001:db8::3]:9999"]);
    assert_eq!(group.detection().as_millis(), 500);
    assert_eq!(group.key_file, PathBuf::from("/etc/roadstead/group.key"));
    assert_eq!(load_text(POOL).expect("used").config.group, None);
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let rows =
        include_str!("../lib.rs").lines().filter_map(|row| row.strip_prefix("//! | `group."));
    let spelled: Vec<String> = rows
        .filter_map(|row| row.split_once("` | `"))
        .map(|(key, default)| format!("{key} = {}\n", default.trim_end_matches("` |")))
        .collect();
    assert_eq!(spelled.len(), 3, "the table was found: {spelled:?}");
    let members =
        [member("a", "address = \"192.0.2.2\""), member("b", "address = \"192.0.2.3\"")].concat();
    let with = |keys: &str| {
        let text = format!("{POOL}[group]\n{keys}{members}");
        load_text(&text).expect("used").config.group.expect("a group")
    };
    assert_eq!(with(&spelled.concat()), with(""));
}

/// One file for all hosts, and each says in its environment which it is.
#[test]
fn the_name_may_come_from_the_environment() {
    let text =
        [POOL, &member("a", "address = \"192.0.2.2\""), &member("b", "address = \"192.0.2.3\"")];
    let files = vec![(PathBuf::from("roadstead.toml"), text.concat())];
    let with = |name: &str| {
        let variable = ("ROADSTEAD_GROUP__NAME".to_owned(), name.to_owned());
        load_from(files.clone(), std::iter::once(variable))
    };
    assert_eq!(with("b").expect("used").config.group.expect("a group").name, Some("b".into()));
    let problems = with("c").expect_err("refused");
    assert_eq!(
        shown(&problems),
        [
            "environment ROADSTEAD_GROUP__NAME: `group.name`: no [[group.member]] is \"c\": this host is \
          among the members too, which are a, b"
        ]
    );
}

#[test]
fn two_that_share_what_each_must_have() {
    let first = member("a", "address = \"192.0.2.2\"\nrank = 1");
    for (second, expected) in [
        (
            member("a", "address = \"192.0.2.3\""),
            "roadstead.toml:9: group member \"a\" is written twice: first at roadstead.toml:5",
        ),
        (
            member("b", "address = \"192.0.2.2:77\""),
            "roadstead.toml:9: group members \"b\" and \"a\" (roadstead.toml:5) both have 192.0.2.2",
        ),
        (
            member("b", "address = \"192.0.2.3\"\nrank = 1"),
            "roadstead.toml:9: group members \"b\" and \"a\" (roadstead.toml:5) both have rank 1",
        ),
    ] {
        refused(&format!("{first}{second}"), &[expected]);
    }
}

#[test]
fn a_member_that_is_none() {
    let good = member("a", "address = \"192.0.2.2\"");
    refused(
        &(good.clone() + &member("b", "address = \"edge2\"")),
        &["roadstead.toml:9: `address` of group member \"b\": \"edge2\" is no address: write \
           \"192.0.2.2\", \"[2001:db8::2]:9640\""],
    );
    refused(
        &(good.clone() + &member("b", "")),
        &["roadstead.toml:7: group member \"b\" has no `address`: add address = \"192.0.2.2\""],
    );
    refused(
        &(good.clone() + &member("b", "address = \"0.0.0.0\"")),
        &["roadstead.toml:8: group member \"b\": 0.0.0.0 is no host's address"],
    );
    refused(
        &good,
        &["roadstead.toml:5: `group` names 1 of 2 to 16 hosts: name this one and the others, \
           [[group.member]] with name = \"edge1\" and address = \"192.0.2.2\""],
    );
}

#[test]
fn this_host_is_among_the_members() {
    let members = [member("a", "address = \"192.0.2.2\""), member("b", "address = \"192.0.2.3\"")];
    refused(
        &format!("[group]\nname = \"c\"\n{}", members.concat()),
        &["roadstead.toml:5: `group.name`: no [[group.member]] is \"c\": this host is among the \
           members too, which are a, b"],
    );
}

#[test]
fn a_detection_that_cannot_work_is_refused() {
    let group = |key: &str| {
        let members =
            [member("a", "address = \"192.0.2.2\""), member("b", "address = \"192.0.2.3\"")];
        format!("[group]\n{key}\n{}", members.concat())
    };
    refused(&group("misses = 1"), &["roadstead.toml:5: `group.misses` is 1, outside 3 to 50"]);
    refused(
        &group("heartbeat = \"1ms\""),
        &["roadstead.toml:5: `group.heartbeat`: \"1ms\" is outside \"20ms\" to \"10s\""],
    );
}
