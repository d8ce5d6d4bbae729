//! A thousand Services at once.

use std::{thread, time::Instant};

use anyhow::{Result, anyhow};

use super::{
    ask,
    audit::Requests,
    world::{SERVED, World},
};

/// Seconds from the first request that created one.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    /// The last was created.
    pub(crate) created: f64,
    /// Each has answered through its VIP.
    pub(crate) served: f64,
    /// The kernel answers ARP for each.
    pub(crate) announced: f64,
    /// What the daemons asked of the API server, until all were announced.
    pub(crate) requests: Requests,
}

/// Creates so many.
pub(crate) fn measure(world: &mut World, count: u16) -> Result<Burst> {
    let (first, last) = (world.services, world.services + count);
    world.fix_neighbours(first..last)?;
    let (mark, client) = (world.audit.mark()?, world.client()?.clone());
    let vips = (first..last).map(|service| world.vip(service)).collect();
    let (began, created, served) = thread::scope(|scope| {
        let asking = scope.spawn(move || ask::all_answer(&client, vips, SERVED));
        let began = world.create(last)?;
        let created = Instant::now();
        let served = asking.join().map_err(|_| anyhow!("the client panicked"))??;
        Ok::<_, anyhow::Error>((began, created, served))
    })?;
    let announced = world.wait_served()?.answering;
    let since = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
    Ok(Burst {
        created: since(created),
        served: since(served),
        announced: since(announced),
        requests: world.audit.since(mark)?,
    })
}
