//! From what is installed to what is wanted, in steps of which none breaks a packet.
//!
//! First everything that nobody shall reach any more falls silent and closes; then what is new is
//! built from the ground up, make before break; then what nothing refers to is taken away from the
//! top down:
//!
//! ```text
//! delete  answers, frontends, vips
//! put     legs, snats, ranges, backends, tables, identities, vips, frontends, answers
//! delete  identities, tables, backends, ranges, snats, legs
//! ```
//!
//! After each step every frontend names a table, a range set, an identity and a VIP that exist, every
//! table slot a backend, every backend a SNAT address.

use std::collections::{BTreeMap, BTreeSet};

use crate::maps::{Installed, Op};

/// The operations that make `installed` what is `wanted`, in the order in which to apply them.
pub fn diff(installed: &Installed, wanted: &Installed) -> Vec<Op> {
    let mut ops = Vec::new();
    delete(&mut ops, &installed.answers, &wanted.answers, Op::DeleteAnswer);
    delete(&mut ops, &installed.frontends, &wanted.frontends, Op::DeleteFrontend);
    delete(&mut ops, &installed.vips, &wanted.vips, Op::DeleteVip);

    put(&mut ops, &installed.legs, &wanted.legs, Op::PutLeg);
    put(&mut ops, &installed.snats, &wanted.snats, Op::PutSnat);
    ops.extend(missing(&wanted.ranges, &installed.ranges).map(|(set, net)| Op::PutRange(set, net)));
    put(&mut ops, &installed.backends, &wanted.backends, Op::PutBackend);
    put(&mut ops, &installed.tables, &wanted.tables, Op::PutTable);
    put(&mut ops, &installed.identities, &wanted.identities, Op::PutIdentity);
    put(&mut ops, &installed.vips, &wanted.vips, Op::PutVip);
    put(&mut ops, &installed.frontends, &wanted.frontends, Op::PutFrontend);
    put(&mut ops, &installed.answers, &wanted.answers, Op::PutAnswer);

    delete(&mut ops, &installed.identities, &wanted.identities, Op::DeleteIdentity);
    delete(&mut ops, &installed.tables, &wanted.tables, Op::DeleteTable);
    delete(&mut ops, &installed.backends, &wanted.backends, Op::DeleteBackend);
    let stale = missing(&installed.ranges, &wanted.ranges);
    ops.extend(stale.map(|(set, net)| Op::DeleteRange(set, net)));
    delete(&mut ops, &installed.snats, &wanted.snats, Op::DeleteSnat);
    delete(&mut ops, &installed.legs, &wanted.legs, Op::DeleteLeg);
    ops
}

fn put<K: Ord + Copy, V: PartialEq + Clone>(
    ops: &mut Vec<Op>,
    installed: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
    op: impl Fn(K, V) -> Op,
) {
    let changed = wanted.iter().filter(|(key, value)| installed.get(key) != Some(value));
    ops.extend(changed.map(|(key, value)| op(*key, value.clone())));
}

fn delete<K: Ord + Copy, V>(
    ops: &mut Vec<Op>,
    installed: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
    op: impl Fn(K) -> Op,
) {
    ops.extend(installed.keys().filter(|key| !wanted.contains_key(key)).map(|key| op(*key)));
}

fn missing<'a, T: Ord + Copy>(
    from: &'a BTreeSet<T>,
    of: &'a BTreeSet<T>,
) -> impl Iterator<Item = T> + 'a {
    from.difference(of).copied()
}

impl Installed {
    /// What is installed once `op` has been applied.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::PutLeg(ifindex, slot) => drop(self.legs.insert(*ifindex, *slot)),
            Op::DeleteLeg(ifindex) => drop(self.legs.remove(ifindex)),
            Op::PutVip(address, vip) => drop(self.vips.insert(*address, *vip)),
            Op::DeleteVip(address) => drop(self.vips.remove(address)),
            Op::PutIdentity(id, key) => drop(self.identities.insert(*id, *key)),
            Op::DeleteIdentity(id) => drop(self.identities.remove(id)),
            Op::PutFrontend(key, frontend) => drop(self.frontends.insert(*key, *frontend)),
            Op::DeleteFrontend(key) => drop(self.frontends.remove(key)),
            Op::PutBackend(id, backend) => drop(self.backends.insert(*id, *backend)),
            Op::DeleteBackend(id) => drop(self.backends.remove(id)),
            Op::PutTable(id, table) => drop(self.tables.insert(*id, table.clone())),
            Op::DeleteTable(id) => drop(self.tables.remove(id)),
            Op::PutSnat(id, snat) => drop(self.snats.insert(*id, *snat)),
            Op::DeleteSnat(id) => drop(self.snats.remove(id)),
            Op::PutRange(set, net) => drop(self.ranges.insert((*set, *net))),
            Op::DeleteRange(set, net) => drop(self.ranges.remove(&(*set, *net))),
            Op::PutAnswer(key, answer) => drop(self.answers.insert(*key, *answer)),
            Op::DeleteAnswer(key) => drop(self.answers.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests;
