//! What is believed of a cluster: objects, doubt, and what is wrong. Pure: no I/O, no clock.
//!
//! # What a list's silence means
//! A deletion that a watch tells is knowledge. What a later list no longer has is gone too, unless
//! the list is doubtful: it has fewer than half of the objects of its kind that are held (so also
//! none), or its version lies before the one that was reached (the server's store was restored from
//! a backup), or it is the first one and has no Node or no Namespace, without which there is no
//! cluster. Nothing is removed by a doubtful list. What it has and we have not is added; what it has
//! anew is taken, but for a list of the past, whose objects are older than ours.
//!
//! # Doubt and its end
//! The doubt of a list ends when events have made its objects and ours the same, when another list
//! (there is one each minute or so, as long as it is doubted) is not doubtful, or by an operator's
//! order ([`State::confirm`]). An API that cannot be reached is doubt as well, which ends when it
//! answers and which no order ends: nobody has said anything that could be believed. A cluster that is
//! given up is taken out of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use roadstead_model::{Location, Problem, SourceName, problem::Severity, snapshot::SourceState};

use super::{
    convert::{Change, Kept, place_of},
    news::{Listing, News},
    resource,
    version::Version,
};
use crate::{
    confirm::Confirmed,
    gone::Gone,
    kubernetes::kept::Reached,
    objects::{
        Content, Object, ObjectId,
        assemble::{self, Assembled},
        kind::Kind,
    },
    view::SourceView,
};

/// Most problems told of one cluster.
const MAX_PROBLEMS: usize = 1_000;

/// What is known of one cluster.
#[derive(Debug)]
pub(in crate::kubernetes) struct State {
    source: SourceName,
    place: Arc<PathBuf>,
    kinds: BTreeMap<Kind, Objects>,
    access: Option<String>,
    writing: Vec<(Severity, String)>,
    gone: Gone,
    /// Every object that the last view was made of: the last good ones.
    last: BTreeMap<ObjectId, Object>,
    view: Arc<SourceView>,
}

/// What is known of one kind.
#[derive(Debug, Default)]
struct Objects {
    held: BTreeMap<ObjectId, Kept>,
    version: Option<Version>,
    listed: bool,
    doubt: Option<Doubt>,
    /// The version that an earlier daemon had reached, until a list has answered to it.
    before: Option<Version>,
    /// Why the server's history is not believed to be the one that an earlier daemon followed.
    past: Option<String>,
    /// There are more objects than are kept.
    cut: bool,
    /// The server does not know the kind.
    absent: bool,
    trouble: Option<String>,
}

/// Why a list is not believed.
#[derive(Debug)]
enum Doubt {
    /// The first list was empty, which no cluster's is.
    Vacant,
    /// A list that would remove too much, or comes from the past.
    Held {
        why: String,
        /// What the server has, kept up with its events.
        said: BTreeMap<ObjectId, Kept>,
        version: Option<Version>,
    },
}

impl State {
    /// A cluster of which nothing is known, but how far its history was followed before.
    pub(in crate::kubernetes) fn new(source: SourceName, kinds: &[Kind], before: &Reached) -> Self {
        let place = Arc::new(place_of(&source));
        let reached = |kind| before.0.get(resource::of(kind).plural);
        let unknown = |kind| Objects {
            before: reached(kind).and_then(|number| Version::new(&number.to_string())),
            ..Objects::default()
        };
        Self {
            source,
            place,
            kinds: kinds.iter().map(|kind| (*kind, unknown(*kind))).collect(),
            access: None,
            writing: Vec::new(),
            gone: Gone::default(),
            last: BTreeMap::new(),
            view: Arc::new(SourceView::unread()),
        }
    }

    /// Takes what was found.
    pub(in crate::kubernetes) fn handle(&mut self, news: News) {
        match news {
            News::Listed(kind, listing) => self.of(kind).handle_listed(kind, listing),
            News::Changed(kind, change) => self.of(kind).handle_changed(kind, change),
            News::Deleted(kind, id, version) => self.of(kind).handle_deleted(&id, version),
            News::Reached(kind, version) => self.of(kind).reach(Some(version)),
            News::Absent(kind) => self.of(kind).handle_absent(kind),
            News::Watched(kind) => self.of(kind).trouble = None,
            News::Trouble(kind, why) => self.of(kind).trouble = Some(why),
            News::Access(wrong) => self.access = wrong,
            News::Writing(wrong) => self.writing = wrong,
        }
    }

    /// How far history was followed, to be kept: where the server's is in doubt, the one of before.
    pub(in crate::kubernetes) fn reached(&self) -> Reached {
        let reached = |(kind, objects): (&Kind, &Objects)| {
            let number = objects.reached()?.number()?;
            Some((resource::of(*kind).plural.to_owned(), number))
        };
        Reached(self.kinds.iter().filter_map(reached).collect())
    }

    /// The kinds whose list is not believed.
    pub(in crate::kubernetes) fn doubted_kinds(&self) -> BTreeSet<Kind> {
        let is_doubted = |objects: &Objects| objects.doubt.is_some();
        self.kinds.iter().filter(|(_, it)| is_doubted(it)).map(|(kind, _)| *kind).collect()
    }

    fn of(&mut self, kind: Kind) -> &mut Objects {
        self.kinds.entry(kind).or_default()
    }

    /// An operator's order: what the API last said is the truth.
    pub(in crate::kubernetes) fn confirm(&mut self) -> Confirmed {
        let before = self.view();
        for objects in self.kinds.values_mut() {
            objects.confirm();
        }
        let after = self.view();
        Confirmed::of(&self.source, &before, &after)
    }

    /// What the source says now. The same `Arc` as before where nothing changed.
    pub(in crate::kubernetes) fn view(&mut self) -> Arc<SourceView> {
        let state = self.state();
        let mut view = match state {
            SourceState::Unread => SourceView::unread(),
            SourceState::Current | SourceState::Doubtful { .. } => self.assembled(),
        };
        view.state = state;
        view.problems.extend(self.problems());
        bound(&mut view.problems, &self.place);
        view.gone = self.gone.note(&self.view, &view);
        if *self.view != view {
            self.view = Arc::new(view);
        }
        Arc::clone(&self.view)
    }

    fn assembled(&mut self) -> SourceView {
        for objects in self.kinds.values_mut() {
            objects.share(&self.last);
        }
        let kept = self.kinds.values().flat_map(|objects| objects.held.values());
        let items = kept.clone().map(|kept| &kept.item);
        let Assembled { mut view, last, metallb, problems } =
            assemble::assemble(&self.source, items, &self.last, &self.view);
        view.take_metallb(metallb.filter(|_| self.is_metallb_sure()), &self.view);
        view.problems = problems;
        view.problems.extend(kept.flat_map(|kept| kept.problems.iter().cloned()));
        self.last = last;
        view
    }

    fn state(&self) -> SourceState {
        if self.needed().any(|(_, objects)| !objects.listed) {
            return SourceState::Unread;
        }
        match self.doubts().next() {
            Some(reason) => SourceState::Doubtful { reason },
            None => SourceState::Current,
        }
    }

    /// The kinds without which nothing is known of a cluster; MetalLB's are not among them.
    fn needed(&self) -> impl Iterator<Item = (&Kind, &Objects)> {
        self.kinds.iter().filter(|(kind, _)| !resource::of(**kind).is_optional)
    }

    /// Whether what is held of MetalLB's kinds, where they are read, is what there is.
    fn is_metallb_sure(&self) -> bool {
        let mut metallb = self.kinds.iter().filter(|(kind, _)| resource::of(**kind).is_optional);
        let is_sure =
            |(kind, objects): (&Kind, &Objects)| objects.listed && objects.doubted(*kind).is_none();
        metallb.clone().next().is_some() && metallb.all(is_sure)
    }

    /// Why what is held may not be what there is; what asks for an order first.
    fn doubts(&self) -> impl Iterator<Item = String> {
        let place = self.place.display();
        let lists = self.needed().filter_map(|(kind, objects)| objects.doubted(*kind));
        let troubles = self.needed().filter_map(|(_, objects)| objects.trouble.clone());
        lists.chain(troubles).map(move |why| format!("{place}: {why}"))
    }

    fn problems(&self) -> Vec<Problem> {
        let place = || Location { file: Arc::clone(&self.place), line: 0 };
        let stays = |kind: &Kind| match self.kinds.get(kind) {
            Some(objects) if objects.listed => "; what it last said stays",
            Some(_) | None => "",
        };
        let doubt = |(kind, objects): (&Kind, &Objects)| {
            let wrong = [objects.doubted(*kind), objects.trouble.clone()];
            let told = move |why: String| Problem::error(place(), format!("{why}{}", stays(kind)));
            wrong.into_iter().flatten().map(told).collect::<Vec<_>>()
        };
        let access = self.access.iter().map(|why| Problem::error(place(), why.clone()));
        let problems = access.chain(self.kinds.iter().flat_map(doubt));
        let writing = self.writing.iter().map(|(severity, message)| Problem {
            location: place(),
            severity: *severity,
            message: message.clone(),
        });
        problems.chain(writing).chain(self.no_metallb()).collect()
    }

    /// MetalLB's objects are to be read, and the server knows none of their kinds.
    fn no_metallb(&self) -> Option<Problem> {
        let mut kinds = self.kinds.iter().filter(|(kind, _)| resource::of(**kind).is_optional);
        let is_none = kinds.clone().next().is_some() && kinds.all(|(_, objects)| objects.absent);
        let place = Location { file: Arc::clone(&self.place), line: 0 };
        let what = "`metallb` of the source reads nothing: the cluster has no resource definitions \
                    of metallb.io";
        is_none.then(|| Problem::warning(place, what))
    }
}

/// In the order that people read, the worst kept where there are too many.
fn bound(problems: &mut Vec<Problem>, place: &Arc<PathBuf>) {
    let count = problems.len();
    problems.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    problems.dedup();
    problems.truncate(MAX_PROBLEMS);
    problems.sort();
    if count > MAX_PROBLEMS {
        let more = count.saturating_sub(MAX_PROBLEMS);
        let place = Location { file: Arc::clone(place), line: 0 };
        problems.push(Problem::notice(place, format!("{more} more problems are not shown")));
    }
}

impl Objects {
    fn handle_listed(&mut self, kind: Kind, listing: Listing) {
        let Listing { changes, version, is_cut } = listing;
        let named: BTreeSet<_> = changes.iter().map(|change| change.id.clone()).collect();
        let said: BTreeMap<_, _> =
            changes.into_iter().filter_map(|it| Some((it.id, it.kept?))).collect();
        self.trouble = None;
        self.absent = false;
        self.cut = is_cut;
        if let (Some(before), Some(version)) = (self.before.take(), &version)
            && version.is_before(&before)
        {
            self.past = Some(went_back(kind, version, &before));
            self.before = Some(before);
        }
        let why = self.why_doubtful(kind, &named, version.as_ref()).filter(|_| said != self.held);
        match why {
            Some(why) => self.hold_back(why, said, &named, version),
            None if is_cut => {
                self.held.extend(said);
                self.settle(version);
            }
            None => {
                let is_vacant = !self.listed && said.is_empty() && is_never_empty(kind);
                self.held = said;
                self.settle(version);
                self.doubt = is_vacant.then_some(Doubt::Vacant);
            }
        }
        self.listed = true;
    }

    /// A kind that the server never knew has no objects. One that it knew and knows no more is kept:
    /// its definition was taken away, perhaps with whoever else read it.
    fn handle_absent(&mut self, kind: Kind) {
        let plural = resource::of(kind).plural;
        self.absent = self.held.is_empty();
        self.listed |= self.absent;
        self.trouble = (!self.absent)
            .then(|| format!("{plural}: the cluster no longer has their resource definition"));
    }

    fn settle(&mut self, version: Option<Version>) {
        self.version = version;
        self.doubt = None;
    }

    /// Why a list is not believed, where it is not.
    fn why_doubtful(
        &self,
        kind: Kind,
        named: &BTreeSet<ObjectId>,
        version: Option<&Version>,
    ) -> Option<String> {
        let plural = resource::of(kind).plural;
        if let (Some(version), Some(reached)) = (version, &self.version)
            && version.is_before(reached)
        {
            return Some(went_back(kind, version, reached));
        }
        let missing = self.held.keys().filter(|id| !named.contains(id)).count();
        let held = self.held.len();
        let is_too_much = missing > 0 && missing.saturating_mul(2) > held && !self.cut;
        is_too_much.then(|| {
            format!(
                "the list of {plural} lacks {missing} of {held} that were there; `roadstead confirm` takes it as the truth"
            )
        })
    }

    fn hold_back(
        &mut self,
        why: String,
        said: BTreeMap<ObjectId, Kept>,
        named: &BTreeSet<ObjectId>,
        version: Option<Version>,
    ) {
        let is_past = matches!((&version, &self.version), (Some(v), Some(of)) if v.is_before(of));
        for (id, kept) in &said {
            if !is_past || !self.held.contains_key(id) {
                self.held.insert(id.clone(), kept.clone());
            }
        }
        if !is_past {
            // What is named and not said is being deleted, which is knowledge.
            self.held.retain(|id, _| said.contains_key(id) || !named.contains(id));
            self.version.clone_from(&version);
        }
        self.doubt = Some(Doubt::Held { why, said, version });
        self.end_doubt();
    }

    fn handle_changed(&mut self, kind: Kind, change: Change) {
        let Change { id, kept, version, .. } = change;
        let Some(kept) = kept else {
            return self.handle_deleted(&id, version);
        };
        if self.held.len() >= resource::of(kind).most && !self.held.contains_key(&id) {
            self.cut = true;
            return self.reach(version);
        }
        match &mut self.doubt {
            Some(Doubt::Held { said, .. }) => {
                said.insert(id.clone(), kept.clone());
            }
            Some(Doubt::Vacant) => self.doubt = None,
            None => {}
        }
        self.held.insert(id, kept);
        self.reach(version);
        self.end_doubt();
    }

    fn handle_deleted(&mut self, id: &ObjectId, version: Option<Version>) {
        self.held.remove(id);
        if let Some(Doubt::Held { said, .. }) = &mut self.doubt {
            said.remove(id);
        }
        self.reach(version);
        self.end_doubt();
    }

    /// History goes on: that of the server, where it is another than the one that we knew.
    fn reach(&mut self, version: Option<Version>) {
        let Some(version) = version else { return };
        let reached = match &mut self.doubt {
            Some(Doubt::Held { version, .. }) => version,
            Some(Doubt::Vacant) | None => &mut self.version,
        };
        if reached.as_ref().is_none_or(|reached| reached.is_before(&version)) {
            *reached = Some(version);
        }
    }

    /// Ends the doubt of a list where nothing of it is held back any more.
    fn end_doubt(&mut self) {
        if let Some(Doubt::Held { said, version, .. }) = &mut self.doubt
            && *said == self.held
        {
            let version = version.take();
            self.settle(version);
        }
    }

    fn confirm(&mut self) {
        self.past = None;
        if self.listed {
            self.before = None;
        }
        if let Some(Doubt::Held { said, version, .. }) = self.doubt.take() {
            self.held = said;
            self.version = version;
        }
    }

    fn doubted(&self, kind: Kind) -> Option<String> {
        let plural = resource::of(kind).plural;
        match &self.doubt {
            Some(Doubt::Held { why, .. }) => Some(why.clone()),
            Some(Doubt::Vacant) => Some(format!(
                "the first list of {plural} was empty, which no cluster's is; `roadstead confirm` takes it as the truth"
            )),
            None if self.past.is_some() => self.past.clone(),
            None if self.cut => {
                let most = resource::of(kind).most;
                Some(format!("there are more than {most} {plural}; the rest is not read"))
            }
            None => None,
        }
    }

    fn reached(&self) -> Option<&Version> {
        self.before.as_ref().or(self.version.as_ref())
    }

    /// Uses the objects of the last view again where they are equal.
    fn share(&mut self, last: &BTreeMap<ObjectId, Object>) {
        for kept in self.held.values_mut() {
            if let Content::Good(object) = &mut kept.item.content
                && let Some(same) = last.get(&kept.item.id).filter(|same| *same == object)
            {
                *object = same.clone();
            }
        }
    }
}

fn went_back(kind: Kind, version: &Version, reached: &Version) -> String {
    format!(
        "the list of {} has version {}, before {}, which was reached: its store was restored from a backup; `roadstead confirm` takes it as the truth",
        resource::of(kind).plural,
        version.as_str(),
        reached.as_str()
    )
}

/// A cluster has Nodes, and Namespaces that the API server itself creates.
fn is_never_empty(kind: Kind) -> bool {
    match kind {
        Kind::Node | Kind::Namespace => true,
        Kind::Service | Kind::EndpointSlice | Kind::MetalLb(_) => false,
    }
}

#[cfg(test)]
mod tests;
