//! Events of Services (`events.k8s.io/v1`): which are told, how often, and in which words. Pure.
//!
//! The same reason on the same object within [`SERIES`] is one Event with a count. An object has so
//! many Events in a while and a cluster so many in a second; what is beyond that is not told, and
//! counted: conditions say it all the same. Events that could not be sent are not sent again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use roadstead_model::ServiceKey;
use serde_json::{Value, json};

use super::{Now, pace::Bucket};

/// How long the same reason counts as the same Event.
const SERIES: Duration = Duration::from_secs(600);
/// Events of one object: so many at once, and one more each.
const OF_OBJECT: (u32, Duration) = (10, Duration::from_secs(60));
/// Events of one cluster: so many at once, and one more each.
const OF_CLUSTER: (u32, Duration) = (100, Duration::from_millis(20));
/// Events that wait; beyond them none is told.
const QUEUE: usize = 2_000;
/// Reasons, and objects, that are remembered.
const MEMORY: usize = 10_000;
/// Longest note in bytes; the API takes 1,024.
const MAX_NOTE: usize = 1_000;
/// Who tells.
const CONTROLLER: &str = "roadstead.io/speaker";

/// Something that happened to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Happening {
    /// Which.
    pub(super) service: ServiceKey,
    /// `metadata.uid`.
    pub(super) uid: Arc<str>,
    /// Whether somebody should look.
    pub(super) is_warning: bool,
    /// One CamelCase word.
    pub(super) reason: String,
    /// One sentence.
    pub(super) note: String,
}

/// What is to be sent of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Telling {
    /// A new Event.
    Create {
        /// Its namespace.
        namespace: Arc<str>,
        /// The body.
        body: Value,
    },
    /// The count of one that was told.
    Count {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: String,
        /// The body of a merge patch.
        body: Value,
    },
}

/// The Events of one cluster.
#[derive(Debug)]
pub(super) struct Events {
    instance: Arc<str>,
    recent: BTreeMap<(Arc<str>, String), Recent>,
    objects: BTreeMap<Arc<str>, Bucket>,
    cluster: Bucket,
    queue: VecDeque<Telling>,
    number: u64,
    /// How many were not told.
    pub(super) suppressed: u64,
}

#[derive(Debug)]
struct Recent {
    name: String,
    count: u32,
    last: Instant,
}

impl Events {
    /// `instance` is this host, in the words of `reportingInstance`.
    pub(super) fn new(instance: &str, now: Instant) -> Self {
        Self {
            instance: cut(instance, 128).into(),
            recent: BTreeMap::new(),
            objects: BTreeMap::new(),
            cluster: Bucket::new(OF_CLUSTER.0, OF_CLUSTER.1, now),
            queue: VecDeque::new(),
            number: 0,
            suppressed: 0,
        }
    }

    /// Takes what happened.
    pub(super) fn handle(&mut self, it: &Happening, now: Now) {
        if self.queue.len() >= QUEUE || !self.may_tell(&it.uid, now.mono) {
            self.suppressed = self.suppressed.saturating_add(1);
            return;
        }
        let memory = (Arc::clone(&it.uid), it.reason.clone());
        let young = |recent: &&mut Recent| now.mono.saturating_duration_since(recent.last) < SERIES;
        if let Some(recent) = self.recent.get_mut(&memory).filter(young) {
            recent.count = recent.count.saturating_add(1);
            recent.last = now.mono;
            let series = json!({"count": recent.count, "lastObservedTime": MicroTime(now.wall)});
            let (namespace, name) = (Arc::clone(&it.service.namespace), recent.name.clone());
            let body = json!({"series": series});
            self.queue.push_back(Telling::Count { namespace, name, body });
            return;
        }
        let name = self.name(it, now.wall);
        self.remember(memory, Recent { name: name.clone(), count: 1, last: now.mono });
        let body = self.body(it, &name, now.wall);
        self.queue
            .push_back(Telling::Create { namespace: Arc::clone(&it.service.namespace), body });
    }

    /// When the next may be sent; none where none waits.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        self.queue.front().map(|_| self.cluster.ready_at(now))
    }

    /// The next, where one may be sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<Telling> {
        if self.queue.is_empty() || !self.cluster.take(now) {
            return None;
        }
        self.queue.pop_front()
    }

    fn may_tell(&mut self, uid: &Arc<str>, now: Instant) -> bool {
        if self.objects.len() >= MEMORY {
            self.objects.retain(|_, bucket| !bucket.is_full(now));
        }
        let (most, every) = OF_OBJECT;
        let fresh = || Bucket::new(most, every, now);
        self.objects.len() < MEMORY
            && self.objects.entry(Arc::clone(uid)).or_insert_with(fresh).take(now)
    }

    /// What is not remembered is told anew the next time.
    fn remember(&mut self, memory: (Arc<str>, String), recent: Recent) {
        if self.recent.len() >= MEMORY {
            let now = recent.last;
            self.recent.retain(|_, it| now.saturating_duration_since(it.last) < SERIES);
        }
        if self.recent.len() < MEMORY {
            self.recent.insert(memory, recent);
        }
    }

    /// Never the same twice: by the clock, and by a number.
    fn name(&mut self, it: &Happening, wall: Timestamp) -> String {
        self.number = self.number.wrapping_add(1);
        format!("{}.{:x}.{:x}", it.service.name, wall.as_microsecond(), self.number)
    }

    fn body(&self, it: &Happening, name: &str, wall: Timestamp) -> Value {
        let ServiceKey { namespace, name: service, .. } = &it.service;
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": **namespace},
            "eventTime": MicroTime(wall),
            "reportingController": CONTROLLER,
            "reportingInstance": *self.instance,
            "action": "Report",
            "type": if it.is_warning { "Warning" } else { "Normal" },
            "reason": it.reason,
            "note": cut(&it.note, MAX_NOTE),
            "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": **namespace,
                "name": **service, "uid": *it.uid},
        })
    }
}

/// The first so many bytes, in whole characters.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use roadstead_model::SourceName;

    use super::*;

    fn happening(reason: &str) -> Happening {
        Happening {
            service: ServiceKey::new(&SourceName::new("home"), "shop", "web"),
            uid: "u1".into(),
            is_warning: true,
            reason: reason.to_owned(),
            note: "é".repeat(2_000),
        }
    }

    fn at(seconds: u64) -> Now {
        static START: std::sync::LazyLock<Now> = std::sync::LazyLock::new(|| Now {
            mono: Instant::now(),
            wall: Timestamp::UNIX_EPOCH,
            chance: 0,
        });
        let wall = Timestamp::from_second(i64::try_from(seconds).expect("small")).expect("a time");
        Now { mono: START.mono + Duration::from_secs(seconds), wall, chance: 0 }
    }

    fn all(events: &mut Events, now: Now) -> Vec<Telling> {
        std::iter::from_fn(|| events.next(now.mono)).collect()
    }

    #[test]
    fn an_event_says_what_the_api_wants_and_no_more_than_it_takes() {
        let mut events = Events::new("edge1", at(0).mono);
        events.handle(&happening("PoolExhausted"), at(0));
        let told = all(&mut events, at(0));
        let [Telling::Create { namespace, body }] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((&**namespace, &body["metadata"]["namespace"]), ("shop", &json!("shop")));
        assert_eq!(body["regarding"]["uid"], "u1");
        assert_eq!((&body["type"], &body["reason"]), (&json!("Warning"), &json!("PoolExhausted")));
        assert_eq!(body["reportingController"], CONTROLLER);
        assert_eq!(body["eventTime"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(body["note"].as_str().expect("a note").len(), MAX_NOTE);
    }

    #[test]
    fn the_same_reason_is_counted_for_a_while_and_another_is_another_event() {
        let mut events = Events::new("edge1", at(0).mono);
        for (reason, seconds) in [("A", 0), ("B", 1), ("A", 2), ("A", 3), ("A", 700)] {
            events.handle(&happening(reason), at(seconds));
        }
        let told = all(&mut events, at(700));
        let [
            Telling::Create { body: a, .. },
            Telling::Create { .. },
            Telling::Count { name, body: second, .. },
            Telling::Count { body: third, .. },
            Telling::Create { body: anew, .. },
        ] = told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert_eq!(a["metadata"]["name"], json!(name));
        assert_eq!((&second["series"]["count"], &third["series"]["count"]), (&json!(2), &json!(3)));
        assert_eq!(third["series"]["lastObservedTime"], "1970-01-01T00:00:03.000000Z");
        assert_ne!(a["metadata"]["name"], anew["metadata"]["name"]);
    }

    #[test]
    fn a_flood_on_one_object_costs_that_object_its_events_only() {
        let mut events = Events::new("edge1", at(0).mono);
        for number in 0..500 {
            events.handle(&happening(&format!("R{number}")), at(0));
        }
        events.handle(&Happening { uid: "u2".into(), ..happening("Other") }, at(0));
        let told = all(&mut events, at(0));
        assert_eq!((told.len(), events.suppressed), (11, 490));
        events.handle(&happening("Later"), at(120));
        assert_eq!(all(&mut events, at(120)).len(), 1);
    }

    #[test]
    fn a_cluster_has_so_many_in_a_second() {
        let mut events = Events::new("edge1", at(0).mono);
        for number in 0..500 {
            events.handle(&Happening { uid: format!("u{number}").into(), ..happening("A") }, at(0));
        }
        assert_eq!(all(&mut events, at(0)).len(), 100);
        assert!(events.ready_at(at(0).mono).expect("more") > at(0).mono);
        assert_eq!(all(&mut events, at(1)).len(), 50);
    }
}
