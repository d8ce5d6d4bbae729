//! Who may live on one address together.
//!
//! An address is shared only where no protocol and port collide; which Services may try is the
//! pool's policy:
//!
//! | `sharing` | Services that may meet on one address |
//! |---|---|
//! | off | none |
//! | key | of one source and namespace, naming the same sharing key |
//! | key across namespaces | naming the same sharing key, each allowing the other's namespace |
//! | when full | as *key*; and any, once no address of the pool and family is free |
//!
//! A Service that says with which namespaces it shares allows these and its own, one that says
//! nothing allows all: a key is no secret, so a tenant that wants certain partners names them, and
//! nobody is shared with against its word. Behind that stands the pool's policy, which is the
//! operator's word that namespaces may meet at all. An address that a reservation keeps is shared
//! with no newcomer.
//!
//! The policy is a rule of entry: nobody is moved by an edit of the policy, of another Service,
//! or by an address that becomes free. A Service that edits **its own** key away from its
//! neighbours' is the one that moves, when it can.
//!
//! `externalTrafficPolicy` has no say. Elsewhere Services under Local share only with Services
//! that select the same pods, because one node answers for the whole address. Here the edge host
//! answers and resolves address, protocol and port to one Service, each with nodes of its own.

use std::{net::IpAddr, sync::Arc};

use roadstead_model::{ServiceKey, config::Sharing};

use super::{
    book::Book,
    ledger::{Entry, Hold},
    refusal::Refusal,
    request::Wish,
};

/// Whether a Service may live on an address beside those that hold it.
///
/// # Errors
/// Who stands in the way, and how.
pub(super) fn admits(
    book: &Book,
    policy: Sharing,
    full: bool,
    wish: &Wish<'_>,
    address: IpAddr,
) -> Result<(), Refusal> {
    let Some(entry) = book.entry(address) else { return Ok(()) };
    if !(full && policy == Sharing::WhenFull) {
        cohabits(entry, policy, wish, address)?;
    }
    match collision(book, wish, address) {
        Some(conflict) => Err(conflict),
        None => Ok(()),
    }
}

/// Whether the keys let a Service live beside the others on an address, ports aside.
///
/// # Errors
/// The first neighbour that may not be one.
pub(super) fn cohabits(
    entry: &Entry,
    policy: Sharing,
    wish: &Wish<'_>,
    address: IpAddr,
) -> Result<(), Refusal> {
    let own = &wish.service.key;
    let stranger = entry
        .holders
        .iter()
        .find(|(service, hold)| *service != own && !keys_agree(policy, wish, service, hold));
    let Some((service, hold)) = stranger else { return Ok(()) };
    let keyed = policy != Sharing::Off && (wish.key().is_some() || hold.sharing_key.is_some());
    Err(if keyed && !hold.leaving {
        let theirs = hold.sharing_key.clone();
        Refusal::SharingKeyDiffers { address, with: service.clone(), theirs }
    } else {
        Refusal::AddressHeld { address, by: service.clone(), leaving: hold.leaving }
    })
}

fn keys_agree(policy: Sharing, wish: &Wish<'_>, service: &ServiceKey, hold: &Hold) -> bool {
    let same_key = |ours: &Arc<str>| hold.sharing_key.as_ref() == Some(ours);
    let own = &wish.service.key;
    let one_namespace = (&own.source, &own.namespace) == (&service.source, &service.namespace);
    let consent = || {
        let ours = wish.service.request.share_with.as_deref();
        allows(ours, service) && allows(hold.share_with.as_deref(), own)
    };
    match policy {
        Sharing::Off => false,
        Sharing::Key | Sharing::WhenFull => wish.key().is_some_and(same_key) && one_namespace,
        Sharing::KeyAcrossNamespaces => {
            wish.key().is_some_and(same_key) && (one_namespace || consent())
        }
    }
}

fn allows(namespaces: Option<&[Arc<str>]>, service: &ServiceKey) -> bool {
    namespaces.is_none_or(|namespaces| namespaces.contains(&service.namespace))
}

/// The first port that another Service claims on the address.
pub(super) fn collision(book: &Book, wish: &Wish<'_>, address: IpAddr) -> Option<Refusal> {
    wish.ports.iter().find_map(|port| {
        let with = book.claimant(address, *port).filter(|with| **with != wish.service.key)?;
        Some(Refusal::PortConflict { address, port: *port, with: with.clone() })
    })
}
