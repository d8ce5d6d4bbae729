//! Addresses that are kept for somebody: those of the configuration, and what one Service claims by
//! name.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use roadstead_model::{
    ServiceKey,
    config::{Beneficiary, Reservation},
    local::ReservationStatus,
};

use super::{
    book::{self, Book},
    memory::{MOST_KEPT, ReservationKey},
    refusal::Refusal,
    request::Wish,
};

/// The reservations of the configuration, by every question.
pub(super) struct Reservations<'a> {
    all: &'a [Reservation],
    by_address: BTreeMap<IpAddr, &'a Reservation>,
    by_service: BTreeMap<&'a ServiceKey, Vec<&'a Reservation>>,
}

/// What a Service claims by `roadstead.io/reservation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim<'a> {
    /// Nothing.
    Nothing,
    /// A reservation of the configuration.
    Configured(&'a Reservation),
    /// One that lasts by its name alone.
    Noted(ReservationKey),
}

impl<'a> Reservations<'a> {
    pub(super) fn new(all: &'a [Reservation]) -> Self {
        let mut by_service: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for reservation in all {
            if let Beneficiary::Service(key) = &reservation.beneficiary {
                by_service.entry(key).or_default().push(reservation);
            }
        }
        let addresses = |r: &'a Reservation| r.addresses.iter().map(move |address| (*address, r));
        Self { all, by_address: all.iter().flat_map(addresses).collect(), by_service }
    }

    /// Every address that the configuration keeps.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// Whether the configuration keeps an address for anybody.
    pub(super) fn keeps(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Whether the configuration keeps an address for this Service.
    pub(super) fn keeps_for(&self, address: IpAddr, service: &ServiceKey) -> bool {
        self.by_address.get(&address).is_some_and(|r| r.beneficiary.includes(service))
    }

    /// The configuration keeps an address for somebody else.
    pub(super) fn refuses(&self, address: IpAddr, service: &ServiceKey) -> Option<Refusal> {
        let reservation = self.by_address.get(&address)?;
        (!reservation.beneficiary.includes(service)).then(|| Refusal::ReservedForAnother {
            address,
            reservation: reservation.name.clone(),
            whose: in_words(&reservation.beneficiary),
        })
    }

    /// What a Service is given without asking.
    pub(super) fn given_to(&self, service: &ServiceKey) -> impl Iterator<Item = IpAddr> {
        let reservations = self.by_service.get(service).into_iter().flatten();
        reservations.flat_map(|reservation| reservation.addresses.iter().copied())
    }

    /// What a Service claims by name.
    ///
    /// # Errors
    /// Another lives under that name, or the namespace keeps too much already.
    pub(super) fn claim(&self, book: &Book, wish: &Wish<'_>) -> Result<Claim<'a>, Refusal> {
        let service = &wish.service.key;
        let Some(name) = &wish.service.request.reservation else { return Ok(Claim::Nothing) };
        let configured =
            self.all.iter().find(|r| r.name == *name && r.beneficiary.includes(service));
        if let Some(reservation) = configured {
            return Ok(Claim::Configured(reservation));
        }
        let key = book::reservation(service, name);
        let lives = |(other, address): &&(ServiceKey, IpAddr)| {
            other != service && book.hold(*address, other).is_some_and(|hold| !hold.leaving)
        };
        if let Some((by, _)) = book.under_reservation(&key).find(lives) {
            return Err(Refusal::ReservationInUse { reservation: name.clone(), by: by.clone() });
        }
        let is_known = book.under_reservation(&key).next().is_some()
            || book.memory().kept_under(&key).next().is_some();
        let kept = book.reserved_beside(&key);
        if !is_known && kept >= MOST_KEPT {
            let namespace = format!("{}/{}", service.source, service.namespace);
            return Err(Refusal::TooManyReservations { namespace, kept });
        }
        Ok(Claim::Noted(key))
    }

    /// What is kept and nobody holds, those of the configuration first.
    pub(super) fn unused(&self, book: &Book) -> Vec<ReservationStatus> {
        let free = |reservation: &&Reservation| {
            !reservation.addresses.iter().any(|address| book.entry(*address).is_some())
        };
        let configured = self.all.iter().filter(free).map(|reservation| ReservationStatus {
            name: reservation.name.clone(),
            r#for: in_words(&reservation.beneficiary),
            addresses: reservation.addresses.clone(),
            configured: true,
        });
        let mut noted: BTreeMap<&ReservationKey, Vec<IpAddr>> = BTreeMap::new();
        for (address, key) in book.memory().kept() {
            noted.entry(key).or_default().push(address);
        }
        let noted = noted.into_iter().map(|(key, addresses)| ReservationStatus {
            name: key.name.clone(),
            r#for: format!("{}/{}", key.source, key.namespace),
            addresses,
            configured: false,
        });
        configured.chain(noted).collect()
    }
}

impl Claim<'_> {
    /// The addresses that the claim is about, and that others of the claim may still be leaving.
    pub(super) fn addresses(&self, book: &Book) -> Vec<IpAddr> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Configured(reservation) => reservation.addresses.clone(),
            Self::Noted(key) => {
                let left = book.under_reservation(key).map(|(_, address)| *address);
                book.memory().kept_under(key).chain(left).collect()
            }
        }
    }

    /// The name that is noted with what is held.
    pub(super) fn noted(&self) -> Option<&Arc<str>> {
        match self {
            Self::Noted(key) => Some(&key.name),
            Self::Nothing | Self::Configured(_) => None,
        }
    }

    /// Whether the claim is one on this address.
    pub(super) fn keeps(&self, book: &Book, address: IpAddr) -> bool {
        match self {
            Self::Nothing => false,
            Self::Configured(reservation) => reservation.addresses.contains(&address),
            Self::Noted(key) => book.memory().is_kept(address, key),
        }
    }
}

fn in_words(beneficiary: &Beneficiary) -> String {
    match beneficiary {
        Beneficiary::Service(key) => key.to_string(),
        Beneficiary::Namespace { source, namespace } => format!("{source}/{namespace}"),
    }
}
