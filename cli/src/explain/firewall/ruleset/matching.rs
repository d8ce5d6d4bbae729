//! Whether a match of a rule holds for a packet.

use std::net::IpAddr;

use ipnet::IpNet;
use roadstead_model::Family;
use serde_json::Value;

use super::{Packet, Way};

/// Statements that neither match nor end a rule.
const HARMLESS: [&str; 6] = ["counter", "log", "comment", "notrack", "mangle", "ct helper"];

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    Maybe,
}

impl Holds {
    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What is known of the left side of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact<'p> {
    Address(IpAddr),
    Number(u16),
    Word(&'p str),
    /// It belongs to a protocol that the packet is not of: the match fails.
    Foreign,
    Unknown,
}

/// Whether a statement leaves it open what becomes of the packet.
pub(super) fn is_harmless(statement: &Value) -> bool {
    HARMLESS.iter().any(|name| statement.get(name).is_some())
}

/// A `match` statement; `set` gives the elements of a named set.
pub(super) fn test<'s>(
    test: &Value,
    packet: &Packet,
    set: &dyn Fn(&str) -> Option<&'s Value>,
) -> Holds {
    let (Some(left), Some(right)) = (test.get("left"), test.get("right")) else {
        return Holds::Maybe;
    };
    let right = match right.as_str().and_then(|name| name.strip_prefix('@')) {
        Some(name) => match set(name) {
            Some(elements) => elements,
            None => return Holds::Maybe,
        },
        None => right,
    };
    let fact = fact(left, packet);
    match test.get("op").and_then(Value::as_str) {
        _ if fact == Fact::Foreign => Holds::No,
        Some("==" | "in") => compare(&fact, right),
        Some("!=") => compare(&fact, right).not(),
        _ => Holds::Maybe,
    }
}

/// Whether a key has a value, as in a verdict map.
pub(super) fn equals(key: &Value, value: &Value, packet: &Packet) -> Holds {
    compare(&fact(key, packet), value)
}

fn fact<'p>(left: &Value, packet: &'p Packet) -> Fact<'p> {
    if let Some(payload) = left.get("payload") {
        return of_payload(word(payload, "protocol"), word(payload, "field"), packet);
    }
    if let Some(meta) = left.get("meta") {
        return of_meta(word(meta, "key"), packet);
    }
    match (left.pointer("/ct/key").and_then(Value::as_str), &packet.segment, packet.way) {
        (Some("state"), Some(_), Way::Out) => Fact::Word("new"),
        (Some("state"), Some(_), Way::In) => Fact::Word("established"),
        _ => Fact::Unknown,
    }
}

fn of_payload<'p>(protocol: &str, field: &str, packet: &'p Packet) -> Fact<'p> {
    let Some([source, destination]) = &packet.segment else {
        return of_resolution(protocol, field, packet);
    };
    let address = |end: Option<IpAddr>| end.map_or(Fact::Unknown, Fact::Address);
    let port = |end: Option<u16>| end.map_or(Fact::Unknown, Fact::Number);
    match (protocol, packet.family, field) {
        ("ip", Family::V6, _) | ("ip6", Family::V4, _) => Fact::Foreign,
        ("ip" | "ip6", _, "saddr") => address(source.0),
        ("ip" | "ip6", _, "daddr") => address(destination.0),
        ("ip", _, "protocol") | ("ip6", _, "nexthdr") => Fact::Word("tcp"),
        ("tcp" | "th", _, "sport") => port(source.1),
        ("tcp" | "th", _, "dport") => port(destination.1),
        ("ip" | "ip6" | "tcp" | "th" | "ether", _, _) => Fact::Unknown,
        _ => Fact::Foreign,
    }
}

/// ARP, or neighbour discovery: a question that leaves, an answer that arrives.
fn of_resolution<'p>(protocol: &str, field: &str, packet: &'p Packet) -> Fact<'p> {
    match (protocol, packet.family, field, packet.way) {
        ("icmpv6", Family::V6, "type", Way::Out) => Fact::Word("nd-neighbor-solicit"),
        ("icmpv6", Family::V6, "type", Way::In) => Fact::Word("nd-neighbor-advert"),
        ("ip6", Family::V6, "nexthdr", _) => Fact::Word("ipv6-icmp"),
        ("arp", Family::V4, "operation", Way::Out) => Fact::Word("request"),
        ("arp", Family::V4, "operation", Way::In) => Fact::Word("reply"),
        ("ip6" | "icmpv6" | "th", Family::V6, ..) | ("arp", Family::V4, ..) | ("ether", ..) => {
            Fact::Unknown
        }
        _ => Fact::Foreign,
    }
}

fn of_meta<'p>(key: &str, packet: &'p Packet) -> Fact<'p> {
    let is_segment = packet.segment.is_some();
    match (key, packet.way) {
        ("oifname" | "oif", Way::Out | Way::Redirected) => Fact::Word(&packet.leg),
        ("iifname" | "iif", Way::In) => Fact::Word(&packet.leg),
        ("oifname" | "oif", Way::In) | ("iifname" | "iif", Way::Out) => Fact::Word(""),
        ("l4proto", _) if is_segment => Fact::Word("tcp"),
        ("nfproto", _) => Fact::Word(match packet.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }),
        ("protocol", _) if is_segment => Fact::Word(match packet.family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }),
        _ => Fact::Unknown,
    }
}

fn compare(fact: &Fact<'_>, right: &Value) -> Holds {
    let any = |values: &[Value]| {
        values.iter().map(|value| compare(fact, value)).fold(Holds::No, Holds::or)
    };
    match (fact, right) {
        (Fact::Foreign, _) => Holds::No,
        (Fact::Unknown, _) => Holds::Maybe,
        (_, Value::Array(values)) => any(values),
        (_, Value::Object(object)) => match object.iter().next() {
            Some((kind, Value::Array(values))) if kind == "set" => any(values),
            Some((kind, value)) if kind == "elem" => {
                value.get("val").map_or(Holds::Maybe, |value| compare(fact, value))
            }
            Some((kind, value)) if kind == "range" => within(fact, value),
            Some((kind, value)) if kind == "prefix" => below(fact, value),
            _ => Holds::Maybe,
        },
        (Fact::Number(port), Value::Number(number)) => {
            Holds::of(number.as_u64() == Some(u64::from(*port)))
        }
        (Fact::Address(address), Value::String(text)) => {
            text.parse::<IpAddr>().map_or(Holds::Maybe, |other| Holds::of(other == *address))
        }
        (Fact::Word(fact), Value::String(text)) => match text.strip_suffix('*') {
            Some(start) => Holds::of(fact.starts_with(start)),
            None => Holds::of(*fact == text),
        },
        _ => Holds::Maybe,
    }
}

fn within(fact: &Fact<'_>, range: &Value) -> Holds {
    let (Some(first), Some(last)) = (range.get(0), range.get(1)) else { return Holds::Maybe };
    match fact {
        Fact::Number(port) => match (first.as_u64(), last.as_u64()) {
            (Some(first), Some(last)) => Holds::of((first..=last).contains(&u64::from(*port))),
            _ => Holds::Maybe,
        },
        Fact::Address(address) => match (ip(first), ip(last)) {
            (Some(first), Some(last)) => Holds::of((first..=last).contains(address)),
            _ => Holds::Maybe,
        },
        Fact::Word(_) | Fact::Foreign | Fact::Unknown => Holds::Maybe,
    }
}

fn below(fact: &Fact<'_>, prefix: &Value) -> Holds {
    let length = prefix.get("len").and_then(Value::as_u64).and_then(|len| u8::try_from(len).ok());
    let net = prefix.get("addr").and_then(ip).zip(length);
    match (fact, net.and_then(|(address, length)| IpNet::new(address, length).ok())) {
        (Fact::Address(address), Some(net)) => Holds::of(net.contains(address)),
        _ => Holds::Maybe,
    }
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
