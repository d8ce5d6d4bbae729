//! [`Maps`] over the pinned maps.

use roadstead_router_core::maps::{
    BackendId, Capacity, Installed, MapError, Maps, NO_BACKEND, Op, SnatId, TABLE_SLOTS, Table,
    TableId,
};

use crate::{
    Dataplane,
    layout::{self, Address, BACKENDS, LEGS, TABLE_ELEMENT, class},
    leg,
    settings::hash_class,
};

mod convert;

pub(crate) use convert::protocol;

impl Maps for Dataplane {
    fn capacity(&self) -> Capacity {
        self.capacity_of_maps()
    }

    fn read(&self) -> Result<Installed, MapError> {
        let mut installed = Installed::default();
        self.read_legs(&mut installed);
        self.read_served(&mut installed)?;
        self.read_backends(&mut installed)?;
        self.read_tables(&mut installed)?;
        Ok(installed)
    }

    fn apply(&mut self, op: &Op) -> Result<(), MapError> {
        match op {
            Op::PutLeg(ifindex, slot) => self.put_leg(*ifindex, *slot),
            Op::DeleteLeg(ifindex) => self.delete_leg(*ifindex),
            Op::PutVip(address, vip) => self.put_vip((*address).into(), vip.into()),
            Op::DeleteVip(address) => self.delete_vip((*address).into()),
            Op::PutIdentity(id, key) => self.identities.put(id, &key.into()),
            Op::DeleteIdentity(id) => self.identities.put(id, &layout::FrontendKey::NONE),
            Op::PutFrontend(key, frontend) => self.put_frontend(&key.into(), &frontend.into()),
            Op::DeleteFrontend(key) => self.delete_frontend(&key.into()),
            Op::PutBackend(id, backend) => self.backends.put(&(*id).into(), &backend.into()),
            Op::DeleteBackend(id) => self.backends.put(&(*id).into(), &layout::Backend::NONE),
            Op::PutTable(id, table) => self.put_table(*id, table),
            Op::DeleteTable(id) => self.delete_table(*id),
            Op::PutSnat(id, snat) => self.put_snat(*id, snat.into()),
            Op::DeleteSnat(id) => self.put_snat(*id, layout::Snat::NONE),
            Op::PutRange(set, net) => self.put_range(layout::RangeKey::new(*set, net)),
            Op::DeleteRange(set, net) => self.delete_range(layout::RangeKey::new(*set, net)),
            Op::PutAnswer(key, answer) => self.answers.put(&key.into(), &answer.into()),
            Op::DeleteAnswer(key) => self.answers.delete(&key.into()).map(drop),
        }
    }
}

impl Dataplane {
    fn read_legs(&self, installed: &mut Installed) {
        for (slot, leg) in (0_u8..).zip(self.settings.legs()) {
            if leg.ifindex != 0 {
                installed.legs.insert(leg.ifindex, slot);
            }
        }
    }

    fn read_served(&self, installed: &mut Installed) -> Result<(), MapError> {
        let vips = self.vips.all()?.into_iter();
        installed.vips = vips.map(|(address, vip)| (address.into(), vip.into())).collect();
        let frontends = self.frontends.all()?.into_iter();
        installed.frontends = frontends.map(|(key, value)| (key.into(), value.into())).collect();
        let identities = self.identities.all()?.into_iter();
        let known = identities.filter(|(_, key)| *key != layout::FrontendKey::NONE);
        installed.identities = known.map(|(id, key)| (id, key.into())).collect();
        let ranges = self.ranges.all()?.into_iter();
        installed.ranges = ranges.filter_map(|(key, _)| key.range()).collect();
        let answers = self.answers.all()?.into_iter();
        installed.answers = answers.map(|(key, value)| (key.into(), value.into())).collect();
        Ok(())
    }

    fn read_backends(&self, installed: &mut Installed) -> Result<(), MapError> {
        for (id, backend) in self.backends.all()? {
            if let (Ok(id), Some(backend)) = (BackendId::try_from(id), backend.read()) {
                installed.backends.insert(id, backend);
            }
        }
        for (id, snat) in self.snats.all()? {
            if let (Ok(id), Some(snat)) = (SnatId::try_from(id), snat.read()) {
                installed.snats.insert(id, snat);
            }
        }
        Ok(())
    }

    fn read_tables(&self, installed: &mut Installed) -> Result<(), MapError> {
        for (table, element) in &self.placed {
            if let Some(value) = self.tables.get(element)? {
                let used = value.slots.get(..TABLE_SLOTS).unwrap_or_default();
                installed.tables.insert(*table, used.into());
            }
        }
        Ok(())
    }

    fn put_leg(&self, ifindex: u32, slot: u8) -> Result<(), MapError> {
        if usize::from(slot) >= LEGS {
            return Err(MapError::Full { map: "legs", capacity: 32 });
        }
        let leg = leg::read(ifindex).map_err(|source| MapError::Kernel {
            act: "write",
            map: "legs",
            source,
        })?;
        self.settings.set_leg(slot, leg);
        Ok(())
    }

    fn delete_leg(&self, ifindex: u32) -> Result<(), MapError> {
        for (slot, leg) in (0_u8..).zip(self.settings.legs()) {
            if leg.ifindex == ifindex {
                self.settings.set_leg(slot, layout::Leg::NONE);
            }
        }
        Ok(())
    }

    /// Reads MAC and MTU of a leg again, after the kernel has told of a change. A leg that has no
    /// slot, or is gone, is left as it is.
    pub fn refresh_leg(&self, ifindex: u32) {
        for (slot, leg) in (0_u8..).zip(self.settings.legs()) {
            if leg.ifindex == ifindex
                && let Ok(leg) = leg::read(ifindex)
            {
                self.settings.set_leg(slot, leg);
            }
        }
    }

    fn put_vip(&mut self, address: Address, vip: layout::Vip) -> Result<(), MapError> {
        self.vips.put(&address, &vip)?;
        self.classified.vips.insert(address);
        self.classify(address);
        Ok(())
    }

    fn delete_vip(&mut self, address: Address) -> Result<(), MapError> {
        self.vips.delete(&address)?;
        self.classified.vips.remove(&address);
        self.classify(address);
        Ok(())
    }

    fn put_snat(&mut self, id: SnatId, snat: layout::Snat) -> Result<(), MapError> {
        let id = u32::from(id);
        self.snats.put(&id, &snat)?;
        let before = if snat.present == 0 {
            self.classified.snats.remove(&id)
        } else {
            self.classified.snats.insert(id, snat.address)
        };
        let count =
            self.classified.snats.keys().next_back().map_or(0, |last| last.saturating_add(1));
        self.settings.set_snat_count(count);
        self.classify(snat.address);
        if let Some(before) = before {
            self.classify(before);
        }
        Ok(())
    }

    /// Sets the bits of the class that an address is in to what the addresses of that class are.
    fn classify(&self, address: Address) {
        let index = hash_class(&address);
        let same = |other: &Address| hash_class(other) == index;
        let mut bits = 0;
        if self.classified.vips.iter().any(same) {
            bits |= class::VIP;
        }
        if self.classified.snats.values().any(same) {
            bits |= class::SNAT;
        }
        if self.settings.class(index) != bits {
            self.settings.set_class(index, bits);
        }
    }

    fn put_frontend(
        &self,
        key: &layout::FrontendKey,
        frontend: &layout::Frontend,
    ) -> Result<(), MapError> {
        self.frontends.put(key, frontend)?;
        self.settings.frontends_changed();
        if frontend.ranges != layout::NO_RANGES {
            self.settings.ranges_changed();
        }
        Ok(())
    }

    fn delete_frontend(&self, key: &layout::FrontendKey) -> Result<(), MapError> {
        let deleted = self.frontends.delete(key);
        self.settings.frontends_changed();
        deleted.map(drop)
    }

    fn put_range(&self, key: layout::RangeKey) -> Result<(), MapError> {
        self.ranges.put(&key, &1)?;
        self.settings.ranges_changed();
        Ok(())
    }

    fn delete_range(&self, key: layout::RangeKey) -> Result<(), MapError> {
        self.ranges.delete(&key)?;
        self.settings.ranges_changed();
        Ok(())
    }

    fn put_table(&mut self, id: TableId, table: &Table) -> Result<(), MapError> {
        let full = MapError::Full { map: "tables", capacity: self.tables.capacity() };
        let Some(element) = self.free_elements.pop_front() else { return Err(full) };
        let written = self
            .tables
            .put(&element, &element_of(table))
            .and_then(|()| self.table_refs.put(&id.into(), &element.saturating_add(1)));
        if let Err(error) = written {
            self.free_elements.push_front(element);
            return Err(error);
        }
        if let Some(before) = self.placed.insert(id, element) {
            self.free_elements.push_back(before);
        }
        Ok(())
    }

    fn delete_table(&mut self, id: TableId) -> Result<(), MapError> {
        self.table_refs.put(&id.into(), &0)?;
        if let Some(element) = self.placed.remove(&id) {
            self.free_elements.push_back(element);
        }
        Ok(())
    }
}

fn element_of(table: &Table) -> layout::MaglevTable {
    let mut element =
        layout::MaglevTable { slots: [NO_BACKEND; TABLE_ELEMENT], members: [0; BACKENDS / 64] };
    for (slot, backend) in element.slots.iter_mut().zip(table.iter()) {
        *slot = *backend;
        let word = element.members.get_mut(usize::from(*backend) / 64);
        if let Some(word) = word {
            *word |= 1 << (backend % 64);
        }
    }
    element
}

const _: () = assert!(TABLE_SLOTS < TABLE_ELEMENT);
