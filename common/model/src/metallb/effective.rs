//! The pools in use: those of the configuration, and those of the sources whose MetalLB objects are
//! read.

use std::sync::Arc;

use super::{AddressPool, MetalLb};
use crate::{
    AddressRange, SourceName,
    advertisement::Advertisement,
    config::{Announce, Pool, Sharing},
};

/// Two pools that are to be used together have addresses in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pool `{pool}`: {range} overlaps {other_range} of pool `{other}`; an address belongs to one pool"
)]
pub struct Overlap {
    /// The pool that was to be added.
    pub pool: Arc<str>,
    /// Which of its ranges.
    pub range: AddressRange,
    /// The pool that was there.
    pub other: Arc<str>,
    /// Which of its ranges.
    pub other_range: AddressRange,
}

/// The pools of the configuration, then those of the sources in the order of their names.
///
/// # Errors
/// When two of different origin have addresses in common.
pub fn effective<'m>(
    configured: &[Pool],
    metallb: impl IntoIterator<Item = (&'m SourceName, &'m MetalLb)>,
) -> Result<Vec<Pool>, Overlap> {
    let mut pools = configured.to_vec();
    for (source, objects) in metallb {
        let more = objects.pools_of(source);
        more.iter().try_for_each(|pool| apart(pool, &pools))?;
        pools.extend(more);
    }
    Ok(pools)
}

fn apart(pool: &Pool, others: &[Pool]) -> Result<(), Overlap> {
    for range in &pool.addresses {
        for other in others {
            if let Some(met) = other.addresses.iter().find(|met| met.overlaps(range)) {
                let (pool, other) = (Arc::clone(&pool.name), Arc::clone(&other.name));
                return Err(Overlap { pool, range: *range, other, other_range: *met });
            }
        }
    }
    Ok(())
}

impl MetalLb {
    /// Its pools as this source's, in the order of their names, with what its advertisements say.
    pub fn pools_of(&self, source: &SourceName) -> Vec<Pool> {
        self.pools.iter().map(|pool| self.pool_of(source, pool)).collect()
    }

    fn pool_of(&self, source: &SourceName, pool: &AddressPool) -> Pool {
        let advertisements = self.advertisements_of(pool);
        let allocation = pool.allocation.clone().unwrap_or_default();
        Pool {
            auto_assign: pool.auto_assign,
            priority: pool.allocation.as_ref().map(|allocation| allocation.priority),
            namespaces: allocation.namespaces,
            namespace_selectors: allocation.namespace_selectors,
            service_selectors: allocation.service_selectors,
            avoid_buggy_ips: pool.avoid_buggy_ips,
            announce: Announce { l2: !advertisements.is_empty(), bgp: self.is_in_bgp(pool) },
            // A key shares over namespaces, as it does in MetalLB.
            sharing: Sharing::KeyAcrossNamespaces,
            source: Some(source.clone()),
            advertisements: Some(advertisements),
            ..Pool::new(Pool::name_of(source, &pool.name), pool.addresses.clone())
        }
    }

    /// What the L2 advertisements say of a pool.
    pub fn advertisements_of(&self, pool: &AddressPool) -> Vec<Advertisement> {
        let about = self.l2_advertisements.iter().filter(|ad| ad.scope.covers(pool));
        let advertisement = |ad: &super::L2Advertisement| Advertisement {
            interfaces: ad.interfaces.clone(),
            service_selectors: ad.service_selectors.clone(),
        };
        about.map(advertisement).collect()
    }

    /// Whether an advertisement would announce a pool by BGP.
    pub fn is_in_bgp(&self, pool: &AddressPool) -> bool {
        self.bgp_advertisements.iter().any(|ad| ad.scope.covers(pool))
    }
}
