//! What a ledger remembers of addresses that nobody holds, read from its text alone.

use super::{super::*, ReservationKey, pool_of};

/// What the ledger remembered before a run, as it stands on the disk.
pub(super) struct Remembered {
    pub(super) released: Vec<(IpAddr, ServiceKey, u64)>,
    pub(super) kept: Vec<(IpAddr, ReservationKey)>,
}

impl Remembered {
    pub(super) fn of(world: &World) -> Self {
        let text: serde_json::Value =
            serde_json::from_str(&world.allocator.ledger().encode()).unwrap();
        let list = |key: &str| text[key].as_array().cloned().unwrap_or_default();
        let address = |entry: &serde_json::Value| ip(entry["address"].as_str().unwrap());
        let name = |entry: &serde_json::Value, key| entry[key].as_str().unwrap().parse().unwrap();
        Self {
            released: list("released")
                .iter()
                .map(|e| (address(e), name(e, "service"), e["at"].as_u64().unwrap()))
                .collect(),
            kept: list("kept").iter().map(|e| (address(e), name(e, "reservation"))).collect(),
        }
    }

    /// Whether an address counts as a namespace's although it holds nothing.
    pub(super) fn counts(&self, address: IpAddr, namespace: &str) -> bool {
        let released = self.released.iter().map(|(address, service, _)| (address, service));
        let kept = self.kept.iter().map(|(address, key)| (address, key));
        released.chain(kept).any(|(a, key)| *a == address && *key.namespace == *namespace)
    }

    /// Whether an address was somebody else's: reserved, or his until a moment ago.
    pub(super) fn keeps_from(
        &self,
        world: &World,
        service: &Service,
        address: IpAddr,
        held: bool,
    ) -> bool {
        let configured = world.reservations.iter().find(|r| r.addresses.contains(&address));
        if let Some(reservation) = configured {
            return !reservation.beneficiary.includes(&service.key);
        }
        let own =
            service.request.reservation.as_ref().map(|name| {
                ReservationKey::new(&local(), service.key.namespace.clone(), name.clone())
            });
        let keys: Vec<_> =
            self.kept.iter().filter(|(kept, _)| *kept == address).map(|(_, key)| key).collect();
        if !keys.is_empty() {
            return !own.is_some_and(|own| keys.contains(&&own));
        }
        let cool_down = pool_of(world, address).map_or(0, |pool| pool.cool_down.as_secs());
        let cooling: Vec<_> = self
            .released
            .iter()
            .filter(|(a, _, at)| *a == address && cool_down > 0 && at + cool_down >= world.now)
            .map(|(_, service, _)| service)
            .collect();
        !held && !cooling.is_empty() && !cooling.contains(&&service.key)
    }
}
