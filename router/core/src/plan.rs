//! What the maps should hold: assignments + snapshot + health + host → [`Installed`].
//!
//! The plan is a function of its inputs. It re-uses the indices of what is installed, so that a
//! restart and a change of something else leave every entry where it is:
//!
//! * a backend keeps its index by address, a frontend by (VIP, protocol, port), a SNAT address by
//!   itself, a table by the frontends that use it, a range set by its content;
//! * an index that nothing wants any more stays reserved until [`Freed`] says that no flow refers
//!   to it.
//!
//! Doubt holds, knowledge withdraws (S3): what a source that has not been read says nothing about
//! stays as it is; a frontend that is known to be served by nobody stays with no table, so that it
//! refuses visibly.

mod backends;
mod candidates;
mod clients;
mod entries;
mod frontends;
mod nodes;
mod permitted;
mod ranges;
mod serving;
mod snat;
mod status;
mod subjects;
mod tables;

use std::{collections::BTreeSet, time::Duration};

use roadstead_model::{
    ServiceKey, Snapshot, config,
    local::{Answering, Assignments, ServiceServing},
};

use crate::{
    drain::Drains,
    health::Health,
    host::Host,
    maps::{BackendId, Capacity, FrontendId, Installed, SnatId},
};

pub use permitted::orphans;
pub use status::{Status, status};
pub use subjects::subjects;

/// Everything a plan follows from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Who has which address.
    pub assignments: &'a Assignments,
    /// They are a copy on disk, which may be older than what the kernel did last: nothing new is
    /// answered for on their word (S5).
    pub remembered: bool,
    /// What the sources say.
    pub snapshot: &'a Snapshot,
    /// Verdicts.
    pub health: &'a Health,
    /// Who gets no new flows.
    pub drains: &'a Drains,
    /// This host.
    pub host: &'a Host,
    /// `[router]`.
    pub router: &'a config::Router,
    /// `[[pool]]`: which addresses may be served at all (S1).
    pub pools: &'a [config::Pool],
    /// What the maps hold.
    pub installed: &'a Installed,
    /// How much fits.
    pub capacity: Capacity,
    /// Indices that no flow refers to.
    pub freed: &'a Freed,
    /// Services that have been ready: they are announced, and doubt holds them.
    pub ready_before: &'a BTreeSet<ServiceKey>,
    /// The time, since the start that all deadlines count from.
    pub now: Duration,
}

/// Indices out of use that no flow refers to any more: the sweeper's word, good for one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Frontends.
    pub frontends: BTreeSet<FrontendId>,
    /// Backends.
    pub backends: BTreeSet<BackendId>,
    /// SNAT addresses.
    pub snats: BTreeSet<SnatId>,
}

/// The result.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the maps should hold.
    pub wanted: Installed,
    /// The verdict on every Service of the assignments.
    pub services: Vec<ServiceServing>,
    /// Where the program will answer ARP and NDP.
    pub answering: Vec<Answering>,
    /// What did not fit or could not be used, each naming the object.
    pub problems: Vec<String>,
    /// When to plan again although nothing happens: a Service waits for its first probe.
    pub again: Option<Duration>,
}

/// Plans, and remembers the tables of the last plan: building one takes most of the time.
#[derive(Debug, Default)]
pub struct Planner {
    tables: tables::Cache,
}

impl Planner {
    /// What the maps should hold now.
    pub fn plan(&mut self, inputs: &Inputs<'_>) -> Plan {
        let mut problems = Vec::new();
        let legs = entries::legs(inputs, &mut problems);
        let mut nodes = nodes::Nodes::survey(inputs);
        let snats = snat::Snats::plan(inputs, &nodes, &mut problems);
        let backends = backends::plan(inputs, &mut nodes, &snats, &mut problems);
        let vips = entries::vips(inputs, &legs, &mut problems);
        let pools = candidates::Pools::new(inputs, &nodes);
        let mut services = serving::Services::plan(inputs, &pools, &vips);
        let ranges = ranges::assign(inputs, &mut services.drafts);
        let tables = self.tables.assign(inputs, &nodes, &mut services.drafts);
        let frontends = frontends::plan(inputs, &mut services.drafts);
        let answers = entries::answers(inputs, &vips, &snats);
        Plan {
            answering: entries::answering(inputs, &answers, &vips),
            services: services.verdicts(inputs),
            again: services.again(),
            wanted: Installed {
                legs,
                vips,
                frontends: frontends.served,
                identities: frontends.identities,
                backends,
                tables,
                snats: snats.wanted,
                ranges,
                answers,
            },
            problems,
        }
    }
}

#[cfg(test)]
mod tests;
