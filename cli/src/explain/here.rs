//! What is found out on this host itself, beside what daemons and files say.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::config::NodeProbe;
use roadstead_netlink::Netlink;

use super::{
    Facts,
    firewall::{self, Firewall},
};
use crate::{local_files::Object, status::ServiceView};

/// Backends whose way is looked up; nodes share their legs.
const BACKENDS: usize = 64;

/// What was found out.
#[derive(Debug)]
pub(super) struct Here {
    /// Whether the host's own firewall is in the way.
    pub(super) firewall: Firewall,
    /// Interfaces by which packets to the Service's backends leave, as far as that matters.
    pub(super) node_legs: BTreeSet<Arc<str>>,
}

impl Here {
    /// Nothing gave cause to look.
    pub(super) fn unseen() -> Self {
        Self { firewall: Firewall::NoSign, node_legs: BTreeSet::new() }
    }

    /// Looks where the state of a Service gives cause to.
    pub(super) async fn look(facts: &Facts<'_>, view: &ServiceView, object: &Object) -> Self {
        let probe = facts.config.map(|config| config.router.health.node_probe);
        let probe = probe.unwrap_or(NodeProbe::NodePort);
        let node_legs = if facts.status.legs.iter().any(|leg| !leg.attached) {
            legs_to(view.backends().map(|backend| backend.address).collect()).await
        } else {
            BTreeSet::new()
        };
        Self { firewall: firewall::look(view, object, probe, facts.from).await, node_legs }
    }
}

/// The interfaces that lead to these addresses; where the kernel cannot be asked, none.
async fn legs_to(addresses: BTreeSet<IpAddr>) -> BTreeSet<Arc<str>> {
    let Ok((netlink, follower)) = Netlink::open() else { return BTreeSet::new() };
    let asking = async {
        let mut tables = netlink.tables();
        drop(tables.wait_for(|tables| tables.is_read()).await);
        let links = tables.borrow().links.clone();
        let names: BTreeMap<u32, Arc<str>> =
            links.into_iter().map(|(index, link)| (index, link.name)).collect();
        let mut legs = BTreeSet::new();
        for address in addresses.into_iter().take(BACKENDS) {
            let route = netlink.route_to(address).await;
            legs.extend(route.ok().and_then(|route| names.get(&route.ifindex).cloned()));
        }
        legs
    };
    tokio::select! {
        legs = asking => legs,
        () = follower.run() => BTreeSet::new(),
    }
}
