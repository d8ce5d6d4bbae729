//! Addresses: which Service holds which, with which ports, and why not.
//!
//! [`Allocator`] is a pure state machine around the [`Ledger`]: [`Allocator::reconcile`] takes
//! the pools, the Snapshot, the host and the conflicts on the wire, and is level-triggered. It
//! does not announce, write, probe or wait; the daemon writes the ledger and tells it through
//! [`Allocator::release`] when an address has fallen silent.
//!
//! # The order of decisions
//!
//! A run, over all Services that are ours:
//!
//! | | step |
//! |---|---|
//! | 1 | a Service **known** to be gone, or another's by class, leaves its addresses; one that an unread or doubtful source does not show keeps them (S3) |
//! | 2 | an address that lies in no pool is left by everybody (S1) |
//! | 3 | ports that are no longer wanted are free; ports wanted in addition are claimed, senior holders first |
//! | 4 | each Service in turn gets its addresses: by seniority in the ledger; then, with the ledger lost, who has an address in its status; then who names an address or has one in its status; then by key |
//!
//! One Service in one family has places to fill: one for each address that it names itself or by a
//! host name, and more up to the `address-count`; one where it says nothing.
//!
//! | | it keeps, or takes | unless |
//! |---|---|---|
//! | 1 | the addresses that it holds, as far as there are places, those named first, then the senior | it asks for others, the pool is pinned to others, the address is reserved, the wire showed it to be another's before it was announced and it was not asked for, the Service changed its own sharing key or partners away from its neighbours', or neighbours claim all its ports |
//! | 2 | the addresses that it names | it lies in no pool or in none of the pools named, the pool is pinned to others or draining, the address is barred (below), kept for others (`reservations`, `memory`), beyond the `quota`, or held and not to be shared |
//! | 3 | what its reservation keeps, or is given to it by the configuration | as 2 |
//! | 4 | an address that it left and that is not silent yet, or cools down | as 2 |
//! | 5 | the address in its status | as 2; the pool must be one of 6 |
//! | 6 | from the pools that it names, in that order, or from each pool with `auto_assign` that it may use, pinned pools first, then by priority, then as in the file: an address beside Services of its sharing key; the first free address, ascending; in a pool that is shared when full, the first address whose ports are free | nothing is found: a [`Refusal`] says why |
//!
//! *All or none*: where a place cannot be filled, nothing of the family changes. *Acquire before
//! release*: what is held and is no longer wanted stays until every successor is taken, and then stays
//! claimed as *leaving* until it has fallen silent (S5). Of a Service that requires both families, both
//! are taken or none. One that prefers both gains the second when it can be had, and the first is not
//! touched.
//!
//! *Nobody moves but on request*: quotas, drains, reservations, cool-down, priorities and sharing are
//! rules of entry, and a host name that resolves elsewhere is told of.
//!
//! Barred for new holders: reserved addresses; those ending in .0 and .255 where the pool avoids
//! them; addresses of nodes, gateways, of this host (unless the pool is for them) and of connected
//! networks themselves; addresses that somebody answers for on the wire. A neighbour that turns up
//! later is told of, and moves nobody who is in place.
//!
//! Ports: TCP and UDP with a nodePort are served. A port of a Service is claimed on all of its
//! addresses or on none. A Service without any such port is given no address, and keeps what it
//! holds. A nodePort that several Services name is for whom claims its port already, else for the
//! first: see the `contest` module. Who may share an address is in the `sharing` module's head.

mod allocator;
mod book;
mod contest;
mod follow;
mod ledger;
mod memory;
mod outcome;
mod pools;
mod quota;
mod refusal;
mod request;
mod reservations;
mod run;
mod search;
mod sharing;
mod surroundings;
#[cfg(test)]
mod tests;

pub use allocator::{Allocator, Input, Violation};
pub use ledger::{Entry, Hold, Ledger, LedgerError, MAX_BYTES, VERSION};
pub use memory::{MOST_KEPT, ReservationKey};
pub use outcome::{Holding, Outcome};
pub use refusal::{Exclusion, PortName, Refusal};
pub use surroundings::{Conflict, Host, Interface, Lookup, Stage};
