//! What the kernel's tables hold: which node each slot is, by address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::Edge;
use roadstead_router_bpf::{Dataplane, Pins};
use roadstead_router_core::maps::{FrontendKey, Maps as _, TableId};

/// The slots of each frontend's table; tables are shared.
#[derive(Debug)]
pub(crate) struct Tables {
    frontends: BTreeMap<FrontendKey, TableId>,
    slots: BTreeMap<TableId, Vec<Option<IpAddr>>>,
}

/// Reads them back from the kernel.
pub(crate) fn read(edge: &Edge) -> Result<Tables> {
    let pins = Pins::new(edge.bpffs().join("router"));
    let installed = Dataplane::open(&pins)?.read()?;
    let address = |id: &u16| installed.backends.get(id).map(|backend| backend.address);
    let slots = installed.tables.iter();
    let slots = slots.map(|(id, table)| (*id, table.iter().map(address).collect())).collect();
    let frontends = installed.frontends.iter();
    let frontends = frontends.filter_map(|(key, served)| Some((*key, served.table?))).collect();
    Ok(Tables { frontends, slots })
}

/// The share of slots that changed although their node is still there, over all frontends.
pub(crate) fn moved(before: &Tables, after: &Tables) -> Result<f64> {
    let (mut kept, mut changed) = (0_u32, 0_u32);
    let mut pairs: BTreeSet<(TableId, TableId)> = BTreeSet::new();
    for (key, table) in &before.frontends {
        // A Service may have gone in between.
        pairs.extend(after.frontends.get(key).map(|now| (*table, *now)));
    }
    for (old, new) in &pairs {
        let (old, new) = (slots(before, *old)?, slots(after, *new)?);
        for (old, new) in old.iter().zip(new).filter(|(old, _)| new.contains(old)) {
            changed += u32::from(old != new);
            kept += 1;
        }
    }
    ensure!(kept > 0, "there is no table");
    Ok(f64::from(changed) / f64::from(kept))
}

fn slots(tables: &Tables, id: TableId) -> Result<&Vec<Option<IpAddr>>> {
    tables.slots.get(&id).with_context(|| format!("no table {id}"))
}
