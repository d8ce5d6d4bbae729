//! The pools, laid out for search: which pool an address belongs to, which pools a Service may
//! use and in which order, and the stretches of addresses that are not reserved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use roadstead_model::{
    AddressRange, Family, ServiceKey, Snapshot, SourceName, advertisement::Exposure, config::Pool,
    object::Service, selector::Labels,
};

use super::refusal::{self, Exclusion, Refusal};

/// Position of a pool in the order of the file.
pub(super) type PoolId = usize;

/// A label that the API server gives each Namespace, with its name; a directory may leave it out.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// All pools.
pub(super) struct Pools<'a> {
    views: Vec<PoolView<'a>>,
    /// Every range with its pool, by first address; the configuration lets none overlap.
    ranges: Vec<(AddressRange, PoolId)>,
    /// Pinned pools first, then by priority (none comes last), then as in the file.
    order: Vec<PoolId>,
}

/// One pool.
pub(super) struct PoolView<'a> {
    /// As configured.
    pub(super) pool: &'a Pool,
    /// Whose labels are looked at; none for questions about addresses alone.
    snapshot: Option<&'a Snapshot>,
    /// The pool's ranges without what is reserved, ascending within each range of the file.
    segments: Vec<AddressRange>,
}

impl<'a> Pools<'a> {
    /// Pools for questions about addresses alone, not about who may have them.
    pub(super) fn of_addresses(pools: &'a [Pool]) -> Self {
        Self::laid_out(pools, None)
    }

    /// Pools for the Services of a snapshot.
    pub(super) fn new(pools: &'a [Pool], snapshot: &'a Snapshot) -> Self {
        Self::laid_out(pools, Some(snapshot))
    }

    fn laid_out(pools: &'a [Pool], snapshot: Option<&'a Snapshot>) -> Self {
        let views: Vec<_> = pools.iter().map(|pool| PoolView::new(pool, snapshot)).collect();
        let mut ranges: Vec<_> = pools
            .iter()
            .enumerate()
            .flat_map(|(id, pool)| pool.addresses.iter().map(move |range| (*range, id)))
            .collect();
        ranges.sort_unstable();
        let mut order: Vec<_> = (0..pools.len()).collect();
        order.sort_by_key(|id| views.get(*id).map(PoolView::rank));
        Self { views, ranges, order }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The pool that an address lies in, reserved or not.
    pub(super) fn containing(&self, address: IpAddr) -> Option<(PoolId, &PoolView<'a>)> {
        let after = self.ranges.partition_point(|(range, _)| range.first() <= address);
        let (range, id) = self.ranges.get(after.checked_sub(1)?)?;
        if range.contains(address) { self.get(*id) } else { None }
    }

    pub(super) fn get(&self, id: PoolId) -> Option<(PoolId, &PoolView<'a>)> {
        self.views.get(id).map(|view| (id, view))
    }

    /// The pool that an object of `source` means by a name: one of its own source before one of
    /// the configuration.
    pub(super) fn named(&self, name: &str, source: &SourceName) -> Option<(PoolId, &PoolView<'a>)> {
        let called = || self.iter().filter(|(_, view)| view.pool.is_called(name, source));
        called().find(|(_, view)| view.pool.source.is_some()).or_else(|| called().next())
    }

    /// In the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PoolId, &PoolView<'a>)> {
        self.views.iter().enumerate()
    }

    /// The pools that a Service may use, the preferred first.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn open_to(
        &self,
        service: &Service,
    ) -> Result<Vec<(PoolId, &PoolView<'a>)>, Refusal> {
        if self.is_empty() {
            return Err(Refusal::NoPools);
        }
        let ordered = self.order.iter().filter_map(|id| self.get(*id));
        let (open, closed): (Vec<_>, Vec<_>) =
            ordered.partition(|(_, view)| view.exclusion(service).is_none());
        if !open.is_empty() {
            return Ok(open);
        }
        let named = closed.iter().filter_map(|(_, view)| {
            view.exclusion(service).map(|why| (view.pool.name.clone(), why))
        });
        Err(Refusal::PoolNotAllowed { pools: refusal::some(named) })
    }
}

impl<'a> PoolView<'a> {
    fn new(pool: &'a Pool, snapshot: Option<&'a Snapshot>) -> Self {
        let mut reserved = pool.reserved.clone();
        reserved.sort_unstable();
        let segments = pool.addresses.iter().flat_map(|range| without(*range, &reserved)).collect();
        Self { pool, snapshot, segments }
    }

    fn rank(&self) -> (bool, u32) {
        let pool = self.pool;
        // MetalLB prefers every pool with a `serviceAllocation`, and then goes by priority.
        let pinned = pool.is_pinned() || pool.source.is_some() && pool.priority.is_some();
        let priority = pool.priority.filter(|priority| *priority > 0).unwrap_or(u32::MAX);
        (!pinned, priority)
    }

    /// What keeps a Service out of this pool.
    pub(super) fn exclusion(&self, service: &Service) -> Option<Exclusion> {
        let pool = self.pool;
        if pool.source.as_ref().is_some_and(|source| *source != service.key.source) {
            return Some(Exclusion::Source);
        }
        if !self.admits_namespace(service) {
            return Some(Exclusion::Namespace);
        }
        let selectors = &pool.service_selectors;
        let is_selected =
            selectors.is_empty() || selectors.iter().any(|s| s.matches(&service.labels));
        (!is_selected).then_some(Exclusion::Labels)
    }

    /// A pool whose selectors match no Namespace is open to nobody, whatever is asked for by name.
    fn admits_namespace(&self, service: &Service) -> bool {
        let (names, selectors) = (&self.pool.namespaces, &self.pool.namespace_selectors);
        if names.is_empty() && selectors.is_empty() || names.contains(&service.key.namespace) {
            return true;
        }
        if selectors.is_empty() {
            return false;
        }
        let labels = self.labels_of_namespace(service);
        selectors.iter().any(|selector| selector.matches(&labels))
    }

    fn labels_of_namespace(&self, service: &Service) -> Labels {
        let key = (service.key.source.clone(), service.key.namespace.clone());
        let namespace = self.snapshot.and_then(|snapshot| snapshot.namespaces.get(&key));
        let mut labels = namespace.map(|namespace| namespace.labels.clone()).unwrap_or_default();
        labels.entry(NAMESPACE_NAME.into()).or_insert(key.1);
        labels
    }

    /// Where an address of the pool is announced on which these Services live.
    pub(super) fn exposure(&self, live: &[ServiceKey]) -> Exposure {
        let labels = |key: &ServiceKey| Some(&self.snapshot?.services.get(key)?.labels);
        let labels: Vec<_> = live.iter().map(labels).collect();
        self.pool.exposure(&labels)
    }

    /// [`Self::exclusion`] as a refusal.
    pub(super) fn refuses(&self, service: &Service) -> Option<Refusal> {
        let why = self.exclusion(service)?;
        Some(Refusal::PoolNotAllowed { pools: vec![(self.pool.name.clone(), why)] })
    }

    pub(super) fn is_reserved(&self, address: IpAddr) -> bool {
        self.pool.reserved.iter().any(|range| range.contains(address))
    }

    /// Whether the pool passes over this address (`avoid_buggy_ips`).
    pub(super) fn is_buggy(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.pool.avoid_buggy_ips && matches!(v4.octets(), [.., 0 | 255]),
            IpAddr::V6(_) => false,
        }
    }

    /// What is not reserved of one family, in the order of the file.
    pub(super) fn segments(&self, family: Family) -> impl Iterator<Item = &AddressRange> {
        self.segments.iter().filter(move |segment| segment.family() == family)
    }

    pub(super) fn has(&self, family: Family) -> bool {
        self.pool.addresses.iter().any(|range| range.family() == family)
    }

    /// How many addresses are neither reserved nor buggy.
    pub(super) fn size(&self, family: Family) -> u128 {
        let sizes = self.segments(family).map(|segment| {
            segment.len().saturating_sub(if self.pool.avoid_buggy_ips {
                buggy_in(segment)
            } else {
                0
            })
        });
        sizes.fold(0, u128::saturating_add)
    }

    /// Whether the address counts in [`Self::size`].
    pub(super) fn counts(&self, address: IpAddr) -> bool {
        !self.is_buggy(address) && self.segments.iter().any(|segment| segment.contains(address))
    }
}

/// `range` without the reserved ranges, which are sorted.
fn without(range: AddressRange, reserved: &[AddressRange]) -> Vec<AddressRange> {
    let family = range.family();
    let mut kept = Vec::new();
    let mut next = Some(bits(range.first()));
    for hole in reserved.iter().filter(|hole| hole.overlaps(&range)) {
        let Some(start) = next else { break };
        if let Some(end) = bits(hole.first()).checked_sub(1).filter(|end| *end >= start) {
            kept.push((start, end));
        }
        next = bits(hole.last()).checked_add(1).map(|after| after.max(start));
    }
    let last = bits(range.last());
    kept.extend(next.filter(|start| *start <= last).map(|start| (start, last)));
    kept.into_iter()
        .filter_map(|(a, b)| AddressRange::new(address(family, a)?, address(family, b)?).ok())
        .collect()
}

/// How many IPv4 addresses of the range end in .0 or .255.
fn buggy_in(range: &AddressRange) -> u128 {
    let below = |end: u128| end.div_ceil(256) + end / 256;
    match range.family() {
        Family::V4 => below(bits(range.last()) + 1) - below(bits(range.first())),
        Family::V6 => 0,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(family: Family, bits: u128) -> Option<IpAddr> {
    Some(match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).ok()?).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn reserved_ranges_cut_holes_at_both_ends_and_inside() {
        let whole = range("192.0.2.0-192.0.2.20");
        let kept = |reserved: &[&str]| {
            let reserved: Vec<_> = reserved.iter().map(|r| range(r)).collect();
            without(whole, &reserved).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[]), ["192.0.2.0-192.0.2.20"]);
        assert_eq!(
            kept(&["192.0.2.0-192.0.2.3", "192.0.2.9", "192.0.2.19-192.0.2.200"]),
            ["192.0.2.4-192.0.2.8", "192.0.2.10-192.0.2.18"]
        );
        assert_eq!(
            kept(&["192.0.2.4-192.0.2.10", "192.0.2.6"]),
            ["192.0.2.0-192.0.2.3", "192.0.2.11-192.0.2.20"],
            "a reserved range inside another takes nothing back"
        );
        assert!(kept(&["0.0.0.0/0"]).is_empty());
        assert!(without(range("::/0"), &[range("::/0")]).is_empty());
    }

    #[test]
    fn buggy_addresses_are_counted_as_if_one_looked_at_each() {
        for text in ["192.0.2.0/24", "192.0.2.1-192.0.3.254", "192.0.2.255-192.0.3.0", "0.0.0.0/22"]
        {
            let looked = range(text)
                .iter()
                .filter(|a| matches!(a, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255)))
                .count();
            assert_eq!(buggy_in(&range(text)), looked as u128, "{text}");
        }
    }
}
