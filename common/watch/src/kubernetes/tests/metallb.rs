//! MetalLB's objects of a cluster: there, not there yet, not to be seen, wrong, and taken away.

use roadstead_model::metallb::MetalLb;

use super::{
    api::{L2, POOLS},
    *,
};

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": "metallb-system"}})
}

fn pool(name: &str, addresses: &str) -> Value {
    object("IPAddressPool", name, json!({"addresses": [addresses]}))
}

fn pools(snapshot: &Snapshot) -> Option<Vec<String>> {
    let objects = snapshot.metallb.get(&home())?;
    let shown = objects.pools.iter().map(|pool| format!("{} {}", pool.name, pool.addresses[0]));
    Some(shown.collect())
}

fn has_pools(snapshot: &Snapshot, wanted: &[&str]) -> bool {
    pools(snapshot).is_some_and(|pools| pools == wanted)
}

fn is_told(snapshot: &Snapshot, words: &str) -> bool {
    snapshot.problems.iter().any(|problem| problem.message.contains(words))
}

/// A cluster with one pool that was read.
async fn one() -> (Api, Lab) {
    let api = Api::start().await;
    api.change(|world| {
        world.metallb = None;
        world.apply(POOLS, pool("lan", "192.0.2.0/28"));
        world.apply(L2, object("L2Advertisement", "all", json!({})));
    });
    let mut lab = Lab::with_metallb(&api);
    lab.until("the pool", |it| has_pools(it, &["lan 192.0.2.0-192.0.2.15"])).await;
    (api, lab)
}

#[tokio::test]
async fn a_cluster_without_the_definitions_has_none_and_is_asked_again() {
    let api = Api::start().await;
    let mut lab = Lab::with_metallb(&api);
    let none = lab.until("known to have none", |it| has_pools(it, &[]) && is_current(it)).await;
    assert!(is_told(&none, "the cluster has no resource definitions of metallb.io"));
    api.change(|world| {
        world.metallb = None;
        world.apply(POOLS, pool("lan", "192.0.2.0/28"));
    });
    let some = lab.until("a pool", |it| has_pools(it, &["lan 192.0.2.0-192.0.2.15"])).await;
    assert!(!is_told(&some, "resource definitions"));
}

#[tokio::test]
async fn objects_that_may_not_be_seen_are_no_doubt_about_the_rest() {
    let api = Api::start().await;
    api.change(|world| {
        world.metallb = Some(403);
        world.apply(SERVICES, service("a", 1));
    });
    let mut lab = Lab::with_metallb(&api);
    let words = "IPAddressPools: the API server at ";
    let blind = lab.until("told", |it| is_current(it) && is_told(it, words)).await;
    assert_eq!((names(&blind), pools(&blind)), (vec!["a"], None), "nothing is known of pools");
    api.change(|world| {
        world.metallb = None;
        world.apply(POOLS, pool("lan", "192.0.2.0/28"));
    });
    lab.until("seen", |it| has_pools(it, &["lan 192.0.2.0-192.0.2.15"]) && !is_told(it, words))
        .await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_whole_and_the_last_good_stays() {
    let (api, mut lab) = one().await;
    api.change(|world| {
        world.apply(POOLS, pool("other", "198.51.100.0/28"));
        world.apply(POOLS, pool("lan", "192.0.2.9-192.0.2.1"));
        world.apply(SERVICES, service("a", 1));
    });
    let words =
        "IPAddressPool metallb-system/lan: spec.addresses[0]: the range starts at 192.0.2.9";
    let wrong = lab.until("told", |it| is_told(it, words) && it.services.len() == 1).await;
    assert!(has_pools(&wrong, &["lan 192.0.2.0-192.0.2.15"]) && is_current(&wrong));
    assert!(is_told(&wrong, "and with it every change of MetalLB's configuration"));
    api.change(|world| world.apply(POOLS, pool("lan", "192.0.2.1-192.0.2.9")));
    let both = ["lan 192.0.2.1-192.0.2.9", "other 198.51.100.0-198.51.100.15"];
    lab.until("mended", |it| has_pools(it, &both) && it.problems.is_empty()).await;
}

#[tokio::test]
async fn a_pool_that_is_deleted_goes_and_a_definition_that_is_deleted_takes_nothing() {
    let (api, mut lab) = one().await;
    api.change(|world| world.apply(POOLS, pool("other", "198.51.100.0/28")));
    let both = ["lan 192.0.2.0-192.0.2.15", "other 198.51.100.0-198.51.100.15"];
    lab.until("both", |it| has_pools(it, &both)).await;
    api.change(|world| world.delete(POOLS, "metallb-system/other"));
    lab.until("one", |it| has_pools(it, &["lan 192.0.2.0-192.0.2.15"])).await;
    api.change(|world| {
        world.metallb = Some(404);
        world.end_watches();
    });
    let words = "IPAddressPools: the cluster no longer has their resource definition";
    let gone = lab.until("told", |it| is_told(it, words) && is_current(it)).await;
    assert!(has_pools(&gone, &["lan 192.0.2.0-192.0.2.15"]));
}

#[tokio::test]
async fn the_same_objects_say_the_same_from_a_cluster_and_a_directory() {
    let (_api, lab) = one().await;
    let of_cluster = lab.snapshots.borrow().metallb.get(&home()).cloned().expect("read");
    let directory = tempfile::tempdir().expect("a directory");
    let list = json!({"apiVersion": "v1", "kind": "List", "items":
        [pool("lan", "192.0.2.0/28"), object("L2Advertisement", "all", json!({}))]});
    let file = directory.path().join("metallb.json");
    fs::write(&file, list.to_string()).expect("written");
    let namespace = Some("metallb-system".into());
    let view = crate::manifests::check(&home(), &file, namespace).expect("readable");
    assert_eq!(view.metallb, Some(of_cluster));
    assert_ne!(view.metallb.as_deref(), Some(&MetalLb::default()));
}
