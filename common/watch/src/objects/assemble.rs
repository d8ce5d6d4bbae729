//! Items of all files → one view: each object once, slices by Service, node ports that are named
//! twice.
//!
//! # Conflicts
//! What is chosen follows from the files as they are, never from which was there first: a start
//! finds the same as a long run (S6). Of one object in several files, the first good one in the
//! order of paths is used. A node port that several Services name takes none of them out: they are
//! reported and marked as contested, and the allocator gives it to whom the ledger knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roadstead_model::{
    Location, Problem, Protocol, ServiceKey, SourceName, local::PortClaim, metallb::MetalLb,
    object::Service,
};

use super::{
    endpoints, metallb,
    object::{Content, Item, Object, ObjectId, Slice},
    service,
};
use crate::view::SourceView;

/// A view, and the objects that it was made of.
pub(crate) struct Assembled {
    /// State and problems are the caller's.
    pub(crate) view: SourceView,
    /// By identity.
    pub(crate) last: BTreeMap<ObjectId, Object>,
    /// What MetalLB's objects say together; none where one of them is refused.
    pub(crate) metallb: Option<MetalLb>,
    /// What is wrong between objects.
    pub(crate) problems: Vec<Problem>,
}

/// An object that is to be used.
struct Candidate<'i> {
    id: &'i ObjectId,
    location: &'i Location,
    object: Object,
    /// Why the version in the file is not the one that is used.
    refused: Option<Arc<str>>,
}

/// Puts items, in the order of files and documents, together. `last` are the last good objects.
pub(crate) fn assemble<'i>(
    source: &SourceName,
    items: impl Iterator<Item = &'i Item> + Clone,
    last: &BTreeMap<ObjectId, Object>,
    before: &SourceView,
) -> Assembled {
    let mut assembly = Assembly {
        source,
        last,
        before,
        candidates: Vec::new(),
        refused: BTreeMap::new(),
        metallb_refused: None,
        problems: Vec::new(),
    };
    assembly.choose(items);
    assembly.finish()
}

struct Assembly<'i, 'l> {
    source: &'l SourceName,
    last: &'l BTreeMap<ObjectId, Object>,
    before: &'l SourceView,
    candidates: Vec<Candidate<'i>>,
    refused: BTreeMap<ServiceKey, Arc<str>>,
    /// The first of MetalLB's objects that is refused.
    metallb_refused: Option<(&'i ObjectId, &'i Location)>,
    problems: Vec<Problem>,
}

impl<'i> Assembly<'i, '_> {
    /// The first good item of each identity stays; where none is good, the first.
    fn choose(&mut self, items: impl Iterator<Item = &'i Item> + Clone) {
        let mut chosen: BTreeMap<&ObjectId, &Item> = BTreeMap::new();
        for item in items.clone() {
            let first = chosen.entry(&item.id).or_insert(item);
            if is_refused(first) && !is_refused(item) {
                *first = item;
            }
        }
        for item in items {
            match chosen.get(&item.id) {
                Some(stays) if !std::ptr::eq(*stays, item) => {
                    let what = format!(
                        "{}: already in {}, which stays; one of them is to go",
                        item.id, stays.location
                    );
                    self.problems.push(Problem::error(item.location.clone(), what));
                }
                Some(_) | None => self.candidate(item),
            }
        }
    }

    fn candidate(&mut self, item: &'i Item) {
        let Item { id, location, content } = item;
        match content {
            Content::Good(object) => {
                let object = object.clone();
                self.candidates.push(Candidate { id, location, object, refused: None });
            }
            Content::Refused { reason } => {
                self.refuse_metallb(id, location);
                match self.last_good(id, location, reason) {
                    Some(candidate) => self.candidates.push(candidate),
                    None => self.refuse(id, reason),
                }
            }
        }
    }

    fn last_good(
        &self,
        id: &'i ObjectId,
        location: &'i Location,
        reason: &Arc<str>,
    ) -> Option<Candidate<'i>> {
        let object = self.last.get(id)?.clone();
        Some(Candidate { id, location, object, refused: Some(Arc::clone(reason)) })
    }

    /// A Service that is there and has no version that can be used is named, so that nobody takes
    /// it for deleted.
    fn refuse(&mut self, id: &ObjectId, reason: &Arc<str>) {
        if let ObjectId::Service(namespace, name) = id {
            let key = ServiceKey::new(self.source, Arc::clone(namespace), Arc::clone(name));
            self.refused.insert(key, Arc::clone(reason));
        }
    }

    fn refuse_metallb(&mut self, id: &'i ObjectId, location: &'i Location) {
        if matches!(id, ObjectId::MetalLb(..)) {
            self.metallb_refused.get_or_insert((id, location));
        }
    }

    /// MetalLB's objects are taken together or not at all.
    fn metallb(&mut self) -> Option<MetalLb> {
        if let Some((id, location)) = self.metallb_refused {
            let what = format!(
                "{id}: refused, and with it every change of MetalLB's configuration; the last good one stays"
            );
            self.problems.push(Problem::error(location.clone(), what));
            return None;
        }
        let parts = self.candidates.iter().filter_map(|candidate| match &candidate.object {
            Object::MetalLb(part) => Some((candidate.id, candidate.location, &**part)),
            _ => None,
        });
        let metallb::Whole { objects, problems } = metallb::whole(parts);
        self.problems.extend(problems);
        objects
    }

    fn finish(mut self) -> Assembled {
        let metallb = self.metallb();
        let contested = Arc::new(self.contests());
        let last = self.candidates.iter().map(|c| (c.id.clone(), c.object.clone())).collect();
        let mut view = SourceView { refused: self.refused, contested, ..SourceView::unread() };
        let mut slices = Slices::new();
        for candidate in self.candidates {
            place(candidate, self.before, &mut view, &mut slices);
        }
        for (key, slices) in slices {
            let merged = endpoints::merged(slices.iter().map(AsRef::as_ref));
            let merged = shared(merged, self.before.endpoints.get(&key));
            view.endpoints.insert(key, merged);
        }
        Assembled { view, last, metallb, problems: self.problems }
    }

    /// Reports the node ports that several Services of the source name, and marks the ports of load
    /// balancers that want the same one.
    fn contests(&mut self) -> BTreeSet<(ServiceKey, PortClaim)> {
        let mut named: BTreeMap<(Protocol, u16), Vec<&Candidate<'_>>> = BTreeMap::new();
        for candidate in &self.candidates {
            for claim in claims(&candidate.object) {
                named.entry(claim).or_default().push(candidate);
            }
        }
        let mut contested = BTreeSet::new();
        for (claim, by) in named {
            let Some((first, others)) = by.split_first().filter(|(_, others)| !others.is_empty())
            else {
                continue;
            };
            self.problems.extend(others.iter().map(|other| named_twice(claim, first, other)));
            let wanted = by.iter().flat_map(|candidate| wanting(&candidate.object, claim));
            let wanted: Vec<_> = wanted.collect();
            if wanted.len() > 1 {
                contested.extend(wanted);
            }
        }
        contested
    }
}

fn is_refused(item: &Item) -> bool {
    matches!(item.content, Content::Refused { .. })
}

fn named_twice(
    (protocol, port): (Protocol, u16),
    first: &Candidate<'_>,
    other: &Candidate<'_>,
) -> Problem {
    let what = format!(
        "{}: node port {protocol} {port} is named by {} in {} too; who was served with it first keeps it, the other wants another",
        other.id, first.id, first.location
    );
    Problem::error(other.location.clone(), what)
}

/// The port of a load balancer that is forwarded to this node port.
fn wanting(object: &Object, claim: (Protocol, u16)) -> Option<(ServiceKey, PortClaim)> {
    let Object::Service(service) = object else { return None };
    let port = service.ports.iter().find(|p| (p.protocol, p.node_port) == (claim.0, Some(claim.1)));
    port.map(|p| (service.key.clone(), PortClaim { protocol: p.protocol, port: p.port }))
}

/// The slices of each Service.
type Slices = BTreeMap<ServiceKey, Vec<Arc<Slice>>>;

fn place(
    candidate: Candidate<'_>,
    before: &SourceView,
    view: &mut SourceView,
    slices: &mut Slices,
) {
    match candidate.object {
        Object::Service(object) => {
            let service = annotated(object, candidate.refused, before);
            view.services.insert(service.key.clone(), service);
        }
        Object::Node(node) => {
            view.nodes.insert(node.key.clone(), node);
        }
        Object::Namespace(namespace) => {
            if let ObjectId::Namespace(name) = candidate.id {
                view.namespaces.insert(Arc::clone(name), namespace);
            }
        }
        Object::EndpointSlice(Some(slice)) => {
            slices.entry(slice.service.clone()).or_default().push(slice);
        }
        Object::EndpointSlice(None) | Object::OtherService(_) | Object::MetalLb(_) => {}
    }
}

fn claims(object: &Object) -> BTreeSet<(Protocol, u16)> {
    match object {
        Object::Service(service) => service::claims(service),
        Object::OtherService(ports) => ports.iter().copied().collect(),
        Object::Node(_) | Object::EndpointSlice(_) | Object::Namespace(_) | Object::MetalLb(_) => {
            BTreeSet::new()
        }
    }
}

/// The Service as `status` is to show it: one whose newest version is refused says so.
fn annotated(object: Arc<Service>, refused: Option<Arc<str>>, before: &SourceView) -> Arc<Service> {
    let Some(reason) = refused else {
        return object;
    };
    let mut service = Service::clone(&object);
    service
        .warnings
        .push(format!("the newest version is refused, the last good one is used: {reason}"));
    let same = before.services.get(&service.key);
    shared(service, same)
}

/// The `Arc` of before where the value is equal.
fn shared<T: PartialEq>(new: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == new => Arc::clone(before),
        Some(_) | None => Arc::new(new),
    }
}
