//! Maglev tables: one for all frontends with the same backends and weights.
//!
//! A table is rewritten in place where all frontends that use it want its new content: one write
//! moves a thousand Services. Where only some want it, they get a table of their own, so that
//! nobody is spread by another's table even for a moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Inputs,
    nodes::Nodes,
    serving::{Demand, Draft},
};
use crate::{
    maglev::{self, Share},
    maps::{BackendId, Table, TableId},
};

/// Backends with weights, ordered by index.
type Shares = Arc<[(BackendId, u32)]>;

/// The tables of the last plan by what they were built from.
#[derive(Debug, Default)]
pub(super) struct Cache {
    names: BTreeMap<BackendId, String>,
    built: HashMap<Shares, Table>,
}

/// Frontends that want one table.
struct Group {
    content: Table,
    /// Indices of the drafts.
    members: Vec<usize>,
    /// How many members use each installed table now.
    current: BTreeMap<TableId, usize>,
}

impl Cache {
    /// Gives every draft its table, and returns all tables in use. A draft that gets none keeps the
    /// one that it has, or says that there is no room.
    pub(super) fn assign(
        &mut self,
        inputs: &Inputs<'_>,
        nodes: &Nodes,
        drafts: &mut [Draft],
    ) -> BTreeMap<TableId, Table> {
        self.follow_names(nodes);
        let groups = self.groups(inputs, drafts);
        let mut wanted = BTreeMap::new();
        let users = users(&groups, inputs, drafts);
        let mut open = claim_unchanged(inputs, &groups, &mut wanted);
        open.retain(|group| !claim_in_place(group, &users, inputs, &mut wanted));
        let mut ids: BTreeMap<usize, TableId> = wanted
            .iter()
            .flat_map(|(id, claim)| claim.members.iter().map(|member| (*member, *id)))
            .collect();
        let mut tables: BTreeMap<TableId, Table> =
            wanted.into_iter().map(|(id, claim)| (id, claim.content)).collect();
        for group in open {
            match fresh(inputs, &tables) {
                Some(id) => {
                    tables.insert(id, Arc::clone(&group.content));
                    ids.extend(group.members.iter().map(|member| (*member, id)));
                }
                None => refuse(inputs, group, drafts, &mut tables, &mut ids),
            }
        }
        for (member, id) in ids {
            if let Some(draft) = drafts.get_mut(member) {
                draft.table = Some(id);
            }
        }
        tables
    }

    /// Forgets what was built from other names under the same indices.
    fn follow_names(&mut self, nodes: &Nodes) {
        let rows = nodes.rows.iter();
        let names: BTreeMap<BackendId, String> =
            rows.filter_map(|row| row.backend.map(|id| (id, row.name()))).collect();
        let renamed =
            |(id, name): (&BackendId, &String)| names.get(id).is_some_and(|new| new != name);
        if self.names.iter().any(renamed) {
            self.built.clear();
        }
        self.names = names;
    }

    /// Frontends by the content that they want, the largest group first.
    fn groups(&mut self, inputs: &Inputs<'_>, drafts: &[Draft]) -> Vec<Group> {
        let mut by_demand: BTreeMap<&Demand, Group> = BTreeMap::new();
        let mut built = HashMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            let mut content = || match &draft.demand {
                Demand::Nobody => None,
                Demand::Keep(id) => inputs.installed.tables.get(id).cloned(),
                Demand::Shares(shares) if shares.is_empty() => None,
                Demand::Shares(shares) => Some(self.table(shares, &mut built)),
            };
            if !by_demand.contains_key(&draft.demand)
                && let Some(content) = content()
            {
                let group = Group { content, members: Vec::new(), current: BTreeMap::new() };
                by_demand.insert(&draft.demand, group);
            }
            if let Some(group) = by_demand.get_mut(&draft.demand) {
                group.members.push(index);
                if let Some(id) = current(inputs, draft) {
                    *group.current.entry(id).or_default() += 1;
                }
            }
        }
        let mut groups: Vec<Group> = by_demand.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
        self.built = built;
        groups
    }

    fn table(&self, shares: &Shares, built: &mut HashMap<Shares, Table>) -> Table {
        let known = self.built.get(shares).cloned();
        let table = known.unwrap_or_else(|| self.build(shares));
        built.insert(Arc::clone(shares), Arc::clone(&table));
        table
    }

    fn build(&self, shares: &Shares) -> Table {
        let shares: Vec<Share<'_>> = shares
            .iter()
            .filter_map(|(backend, weight)| {
                let name = self.names.get(backend)?;
                Some(Share { name, backend: *backend, weight: *weight })
            })
            .collect();
        maglev::table(&shares)
    }
}

/// A table in use and who uses it.
struct Claim {
    content: Table,
    members: Vec<usize>,
}

/// The installed table of a frontend.
fn current(inputs: &Inputs<'_>, draft: &Draft) -> Option<TableId> {
    let table = inputs.installed.frontends.get(&draft.key)?.table?;
    inputs.installed.tables.contains_key(&table).then_some(table)
}

/// How many wanted frontends use each installed table now, those that want none included.
fn users(groups: &[Group], inputs: &Inputs<'_>, drafts: &[Draft]) -> BTreeMap<TableId, usize> {
    let mut users = BTreeMap::new();
    for group in groups {
        for (id, count) in &group.current {
            *users.entry(*id).or_default() += count;
        }
    }
    for draft in drafts.iter().filter(|draft| draft.demand == Demand::Nobody) {
        if let Some(id) = current(inputs, draft) {
            *users.entry(id).or_default() += 1;
        }
    }
    users
}

/// Groups whose content is installed under an index that they use keep it; returns the others.
fn claim_unchanged<'a>(
    inputs: &Inputs<'_>,
    groups: &'a [Group],
    wanted: &mut BTreeMap<TableId, Claim>,
) -> Vec<&'a Group> {
    let mut open = Vec::new();
    for group in groups {
        let unchanged = group.current.keys().copied().find(|id| {
            !wanted.contains_key(id)
                && inputs.installed.tables.get(id).is_some_and(|table| same(table, &group.content))
        });
        match unchanged {
            Some(id) => {
                wanted.insert(id, group.claim());
            }
            None => open.push(group),
        }
    }
    open
}

/// Rewrites a table in place where every user of it is a member of the group.
fn claim_in_place(
    group: &Group,
    users: &BTreeMap<TableId, usize>,
    inputs: &Inputs<'_>,
    wanted: &mut BTreeMap<TableId, Claim>,
) -> bool {
    let whole = group.current.iter().find(|(id, count)| {
        !wanted.contains_key(id)
            && inputs.installed.tables.contains_key(id)
            && users.get(id) == Some(count)
    });
    let Some((id, _)) = whole else { return false };
    wanted.insert(*id, group.claim());
    true
}

fn same(a: &Table, b: &Table) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// An index that neither the maps nor the plan use.
fn fresh(inputs: &Inputs<'_>, tables: &BTreeMap<TableId, Table>) -> Option<TableId> {
    let installed = &inputs.installed.tables;
    (0..inputs.capacity.tables).find(|id| !installed.contains_key(id) && !tables.contains_key(id))
}

/// No index is free: frontends keep the table that they use as it is, or are refused by name.
fn refuse(
    inputs: &Inputs<'_>,
    group: &Group,
    drafts: &mut [Draft],
    tables: &mut BTreeMap<TableId, Table>,
    ids: &mut BTreeMap<usize, TableId>,
) {
    let taken: BTreeSet<TableId> = tables.keys().copied().collect();
    for member in &group.members {
        let Some(draft) = drafts.get_mut(*member) else { continue };
        let most = inputs.capacity.tables;
        draft.refused =
            Some(format!("no room for its spread over nodes: at most {most} tables are served"));
        let kept = current(inputs, draft).filter(|id| !taken.contains(id));
        if let Some((id, table)) = kept.and_then(|id| Some((id, inputs.installed.tables.get(&id)?)))
        {
            tables.insert(id, Arc::clone(table));
            ids.insert(*member, id);
        }
    }
}

impl Group {
    fn claim(&self) -> Claim {
        Claim { content: Arc::clone(&self.content), members: self.members.clone() }
    }
}
