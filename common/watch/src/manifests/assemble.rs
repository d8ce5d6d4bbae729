//! Items of all files → one view: each object once, each node port once, slices by Service.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use roadstead_model::{Location, Problem, Protocol, ServiceKey, SourceName, object::Service};

use super::{
    endpoints,
    object::{Content, Item, Object, ObjectId, Slice},
    service,
};
use crate::view::SourceView;

/// A view, and the objects that it was made of.
pub(super) struct Assembled {
    /// State and problems are the caller's.
    pub(super) view: SourceView,
    /// By identity.
    pub(super) last: BTreeMap<ObjectId, Object>,
    /// What is wrong between objects.
    pub(super) problems: Vec<Problem>,
}

/// An object that is to be used, if its node ports are free.
struct Candidate<'i> {
    id: &'i ObjectId,
    location: &'i Location,
    object: Object,
    /// Why the version in the file is not the one that is used.
    refused: Option<Arc<str>>,
}

/// Puts items, in the order of files and documents, together. `last` are the last good objects.
pub(super) fn assemble<'i>(
    source: &SourceName,
    items: impl Iterator<Item = &'i Item>,
    last: &BTreeMap<ObjectId, Object>,
    before: &SourceView,
) -> Assembled {
    let mut assembly = Assembly {
        source,
        last,
        before,
        candidates: Vec::new(),
        refused: BTreeMap::new(),
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
    problems: Vec<Problem>,
}

impl<'i> Assembly<'i, '_> {
    /// The first item of each identity stays.
    fn choose(&mut self, items: impl Iterator<Item = &'i Item>) {
        let mut taken: BTreeMap<&ObjectId, &Location> = BTreeMap::new();
        for item in items {
            match taken.entry(&item.id) {
                Entry::Occupied(first) => {
                    let what = format!(
                        "{}: already in {}, which stays; one of them is to go",
                        item.id,
                        first.get()
                    );
                    self.problems.push(Problem::error(item.location.clone(), what));
                }
                Entry::Vacant(free) => {
                    free.insert(&item.location);
                    self.candidate(item);
                }
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
            Content::Refused { reason } => match self.last_good(id, location, reason) {
                Some(candidate) => self.candidates.push(candidate),
                None => self.refuse(id, reason),
            },
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

    fn finish(mut self) -> Assembled {
        self.settle_node_ports();
        let last = self.candidates.iter().map(|c| (c.id.clone(), c.object.clone())).collect();
        let mut view = SourceView { refused: self.refused, ..SourceView::unread() };
        let mut slices = Slices::new();
        for candidate in self.candidates {
            place(candidate, self.before, &mut view, &mut slices);
        }
        for (key, slices) in slices {
            let merged = endpoints::merged(slices.iter().map(AsRef::as_ref));
            let merged = shared(merged, self.before.endpoints.get(&key));
            view.endpoints.insert(key, merged);
        }
        Assembled { view, last, problems: self.problems }
    }

    /// A node port belongs to one Service of a source. Who had it in the view before keeps it, so
    /// that no edit of another object takes a Service out (S6); else the first in order has it.
    fn settle_node_ports(&mut self) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.sort_by_cached_key(|candidate| !self.is_incumbent(candidate));
        let mut holders: Holders<'i> = BTreeMap::new();
        for candidate in candidates {
            match taken(&candidate, &holders) {
                None => self.accept(candidate, &mut holders),
                Some(why) => self.displace(candidate, &why, &mut holders),
            }
        }
    }

    fn is_incumbent(&self, candidate: &Candidate<'_>) -> bool {
        let wanted = claims(&candidate.object);
        let before = self.last.get(candidate.id).map(claims).unwrap_or_default();
        wanted.is_subset(&before)
    }

    fn accept(&mut self, candidate: Candidate<'i>, holders: &mut Holders<'i>) {
        for claim in claims(&candidate.object) {
            holders.insert(claim, (candidate.id, candidate.location));
        }
        self.candidates.push(candidate);
    }

    /// The object's node port is another's: its last good version is used, if that one's is free.
    fn displace(&mut self, candidate: Candidate<'i>, why: &str, holders: &mut Holders<'i>) {
        let Candidate { id, location, .. } = candidate;
        let reason: Arc<str> = format!("{id}: {why}").into();
        self.problems.push(Problem::error(location.clone(), reason.as_ref()));
        let last_good = self.last_good(id, location, &reason);
        match last_good.filter(|candidate| taken(candidate, holders).is_none()) {
            Some(candidate) => self.accept(candidate, holders),
            None => self.refuse(id, &reason),
        }
    }
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
        Object::EndpointSlice(None) | Object::OtherService(_) => {}
    }
}

/// Who holds a node port, and where that object stands.
type Holders<'i> = BTreeMap<(Protocol, u16), (&'i ObjectId, &'i Location)>;

/// Why a candidate cannot have its node ports, where it cannot.
fn taken(candidate: &Candidate<'_>, holders: &Holders<'_>) -> Option<String> {
    claims(&candidate.object).into_iter().find_map(|claim| {
        let (id, location) = holders.get(&claim)?;
        let (protocol, port) = claim;
        Some(format!("node port {protocol} {port} is taken by {id} in {location}"))
    })
}

fn claims(object: &Object) -> BTreeSet<(Protocol, u16)> {
    match object {
        Object::Service(service) => service::claims(service),
        Object::OtherService(ports) => ports.iter().copied().collect(),
        Object::Node(_) | Object::EndpointSlice(_) | Object::Namespace(_) => BTreeSet::new(),
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
