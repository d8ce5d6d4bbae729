//! Node ports that several Services of a source name. The API server gives each to one Service;
//! behind a directory two files may name the same.
//!
//! Who claims its port in the ledger keeps it, over restarts too, whatever the files are called
//! (S6); a newcomer is refused the port. Where nobody claims it yet, the senior has it, then the
//! first by key. Where several claim it, since a Service that was served was edited to it later,
//! all of them keep it: the ledger does not know by which nodePort, and nobody is taken out.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_model::{Protocol, ServiceKey, SourceName, local::PortClaim, object::Service};

use super::book::Book;

/// Ports that are not served since their nodePort is another's, with whose.
pub(super) type Lost = BTreeMap<(ServiceKey, PortClaim), ServiceKey>;

/// The Services that name one node port of a source, each with its port.
type Contest<'a> = Vec<(&'a ServiceKey, PortClaim)>;

/// What each of our Services loses. `contested` are the ports whose nodePort is named twice.
pub(super) fn lost<'a>(
    book: &Book,
    contested: &BTreeSet<(ServiceKey, PortClaim)>,
    ours: impl Iterator<Item = &'a Service>,
) -> Lost {
    if contested.is_empty() {
        return Lost::new();
    }
    let mut contests: BTreeMap<(&SourceName, Protocol, u16), Contest<'_>> = BTreeMap::new();
    for service in ours {
        for port in &service.ports {
            let claim = PortClaim { protocol: port.protocol, port: port.port };
            let Some(node_port) = port.node_port else { continue };
            if contested.contains(&(service.key.clone(), claim)) {
                let contest = (&service.key.source, port.protocol, node_port);
                contests.entry(contest).or_default().push((&service.key, claim));
            }
        }
    }
    contests.values().flat_map(|contest| losers(book, contest)).collect()
}

/// The newcomers among the contenders lose to the senior holder, or all but the first to the first.
fn losers(book: &Book, contest: &Contest<'_>) -> Lost {
    let claims = |contender: &(&ServiceKey, PortClaim)| {
        let (service, claim) = contender;
        book.holds_of(service).any(|(_, hold)| !hold.leaving && hold.ports.contains(claim))
    };
    let rank = |contender: &(&ServiceKey, PortClaim)| {
        (book.seniority(contender.0).unwrap_or(u64::MAX), contender.0.clone())
    };
    let (holders, newcomers): (Vec<_>, Vec<_>) = contest.iter().copied().partition(claims);
    let first = |among: &Vec<_>| among.iter().copied().min_by_key(rank);
    let Some((winner, _)) = first(&holders).or_else(|| first(&newcomers)) else {
        return Lost::new();
    };
    let losers = newcomers.into_iter().filter(|(service, _)| *service != winner);
    losers.map(|(service, claim)| ((service.clone(), claim), winner.clone())).collect()
}
