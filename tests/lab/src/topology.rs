//! Hosts and segments: described first, then built in one go.
//!
//! A segment with two legs is a plain veth pair; with more it is a bridge in the switch, a
//! namespace of its own whose ports are named `HOST-INTERFACE`.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;

use crate::{
    artifacts::{self, RunDir},
    host::{Host, Leg, Mac, set_sysctl},
    netns::{self, Namespace},
    wire,
};

/// Sysctls of every namespace, set before its first link: no wait for duplicate address
/// detection, and a congestion control that exists in every namespace.
const SYSCTLS: [(&str, &str); 6] = [
    ("net/ipv4/tcp_congestion_control", "reno"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
];

/// Name of the namespace that holds the bridges.
pub const SWITCH: &str = "switch";

/// A network to be built.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    hosts: Vec<HostPlan>,
    prefix: Option<String>,
}

#[derive(Clone, Debug)]
struct HostPlan {
    name: String,
    legs: Vec<(String, Vec<IpNet>)>,
    gateways: Vec<IpAddr>,
    routes: Vec<String>,
    forwarding: bool,
    /// Interfaces behind a wire.
    wired: Vec<String>,
}

/// Describes one host of a [`Topology`].
#[derive(Debug)]
pub struct HostBuilder<'a>(&'a mut HostPlan);

impl Topology {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the namespaces a fixed prefix: they outlive the process and are never stale.
    #[must_use]
    pub fn named(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// Adds a host.
    pub fn host(&mut self, name: &str) -> HostBuilder<'_> {
        let index = self.hosts.len();
        self.hosts.push(HostPlan {
            name: name.to_owned(),
            legs: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
            forwarding: false,
            wired: Vec::new(),
        });
        HostBuilder(&mut self.hosts[index])
    }

    /// Builds it all; removes first what labs of dead processes left.
    pub fn build(&self, test: &str) -> Result<Lab> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let began = Instant::now();
        netns::remove_stale();
        artifacts::remove_stale();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = self.prefix.clone().unwrap_or_else(|| netns::prefix(number));
        let run = RunDir::new(&prefix)?;
        let mut lab = Lab {
            test: test.to_owned(),
            prefix,
            hosts: BTreeMap::new(),
            run,
            built_in: began.elapsed(),
        };
        lab.add_namespace(SWITCH, Vec::new(), Vec::new())?;
        for (index, host) in self.hosts.iter().enumerate() {
            lab.add_namespace(&host.name, legs(index, host)?, host.gateways.clone())?;
        }
        for host in &self.hosts {
            host.wired.iter().try_for_each(|interface| lab.add_wire(&host.name, interface))?;
        }
        lab.wire_up(&self.segments()?)?;
        for host in &self.hosts {
            for interface in &host.wired {
                lab.host(&wire::name(&host.name, interface))?.link("outer", true)?;
            }
        }
        for host in &self.hosts {
            lab.configure(host)?;
        }
        lab.built_in = began.elapsed();
        Ok(lab)
    }

    /// What is plugged into each segment.
    fn segments(&self) -> Result<BTreeMap<String, Vec<End>>> {
        let mut segments: BTreeMap<String, Vec<End>> = BTreeMap::new();
        for (number, host) in self.hosts.iter().enumerate() {
            for (leg, (segment, _)) in legs(number, host)?.iter().zip(&host.legs) {
                let port = format!("{}-{}", host.name, leg.interface);
                let end = if host.wired.contains(&leg.interface) {
                    let wire = wire::name(&host.name, &leg.interface);
                    End { host: wire, interface: "outer".to_owned(), mac: None, port }
                } else {
                    let (host, interface) = (host.name.clone(), leg.interface.clone());
                    End { host, interface, mac: Some(leg.mac), port }
                };
                segments.entry(segment.clone()).or_default().push(end);
            }
        }
        Ok(segments)
    }
}

/// An interface that is plugged into a segment.
struct End {
    /// The namespace it is in.
    host: String,
    /// Its name there.
    interface: String,
    mac: Option<Mac>,
    /// What the port of the switch is called, where there is one.
    port: String,
}

impl HostBuilder<'_> {
    /// Adds the next interface (`eth0`, `eth1`, …) on a segment.
    ///
    /// # Panics
    /// When an address is not of the form `ADDRESS/LENGTH`: topologies are written by hand.
    #[must_use]
    pub fn leg<S: AsRef<str>>(self, segment: &str, addresses: impl IntoIterator<Item = S>) -> Self {
        let parse = |text: S| text.as_ref().parse().expect("an address with its prefix length");
        let addresses = addresses.into_iter().map(parse).collect();
        self.0.legs.push((segment.to_owned(), addresses));
        self
    }

    /// Puts a [`wire::Wire`] between the last leg and its segment; nothing passes until it is
    /// started.
    #[must_use]
    pub fn wired(self) -> Self {
        let last = self.0.legs.len().saturating_sub(1);
        self.0.wired.push(format!("eth{last}"));
        self
    }

    /// Default routes, one per family.
    ///
    /// # Panics
    /// When an address does not parse: topologies are written by hand.
    #[must_use]
    pub fn gateways(self, addresses: &[&str]) -> Self {
        let parsed = addresses.iter().map(|text| text.parse::<IpAddr>().expect("an address"));
        self.0.gateways.extend(parsed);
        self
    }

    /// A further route, in the words of `ip route add`.
    #[must_use]
    pub fn route(self, words: &str) -> Self {
        self.0.routes.push(words.to_owned());
        self
    }

    /// Lets it forward: a router.
    pub fn forwarding(self) {
        self.0.forwarding = true;
    }
}

/// A running network.
#[derive(Debug)]
pub struct Lab {
    test: String,
    prefix: String,
    hosts: BTreeMap<String, Host>,
    run: RunDir,
    built_in: Duration,
}

impl Lab {
    /// A host by name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.get(name).ok_or_else(|| anyhow!("the lab has no host {name}"))
    }

    /// The switch: its interfaces are named `HOST-INTERFACE`.
    pub fn switch(&self) -> Result<&Host> {
        self.host(SWITCH)
    }

    /// Every host, the switch included.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// Where logs and captures go while it runs.
    pub fn logs(&self) -> PathBuf {
        self.run.logs()
    }

    /// A directory of its own, removed with the lab.
    pub fn dir(&self) -> &Path {
        self.run.path()
    }

    /// The name of the test.
    pub fn test(&self) -> &str {
        &self.test
    }

    /// How the namespaces' names start.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How long the building took.
    pub fn built_in(&self) -> Duration {
        self.built_in
    }

    /// The commands that open a shell on each host.
    pub fn how_to_look_inside(&self) -> String {
        let mut text = String::new();
        for host in self.hosts.values() {
            let _ = writeln!(text, "  {:<9} {}", host.name, host.namespace.nsenter());
        }
        text
    }

    /// After a failure: keeps logs and captures, says where and how to look inside while it runs.
    pub fn explain_failure(&self) -> String {
        for host in self.hosts.values() {
            drop(self.dump_host(host));
        }
        let kept = match artifacts::keep(&self.test, &self.logs()) {
            Ok(path) => format!("logs and captures: {}", path.display()),
            Err(error) => format!("logs and captures could not be kept: {error:#}"),
        };
        format!(
            "{kept}\nhosts of the lab (gone with it; set LAB_HOLD=1 to stop here):\n{}",
            self.how_to_look_inside()
        )
    }

    /// Addresses, routes, neighbours and counters of one host beside the logs.
    fn dump_host(&self, host: &Host) -> Result<()> {
        let commands: [&[&str]; 4] =
            [&["ip", "-s", "addr"], &["ip", "route"], &["ip", "-6", "route"], &["ip", "neigh"]];
        let mut text = String::new();
        for command in commands {
            writeln!(text, "# {}\n{}", command.join(" "), host.run(command)?)?;
        }
        for file in ["snmp", "snmp6", "netstat", "softnet_stat"] {
            let path = format!("/proc/thread-self/net/{file}");
            let read = || std::fs::read_to_string(&path).with_context(|| path.clone());
            writeln!(text, "# {file}\n{}", host.namespace.enter(read)?)?;
        }
        std::fs::write(self.logs().join(format!("{}.state", host.name)), text)?;
        Ok(())
    }

    /// Leaves everything running and on disk: for a demonstration that is kept.
    pub fn leave_running(self) {
        std::mem::forget(self);
    }

    fn add_namespace(&mut self, name: &str, legs: Vec<Leg>, gateways: Vec<IpAddr>) -> Result<()> {
        let host = bare_host(&self.prefix, name, legs, gateways)?;
        self.hosts.insert(name.to_owned(), host);
        Ok(())
    }

    /// Makes the links: from the switch for bridges, from the first end for pairs.
    fn wire_up(&self, segments: &BTreeMap<String, Vec<End>>) -> Result<()> {
        let mut batches: BTreeMap<&str, String> = BTreeMap::new();
        for (segment, ends) in segments {
            match ends.as_slice() {
                [] | [_] => bail!("segment {segment} wants at least two legs"),
                [a, b] => {
                    let batch = batches.entry(&a.host).or_default();
                    writeln!(batch, "{}", self.veth(&a.interface, a.mac, b)?)?;
                }
                _ => {
                    let batch = batches.entry(SWITCH).or_default();
                    writeln!(batch, "link add name {segment} type bridge\nlink set {segment} up")?;
                    for end in ends {
                        let port = &end.port;
                        writeln!(batch, "{}", self.veth(port, None, end)?)?;
                        writeln!(batch, "link set {port} master {segment}\nlink set {port} up")?;
                    }
                }
            }
        }
        for (host, batch) in batches {
            self.host(host)?.feed(&["ip", "-batch", "-"], &batch)?;
        }
        Ok(())
    }

    /// The line that makes a veth with its near end here and its far end where `far` is.
    fn veth(&self, near: &str, mac: Option<Mac>, far: &End) -> Result<String> {
        let address = |mac: Option<Mac>| mac.map_or(String::new(), |mac| format!(" address {mac}"));
        let (near_mac, far_mac) = (address(mac), address(far.mac));
        let namespace = self.host(&far.host)?.namespace.name();
        let peer = &far.interface;
        Ok(format!(
            "link add name {near}{near_mac} type veth peer name {peer}{far_mac} netns {namespace}"
        ))
    }

    /// The namespaces of wires, with their end towards the host; the other end is a segment's.
    fn add_wire(&mut self, host: &str, interface: &str) -> Result<()> {
        let name = wire::name(host, interface);
        self.add_namespace(&name, Vec::new(), Vec::new())?;
        let mac = self.host(host)?.leg(interface)?.mac;
        let far = End {
            host: host.to_owned(),
            interface: interface.to_owned(),
            mac: Some(mac),
            port: String::new(),
        };
        let line = self.veth("inner", None, &far)?;
        let wire = self.host(&name)?;
        wire.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        wire.feed(&["ip", "-batch", "-"], &format!("{line}\nlink set inner up\n")).map(drop)
    }

    /// Addresses, routes and forwarding of one host.
    fn configure(&self, plan: &HostPlan) -> Result<()> {
        let host = self.host(&plan.name)?;
        if plan.forwarding {
            host.sysctl("net/ipv4/ip_forward", "1")?;
            host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        let mut batch = String::from("link set lo up\n");
        for leg in &host.legs {
            for address in &leg.addresses {
                let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
                writeln!(batch, "addr add {address} dev {}{nodad}", leg.interface)?;
            }
            writeln!(batch, "link set {} up", leg.interface)?;
        }
        for gateway in &plan.gateways {
            writeln!(batch, "route add default via {gateway}")?;
        }
        for route in &plan.routes {
            writeln!(batch, "route add {route}")?;
        }
        host.feed(&["ip", "-batch", "-"], &batch)
            .with_context(|| format!("cannot configure {}", plan.name))?;
        Ok(())
    }
}

/// A namespace of the lab with its sysctls, which knows of its legs but has none of them yet.
pub(crate) fn bare_host(
    prefix: &str,
    name: &str,
    legs: Vec<Leg>,
    gateways: Vec<IpAddr>,
) -> Result<Host> {
    let namespace = Namespace::new(&format!("{prefix}-{name}"))?;
    namespace.enter(|| SYSCTLS.iter().try_for_each(|(path, value)| set_sysctl(path, value)))?;
    Ok(Host { name: name.to_owned(), namespace: Arc::new(namespace), legs, gateways })
}

/// The legs of a host, with MAC addresses that tell host and leg.
fn legs(host: usize, plan: &HostPlan) -> Result<Vec<Leg>> {
    let leg = |(index, (segment, addresses)): (usize, &(String, Vec<IpNet>))| {
        Ok(Leg {
            interface: format!("eth{index}"),
            addresses: addresses.clone(),
            mac: Mac([0x02, 0x52, 0x53, 0, u8::try_from(host)?, u8::try_from(index)?]),
            segment: segment.clone(),
        })
    };
    plan.legs.iter().enumerate().map(leg).collect()
}
