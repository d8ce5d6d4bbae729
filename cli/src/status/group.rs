//! The group of hosts, for people.

use roadstead_model::group::{GroupRole, GroupStatus};

use crate::render::{Colour, Table};

/// The members with what each does, where there is a group.
pub(super) fn shown(group: Option<&GroupStatus>, terminal: bool) -> String {
    let Some(group) = group else { return String::new() };
    let mut table = Table::new(terminal, &["HOST", "ADDRESS", "ROLE", "LINK"]);
    for member in &group.members {
        let this = member.name == group.name;
        let role = match (this, group.writer.as_ref() == Some(&member.name)) {
            (true, _) => own_role(group.role),
            (false, true) => "writer",
            (false, false) => "",
        };
        let link = match (this, member.alive) {
            (true, _) => "this host".to_owned(),
            (false, true) => "heard".to_owned(),
            (false, false) => format!("not heard: {}", member.reason),
        };
        let colour = if member.alive { Colour::Green } else { Colour::Red };
        let address = member.address.to_string();
        table.row(colour, &[member.name.to_string(), address, role.to_owned(), link]);
    }
    let writer = match &group.writer {
        Some(writer) => format!("{writer} writes, term {}.", group.term),
        None => "No host of the group writes.".to_owned(),
    };
    format!("{}{writer}\n", table.shown())
}

fn own_role(role: GroupRole) -> &'static str {
    match role {
        GroupRole::Waiting => "waiting",
        GroupRole::Writer => "writer",
        GroupRole::Follower => "follower",
        GroupRole::Passive => "passive",
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::group::MemberStatus;

    use super::*;

    #[test]
    fn members_are_told_with_their_role_and_link() {
        let member = |name: &str, address: &str, alive, reason: &str| MemberStatus {
            name: name.into(),
            address: address.parse().unwrap(),
            alive,
            reason: reason.into(),
        };
        let group = GroupStatus {
            name: "edge2".into(),
            role: GroupRole::Follower,
            writer: Some("edge1".into()),
            term: 7,
            members: vec![
                member("edge1", "192.0.2.2:9640", true, ""),
                member("edge2", "192.0.2.3:9640", true, ""),
                member("edge3", "192.0.2.4:9640", false, "it has another group key"),
            ],
        };
        let text = shown(Some(&group), false);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["edge1", "192.0.2.2:9640", "writer", "heard"]);
        assert_eq!(lines[2], ["edge2", "192.0.2.3:9640", "follower", "this", "host"]);
        assert!(text.contains("not heard: it has another group key"), "{text}");
        assert!(text.ends_with("edge1 writes, term 7.\n"), "{text}");
        assert_eq!(shown(None, false), "");
    }
}
