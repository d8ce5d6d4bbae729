//! The whole cluster source, from the kubeconfig to Snapshots, against a small API server.

mod api;
mod credentials;
mod faults;
mod metallb;
pub(super) mod ssa;
mod tls;
mod write;
mod writing;

use std::{fs, future::pending, path::Path, path::PathBuf, sync::Arc, time::Duration};

use roadstead_model::{
    ServiceKey, Snapshot, SourceName,
    config::{Daemon, Kubeconfig, Source, SourceKind},
    snapshot::SourceState,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{Confirm, Reader, Watch, spawn_with};
use api::{Api, NODES, SERVICES, SLICES};

/// No wait of a test is longer; far above what any takes.
const BOUND: Duration = Duration::from_secs(60);

/// Failures are found and mended within moments.
const QUICK: Timing = Timing {
    settle: Duration::from_millis(1),
    answer: Duration::from_secs(2),
    idle: Duration::from_secs(1),
    watch: Duration::from_secs(200),
    healthy: Duration::from_millis(500),
    retry: Duration::from_millis(2),
    retry_most: Duration::from_millis(20),
    asked_most: Duration::from_millis(20),
    credentials: Duration::from_millis(10),
    renewal: Duration::from_millis(20),
    absent: Duration::from_millis(20),
    doubt: Duration::from_millis(50),
    notes: Duration::ZERO,
};

fn node(name: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "managedFields": [{"manager": "kubelet"}]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}], "images": [{"names": ["x"]}]}})
}

fn service(name: &str, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {"type": "LoadBalancer", "ports": [{"port": port, "nodePort": 30_000 + port}]}})
}

fn slice(service: &str, address: &str) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}, "nodeName": "n1"}]})
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&home(), "default", name)
}

fn home() -> SourceName {
    SourceName::new("home")
}

/// A daemon's watch on a cluster.
struct Lab {
    directory: TempDir,
    sources: Vec<Source>,
    snapshots: tokio::sync::watch::Receiver<Arc<Snapshot>>,
    confirm: Confirm,
}

impl Lab {
    /// Watches an API server that may be reached without TLS.
    fn new(api: &Api) -> Self {
        Self::with(&[], |directory| write_kubeconfig(directory, &api.address.to_string(), "token"))
    }

    /// Watches the cluster `home` by the kubeconfig that is written, and other sources.
    fn with(others: &[Source], write: impl FnOnce(&Path)) -> Self {
        Self::paced(QUICK, others, write)
    }

    /// Watches a cluster, MetalLB's objects included.
    fn with_metallb(api: &Api) -> Self {
        let mut lab = Self::new(api);
        for source in &mut lab.sources {
            source.metallb = Some("metallb-system".into());
        }
        lab.restart();
        lab
    }

    fn paced(clusters: Timing, others: &[Source], write: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path());
        let kubeconfig = Kubeconfig::for_all(directory.path().join("kubeconfig"));
        let mut sources = others.to_vec();
        sources.push(Source {
            name: home(),
            kind: SourceKind::Cluster(kubeconfig),
            metallb: None,
            report: true,
        });
        let Watch { snapshots, confirm, .. } = watch(&directory, &sources, clusters);
        Self { directory, sources, snapshots, confirm }
    }

    /// The watch ends, as if the daemon were killed, and another one begins with what it kept.
    fn restart(&mut self) {
        let Watch { snapshots, confirm, .. } = watch(&self.directory, &self.sources, QUICK);
        (self.snapshots, self.confirm) = (snapshots, confirm);
    }

    /// Waits for a Snapshot that is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = timeout(BOUND, self.snapshots.wait_for(|snapshot| wanted(snapshot))).await;
        match found.map(|found| found.map(|snapshot| Arc::clone(&snapshot))) {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(_)) => panic!("the watch has ended before: {what}"),
            Err(_) => {
                let last = self.snapshots.borrow();
                let names: Vec<_> = last.services.keys().map(ToString::to_string).collect();
                panic!("not in time: {what}; {:?} {names:?} {:?}", last.sources, last.problems);
            }
        }
    }

    async fn until_current(&mut self) -> Arc<Snapshot> {
        self.until("current", is_current).await
    }

    async fn until_doubt(&mut self, words: &str) -> Arc<Snapshot> {
        self.until(words, |snapshot| match snapshot.sources.get(&home()) {
            Some(SourceState::Doubtful { reason }) => reason.contains(words),
            _ => false,
        })
        .await
    }

    /// Waits until it is written down that the Services were followed to a version.
    async fn until_kept(&self, version: u64) {
        let file = self.directory.path().join("state/clusters/home/reached.json");
        let wanted = format!("\"Services\":{version}");
        let kept = async {
            while !fs::read_to_string(&file).is_ok_and(|text| text.contains(&wanted)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(BOUND, kept).await.expect("written down");
    }

    async fn until_service(&mut self, name: &str) -> Arc<Snapshot> {
        self.until(name, |snapshot| snapshot.services.contains_key(&key(name))).await
    }
}

fn watch(directory: &TempDir, sources: &[Source], clusters: Timing) -> Watch {
    let reader = Reader { daemon: Daemon::Speaker, state: Some(directory.path().join("state")) };
    let timing = crate::Timing { clusters, ..crate::Timing::DEFAULT };
    spawn_with(sources, reader, None, timing, pending())
}

fn is_current(snapshot: &Snapshot) -> bool {
    snapshot.sources.get(&home()) == Some(&SourceState::Current)
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.services.keys().map(|key| key.name.as_ref()).collect()
}

/// Writes `kubeconfig`, and the token beside it.
fn write_kubeconfig(directory: &Path, server: &str, token: &str) {
    fs::write(directory.join("token"), format!("{token}\n")).expect("written");
    replace(
        directory,
        "kubeconfig",
        &json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{server}")}}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        })
        .to_string(),
    );
}

/// Replaces a file whole, as those who rotate credentials do.
fn replace(directory: &Path, name: &str, text: &str) {
    let new = directory.join(format!("{name}.new"));
    fs::write(&new, text).expect("written");
    fs::rename(new, directory.join(name)).expect("renamed");
}

#[tokio::test]
async fn a_cluster_is_listed_by_a_stream_and_followed() {
    let api = Api::start().await;
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    let mut lab = Lab::new(&api);
    let first = lab.until_current().await;
    assert_eq!((names(&first), first.nodes.len()), (vec!["web"], 1));
    assert_eq!(first.services[&key("web")].uid.as_deref(), Some("uid-web"));
    assert_eq!(first.problems, []);

    api.change(|world| {
        world.apply(SERVICES, service("api", 81));
        world.apply(SERVICES, service("web", 82));
        world.apply(SLICES, slice("web", "10.0.0.7"));
    });
    let second =
        lab.until("all three", |it| it.services.len() == 2 && !it.endpoints.is_empty()).await;
    assert_eq!(second.services[&key("web")].ports[0].port, 82);

    api.change(|world| world.delete(SERVICES, "default/web"));
    let third = lab.until("web is gone", |it| it.gone.contains(&key("web"))).await;
    assert_eq!(names(&third), ["api"]);
    assert!(is_current(&third));
    assert_eq!(api.change(|world| world.lists()), 4, "no list but the first of each kind");
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_listed_by_pages() {
    let api = Api::start().await;
    api.change(|world| {
        world.streams = false;
        world.page = 2;
        for port in 1..=7 {
            world.apply(SERVICES, service(&format!("s{port}"), port));
        }
    });
    let mut lab = Lab::new(&api);
    assert_eq!(lab.until_current().await.services.len(), 7);
    api.change(|world| world.apply(SERVICES, service("s8", 8)));
    lab.until_service("s8").await;
}

/// Servers before 1.30 cannot select Services by their type.
#[tokio::test]
async fn a_server_that_cannot_select_services_is_asked_for_all_and_others_are_dropped() {
    for streams in [true, false] {
        let api = Api::start().await;
        let inside = |port| {
            let mut service = service("inside", port);
            service["spec"]["type"] = json!("ClusterIP");
            service
        };
        api.change(|world| {
            (world.selects, world.streams) = (false, streams);
            world.apply(SERVICES, inside(81));
            world.apply(SERVICES, service("web", 80));
        });
        let mut lab = Lab::new(&api);
        assert_eq!(names(&*lab.until_current().await), ["web"]);
        api.change(|world| {
            world.apply(SERVICES, inside(82));
            world.apply(SERVICES, service("api", 83));
        });
        assert_eq!(names(&*lab.until_service("api").await), ["api", "web"]);
        let mut left = service("web", 80);
        left["spec"]["type"] = json!("ClusterIP");
        api.change(|world| world.apply(SERVICES, left));
        let after = lab.until("web is gone", |it| it.gone.contains(&key("web"))).await;
        assert_eq!((names(&after), is_current(&after)), (vec!["api"], true));
    }
}

#[tokio::test]
async fn only_what_is_needed_is_asked_for() {
    let api = Api::start().await;
    let mut lab = Lab::new(&api);
    lab.until_current().await;
    let asked = api.change(|world| world.asked.clone());
    let of = |path: &str| {
        asked.iter().find(|asked| asked.starts_with(&format!("{path}?"))).expect("asked").clone()
    };
    assert!(of(SERVICES).contains("fieldSelector=spec.type%3DLoadBalancer"), "{}", of(SERVICES));
    assert!(of(SLICES).contains(
        "labelSelector=kubernetes.io%2Fservice-name%2C%21service.kubernetes.io%2Fheadless"
    ));
    for path in [SERVICES, SLICES, NODES] {
        assert!(of(path).contains("allowWatchBookmarks=true"), "{}", of(path));
        assert!(of(path).contains("timeoutSeconds=2"), "{}", of(path));
    }
}

#[tokio::test]
async fn the_same_objects_make_the_same_view_from_a_cluster_and_a_directory() {
    let objects = [
        (NODES, node("n1", "192.0.2.5")),
        (NODES, node("n2", "2001:db8::5")),
        (SERVICES, service("web", 80)),
        (
            SERVICES,
            json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "dns", "namespace": "shop", "labels": {"tier": "a"},
                    "annotations": {"roadstead.io/addresses": "192.0.2.10", "metallb.io/allow-shared-ip": "k"}},
                "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
                    "sessionAffinity": "ClientIP", "loadBalancerClass": "roadstead.io/load-balancer",
                    "loadBalancerSourceRanges": ["198.51.100.0/24"], "ipFamilies": ["IPv6", "IPv4"],
                    "ipFamilyPolicy": "PreferDualStack",
                    "ports": [{"name": "u", "protocol": "UDP", "port": 53, "nodePort": 30053},
                              {"name": "t", "port": 53, "nodePort": 30053, "targetPort": "dns"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}}}),
        ),
        (SLICES, slice("web", "10.0.0.7")),
        (
            api::NAMESPACES,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}}),
        ),
        (
            api::NAMESPACES,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
        ),
    ];
    let api = Api::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    for (index, (path, object)) in objects.into_iter().enumerate() {
        fs::write(directory.path().join(format!("{index}.json")), object.to_string())
            .expect("written");
        api.change(|world| world.apply(path, object));
    }
    let cluster = Lab::new(&api).until_current().await;
    let kind = SourceKind::Directory(directory.path().to_path_buf());
    let files = [Source { name: home(), kind, metallb: None, report: true }];
    let Watch { mut snapshots, .. } = crate::spawn(&files, Daemon::Router, pending());
    let read = timeout(BOUND, snapshots.wait_for(|snapshot| is_current(snapshot))).await;
    let files = Arc::clone(&read.expect("in time").expect("watched"));
    assert_eq!(cluster.services.len(), 2);
    assert_eq!(cluster.services, files.services);
    assert_eq!(cluster.nodes, files.nodes);
    assert_eq!(cluster.endpoints, files.endpoints);
    assert_eq!(cluster.namespaces, files.namespaces);
    assert_eq!((&cluster.refused, &cluster.contested), (&files.refused, &files.contested));
}

#[tokio::test]
async fn dropping_the_watch_ends_its_connections() {
    let api = Api::start().await;
    let mut lab = Lab::new(&api);
    lab.until_current().await;
    let Lab { snapshots, confirm, directory, .. } = lab;
    drop(snapshots);
    // The watch is over when nobody answers any more.
    let ended = async { while !confirm.confirm().await.is_empty() {} };
    timeout(BOUND, ended).await.expect("ended");
    drop(directory);
}

#[tokio::test]
async fn a_source_without_a_kubeconfig_for_a_daemon_stays_unread() {
    let kubeconfig =
        Kubeconfig { speaker: PathBuf::from("/s"), router: PathBuf::from("/r"), proxy: None };
    let sources = [Source {
        name: home(),
        kind: SourceKind::Cluster(kubeconfig),
        metallb: None,
        report: true,
    }];
    let Watch { snapshots, .. } = crate::spawn(&sources, Daemon::Proxy, pending());
    assert_eq!(snapshots.borrow().sources[&home()], SourceState::Unread);
}
