//! The two networks that most scenarios want: an edge host with two legs and with one.
//!
//! ```text
//! routed   client ── router ──┬── edge ──┬── node1        far    198.51.100.0/24  2001:db8:2::/64
//!                    near ────┘          ├── node2        front  192.0.2.0/24     2001:db8:1::/64
//!                                        └── node3        back   203.0.113.0/24   2001:db8:3::/64
//!
//! segment  client ── router ──┬── edge                    far    198.51.100.0/24  2001:db8:2::/64
//!                    near ────┼── node1                   front  192.0.2.0/24     2001:db8:1::/64
//!                             ├── node2
//!                             └── node3
//! ```
//!
//! On the back segment nothing has a route to the clients: an answer that reaches a client went
//! through the edge host.

use anyhow::Result;

use crate::{
    host::Host,
    topology::{Lab, Topology},
};

/// Pool of VIPs that the presets leave free, IPv4.
pub const POOL_V4: &str = "192.0.2.10-192.0.2.50";
/// Pool of VIPs that the presets leave free, IPv6.
pub const POOL_V6: &str = "2001:db8:1::100/120";

impl Lab {
    /// The routed network with `nodes` nodes.
    pub fn routed(test: &str, nodes: u8) -> Result<Self> {
        routed(nodes).build(test)
    }

    /// The one-leg network with `nodes` nodes.
    pub fn segment(test: &str, nodes: u8) -> Result<Self> {
        segment(nodes).build(test)
    }

    /// The client behind the router.
    pub fn client(&self) -> Result<&Host> {
        self.host("client")
    }

    /// The client on the segment where VIPs are announced.
    pub fn near(&self) -> Result<&Host> {
        self.host("near")
    }

    /// The router between the client and that segment.
    pub fn router(&self) -> Result<&Host> {
        self.host("router")
    }

    /// The host with the daemons.
    pub fn edge(&self) -> Result<&Host> {
        self.host("edge")
    }

    /// A node, counted from 1.
    pub fn node(&self, number: u8) -> Result<&Host> {
        self.host(&format!("node{number}"))
    }
}

/// Describes the routed network.
pub fn routed(nodes: u8) -> Topology {
    let mut plan = clients();
    let _ = plan
        .host("edge")
        .leg("front", ["192.0.2.2/24", "2001:db8:1::2/64"])
        .leg("back", ["203.0.113.2/24", "2001:db8:3::2/64"])
        .gateways(&["192.0.2.1", "2001:db8:1::1"]);
    for n in 1..=nodes {
        let v4 = format!("203.0.113.{}/24", 100 + n);
        let v6 = format!("2001:db8:3::1:{n}/64");
        let _ = plan.host(&format!("node{n}")).leg("back", [v4, v6]);
    }
    plan
}

/// Describes the one-leg network.
pub fn segment(nodes: u8) -> Topology {
    let mut plan = clients();
    let gateways = ["192.0.2.1", "2001:db8:1::1"];
    let edge = plan.host("edge").leg("front", ["192.0.2.2/24", "2001:db8:1::2/64"]);
    let _ = edge.gateways(&gateways);
    for n in 1..=nodes {
        let v4 = format!("192.0.2.{}/24", 100 + n);
        let v6 = format!("2001:db8:1::1:{n}/64");
        let _ = plan.host(&format!("node{n}")).leg("front", [v4, v6]).gateways(&gateways);
    }
    plan
}

/// The part that both have in common.
fn clients() -> Topology {
    let mut plan = Topology::new();
    let _ = plan
        .host("client")
        .leg("far", ["198.51.100.10/24", "2001:db8:2::10/64"])
        .gateways(&["198.51.100.1", "2001:db8:2::1"]);
    plan.host("router")
        .leg("front", ["192.0.2.1/24", "2001:db8:1::1/64"])
        .leg("far", ["198.51.100.1/24", "2001:db8:2::1/64"])
        .forwarding();
    let _ = plan
        .host("near")
        .leg("front", ["192.0.2.3/24", "2001:db8:1::3/64"])
        .gateways(&["192.0.2.1", "2001:db8:1::1"]);
    plan
}
