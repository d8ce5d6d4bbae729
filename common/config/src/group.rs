//! `[group]`: the edge hosts that know of each other.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    Location,
    config::{Group, Member},
};

use crate::{
    defaults, parse,
    section::{Placed, Problems, Section},
};

/// What a member looks like.
const EXAMPLE: &str = "[[group.member]] with name = \"edge1\" and address = \"192.0.2.2\"";
/// Each host hears each other.
const MEMBERS_MAX: usize = 16;
const HEARTBEAT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_secs(10);

/// The section with its places.
#[derive(Debug)]
pub(crate) struct Read {
    name: Option<Placed<Arc<str>>>,
    listen: Option<Placed<SocketAddr>>,
    key_file: PathBuf,
    heartbeat: Duration,
    misses: u32,
    members: Vec<Entry>,
    place: Location,
}

/// One `[[group.member]]`.
#[derive(Debug)]
struct Entry {
    member: Member,
    rank: u32,
    place: Location,
}

/// Reads the section.
pub(crate) fn read(mut section: Section<'_>) -> Read {
    let place = section.place.clone();
    let members = section.items("member").into_iter().filter_map(member).collect();
    let read = Read {
        name: section.parsed("name", parse::name),
        listen: section.parsed("listen", address),
        key_file: section
            .parsed("key_file", parse::absolute_path)
            .map_or_else(|| defaults::GROUP_KEY.into(), |path| path.value),
        heartbeat: section
            .duration("heartbeat", HEARTBEAT)
            .map_or(defaults::HEARTBEAT, |written| written.value),
        misses: section.number("misses", 3..=50).map_or(defaults::MISSES, |written| written.value),
        members,
        place,
    };
    section.finish();
    read
}

fn member(mut section: Section<'_>) -> Option<Entry> {
    let name = section.parsed("name", parse::name);
    if let Some(name) = &name {
        section.rename(format!("group member \"{}\"", name.value));
    }
    let name = section.require("name", name, "\"edge1\"");
    let address = section.parsed("address", address);
    let address = section.require("address", address, "\"192.0.2.2\"");
    let rank = section.number("rank", 1..=1_000_000).map_or(u32::MAX, |written| written.value);
    section.finish();
    let (name, address) = (name?, address?);
    let member = Member { name: name.value, address: address.value };
    Some(Entry { member, rank, place: name.place })
}

/// An address with a port, or with the one that is meant.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || {
        format!(
            "\"{}\" is no address: write \"192.0.2.2\", \"[2001:db8::2]:{}\"",
            text.escape_debug(),
            Group::PORT
        )
    };
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, Group::PORT));
    let address = text.parse::<SocketAddr>().or_else(|_| alone()).map_err(|_| wrong())?;
    if address.port() == 0 { Err(wrong()) } else { Ok(address) }
}

/// What holds between the members, and for the whole section.
pub(crate) fn check(group: Option<&Read>, whole: bool, problems: &Problems) {
    let Some(group) = group else { return };
    for (index, entry) in group.members.iter().enumerate() {
        let earlier = group.members.iter().take(index);
        earlier.filter_map(|other| clash(entry, other)).for_each(|message| {
            problems.error(&entry.place, message);
        });
        unusable(entry, problems);
    }
    if whole {
        complete(group, problems);
    }
}

/// What two members share that each must have for itself.
fn clash(entry: &Entry, other: &Entry) -> Option<String> {
    let (member, first) = (&entry.member, &other.place);
    let name = &member.name;
    if *name == other.member.name {
        return Some(format!("group member \"{name}\" is written twice: first at {first}"));
    }
    let (ip, theirs) = (member.address.ip(), &other.member.name);
    if ip == other.member.address.ip() {
        // A host is known by the address that its connection comes from.
        return Some(format!("group members \"{name}\" and \"{theirs}\" ({first}) both have {ip}"));
    }
    (entry.rank != u32::MAX && entry.rank == other.rank).then(|| {
        format!("group members \"{name}\" and \"{theirs}\" ({first}) both have rank {}", entry.rank)
    })
}

fn unusable(entry: &Entry, problems: &Problems) {
    let Member { name, address } = &entry.member;
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_multicast() {
        let message = format!("group member \"{name}\": {ip} is no host's address");
        problems.error(&entry.place, message);
    }
}

fn complete(group: &Read, problems: &Problems) {
    let count = group.members.len();
    // Where several layers write into the section it has no place of its own.
    let place = group.members.first().map_or(&group.place, |first| &first.place);
    if !(2..=MEMBERS_MAX).contains(&count) {
        let message = format!(
            "`group` names {count} of 2 to {MEMBERS_MAX} hosts: name this one and the others, {EXAMPLE}"
        );
        problems.error(place, message);
    }
    let Some(name) = &group.name else { return };
    let known: Vec<&str> = group.members.iter().map(|entry| &*entry.member.name).collect();
    if !known.contains(&&*name.value) {
        let message = format!(
            "`group.name`: no [[group.member]] is \"{}\": this host is among the members too, which are {}",
            name.value,
            known.join(", ")
        );
        problems.error(&name.place, message);
    }
}

impl Read {
    /// The checked section: members in the order of rank, those without one behind, by name.
    pub(crate) fn into_group(self) -> Group {
        let mut members = self.members;
        members.sort_by(|a, b| (a.rank, &a.member.name).cmp(&(b.rank, &b.member.name)));
        Group {
            name: self.name.map(|name| name.value),
            listen: self.listen.map(|listen| listen.value),
            key_file: self.key_file,
            heartbeat: self.heartbeat,
            misses: self.misses,
            members: members.into_iter().map(|entry| entry.member).collect(),
        }
    }
}
