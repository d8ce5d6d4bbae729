use proptest::prelude::*;
use roadstead_model::{ServiceKey, config::Daemon, object::TrafficPolicy};

use super::*;
use crate::kubernetes::read::Converter;

fn source() -> SourceName {
    SourceName::new("home")
}

fn read(kind: Kind, text: &str) -> Change {
    Converter::new(&source()).change(kind, text).expect("an object")
}

fn service(name: &str, port: u16, version: u64) -> Change {
    let node_port = 30_000 + port;
    read(
        Kind::Service,
        &format!(
            r#"{{"metadata": {{"name": "{name}", "namespace": "default", "resourceVersion": "{version}"}},
                "spec": {{"type": "LoadBalancer", "ports": [{{"port": {port}, "nodePort": {node_port}}}]}}}}"#
        ),
    )
}

fn node(name: &str) -> Change {
    let text = format!(
        r#"{{"metadata": {{"name": "{name}"}}, "status": {{"addresses": [{{"type": "InternalIP", "address": "192.0.2.5"}}]}}}}"#
    );
    read(Kind::Node, &text)
}

fn listing(changes: Vec<Change>, version: u64) -> Listing {
    Listing { changes, version: Version::new(&version.to_string()), is_cut: false }
}

fn id(name: &str) -> ObjectId {
    ObjectId::Service("default".into(), name.into())
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&source(), "default", name)
}

/// A cluster whose other kinds are listed, and whose Services are these, at version 100.
fn cluster(services: Vec<Change>) -> State {
    let mut state = State::new(source(), resource::kinds(Daemon::Speaker), &Reached::default());
    let namespace = read(Kind::Namespace, r#"{"metadata": {"name": "default"}}"#);
    state.handle(News::Listed(Kind::Namespace, listing(vec![namespace], 100)));
    state.handle(News::Listed(Kind::Node, listing(vec![node("n1")], 100)));
    state.handle(News::Listed(Kind::EndpointSlice, listing(Vec::new(), 100)));
    state.handle(News::Listed(Kind::Service, listing(services, 100)));
    state
}

fn three() -> Vec<Change> {
    vec![service("a", 1, 10), service("b", 2, 11), service("c", 3, 12)]
}

fn names(state: &mut State) -> Vec<String> {
    state.view().services.keys().map(|key| key.name.to_string()).collect()
}

fn is_current(state: &mut State) -> bool {
    state.view().state == SourceState::Current
}

fn reason(state: &mut State) -> String {
    match &state.view().state {
        SourceState::Doubtful { reason } => reason.clone(),
        other => panic!("doubt, not {other:?}"),
    }
}

fn list(state: &mut State, changes: Vec<Change>, version: u64) {
    state.handle(News::Listed(Kind::Service, listing(changes, version)));
}

fn delete(state: &mut State, name: &str, version: u64) {
    state.handle(News::Deleted(Kind::Service, id(name), Version::new(&version.to_string())));
}

#[test]
fn a_cluster_is_unread_until_every_kind_was_listed() {
    let mut state = State::new(source(), resource::kinds(Daemon::Speaker), &Reached::default());
    for &kind in resource::kinds(Daemon::Speaker) {
        assert_eq!(state.view().state, SourceState::Unread);
        state.handle(News::Trouble(kind, "Things: the API server is away".to_owned()));
        let view = state.view();
        assert_eq!((&view.state, view.services.len()), (&SourceState::Unread, 0));
        let told: Vec<_> = view.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["cluster home: Things: the API server is away"]);
        let changes = match kind {
            Kind::Node => vec![node("n1")],
            Kind::Namespace => vec![read(kind, r#"{"metadata": {"name": "default"}}"#)],
            Kind::Service => three(),
            Kind::EndpointSlice | Kind::MetalLb(_) => Vec::new(),
        };
        state.handle(News::Listed(kind, listing(changes, 1)));
    }
    assert!(is_current(&mut state));
    assert_eq!(names(&mut state), ["a", "b", "c"]);
}

#[test]
fn deletions_that_a_watch_tells_are_knowledge() {
    let mut state = cluster(three());
    state.view();
    for name in ["a", "b", "c"] {
        delete(&mut state, name, 101);
    }
    let view = state.view();
    assert_eq!((&view.state, view.services.len(), view.gone.len()), (&SourceState::Current, 0, 3));
}

#[test]
fn an_object_that_a_list_no_longer_has_is_gone_where_the_list_is_believed() {
    let mut state = cluster(three());
    state.view();
    list(&mut state, vec![service("a", 1, 10), service("c", 3, 12)], 120);
    assert!(is_current(&mut state));
    assert_eq!(names(&mut state), ["a", "c"]);
    assert!(state.view().gone.contains(&key("b")));
}

#[test]
fn an_empty_list_after_a_good_one_is_held_back_until_events_or_an_order_say_so() {
    let mut state = cluster(three());
    list(&mut state, Vec::new(), 120);
    assert_eq!(
        reason(&mut state),
        "cluster home: the list of Services lacks 3 of 3 that were there; `roadstead confirm` takes it as the truth"
    );
    assert_eq!(names(&mut state), ["a", "b", "c"]);
    let told = state.view().problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(
        told.iter().any(|line| line.ends_with("takes it as the truth; what it last said stays"))
    );

    delete(&mut state, "a", 121);
    assert_eq!(names(&mut state), ["b", "c"]);
    assert!(state.view().gone.contains(&key("a")));

    let confirmed = state.confirm();
    assert_eq!((confirmed.services, confirmed.gone.len(), confirmed.remains), (0, 2, None));
    assert!(is_current(&mut state));
    assert_eq!(state.view().gone.len(), 3);
}

#[test]
fn a_list_that_is_more_than_half_gone_is_held_back_and_what_it_adds_is_taken() {
    let mut state = cluster(three());
    list(&mut state, vec![service("a", 7, 119), service("new", 8, 118)], 120);
    assert!(reason(&mut state).contains("lacks 2 of 3"));
    assert_eq!(names(&mut state), ["a", "b", "c", "new"]);
    assert_eq!(state.view().services[&key("a")].ports[0].port, 7);

    delete(&mut state, "b", 121);
    delete(&mut state, "c", 122);
    assert!(is_current(&mut state), "events have said all of it");
    assert_eq!(names(&mut state), ["a", "new"]);
}

#[test]
fn doubt_about_a_list_ends_by_a_list_that_is_whole() {
    let mut state = cluster(three());
    list(&mut state, Vec::new(), 120);
    reason(&mut state);
    list(&mut state, three(), 121);
    assert!(is_current(&mut state));
    assert_eq!(names(&mut state), ["a", "b", "c"]);
}

#[test]
fn a_list_from_the_past_changes_nothing_but_adds_what_was_not_known() {
    let mut state = cluster(three());
    delete(&mut state, "c", 110);
    list(&mut state, vec![service("a", 9, 5), service("c", 3, 6)], 50);
    assert!(reason(&mut state).contains("version 50, before 110"), "{}", reason(&mut state));
    assert_eq!(names(&mut state), ["a", "b", "c"]);
    assert_eq!(state.view().services[&key("a")].ports[0].port, 1, "ours is the newer one");

    // The new history goes on: what it changes is known.
    state.handle(News::Changed(Kind::Service, service("a", 11, 51)));
    assert_eq!(state.view().services[&key("a")].ports[0].port, 11);
    reason(&mut state);
    delete(&mut state, "b", 52);
    assert!(is_current(&mut state));

    // And its versions are the ones that count from now on.
    list(&mut state, vec![service("a", 11, 51), service("c", 3, 6)], 60);
    assert!(is_current(&mut state));
}

#[test]
fn a_list_from_the_past_is_the_truth_when_that_is_confirmed() {
    let mut state = cluster(three());
    list(&mut state, vec![service("a", 9, 5)], 50);
    let confirmed = state.confirm();
    assert_eq!(confirmed.gone, [key("b"), key("c")]);
    assert_eq!(state.view().services[&key("a")].ports[0].port, 9);
    list(&mut state, vec![service("a", 9, 5)], 51);
    assert!(is_current(&mut state));
}

#[test]
fn a_cluster_whose_first_list_has_no_node_is_in_doubt_until_one_is_seen() {
    let mut state = cluster(three());
    let mut fresh = State::new(source(), resource::kinds(Daemon::Speaker), &Reached::default());
    std::mem::swap(&mut fresh.kinds, &mut state.kinds);
    fresh.kinds.insert(Kind::Node, Objects::default());
    fresh.handle(News::Listed(Kind::Node, listing(Vec::new(), 100)));
    assert!(reason(&mut fresh).contains("the first list of Nodes was empty"));
    fresh.handle(News::Changed(Kind::Node, node("n1")));
    assert!(is_current(&mut fresh));
}

#[test]
fn a_cluster_without_any_load_balancer_is_no_doubt() {
    assert!(is_current(&mut cluster(Vec::new())));
}

#[test]
fn an_api_that_is_away_changes_nothing_and_no_order_ends_that() {
    let mut state = cluster(three());
    let before = state.view();
    state.handle(News::Trouble(Kind::Service, "Services: the API server is away".to_owned()));
    assert_eq!(reason(&mut state), "cluster home: Services: the API server is away");
    let confirmed = state.confirm();
    assert_eq!((confirmed.services, confirmed.gone.len()), (3, 0));
    assert!(confirmed.remains.is_some());
    assert_eq!(state.view().services, before.services);
    state.handle(News::Watched(Kind::Service));
    assert!(is_current(&mut state));
}

#[test]
fn an_object_that_turns_unusable_keeps_its_last_good_version() {
    let mut state = cluster(three());
    state.view();
    let bad = read(
        Kind::Service,
        r#"{"metadata": {"name": "a", "namespace": "default", "resourceVersion": "130"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 0}]}}"#,
    );
    state.handle(News::Changed(Kind::Service, bad.clone()));
    let view = state.view();
    assert_eq!(view.services[&key("a")].ports[0].port, 1);
    assert!(view.services[&key("a")].warnings[0].contains("the last good one is used"));
    assert!(view.problems[0].to_string().starts_with("cluster home: Service default/a: "));
    assert_eq!(view.services[&key("b")].traffic_policy, TrafficPolicy::Cluster);
    // Where no good one was ever seen, it is named so that nobody takes it for deleted.
    let mut fresh = cluster(vec![bad]);
    assert!(fresh.view().refused.contains_key(&key("a")));
}

#[test]
fn an_object_that_is_being_deleted_is_gone_by_event_and_by_list() {
    let mut state = cluster(three());
    state.view();
    let going = |name: &str| {
        read(
            Kind::Service,
            &format!(
                r#"{{"metadata": {{"name": "{name}", "namespace": "default", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "spec": {{}}}}"#
            ),
        )
    };
    state.handle(News::Changed(Kind::Service, going("a")));
    assert_eq!(names(&mut state), ["b", "c"]);
    list(&mut state, vec![going("b"), going("c")], 140);
    assert!(is_current(&mut state), "the list names both: nothing is missing");
    assert_eq!(names(&mut state), [""; 0]);
    assert_eq!(state.view().gone.len(), 3);
}

#[test]
fn more_objects_than_are_kept_are_told_and_take_nothing_away() {
    let mut state = cluster(three());
    let cut = Listing { is_cut: true, ..listing(vec![service("z", 4, 130)], 131) };
    state.handle(News::Listed(Kind::Service, cut));
    assert!(reason(&mut state).contains("there are more than 10000 Services"));
    assert_eq!(names(&mut state), ["a", "b", "c", "z"]);
}

#[test]
fn what_did_not_change_is_the_same_object_and_the_same_view() {
    let mut state = cluster(three());
    let before = state.view();
    list(&mut state, vec![service("a", 1, 10), service("b", 2, 11), service("c", 33, 150)], 150);
    let after = state.view();
    assert!(Arc::ptr_eq(&before.services[&key("a")], &after.services[&key("a")]));
    assert!(!Arc::ptr_eq(&before.services[&key("c")], &after.services[&key("c")]));
    state.handle(News::Reached(Kind::Service, Version::new("160").expect("a version")));
    assert!(Arc::ptr_eq(&after, &state.view()));
}

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Step {
    Change(usize),
    Delete(usize),
    /// A list of these, at a version so much further on, or back.
    List(Vec<usize>, i64),
    Away,
    Back,
    Confirm,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..8).prop_map(Step::Change),
        3 => (0_usize..8).prop_map(Step::Delete),
        3 => (prop::collection::vec(0_usize..8, 0..8), -5_i64..20)
            .prop_map(|(of, by)| Step::List(of, by)),
        1 => Just(Step::Away),
        1 => Just(Step::Back),
        1 => Just(Step::Confirm),
    ];
    prop::collection::vec(step, 0..40)
}

fn named(index: usize) -> String {
    format!("s{index}")
}

proptest! {
    /// S3 on every path: a Service leaves only by an event, an order, or a list that was believed;
    /// whatever leaves is among those that are gone; and without doubt, what is held is what the
    /// server last said.
    #[test]
    fn doubt_holds_and_knowledge_withdraws(steps in steps()) {
        let mut state = cluster(Vec::new());
        let mut server: BTreeSet<usize> = BTreeSet::new();
        let mut now: u64 = 1_000;
        for step in steps {
            let before = names(&mut state);
            let mut may_leave: Vec<String> = Vec::new();
            match step {
                Step::Change(index) => {
                    now += 1;
                    server.insert(index);
                    let change = service(&named(index), u16::try_from(index).unwrap() + 1, now);
                    state.handle(News::Changed(Kind::Service, change));
                }
                Step::Delete(index) => {
                    now += 1;
                    server.remove(&index);
                    may_leave.push(named(index));
                    delete(&mut state, &named(index), now);
                }
                Step::List(of, by) => {
                    now = now.saturating_add_signed(by);
                    server = of.into_iter().collect();
                    let port = |index: usize| u16::try_from(index).unwrap() + 1;
                    let all = server.iter().map(|i| service(&named(*i), port(*i), now)).collect();
                    list(&mut state, all, now);
                    if is_current(&mut state) {
                        may_leave.clone_from(&before);
                        let missing = before.iter().filter(|name| {
                            !server.iter().any(|index| named(*index) == **name)
                        });
                        prop_assert!(missing.count() * 2 <= before.len());
                    }
                }
                Step::Away => {
                    state.handle(News::Trouble(Kind::Service, "away".to_owned()));
                    prop_assert!(!is_current(&mut state));
                }
                Step::Back => state.handle(News::Watched(Kind::Service)),
                Step::Confirm => {
                    may_leave.clone_from(&before);
                    state.confirm();
                }
            }
            let after = names(&mut state);
            let view = state.view();
            for name in before.iter().filter(|name| !after.contains(name)) {
                prop_assert!(may_leave.contains(name), "{name} left");
                prop_assert!(view.gone.contains(&key(name)), "{name} is not known to be gone");
            }
            for name in &after {
                prop_assert!(!view.gone.contains(&key(name)));
            }
            if view.state == SourceState::Current {
                let said: Vec<_> = server.iter().map(|index| named(*index)).collect();
                prop_assert_eq!(&after, &said);
            }
        }
    }
}

/// A daemon that was away while the server's store was restored.
#[test]
fn a_first_list_before_what_was_reached_is_doubt_until_an_order() {
    let reached = Reached([("Services".to_owned(), 150)].into());
    let mut state = State::new(source(), resource::kinds(Daemon::Router), &reached);
    state.handle(News::Listed(Kind::Node, listing(vec![node("n1")], 100)));
    state.handle(News::Listed(Kind::EndpointSlice, listing(Vec::new(), 100)));
    list(&mut state, three(), 100);
    assert!(reason(&mut state).contains("has version 100, before 150, which was reached"));
    assert_eq!(names(&mut state), ["a", "b", "c"]);
    // Neither another list nor what happens now makes it knowledge, nor is it forgotten.
    list(&mut state, three(), 120);
    delete(&mut state, "a", 130);
    assert!(reason(&mut state).contains("was restored from a backup"));
    assert_eq!(state.reached().0.get("Services"), Some(&150));
    state.confirm();
    assert!(is_current(&mut state));
    assert_eq!(names(&mut state), ["b", "c"]);
    assert_eq!(state.reached().0.get("Services"), Some(&130));
}

#[test]
fn a_first_list_at_or_after_what_was_reached_is_believed() {
    for reached in [99, 100] {
        let reached = Reached([("Services".to_owned(), reached)].into());
        let mut state = State::new(source(), resource::kinds(Daemon::Router), &reached);
        state.handle(News::Listed(Kind::Node, listing(vec![node("n1")], 100)));
        state.handle(News::Listed(Kind::EndpointSlice, listing(Vec::new(), 100)));
        list(&mut state, three(), 100);
        assert!(is_current(&mut state));
    }
}
