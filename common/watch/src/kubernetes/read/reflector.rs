//! Follows one kind of one cluster: a list, then a watch, again and again.
//!
//! A watch that ends as it was asked to is renewed from where it was. One that ends before, or
//! cannot be had, is waited for; then the server is asked for the version it is at, since one that
//! was restored from a backup would say nothing about its new past to a watch from its old future.

use std::{
    collections::BTreeSet,
    future::pending,
    hash::{BuildHasher, Hasher, RandomState},
    pin::pin,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};

use super::{
    convert::{Change, Converter},
    decode::{self, Event, NotTheApi, Page},
    news::{Listing, News},
    request,
    resource::Resource,
    version::Version,
};
use crate::{
    kubernetes::{
        api::{
            access::Access,
            backoff::Backoff,
            failure::Failure,
            response::{self, Lines, MAX_EVENT, MAX_PAGE},
        },
        timing::Timing,
    },
    objects::kind::Kind,
};

/// Objects in one page, where they are not too large for it.
const PAGE: u32 = 250;
/// Failures in a row after which a kind that was listed is said to be in trouble.
const FAILURES: u32 = 2;

/// Follows one kind.
pub(in crate::kubernetes) struct Reflector {
    kind: Kind,
    resource: Resource,
    converter: Converter,
    clients: watch::Receiver<Option<Access>>,
    news: mpsc::Sender<News>,
    /// Which kinds' lists are not believed.
    doubts: watch::Receiver<BTreeSet<Kind>>,
    timing: Timing,
    backoff: Backoff,
    /// When the watch that is held began to say what happens.
    well_since: Option<Instant>,
    /// Where the history of the kind was followed to; none before the first list.
    reached: Option<Version>,
    /// Whether the server may have another past than the one that was followed.
    is_suspect: bool,
    /// Whether the server streams lists, as far as is known.
    streams: bool,
    limit: u32,
}

/// Why following paused.
enum Pause {
    /// The watch has run out.
    Over,
    /// There is another client.
    NewClient,
    /// Nobody takes news any more.
    Ended,
    Failed(Failure),
}

impl From<Failure> for Pause {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<NotTheApi> for Pause {
    fn from(error: NotTheApi) -> Self {
        Self::Failed(Failure::Broken(error.to_string()))
    }
}

impl Reflector {
    pub(in crate::kubernetes) fn new(
        kind: Kind,
        resource: Resource,
        converter: Converter,
        clients: watch::Receiver<Option<Access>>,
        news: mpsc::Sender<News>,
        timing: Timing,
    ) -> Self {
        Self {
            kind,
            resource,
            converter,
            clients,
            news,
            doubts: watch::channel(BTreeSet::new()).1,
            timing,
            backoff: Backoff::new(timing.retry, timing.retry_most),
            well_since: None,
            reached: None,
            is_suspect: false,
            streams: true,
            limit: PAGE,
        }
    }

    /// Lists again where its list is not believed for some time.
    pub(in crate::kubernetes) fn doubting(self, doubts: watch::Receiver<BTreeSet<Kind>>) -> Self {
        Self { doubts, ..self }
    }

    /// Follows the kind until nobody takes news of it. Cancelling it is safe: it owns nothing but
    /// its connection.
    pub(in crate::kubernetes) async fn run(mut self) {
        loop {
            let client = self.clients.borrow_and_update().clone();
            let Some(access) = client else {
                if self.clients.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.well_since = None;
            let Err(pause) = self.follow(&access).await;
            if self.was_well(&pause) {
                self.backoff.reset();
            }
            let wait = match pause {
                Pause::Ended => return,
                Pause::Over => Duration::ZERO,
                Pause::NewClient => {
                    self.is_suspect = true;
                    Duration::ZERO
                }
                Pause::Failed(failure) if self.resource.is_optional && failure.is_unknown() => {
                    self.reached = None;
                    if self.news.send(News::Absent(self.kind)).await.is_err() {
                        return;
                    }
                    self.timing.absent
                }
                Pause::Failed(failure) if self.selects_no_more(&access, &failure) => Duration::ZERO,
                Pause::Failed(failure) => match self.failed(&access, &failure).await {
                    Some(wait) => wait,
                    None => return,
                },
            };
            self.wait(wait).await;
        }
    }

    /// Whether the watch that ended has shown that the server is well. One that ended by what it
    /// said has not, however long that took.
    fn was_well(&self, pause: &Pause) -> bool {
        let is_nonsense = matches!(pause, Pause::Failed(Failure::Broken(_) | Failure::TooBig(_)));
        let lasted = self.well_since.map(|since| since.elapsed());
        !is_nonsense && lasted.is_some_and(|lasted| lasted >= self.timing.healthy)
    }

    /// Says what is wrong, and how long to wait; none when nobody listens.
    async fn failed(&mut self, access: &Access, failure: &Failure) -> Option<Duration> {
        let plural = self.resource.plural;
        tracing::debug!(server = %access.server, kind = plural, %failure, "a watch ended early");
        self.is_suspect = true;
        if failure.wants_list() {
            self.reached = None;
        }
        let wait = self.backoff.after_failure(chance());
        let is_trouble = self.reached.is_none() || self.backoff.failures() >= FAILURES;
        // History that is lost is no trouble: the list that follows says what there is.
        if is_trouble && !(failure.wants_list() && self.backoff.failures() < FAILURES) {
            let why = format!("{plural}: the API server at {} {failure}", access.server);
            self.news.send(News::Trouble(self.kind, why)).await.ok()?;
        }
        let asked = failure.retry_after().unwrap_or_default().min(self.timing.asked_most);
        Some(wait.max(asked))
    }

    /// Gives up a selection that the server does not know (`spec.type`, before 1.30): others are
    /// dropped as they are read.
    fn selects_no_more(&mut self, access: &Access, failure: &Failure) -> bool {
        let gives_up = self.resource.fields.is_some() && failure.is_unselectable();
        if gives_up {
            let (server, kind) = (&access.server, self.resource.plural);
            tracing::warn!(%server, kind, %failure, "the server cannot select what is needed; all of the kind is read");
            self.resource.fields = None;
        }
        gives_up
    }

    /// Waits, unless there is another client, which may fare better.
    async fn wait(&mut self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        tokio::select! {
            () = time::sleep(wait) => {}
            // One that has ended is found out by whoever asks for it next.
            _ = self.clients.changed() => self.clients.mark_changed(),
        }
    }

    async fn follow(&mut self, access: &Access) -> Result<std::convert::Infallible, Pause> {
        self.check_history(access).await?;
        if self.reached.is_none() && !self.streams {
            let listing = self.pages(access).await?;
            self.listed(listing).await?;
        }
        self.watch(access).await
    }

    /// Whether the server still has the history that was followed.
    async fn check_history(&mut self, access: &Access) -> Result<(), Pause> {
        let Some(reached) = self.reached.clone().filter(|_| self.is_suspect) else {
            return Ok(());
        };
        let page = self.page(access, 1, "").await?;
        if page.version.is_some_and(|version| version.is_before(&reached)) {
            return Err(Failure::WentBack.into());
        }
        self.is_suspect = false;
        Ok(())
    }

    async fn page(&self, access: &Access, limit: u32, next: &str) -> Result<Page, Pause> {
        let request = request::page(&self.resource, limit, next)?;
        let body = response::send(access, request, self.timing.answer).await?;
        let bytes = response::whole(body, MAX_PAGE, self.timing.answer).await?;
        Ok(decode::page(&bytes, self.kind, &self.converter)?)
    }

    /// The whole list, page by page.
    async fn pages(&mut self, access: &Access) -> Result<Listing, Pause> {
        let mut changes: Vec<Change> = Vec::new();
        let mut next = String::new();
        loop {
            let page = match self.page(access, self.limit, &next).await {
                Err(Pause::Failed(Failure::TooBig(_))) if self.limit > 1 => {
                    self.limit = self.limit.div_ceil(4);
                    continue;
                }
                page => page?,
            };
            changes.extend(page.changes);
            let is_cut = changes.len() > self.resource.most;
            if page.next.is_empty() || is_cut {
                changes.truncate(self.resource.most);
                return Ok(Listing { changes, version: page.version, is_cut });
            }
            next = page.next;
        }
    }

    async fn listed(&mut self, listing: Listing) -> Result<(), Pause> {
        let version = listing.version.clone();
        self.tell(News::Listed(self.kind, listing)).await?;
        self.reached = version;
        self.is_suspect = false;
        match &self.reached {
            Some(_) => Ok(()),
            None => Err(Failure::Broken("a list without a version".to_owned()).into()),
        }
    }

    async fn watch(&mut self, access: &Access) -> Result<std::convert::Infallible, Pause> {
        let outcome = self.watched(access).await;
        let Err(Pause::Failed(failure)) = &outcome else { return outcome };
        if self.reached.is_some() || !self.is_no_stream(failure) {
            return outcome;
        }
        self.streams = false;
        match failure {
            // Its answer to what it does not know (KEP-3157): nothing is wrong.
            Failure::Refused { .. } => Err(Pause::Over),
            _ => outcome,
        }
    }

    /// Whether a streaming list failed as it does where the server has none.
    fn is_no_stream(&self, failure: &Failure) -> bool {
        match failure {
            Failure::Refused { code, .. } => {
                matches!(code, 400 | 422) && !failure.is_unselectable()
            }
            Failure::Broken(_) | Failure::TooBig(_) => true,
            Failure::Unreachable(_) => self.backoff.failures() >= FAILURES,
            Failure::WentBack => false,
        }
    }

    async fn watched(&mut self, access: &Access) -> Result<std::convert::Infallible, Pause> {
        let lasts = self.lasts();
        let request = request::watch(&self.resource, self.reached.as_ref(), lasts)?;
        let began = Instant::now();
        let body = response::send(access, request, self.timing.answer).await?;
        if self.reached.is_some() {
            self.well_since = Some(began);
            self.tell(News::Watched(self.kind)).await?;
        }
        let mut lines = Lines::new(body);
        let mut initial = self.reached.is_none().then(Initial::default);
        let wait = self.spread(self.timing.doubt);
        let mut doubted = pin!(long_doubted(self.doubts.clone(), self.kind, wait));
        loop {
            let line = tokio::select! {
                () = &mut doubted => {
                    self.reached = None;
                    return Err(Pause::Over);
                }
                line = lines.next(MAX_EVENT, self.timing.idle) => line?,
                // One that has ended is found out by whoever asks for it next.
                _ = self.clients.changed() => {
                    self.clients.mark_changed();
                    return Err(Pause::NewClient);
                }
            };
            let Some(line) = line else {
                return Err(ended(initial.is_some(), began.elapsed(), lasts));
            };
            let event = decode::event(&line, self.kind, &self.converter)?;
            drop(line);
            initial = self.take(event, initial).await?;
        }
    }

    /// How long the next watch is asked to last.
    fn lasts(&self) -> Duration {
        self.spread(self.timing.watch)
    }

    /// Up to a fifth longer; never the same for all, so that they do not end together.
    fn spread(&self, span: Duration) -> Duration {
        let permille = u32::try_from(chance() % 200).unwrap_or(0).saturating_add(1_000);
        span.saturating_mul(permille).checked_div(1_000).unwrap_or(span)
    }

    /// Takes an event: a part of the list while there is one, else history.
    async fn take(
        &mut self,
        event: Event,
        initial: Option<Initial>,
    ) -> Result<Option<Initial>, Pause> {
        if let Event::Failed(status) = event {
            let retry_after = status.retry_after();
            let (code, message) = (status.code, status.message);
            return Err(Failure::Refused { code, message, retry_after }.into());
        }
        match (event, initial) {
            (Event::Changed(change), Some(mut initial)) => {
                initial.add(change, self.resource.most);
                Ok(Some(initial))
            }
            (Event::Bookmark { version, is_listed: true }, Some(initial)) => {
                self.listed(initial.into_listing(version)).await?;
                self.well_since = Some(Instant::now());
                Ok(None)
            }
            (Event::Changed(change), None) => {
                self.reach(change.version.as_ref())?;
                self.tell(News::Changed(self.kind, change)).await?;
                Ok(None)
            }
            (Event::Deleted(id, version), None) => {
                self.reach(version.as_ref())?;
                self.tell(News::Deleted(self.kind, id, version)).await?;
                Ok(None)
            }
            (Event::Bookmark { version: Some(version), .. }, None) => {
                self.reach(Some(&version))?;
                self.tell(News::Reached(self.kind, version)).await?;
                Ok(None)
            }
            (Event::Deleted(..) | Event::Bookmark { .. } | Event::Failed(_), initial) => {
                Ok(initial)
            }
        }
    }

    /// History goes forward only.
    fn reach(&mut self, version: Option<&Version>) -> Result<(), Failure> {
        let Some(version) = version else { return Ok(()) };
        if self.reached.as_ref().is_some_and(|reached| version.is_before(reached)) {
            return Err(Failure::WentBack);
        }
        self.reached = Some(version.clone());
        Ok(())
    }

    async fn tell(&self, news: News) -> Result<(), Pause> {
        self.news.send(news).await.map_err(|_| Pause::Ended)
    }
}

/// The objects of a streaming list, before its end.
#[derive(Default)]
struct Initial {
    changes: Vec<Change>,
    is_cut: bool,
}

impl Initial {
    fn add(&mut self, change: Change, most: usize) {
        if self.changes.len() < most {
            self.changes.push(change);
        } else {
            self.is_cut = true;
        }
    }

    fn into_listing(self, version: Option<Version>) -> Listing {
        Listing { changes: self.changes, version, is_cut: self.is_cut }
    }
}

/// A watch that ends as it was asked to is none that failed.
fn ended(in_list: bool, lasted: Duration, asked: Duration) -> Pause {
    if in_list {
        return Pause::Failed(Failure::Broken("a list that has no end".to_owned()));
    }
    let enough = asked.mul_f32(0.9);
    if lasted >= enough {
        return Pause::Over;
    }
    Pause::Failed(Failure::Unreachable("the watch was ended early".to_owned()))
}

/// Resolves when the list of a kind was doubted for so long without a pause.
async fn long_doubted(mut doubts: watch::Receiver<BTreeSet<Kind>>, kind: Kind, wait: Duration) {
    loop {
        if doubts.wait_for(|kinds| kinds.contains(&kind)).await.is_err() {
            // Nobody doubts any more: the owner has ended.
            return pending().await;
        }
        tokio::select! {
            () = time::sleep(wait) => return,
            _ = doubts.wait_for(|kinds| !kinds.contains(&kind)) => {}
        }
    }
}

/// A number by chance, for the spread of waits.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}
