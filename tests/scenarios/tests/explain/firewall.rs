//! A local firewall in the way.
//!
//! Input: rules of nftables on the edge host that drop the router's probes, the answers to them,
//! the questions for the nodes' MAC addresses, or the answers to clients; nodes that are really
//! dead. Output: the step `firewall` with the chain and the rule, and a rule that mends it; another
//! step where the nodes are to blame.
//! On the wire: a connection to each of a few nodes; a reset that nobody takes in.

use anyhow::{Context, Result, ensure};
use roadstead_lab::{Host, eventually};
use roadstead_scenarios::{World, scenario, world::SOON};

use super::{held_by, wait_fine, wait_held};

/// Replaces the ruleset of a host at once.
fn rules(host: &Host, rules: &str) -> Result<()> {
    host.feed(&["nft", "-f", "-"], &format!("flush ruleset\n{rules}\n")).map(drop)
}

fn chain(family: &str, hook: &str, rule: &str) -> String {
    let device = if family == "netdev" { "device eth1 " } else { "" };
    format!(
        "table {family} lab {{ chain c {{ type filter hook {hook} {device}priority 0; {rule}; }}; }}"
    )
}

/// Waits until `explain` says that the firewall holds a Service back, in these words.
fn wait_told(world: &World, arguments: &[&str], words: &[&str]) -> Result<String> {
    eventually(&format!("the firewall is told with {words:?}"), SOON, || {
        let output = world.edge.cli(&[&["explain"], arguments].concat())?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(text.contains("Held back by: firewall"), "{text}");
        for word in words {
            ensure!(text.contains(word), "no `{word}` in {text}");
        }
        ensure!(output.status.code() == Some(1), "{}", output.status);
        Ok(text)
    })
}

/// What `explain` advises for a chain of nftables.
fn advised(text: &str) -> Result<&str> {
    let line = text.lines().find_map(|line| line.strip_prefix("What to do: nft "));
    let line = line.with_context(|| format!("no rule is advised: {text}"))?;
    line.split(" (").next().context("a rule")
}

#[test]
fn rules_that_drop_probes_or_their_answers_are_named() -> Result<()> {
    const NODE_PORTS: &str = "tcp dport { 10256, 30000-32767 }";
    const REPLIES: &str = "tcp sport { 10256, 30000-32767 }";
    scenario(
        || World::routed("explain-firewall"),
        |world| {
            world.serve_web()?;
            wait_fine(world, &["default/web"])?;
            let edge = world.lab.edge()?;
            for (family, hook, rule, words) in [
                (
                    "inet",
                    "output",
                    format!("{NODE_PORTS} drop"),
                    ["hook output", "node1", "nothing leaves eth1"],
                ),
                (
                    "ip6",
                    "output",
                    format!("{NODE_PORTS} reject"),
                    ["hook output", "[2001:db8:3::1:", "nothing leaves eth1"],
                ),
                (
                    "inet",
                    "postrouting",
                    format!("oifname eth1 {NODE_PORTS} drop"),
                    ["hook postrouting", "node1", "eth1"],
                ),
                (
                    "inet",
                    "input",
                    format!("{REPLIES} drop"),
                    ["hook input", "answers on eth1", "drops the answer"],
                ),
                (
                    "netdev",
                    "ingress",
                    format!("{REPLIES} drop"),
                    ["hook ingress", "answers on eth1", "drops the answer"],
                ),
                (
                    "netdev",
                    "egress",
                    format!("{NODE_PORTS} drop"),
                    ["hook egress", "node1", "nothing leaves eth1"],
                ),
            ] {
                rules(edge, &chain(family, hook, &rule))?;
                let named = format!("chain `c` of table `{family} lab`");
                let (last, first) = (rule.split(' ').next_back().unwrap_or_default(), words[0]);
                let text =
                    wait_told(world, &["default/web"], &[&named, first, words[1], words[2], last])?;
                ensure!(text.contains("# handle "), "the rule itself is not shown: {text}");
            }
            rules(edge, "")?;
            wait_fine(world, &["default/web"])
        },
    )
}

#[test]
fn the_rule_that_is_advised_mends_it() -> Result<()> {
    const RESOLUTION: &str = "iif lo accept; meta l4proto icmpv6 accept";
    scenario(
        || World::routed("explain-firewall-advice"),
        |world| {
            let edge = world.lab.edge()?;
            let input = format!("policy drop; {RESOLUTION}");
            for (number, (family, hook, rule)) in [
                ("inet", "input", input.as_str()),
                ("inet", "output", "tcp dport 30000-32767 drop"),
                ("netdev", "egress", "meta l4proto tcp drop"),
            ]
            .into_iter()
            .enumerate()
            {
                rules(edge, &chain(family, hook, rule))?;
                let name = format!("web{number}");
                world.edge.manifests.service(&super::web(&name).dual())?;
                let text = wait_told(world, &[&format!("default/{name}")], &[hook, "drop"])?;
                let advice: Vec<&str> = advised(&text)?.split(' ').collect();
                edge.run(&[&["nft"], &advice[..]].concat())?;
                wait_fine(world, &[&format!("default/{name}")])?;
                world.edge.manifests.delete(&name)?;
            }
            Ok(())
        },
    )
}

#[test]
fn a_filter_of_address_resolution_is_named() -> Result<()> {
    scenario(
        || World::routed("explain-firewall-arp"),
        |world| {
            world.serve("web", &super::web("web"))?;
            world.serve("web6", &super::web("web6").v6())?;
            let edge = world.lab.edge()?;
            for (service, family, hook, rule, words) in [
                (
                    "default/web",
                    "arp",
                    "output",
                    "arp operation request drop",
                    "nothing leaves eth1",
                ),
                (
                    "default/web",
                    "arp",
                    "input",
                    "arp operation reply drop",
                    "MAC address on the way",
                ),
                (
                    "default/web6",
                    "ip6",
                    "output",
                    "icmpv6 type nd-neighbor-solicit drop",
                    "nothing leaves eth1",
                ),
                (
                    "default/web6",
                    "ip6",
                    "input",
                    "icmpv6 type nd-neighbor-advert drop",
                    "MAC address on the way",
                ),
            ] {
                rules(edge, &chain(family, hook, rule))?;
                edge.forget_neighbours()?;
                let named = format!("chain `c` of table `{family} lab` (hook {hook}): {rule}");
                wait_told(world, &[service], &[&named, words])?;
            }
            rules(edge, "")?;
            wait_fine(world, &["default/web"])?;
            wait_fine(world, &["default/web6"])
        },
    )
}

#[test]
fn a_rule_that_drops_answers_to_clients_is_named() -> Result<()> {
    const FAR: [&str; 2] = ["198.51.100.10", "2001:db8:2::10"];
    scenario(
        || World::routed("explain-firewall-egress"),
        |world| {
            let vips = world.serve_web()?;
            let edge = world.lab.edge()?;
            let egress = |rule: &str| chain("netdev", "egress", rule).replace("eth1", "eth0");
            for (vip, far) in vips.iter().zip(FAR) {
                let (family, vip) = (if vip.is_ipv4() { "ip" } else { "ip6" }, vip.to_string());
                rules(edge, &egress(&format!("{family} saddr {vip} tcp sport 80 drop")))?;
                wait_told(
                    world,
                    &["default/web"],
                    &["hook egress", &vip, "to clients", "sport 80 drop"],
                )?;
                rules(edge, &egress(&format!("{family} daddr {far} drop")))?;
                wait_told(world, &["default/web", "--from", far], &["hook egress", &vip, far])?;
                wait_fine(world, &["default/web"])?;
            }
            Ok(())
        },
    )
}

#[test]
fn nodes_that_are_to_blame_are_told_from_a_firewall() -> Result<()> {
    scenario(
        || World::routed("explain-firewall-none"),
        |world| {
            world.serve_web()?;
            // Rules that have nothing to do with it, and one that drops at random elsewhere.
            let other = "tcp dport 23 drop; udp dport 53 drop; ip daddr 203.0.113.250 drop";
            rules(world.lab.edge()?, &chain("inet", "output", other))?;
            for node in &mut world.nodes {
                node.stop_serving()?;
            }
            wait_held(world, &["default/web"], "backends")?;
            let text = String::from_utf8(world.edge.cli(&["explain", "default/web"])?.stdout)?;
            ensure!(text.contains("node1 itself refuses 203.0.113.101:"), "{text}");
            for node in &mut world.nodes {
                node.die()?;
            }
            world.lab.edge()?.forget_neighbours()?;
            eventually("the silence of the nodes is told", SOON, || {
                let text = String::from_utf8(world.edge.cli(&["explain", "default/web"])?.stdout)?;
                ensure!(text.contains("Held back by: backends"), "{text}");
                ensure!(text.contains("does not answer on eth1 for its own MAC address"), "{text}");
                Ok(())
            })
        },
    )
}

#[test]
fn without_the_right_to_try_it_says_so() -> Result<()> {
    scenario(
        || World::routed("explain-firewall-unprivileged"),
        |world| {
            world.serve("web", &super::web("web"))?;
            let edge = world.lab.edge()?;
            rules(edge, &chain("inet", "output", "tcp dport { 10256, 30000 } drop"))?;
            wait_held(world, &["default/web"], "firewall")?;
            let program = roadstead_lab::process::built("roadstead")?.display().to_string();
            let config = world.edge.config().display().to_string();
            let bare = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
            let line = [&bare[..], &[&program, "explain", "default/web", "--config", &config]];
            let text = String::from_utf8(edge.output(&line.concat())?.stdout)?;
            ensure!(text.contains("was not tried: run as root"), "{text}");
            ensure!(text.contains("Held back by: backends"), "{text}");
            ensure!(held_by(world, &["default/web"])?.1 == Some(1));
            Ok(())
        },
    )
}
