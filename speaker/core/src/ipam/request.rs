//! What one Service wants, read once: the ports that can be served and the addresses asked for.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use roadstead_model::{
    Family, Protocol, Snapshot,
    local::PortClaim,
    object::{Families, LOAD_BALANCER_CLASS, Service, ServicePort},
};

use super::{
    contest::Lost,
    refusal::{PortName, Refusal},
};

/// What one Service wants.
pub(super) struct Wish<'a> {
    pub(super) service: &'a Service,
    /// The ports that can be served: TCP and UDP with a nodePort.
    pub(super) ports: BTreeSet<PortClaim>,
    /// Ports that cannot be served. Where none is left, no new address is taken.
    pub(super) unserved: Vec<Refusal>,
    /// The addresses, unless the request contradicts itself.
    pub(super) request: Result<Request, Refusal>,
}

/// A request that does not contradict itself.
pub(super) struct Request {
    pub(super) families: Families,
    pub(super) pool: Option<Arc<str>>,
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

/// The Services that are ours, in the order of their keys.
pub(super) fn ours(snapshot: &Snapshot, class_only: bool) -> impl Iterator<Item = &Service> {
    snapshot.services.values().map(AsRef::as_ref).filter(move |service| {
        service.class.as_deref().map_or(!class_only, |class| class == LOAD_BALANCER_CLASS)
    })
}

impl<'a> Wish<'a> {
    /// `lost` are the ports whose nodePort is another's.
    pub(super) fn of(service: &'a Service, lost: &Lost) -> Self {
        let servable =
            |port: &&ServicePort| port.protocol != Protocol::Sctp && port.node_port.is_some();
        let claim = |port: &ServicePort| PortClaim { protocol: port.protocol, port: port.port };
        let servable: BTreeSet<_> = service.ports.iter().filter(servable).map(claim).collect();
        let taken = service.ports.iter().filter_map(|port| {
            let by = lost.get(&(service.key.clone(), claim(port)))?.clone();
            Some(Refusal::NodePortTaken {
                port: PortName::of(port),
                node_port: port.node_port?,
                by,
            })
        });
        let mut unserved = unserved(&service.ports, servable.is_empty());
        unserved.extend(taken);
        let is_lost = |claim: &PortClaim| lost.contains_key(&(service.key.clone(), *claim));
        let ports = servable.into_iter().filter(|claim| !is_lost(claim)).collect();
        Self { service, ports, unserved, request: Request::of(service) }
    }

    pub(super) fn key(&self) -> Option<&Arc<str>> {
        self.service.request.sharing_key.as_ref()
    }

    /// Whether the object itself names an address.
    pub(super) fn names_an_address(&self) -> bool {
        !self.service.request.addresses.is_empty()
    }
}

impl Request {
    fn of(service: &Service) -> Result<Self, Refusal> {
        let families = service.families.wanted();
        let asked = &service.request.addresses;
        if let Some(address) = asked.iter().find(|a| !families.contains(&Family::of(**a))) {
            return Err(Refusal::RequestDoesNotFitFamilies { address: *address, families });
        }
        Ok(Self {
            families: service.families,
            pool: service.request.pool.clone(),
            v4: only(asked, Family::V4)?,
            v6: only(asked, Family::V6)?,
        })
    }

    /// The address asked for in one family.
    pub(super) fn exact(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

fn only(asked: &[IpAddr], family: Family) -> Result<Option<IpAddr>, Refusal> {
    let of_family: BTreeSet<_> = asked.iter().filter(|a| Family::of(**a) == family).collect();
    if of_family.len() > 1 {
        let all: Vec<_> = of_family.iter().map(ToString::to_string).collect();
        let why = format!(
            "{} {family} addresses are asked for ({}); one of each family is served",
            all.len(),
            all.join(", ")
        );
        return Err(Refusal::InvalidRequest { why });
    }
    Ok(of_family.first().map(|address| **address))
}

fn unserved(ports: &[ServicePort], all: bool) -> Vec<Refusal> {
    if ports.is_empty() {
        return vec![Refusal::NoPorts];
    }
    let (sctp, others): (Vec<_>, Vec<_>) = ports.iter().partition(|p| p.protocol == Protocol::Sctp);
    let name = |ports: Vec<&ServicePort>| ports.into_iter().map(PortName::of).collect::<Vec<_>>();
    let bare = name(others.into_iter().filter(|p| p.node_port.is_none()).collect());
    let sctp = name(sctp);
    let mut refusals = Vec::new();
    if !bare.is_empty() {
        refusals.push(Refusal::NoNodePort { ports: bare, all });
    }
    if !sctp.is_empty() {
        refusals.push(Refusal::SctpNotServed { ports: sctp, all });
    }
    refusals
}
