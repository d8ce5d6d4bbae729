//! What was tried, as a step.

use std::{collections::BTreeSet, ops::RangeInclusive};

use roadstead_model::{
    Family,
    local::{BackendState, BackendStatus},
};

use super::{
    Firewall, Rules, Tried,
    attempt::Finding,
    lost,
    ruleset::{Suspect, Way},
    witness::{Lost, Outcome},
};
use crate::{
    explain::steps::{Step, Verdict},
    status::ServiceView,
};

/// The step's name; stable.
const NAME: &str = "firewall";
/// Rules named before the rest is counted.
const RULES_NAMED: usize = 3;
/// Where kube-apiserver takes NodePorts from.
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;
/// Where to look when nftables is not to blame.
const ELSEWHERE: &str = "iptables-legacy -S; tc filter show; bpftool cgroup tree";

/// The step. It holds a Service back where it cuts off every backend of a family, or the clients.
pub(in crate::explain) fn step(firewall: &Firewall, view: &ServiceView) -> Step {
    let (tries, probed) = match firewall {
        Firewall::NoSign => {
            return told(Verdict::Passed, "nothing suggests that this host's own is in the way");
        }
        Firewall::Untested(why) => {
            let message = format!("whether this host's own is in the way was not tried: {why}");
            return told(Verdict::Unknown, &message);
        }
        Firewall::Tried { tries, probed } => (tries, probed),
    };
    match tries.iter().find(|tried| lost(&tried.finding.outcome).is_some()) {
        Some(tried) => Step {
            name: NAME,
            verdict: if cuts_off(&tried.finding, view) { Verdict::Held } else { Verdict::Unknown },
            message: format!("{}; {}", what_is_lost(&tried.finding), by_what(tried)),
            advice: advice(tried, probed),
        },
        None => {
            let told_of = tries.iter().filter_map(|tried| is_elsewhere(&tried.finding));
            told(Verdict::Passed, &told_of.collect::<Vec<_>>().join("; "))
        }
    }
}

fn told(verdict: Verdict, message: &str) -> Step {
    Step { name: NAME, verdict, message: message.to_owned(), advice: String::new() }
}

/// Whether clients of some family get nothing.
fn cuts_off(finding: &Finding, view: &ServiceView) -> bool {
    let family = Family::of(finding.remote.ip());
    let serves = |backend: BackendStatus| {
        Family::of(backend.address) == family
            && matches!(backend.state, BackendState::Healthy | BackendState::SlowStart)
    };
    finding.node.is_none() || view.is_unproven() || !view.backends().any(serves)
}

fn what_is_lost(finding: &Finding) -> String {
    let Finding { remote, leg, outcome, .. } = finding;
    let Some(node) = &finding.node else {
        let vip = finding.own.0.map_or_else(String::new, |vip| format!(" of {vip}"));
        return format!("this host drops answers{vip} to clients ({}) on {leg}", remote.ip());
    };
    let asked = format!("{node} ({remote})");
    match outcome {
        Outcome::Kept(Lost::Segment) => {
            format!("this host drops its own connections to {asked}: nothing leaves {leg}")
        }
        Outcome::Kept(Lost::Resolution) => format!(
            "this host drops its own connections to {asked}, or the question for the MAC address: \
             nothing leaves {leg}"
        ),
        Outcome::Withheld(Lost::Segment) => {
            format!("{asked} answers on {leg}, and this host drops the answer")
        }
        Outcome::Withheld(Lost::Resolution) => format!(
            "the MAC address on the way to {asked} is told on {leg}, and this host drops that"
        ),
        Outcome::Answered
        | Outcome::Refused
        | Outcome::Silent
        | Outcome::Unreachable(_)
        | Outcome::NoNeighbour(_) => format!("{asked} is reached from {leg}"),
    }
}

fn by_what(tried: &Tried) -> String {
    match &tried.rules {
        None => String::new(),
        Some(Rules::Unread(why)) => format!("by which rule is not known: {why}"),
        Some(Rules::Read(rules)) if rules.is_empty() => {
            let leg = &tried.finding.leg;
            format!(
                "no rule of nftables does that: it is rp_filter, iptables-legacy, traffic \
                     control of {leg} or a BPF program"
            )
        }
        Some(Rules::Read(rules)) => {
            let named = rules.iter().take(RULES_NAMED);
            let named: Vec<String> =
                named.map(|(suspect, text)| format!("{suspect}: {text}")).collect();
            let more = rules.len().saturating_sub(RULES_NAMED);
            let more = if more > 0 { format!(", or {more} more") } else { String::new() };
            let sure = if rules.len() == 1 { "by" } else { "by one of" };
            format!("{sure} {}{more}", named.join(", or "))
        }
    }
}

fn advice(tried: &Tried, ports: &BTreeSet<u16>) -> String {
    let rules = match &tried.rules {
        Some(Rules::Read(rules)) => rules.as_slice(),
        Some(Rules::Unread(_)) | None => {
            let hooks = match tried.finding.way {
                Way::Out => "output, postrouting and netdev egress",
                Way::In => "netdev ingress, prerouting and input",
                Way::Redirected => "netdev egress",
            };
            return format!("look at the rules of the hooks {hooks}: nft list ruleset");
        }
    };
    match rules.first() {
        None => format!("look elsewhere than in nftables: {ELSEWHERE}"),
        Some((Suspect { family, table, chain, .. }, _)) => format!(
            "nft insert rule {family} {table} {chain} {}accept (and write it where these rules \
             are loaded from)",
            exception(&tried.finding, family, ports)
        ),
    }
}

/// A match on what is to be let through, with a blank behind it.
fn exception(finding: &Finding, table_family: &str, ports: &BTreeSet<u16>) -> String {
    match (&finding.outcome, finding.way) {
        _ if table_family == "arp" => String::new(),
        (_, Way::Redirected) => finding.own.0.map_or_else(String::new, |vip| {
            format!("{} saddr {vip} ", if vip.is_ipv4() { "ip" } else { "ip6" })
        }),
        (Outcome::Withheld(Lost::Resolution), _) => {
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ".to_owned()
        }
        (_, Way::In) if table_family != "netdev" => "ct state established,related ".to_owned(),
        (_, Way::In) => format!("tcp sport {} ", port_set(ports)),
        (_, Way::Out) if table_family != "netdev" => {
            format!("oifname {} tcp dport {} ", finding.leg, port_set(ports))
        }
        (_, Way::Out) => format!("tcp dport {} ", port_set(ports)),
    }
}

/// Every NodePort (the default of kube-apiserver's `--service-node-port-range`), and what else is
/// asked.
fn port_set(ports: &BTreeSet<u16>) -> String {
    let others = ports.iter().filter(|port| !NODE_PORTS.contains(port));
    let others: String = others.map(|port| format!("{port}, ")).collect();
    format!("{{ {others}{}-{} }}", NODE_PORTS.start(), NODE_PORTS.end())
}

/// What a try says of the rest of the way.
fn is_elsewhere(finding: &Finding) -> Option<String> {
    let node = finding.node.as_ref()?;
    let Finding { remote, leg, outcome, .. } = finding;
    Some(match outcome {
        Outcome::Answered => format!("{node} ({remote}) answers this host"),
        Outcome::Refused => format!("{node} itself refuses {remote}"),
        Outcome::Silent => {
            format!("what is sent to {node} ({remote}) leaves {leg}, nothing comes back")
        }
        Outcome::Unreachable(why) => format!("{node} ({remote}): {why}"),
        Outcome::NoNeighbour(hop) if *hop == remote.ip() => {
            format!("{node} does not answer on {leg} for its own MAC address")
        }
        Outcome::NoNeighbour(hop) => {
            format!("the gateway {hop} to {node} does not answer on {leg}")
        }
        Outcome::Kept(_) | Outcome::Withheld(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{answers, backend, router, speaker},
        status::Status,
    };

    fn view(state: BackendState) -> ServiceView {
        let mut router = router();
        router.lists[0] = [backend("n1", state, "")].into();
        Status::of(&answers(speaker(), router)).services.remove(0)
    }

    fn tried(node: Option<&str>, way: Way, outcome: Outcome, rules: Option<Rules>) -> Tried {
        let finding = Finding {
            node: node.map(Into::into),
            remote: "198.51.100.5:10256".parse().unwrap(),
            own: (Some("192.0.2.10".parse().unwrap()), Some(80)),
            leg: "eth1".to_owned(),
            way,
            outcome,
        };
        Tried { finding, rules }
    }

    fn rule(family: &str, handle: Option<u64>) -> (Suspect, String) {
        let [family, table, chain, hook] = [family, "t", "c", "h"].map(str::to_owned);
        (Suspect { family, table, chain, hook, handle }, "drop".to_owned())
    }

    fn by(family: &str) -> Option<Rules> {
        Some(Rules::Read(vec![rule(family, Some(7))]))
    }

    fn step_of(tried: Tried, state: BackendState) -> Step {
        step(&Firewall::Tried { tries: vec![tried], probed: [10_256].into() }, &view(state))
    }

    #[test]
    fn what_is_not_lost_here_passes_and_says_what_was_seen() {
        let passed =
            |outcome| step_of(tried(Some("n1"), Way::Out, outcome, None), BackendState::Unhealthy);
        for (outcome, words) in [
            (Outcome::Answered, "n1 (198.51.100.5:10256) answers this host"),
            (Outcome::Refused, "n1 itself refuses 198.51.100.5:10256"),
            (Outcome::Silent, "leaves eth1, nothing comes back"),
            (Outcome::Unreachable("no route".into()), "n1 (198.51.100.5:10256): no route"),
            (Outcome::NoNeighbour("198.51.100.5".parse().unwrap()), "for its own MAC address"),
            (
                Outcome::NoNeighbour("198.51.100.1".parse().unwrap()),
                "the gateway 198.51.100.1 to n1",
            ),
        ] {
            let step = passed(outcome);
            assert_eq!((step.name, step.verdict), ("firewall", Verdict::Passed));
            assert!(step.message.contains(words), "{}", step.message);
        }
        assert_eq!(step(&Firewall::NoSign, &view(BackendState::Healthy)).verdict, Verdict::Passed);
        let untested = step(&Firewall::Untested("why".into()), &view(BackendState::Unhealthy));
        assert_eq!(untested.verdict, Verdict::Unknown);
        assert!(untested.message.ends_with("was not tried: why"), "{}", untested.message);
    }

    #[test]
    fn a_service_is_held_back_where_no_backend_of_the_family_is_left() {
        let kept = || tried(Some("n1"), Way::Out, Outcome::Kept(Lost::Segment), by("inet"));
        for (state, verdict) in [
            (BackendState::Unhealthy, Verdict::Held),
            (BackendState::Healthy, Verdict::Unknown),
            (BackendState::SlowStart, Verdict::Unknown),
        ] {
            let step = step_of(kept(), state);
            assert_eq!(step.verdict, verdict);
            assert!(!step.advice.is_empty(), "{step:?}");
        }
        let clients = tried(None, Way::Redirected, Outcome::Kept(Lost::Segment), by("netdev"));
        assert_eq!(step_of(clients, BackendState::Healthy).verdict, Verdict::Held);
    }

    #[test]
    fn the_exception_that_is_advised_fits_what_is_lost() {
        let (segment, resolution) = (Lost::Segment, Lost::Resolution);
        for (way, outcome, family, exception) in [
            (
                Way::Out,
                Outcome::Kept(segment),
                "inet",
                "oifname eth1 tcp dport { 10256, 30000-32767 } accept",
            ),
            (Way::Out, Outcome::Kept(segment), "netdev", "tcp dport { 10256, 30000-32767 } accept"),
            (Way::Out, Outcome::Kept(resolution), "arp", "accept"),
            (Way::In, Outcome::Withheld(segment), "ip", "ct state established,related accept"),
            (
                Way::In,
                Outcome::Withheld(segment),
                "netdev",
                "tcp sport { 10256, 30000-32767 } accept",
            ),
            (
                Way::In,
                Outcome::Withheld(resolution),
                "inet",
                "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
            ),
            (Way::In, Outcome::Withheld(resolution), "arp", "accept"),
        ] {
            let step =
                step_of(tried(Some("n1"), way, outcome, by(family)), BackendState::Unhealthy);
            let wanted = format!("nft insert rule {family} t c {exception} (");
            assert!(step.advice.starts_with(&wanted), "{} is not {wanted}", step.advice);
        }
        let clients = tried(None, Way::Redirected, Outcome::Kept(segment), by("netdev"));
        let step = step_of(clients, BackendState::Healthy);
        assert!(step.advice.starts_with("nft insert rule netdev t c ip saddr 192.0.2.10 accept"));
    }

    #[test]
    fn one_rule_is_sure_and_several_are_not() {
        let told = |rules| {
            let kept = Outcome::Kept(Lost::Segment);
            step_of(tried(Some("n1"), Way::Out, kept, Some(rules)), BackendState::Unhealthy)
        };
        let one = told(Rules::Read(vec![rule("inet", Some(7))]));
        assert!(
            one.message.ends_with("; by chain `c` of table `inet t` (hook h): drop"),
            "{one:?}"
        );
        let five = told(Rules::Read(vec![rule("inet", None); 5]));
        assert!(five.message.contains("; by one of chain"), "{five:?}");
        assert!(five.message.ends_with(", or 2 more"), "{five:?}");
        let none = told(Rules::Read(Vec::new()));
        assert!(none.message.contains("no rule of nftables does that"), "{none:?}");
        assert!(none.advice.contains("iptables-legacy"), "{none:?}");
        let unread = told(Rules::Unread("nft is not installed".into()));
        assert!(unread.message.ends_with("by which rule is not known: nft is not installed"));
        assert!(unread.advice.contains("output, postrouting and netdev egress"), "{unread:?}");
    }
}
