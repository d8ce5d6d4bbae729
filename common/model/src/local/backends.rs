//! The backends of Service ports, told in the size of what differs: 5,000 Services on 500 nodes have
//! 2.5 million backends, and most Services have the very same nodes.
//!
//! A status has a few lists of nodes; a port names those that it has, and how it differs from them.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Protocol;

/// One port with its backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The Service port.
    pub port: u16,
    /// The nodes behind it, one entry per family.
    #[serde(default)]
    pub listed: Vec<Listed>,
}

/// The nodes of one family behind a port: those of a list, but for some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Index of the list in the same status.
    pub list: usize,
    /// The NodePort.
    pub node_port: u16,
    /// What the weights are divided by: the port's own, so that a weight that climbs on one node
    /// leaves the entries of the others alone.
    pub divisor: u32,
    /// Entries that take the place of those in the list, by their index in it, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<(usize, Backend)>,
}

/// A node in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `metadata.name` of the node.
    pub node: Arc<str>,
    /// The node's address.
    pub address: IpAddr,
    /// Its state.
    pub state: BackendState,
    /// Relative share of new flows, not yet divided by [`Listed::divisor`]; 0 = none.
    pub weight: u32,
    /// Why it is in this state; empty where healthy.
    pub reason: Arc<str>,
}

/// One backend of a port, put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// `metadata.name` of the node.
    pub node: Arc<str>,
    /// The node's address.
    pub address: IpAddr,
    /// The NodePort.
    pub port: u16,
    /// Its state.
    pub state: BackendState,
    /// Relative share of new flows; 0 = none.
    pub weight: u32,
    /// Why it is in this state; empty where healthy.
    pub reason: Arc<str>,
}

/// State of a backend, as the contract spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// Probes pass.
    Healthy,
    /// Probes fail.
    Unhealthy,
    /// Gets no new flows, keeps established ones until the deadline.
    Draining,
    /// Just recovered: its weight climbs.
    SlowStart,
    /// Not probed yet.
    Unknown,
}

impl PortStatus {
    /// Its backends, one per node and family, by the lists of the same status. A list that is not
    /// there has no nodes.
    pub fn backends<'s>(
        &'s self,
        lists: &'s [Arc<[Backend]>],
    ) -> impl Iterator<Item = BackendStatus> + 's {
        self.listed.iter().flat_map(|listed| {
            let list = lists.get(listed.list).map_or(&[][..], |list| list);
            list.iter().enumerate().map(|(index, shared)| listed.status(index, shared))
        })
    }
}

impl Listed {
    fn status(&self, index: usize, shared: &Backend) -> BackendStatus {
        let found = self.except.binary_search_by_key(&index, |(index, _)| *index);
        let own = found.ok().and_then(|at| self.except.get(at)).map(|(_, own)| own);
        let Backend { node, address, state, weight, reason } = own.unwrap_or(shared);
        BackendStatus {
            node: node.clone(),
            address: *address,
            port: self.node_port,
            state: *state,
            weight: weight.checked_div(self.divisor).unwrap_or(*weight),
            reason: reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(node: &str, weight: u32) -> Backend {
        Backend {
            node: node.into(),
            address: "198.51.100.5".parse().unwrap(),
            state: BackendState::Healthy,
            weight,
            reason: "".into(),
        }
    }

    fn told(list: usize, divisor: u32, except: Vec<(usize, Backend)>) -> Vec<(String, u16, u32)> {
        let lists = [Arc::from([backend("n1", 100), backend("n2", 100), backend("n3", 100)])];
        let listed = vec![Listed { list, node_port: 30_080, divisor, except }];
        let port = PortStatus { protocol: Protocol::Tcp, port: 80, listed };
        let backends = port.backends(&lists);
        backends.map(|told| (told.node.to_string(), told.port, told.weight)).collect()
    }

    #[test]
    fn a_port_has_the_nodes_of_its_list_but_for_its_own_entries() {
        let shared = |node: &str, weight| (node.to_owned(), 30_080, weight);
        assert_eq!(told(0, 100, vec![]), [shared("n1", 1), shared("n2", 1), shared("n3", 1)]);
        let climbing = vec![(1, backend("n2", 50))];
        assert_eq!(told(0, 50, climbing), [shared("n1", 2), shared("n2", 1), shared("n3", 2)]);
    }

    #[test]
    fn what_no_router_says_is_no_harm() {
        assert_eq!(told(7, 1, vec![]), []);
        assert_eq!(told(0, 0, vec![(9, backend("n9", 1))])[0].2, 100);
    }
}
