//! How many addresses of each pool count as a namespace's: those that its Services hold or are
//! leaving, those that cool down after them, and those that its reservations keep. An address that
//! Services of one namespace share counts once.
//!
//! A quota is a rule of entry: nobody is moved or refused what it holds because one was lowered. What
//! a Service gives up for a new address counts no longer when the new one is looked for, but does
//! again while it falls silent and cools down: else a Service that moves without end would take the
//! pool with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{ServiceKey, SourceName};

use super::{
    book::Book,
    pools::{PoolId, Pools},
};

/// Whose addresses.
type Owner = (PoolId, SourceName, Arc<str>);

/// What counts, in pools that have a quota.
#[derive(Default)]
pub(super) struct Charges(BTreeMap<Owner, BTreeSet<IpAddr>>);

impl Charges {
    /// What the ledger says.
    pub(super) fn of(book: &Book, pools: &Pools<'_>) -> Self {
        let mut charges = Self::default();
        let memory = book.memory();
        let held = book.ledger().holds().map(|(address, service, _)| (address, service));
        let released = memory.released().map(|(address, service, _)| (address, service));
        for (address, owner) in held.chain(released).chain(memory.kept()) {
            if let Some((pool, _)) = pools.containing(address) {
                charges.add(pool, address, owner);
            }
        }
        charges
    }

    /// A Service has taken an address.
    pub(super) fn add(&mut self, pool: PoolId, address: IpAddr, owner: &ServiceKey) {
        self.0.entry(whose(pool, owner)).or_default().insert(address);
    }

    /// The addresses that count.
    pub(super) fn counted(&self, pool: PoolId, owner: &ServiceKey) -> Option<&BTreeSet<IpAddr>> {
        self.0.get(&whose(pool, owner))
    }
}

fn whose(pool: PoolId, owner: &ServiceKey) -> Owner {
    (pool, owner.source.clone(), owner.namespace.clone())
}
