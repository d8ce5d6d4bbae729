//! One host of a lab: a namespace with legs.

use std::{
    fmt,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, ensure};
use ipnet::IpNet;

use crate::netns::Namespace;

/// A host: a network namespace, its legs and their addresses.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) gateways: Vec<IpAddr>,
}

/// One interface of a host.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Name inside the namespace (`eth0`, `eth1`, …).
    pub interface: String,
    /// Addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Its MAC address.
    pub mac: Mac,
    /// Name of the segment it is on.
    pub segment: String,
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Host {
    /// Its name in the lab (`client`, `edge`, `node1`, …).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Its legs, in the order of the topology.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// A leg by its interface name.
    pub fn leg(&self, interface: &str) -> Result<&Leg> {
        let leg = self.legs.iter().find(|leg| leg.interface == interface);
        leg.ok_or_else(|| anyhow!("{} has no interface {interface}", self.name))
    }

    /// Its first IPv4 address.
    pub fn v4(&self) -> Result<Ipv4Addr> {
        let first = self.addresses().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        first.ok_or_else(|| anyhow!("{} has no IPv4 address", self.name))
    }

    /// Its first IPv6 address.
    pub fn v6(&self) -> Result<Ipv6Addr> {
        let first = self.addresses().find_map(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        first.ok_or_else(|| anyhow!("{} has no IPv6 address", self.name))
    }

    /// Every address, without those of link-local scope.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.legs.iter().flat_map(|leg| leg.addresses.iter().map(IpNet::addr))
    }

    /// A command that will run inside, its output not yet captured.
    fn command(line: &[&str]) -> Result<Command> {
        let (program, args) = line.split_first().ok_or_else(|| anyhow!("an empty command"))?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command inside to its end, whatever its status.
    pub fn output(&self, line: &[&str]) -> Result<Output> {
        self.namespace.enter(|| {
            Self::command(line)?.output().with_context(|| format!("cannot run {}", line.join(" ")))
        })
    }

    /// Runs a command inside; a failure is an error with what it said. Returns its output.
    pub fn run(&self, line: &[&str]) -> Result<String> {
        let output = self.output(line)?;
        ensure!(
            output.status.success(),
            "on {}: {} ended with {}: {}{}",
            self.name,
            line.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command inside with a text on its standard input.
    pub fn feed(&self, line: &[&str], input: &str) -> Result<String> {
        let output = self.namespace.enter(|| {
            let mut command = Self::command(line)?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().with_context(|| format!("cannot run {line:?}"))?;
            let stdin = child.stdin.take().ok_or_else(|| anyhow!("no pipe to {line:?}"))?;
            { stdin }.write_all(input.as_bytes())?;
            Ok(child.wait_with_output()?)
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "on {}: {line:?}: {said}; input:\n{input}", self.name);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` with one line of arguments.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let line: Vec<&str> = ["ip"].into_iter().chain(arguments.split_whitespace()).collect();
        self.run(&line)
    }

    /// Sets a sysctl of the namespace, by its path under `/proc/sys`.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.namespace.enter(|| set_sysctl(path, value))
    }

    /// Reads a sysctl of the namespace, by its path under `/proc/sys`.
    pub fn read_sysctl(&self, path: &str) -> Result<String> {
        let file = format!("/proc/sys/{path}");
        self.namespace.enter(|| {
            let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
            Ok(text.trim().to_owned())
        })
    }

    /// Switches an offload (`tx`, `tso`, `gso`, `gro`) of an interface.
    pub fn offload(&self, interface: &str, feature: &str, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        self.run(&["ethtool", "-K", interface, feature, state]).map(drop)
    }

    /// Sets the MTU of an interface.
    pub fn mtu(&self, interface: &str, bytes: u16) -> Result<()> {
        self.ip(&format!("link set {interface} mtu {bytes}")).map(drop)
    }

    /// Takes an interface down or up (its peer sees the carrier).
    pub fn link(&self, interface: &str, up: bool) -> Result<()> {
        self.ip(&format!("link set {interface} {}", if up { "up" } else { "down" })).map(drop)
    }

    /// Brings an interface up and puts back what the kernel removed when it went down: the IPv6
    /// addresses and the default routes.
    pub(crate) fn bring_up(&self, leg: &Leg) -> Result<()> {
        self.link(&leg.interface, true)?;
        for address in leg.addresses.iter().filter(|address| address.addr().is_ipv6()) {
            self.ip(&format!("addr replace {address} dev {} nodad", leg.interface))?;
        }
        let behind = |gateway: &&IpAddr| leg.addresses.iter().any(|net| net.contains(*gateway));
        for gateway in self.gateways.iter().filter(behind) {
            self.ip(&format!("route replace default via {gateway}"))?;
        }
        Ok(())
    }

    /// Forgets every neighbour that is not permanent.
    pub fn forget_neighbours(&self) -> Result<()> {
        self.ip("neigh flush all").map(drop)
    }

    /// The MAC address this host knows for a neighbour; none where it knows none.
    pub fn neighbour(&self, address: IpAddr) -> Result<Option<String>> {
        let text = self.ip(&format!("neigh show {address}"))?;
        let mut words = text.split_whitespace();
        Ok(words.find(|word| *word == "lladdr").and_then(|_| words.next()).map(str::to_owned))
    }

    /// One counter of `/proc/net/snmp`, for instance (`Tcp`, `RetransSegs`).
    pub fn counter(&self, protocol: &str, name: &str) -> Result<u64> {
        let text = self.namespace.enter(|| {
            std::fs::read_to_string("/proc/thread-self/net/snmp").context("/proc/net/snmp")
        })?;
        snmp(&text, protocol, name)
            .ok_or_else(|| anyhow!("no counter {protocol} {name} on {}", self.name))
    }
}

/// Sets a sysctl of the namespace of the calling thread.
pub(crate) fn set_sysctl(path: &str, value: &str) -> Result<()> {
    let file = format!("/proc/sys/{path}");
    std::fs::write(&file, value).with_context(|| format!("cannot write {value} to {file}"))
}

/// `/proc/net/snmp` has two lines per protocol: names, then values.
fn snmp(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let head = format!("{protocol}: ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(head.as_str()));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(key, _)| *key == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_below_its_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: RetransSegs InErrs\nTcp: 7 9\n";
        assert_eq!(snmp(text, "Tcp", "InErrs"), Some(9));
        assert_eq!(snmp(text, "Udp", "InErrs"), None);
    }
}
