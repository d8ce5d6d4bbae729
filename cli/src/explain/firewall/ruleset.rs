//! Which chains of nftables may drop a packet: `nft -j list ruleset` (libnftables-json(5)) followed
//! as the kernel follows it, as far as the rules can be understood here.
//!
//! A match on what is known of the packet is decided; any other may hold or not. So a chain named
//! here may drop the packet, and one that is not named cannot. Rules of `iptables-nft` are read as
//! well: they are chains of the same ruleset.

mod matching;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr};

use roadstead_model::Family;
use serde_json::Value;

use matching::Holds;

/// A chain may jump so deep (the kernel's own limit, `NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// The packet that is lost, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Its family; of a question for a MAC address that of the address asked for.
    pub(super) family: Family,
    /// Of a TCP segment, source and destination; `None` for address resolution.
    pub(super) segment: Option<[End; 2]>,
    /// The leg.
    pub(super) leg: String,
    /// Which way.
    pub(super) way: Way,
}

/// One end of a segment; `None` where it is not known.
pub(super) type End = (Option<IpAddr>, Option<u16>);

/// The way of a packet through the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From a socket of this host to the leg.
    Out,
    /// From the leg to a socket of this host.
    In,
    /// Redirected to the leg by the load balancer's program.
    Redirected,
}

/// A chain that may drop the packet, and by which of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// Family of the table as nft writes it: `ip`, `inet`, `netdev`, …
    pub(super) family: String,
    /// The table.
    pub(super) table: String,
    /// The chain that holds the rule.
    pub(super) chain: String,
    /// The hook that leads there.
    pub(super) hook: String,
    /// The rule's handle; `None` where the chain's policy is to drop.
    pub(super) handle: Option<u64>,
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, chain, hook, .. } = self;
        write!(f, "chain `{chain}` of table `{family} {table}` (hook {hook})")
    }
}

/// Everything that `nft -j list ruleset` printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruleset {
    objects: Vec<Value>,
}

impl Ruleset {
    /// Reads it; what is no ruleset is none.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut value: Value = serde_json::from_slice(text).ok()?;
        let objects = value.get_mut("nftables")?.as_array_mut().map(std::mem::take)?;
        Some(Self { objects })
    }

    /// The chains that may drop a packet, in the order in which it meets them. What comes behind a
    /// rule that surely drops it is not looked at.
    pub(super) fn suspects(&self, packet: &Packet) -> Vec<Suspect> {
        let mut bases: Vec<(usize, i64, &Value)> = self
            .all("chain")
            .filter_map(|chain| Some((place(chain, packet)?, priority(chain), chain)))
            .collect();
        bases.sort_by_key(|(place, priority, _)| (*place, *priority));
        let mut suspects = Vec::new();
        for (_, _, base) in bases {
            if self.walk_base(base, packet, &mut suspects) == Fate::Dropped {
                break;
            }
        }
        suspects
    }

    fn all<'r>(&'r self, kind: &'r str) -> impl Iterator<Item = &'r Value> {
        self.objects.iter().filter_map(move |object| object.get(kind))
    }

    fn walk_base(&self, base: &Value, packet: &Packet, suspects: &mut Vec<Suspect>) -> Fate {
        let hook = text(base, "hook");
        let mut walk = Walk { ruleset: self, packet, hook, suspects };
        let fate = walk.chain(text(base, "family"), text(base, "table"), text(base, "name"), 0);
        if fate == Fate::GoesOn && text(base, "policy") == "drop" {
            walk.suspect(base, text(base, "name"), None);
            return Fate::Dropped;
        }
        fate
    }
}

/// What surely becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// This hook lets it through.
    Accepted,
    /// It is gone.
    Dropped,
    /// The next rule decides.
    GoesOn,
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action<'r> {
    Drop,
    Accept,
    Return,
    Jump(&'r str),
    Goto(&'r str),
}

struct Walk<'w> {
    ruleset: &'w Ruleset,
    packet: &'w Packet,
    hook: &'w str,
    suspects: &'w mut Vec<Suspect>,
}

impl Walk<'_> {
    fn chain(&mut self, family: &str, table: &str, name: &str, depth: usize) -> Fate {
        if depth > DEEPEST {
            return Fate::GoesOn;
        }
        let ruleset = self.ruleset;
        let here = |rule: &&Value| {
            [text(rule, "family"), text(rule, "table"), text(rule, "chain")]
                == [family, table, name]
        };
        for rule in ruleset.all("rule").filter(here) {
            for (holds, action) in actions(rule, self.packet, ruleset) {
                if let Some(fate) = self.act(rule, holds, action, depth) {
                    return fate;
                }
            }
        }
        Fate::GoesOn
    }

    /// The fate where it is sure that this rule decides it.
    fn act(
        &mut self,
        rule: &Value,
        holds: Holds,
        action: Action<'_>,
        depth: usize,
    ) -> Option<Fate> {
        let (family, table) = (text(rule, "family"), text(rule, "table"));
        let fate = match action {
            Action::Drop => {
                self.suspect(rule, text(rule, "chain"), rule.get("handle").and_then(Value::as_u64));
                Fate::Dropped
            }
            Action::Accept => Fate::Accepted,
            Action::Return => Fate::GoesOn,
            Action::Goto(target) => self.chain(family, table, target, depth.saturating_add(1)),
            Action::Jump(target) => {
                let fate = self.chain(family, table, target, depth.saturating_add(1));
                if fate == Fate::GoesOn {
                    return None;
                }
                fate
            }
        };
        (holds == Holds::Yes).then_some(fate)
    }

    fn suspect(&mut self, of: &Value, chain: &str, handle: Option<u64>) {
        self.suspects.push(Suspect {
            family: text(of, "family").to_owned(),
            table: text(of, "table").to_owned(),
            chain: chain.to_owned(),
            hook: self.hook.to_owned(),
            handle,
        });
    }
}

/// What a rule may do with the packet; nothing where it surely does not match.
fn actions<'r>(rule: &'r Value, packet: &Packet, ruleset: &Ruleset) -> Vec<(Holds, Action<'r>)> {
    let mut holds = Holds::Yes;
    let statements = rule.get("expr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for statement in statements {
        if let Some(test) = statement.get("match") {
            holds = holds.and(matching::test(test, packet, &|name| set(ruleset, rule, name)));
            if holds == Holds::No {
                return Vec::new();
            }
        } else if let Some(map) = statement.get("vmap") {
            return of_map(map, holds, packet);
        } else if let Some(action) = action(statement) {
            return vec![(holds, action)];
        } else if !matching::is_harmless(statement) {
            holds = holds.and(Holds::Maybe);
        }
    }
    match statements.last().and_then(|last| last.get("xt")) {
        Some(target) if may_reject(target) => vec![(holds, Action::Drop)],
        _ => Vec::new(),
    }
}

/// A rule of `iptables-nft` ends with an extension where its target is none of nftables' own;
/// older versions of nft do not print which.
fn may_reject(target: &Value) -> bool {
    target.is_null() || ["REJECT", "TARPIT"].contains(&text(target, "name"))
}

/// A verdict map: each element as a rule of its own.
fn of_map<'r>(map: &'r Value, holds: Holds, packet: &Packet) -> Vec<(Holds, Action<'r>)> {
    let elements = map.pointer("/data/set").and_then(Value::as_array);
    let of_element = |element: &'r Value| {
        let (key, verdict) = (element.get(0)?, element.get(1)?);
        let key = matching::equals(map.get("key")?, key, packet);
        let holds = holds.and(key);
        (holds != Holds::No).then_some((holds, action(verdict)?))
    };
    elements.into_iter().flatten().filter_map(of_element).collect()
}

fn action(statement: &Value) -> Option<Action<'_>> {
    let (kind, value) = statement.as_object()?.iter().next()?;
    let target = || value.get("target").and_then(Value::as_str);
    match kind.as_str() {
        "drop" | "reject" => Some(Action::Drop),
        "accept" => Some(Action::Accept),
        "return" => Some(Action::Return),
        "jump" => target().map(Action::Jump),
        "goto" => target().map(Action::Goto),
        _ => None,
    }
}

/// The elements of a named set of the rule's table.
fn set<'r>(ruleset: &'r Ruleset, rule: &Value, name: &str) -> Option<&'r Value> {
    let same = |set: &&Value| {
        ["family", "table"].iter().all(|key| text(set, key) == text(rule, key))
            && text(set, "name") == name
    };
    ruleset.all("set").find(same)?.get("elem")
}

/// Where on its way the packet meets a base chain; `None` where it does not.
fn place(chain: &Value, packet: &Packet) -> Option<usize> {
    let hooks: &[&str] = match packet.way {
        Way::Out => &["output", "postrouting", "egress"],
        Way::In => &["ingress", "prerouting", "input"],
        Way::Redirected => &["egress"],
    };
    let hook = text(chain, "hook");
    let place = hooks.iter().position(|known| *known == hook)?;
    let is_arp = packet.segment.is_none() && packet.family == Family::V4;
    let meets = match (text(chain, "family"), packet.family) {
        ("netdev", _) => is_on(chain, &packet.leg),
        ("inet", _) if hook == "ingress" => is_on(chain, &packet.leg),
        ("bridge", _) => true,
        ("arp", _) => is_arp,
        ("inet", _) | ("ip", Family::V4) | ("ip6", Family::V6) => !is_arp,
        _ => false,
    };
    meets.then_some(place)
}

/// Whether a chain of devices is on the leg; older versions of nft do not print the devices.
fn is_on(chain: &Value, leg: &str) -> bool {
    match chain.get("dev") {
        Some(Value::String(device)) => device == leg,
        Some(Value::Array(devices)) => devices.iter().any(|device| device == leg),
        _ => true,
    }
}

fn priority(chain: &Value) -> i64 {
    chain.get("prio").and_then(Value::as_i64).unwrap_or(0)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
