//! What one Service wants, read once: the ports that can be served and the addresses asked for.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use roadstead_model::{
    Family, Protocol, Snapshot,
    local::PortClaim,
    object::{AddressRequest, Families, LOAD_BALANCER_CLASS, MAX_ADDRESSES, Service, ServicePort},
};

use super::{
    book::Book,
    contest::Lost,
    refusal::{PortName, Refusal},
    surroundings::{Host, Lookup},
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
    /// The pools that will do, the preferred first; none = any.
    pub(super) pools: Vec<Arc<str>>,
}

/// The places that a Service has to fill in one family.
#[derive(Debug, Default)]
pub(super) struct Slots<'a> {
    /// Addresses that are asked for, each with the host name that stands for it.
    pub(super) named: Vec<(IpAddr, Option<&'a Arc<str>>)>,
    /// How many more, whichever.
    pub(super) free: usize,
    /// What is worth telling: a name that resolves elsewhere now.
    pub(super) notes: Vec<Refusal>,
}

impl<'a> Slots<'a> {
    /// How many addresses are wanted.
    pub(super) fn wanted(&self) -> usize {
        self.named.len().saturating_add(self.free)
    }

    pub(super) fn is_named(&self, address: IpAddr) -> bool {
        self.named.iter().any(|(named, _)| *named == address)
    }

    /// The host name that stands for an address.
    pub(super) fn host(&self, address: IpAddr) -> Option<&'a Arc<str>> {
        self.named.iter().find(|(named, _)| *named == address)?.1
    }

    fn name(&mut self, address: IpAddr, host: Option<&'a Arc<str>>) {
        match self.named.iter_mut().find(|(named, _)| *named == address) {
            // Asked for in both ways: the name is bound all the same.
            Some((_, stands)) => *stands = stands.or(host),
            None => self.named.push((address, host)),
        }
    }
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

    /// Whether the object itself names an address, in one way or another.
    pub(super) fn names_an_address(&self) -> bool {
        let request = &self.service.request;
        !request.addresses.is_empty() || !request.hosts.is_empty() || request.reservation.is_some()
    }

    /// The places to fill in one family. A name that an address is held for stands for it, wherever
    /// it resolves to now: nobody moves because a zone was edited.
    ///
    /// # Errors
    /// The request contradicts itself, or a name says nothing.
    pub(super) fn slots(
        &self,
        book: &Book,
        host: &Host,
        family: Family,
    ) -> Result<Slots<'a>, Refusal> {
        let request = &self.service.request;
        let mut slots = Slots::default();
        for address in request.addresses.iter().filter(|a| Family::of(**a) == family) {
            slots.name(*address, None);
        }
        for name in &request.hosts {
            self.stand_for(name, book, host, family, &mut slots)?;
        }
        let named = slots.named.len();
        if let (true, Some(host)) = (named == 0, request.hosts.first()) {
            return Err(Refusal::NameWithoutAddress { host: host.clone(), family });
        }
        slots.free = free(request, named, family)?;
        Ok(slots)
    }

    /// What a host name stands for in one family.
    fn stand_for(
        &self,
        name: &'a Arc<str>,
        book: &Book,
        host: &Host,
        family: Family,
        slots: &mut Slots<'a>,
    ) -> Result<(), Refusal> {
        let under_name = |address: &IpAddr| {
            let hold = book.hold(*address, &self.service.key);
            hold.is_some_and(|hold| hold.host.as_ref() == Some(name))
        };
        let mut held = book.live_in(&self.service.key, family);
        held.retain(under_name);
        let now: Option<Vec<IpAddr>> = match host.names.get(name) {
            Some(Lookup::Addresses(all)) => {
                Some(all.iter().copied().filter(|a| Family::of(*a) == family).collect())
            }
            Some(Lookup::Failed(why)) if held.is_empty() => {
                return Err(Refusal::NameUnresolved { host: name.clone(), why: why.clone() });
            }
            None if held.is_empty() => {
                let why = "it is being looked up".into();
                return Err(Refusal::NameUnresolved { host: name.clone(), why });
            }
            Some(Lookup::Failed(_)) | None => None,
        };
        if let Some(now) =
            now.filter(|now| held.is_empty() || held.iter().any(|a| !now.contains(a)))
        {
            if held.is_empty() {
                held = now;
            } else {
                slots.notes.push(Refusal::NameMoved {
                    host: name.clone(),
                    held: held.clone(),
                    now,
                });
            }
        }
        held.into_iter().for_each(|address| slots.name(address, Some(name)));
        Ok(())
    }
}

impl Request {
    fn of(service: &Service) -> Result<Self, Refusal> {
        let families = service.families.wanted();
        let asked = &service.request.addresses;
        if let Some(address) = asked.iter().find(|a| !families.contains(&Family::of(**a))) {
            return Err(Refusal::RequestDoesNotFitFamilies { address: *address, families });
        }
        let pools = service.request.pools().map(Into::into).collect();
        Ok(Self { families: service.families, pools })
    }
}

/// How many addresses are wanted beside those that are named.
fn free(request: &AddressRequest, named: usize, family: Family) -> Result<usize, Refusal> {
    let most = request.count.unwrap_or(MAX_ADDRESSES);
    if named > most {
        let why = format!(
            "{named} {family} addresses are asked for, more than {}",
            request.count.map_or(format!("the {MAX_ADDRESSES} that one service holds"), |count| {
                format!("the address-count of {count}")
            })
        );
        return Err(Refusal::InvalidRequest { why });
    }
    let wanted = request.count.unwrap_or(usize::from(named == 0));
    Ok(wanted.saturating_sub(named))
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
