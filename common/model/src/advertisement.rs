//! Where the addresses of a pool are announced by ARP and NDP.

use std::sync::Arc;

use crate::{
    config::Pool,
    selector::{Labels, Selector},
};

/// One `L2Advertisement` of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Only on these interfaces; empty = every leg.
    pub interfaces: Vec<Arc<str>>,
    /// Only for Services whose labels match one of these; empty = all.
    pub service_selectors: Vec<Selector>,
}

/// Where one address is announced by ARP and NDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Whether it is at all.
    pub l2: bool,
    /// Only on these interfaces; `None` = every leg.
    pub interfaces: Option<Vec<Arc<str>>>,
}

impl Advertisement {
    /// Labels that are not known, those of a Service that its source does not show just now, hold
    /// what is announced (S3).
    fn selects(&self, labels: Option<&Labels>) -> bool {
        let Some(labels) = labels else { return true };
        let selectors = &self.service_selectors;
        selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
    }
}

impl Pool {
    /// Where an address is announced on which Services with these labels are served; `None` are
    /// labels that are not known. An address is announced as a whole: for all of its Services where
    /// an advertisement selects one of them.
    pub fn exposure(&self, services: &[Option<&Labels>]) -> Exposure {
        let selects = |ad: &&Advertisement| {
            services.is_empty() || services.iter().any(|labels| ad.selects(*labels))
        };
        match &self.advertisements {
            None => Exposure { l2: self.announce.l2, interfaces: self.interfaces.clone() },
            Some(ads) => joined(ads.iter().filter(selects)),
        }
    }
}

/// Several advertisements say more than one: where one names no interface, all are meant.
fn joined<'a>(ads: impl Iterator<Item = &'a Advertisement>) -> Exposure {
    let ads: Vec<_> = ads.collect();
    if ads.is_empty() || ads.iter().any(|ad| ad.interfaces.is_empty()) {
        return Exposure { l2: !ads.is_empty(), interfaces: None };
    }
    let mut names: Vec<_> = ads.iter().flat_map(|ad| ad.interfaces.iter().cloned()).collect();
    names.sort();
    names.dedup();
    Exposure { l2: true, interfaces: Some(names) }
}
