//! What a scheduler and the kubelets do for Deployments: a pod without a node gets one, its process
//! is started, the API is told that it is ready; a pod that is deleted ends after its `preStop`.
//!
//! Level-triggered and without a thread of its own: whoever waits for pods calls
//! [`Kubelet::sync`] again and again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    kube::{
        api::{Api, Request},
        cluster::Cluster,
        pod::Pod,
    },
    topology::Lab,
};

/// For how long a deleted pod goes on answering, as with a `preStop` that sleeps: until every
/// kube-proxy knows.
const PRE_STOP: Duration = Duration::from_secs(2);

/// The pods that it has placed, all of them in the namespace `default`. Dropped, they end.
#[derive(Debug)]
pub struct Kubelet {
    api: Api,
    running: BTreeMap<String, Running>,
}

/// A pod that it has started.
#[derive(Debug)]
struct Running {
    node: String,
    pod: Pod,
    /// When it ends, once it was deleted.
    ends: Option<Instant>,
}

impl Kubelet {
    /// Of a cluster, with no pod yet.
    pub fn new(cluster: &Cluster) -> Result<Self> {
        Ok(Self { api: cluster.plane().api()?, running: BTreeMap::new() })
    }

    /// The names of the pods that run.
    pub fn pods(&self) -> Vec<&str> {
        self.running.keys().map(String::as_str).collect()
    }

    /// Does what is to be done now; with the API away, an error, and the pods stay.
    pub fn sync(&mut self, lab: &Lab, cluster: &Cluster) -> Result<()> {
        let list = self.api.get(&path(""))?;
        let pods = list["items"].as_array().context("a list of pods")?;
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().context("a pod without a name")?;
            let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
            match (self.running.contains_key(name), is_deleted) {
                (false, false) if pod["spec"]["nodeName"].is_null() => {
                    let container = &pod["spec"]["containers"][0]["name"];
                    self.start(lab, cluster, name, container)?;
                }
                (true, true) => self.end(name)?,
                (_, _) => {}
            }
        }
        self.running.retain(|name, _| pods.iter().any(|pod| pod["metadata"]["name"] == **name));
        Ok(())
    }

    fn start(&mut self, lab: &Lab, cluster: &Cluster, name: &str, container: &Value) -> Result<()> {
        let busy = |node: &str| self.running.values().filter(|pod| pod.node == node).count();
        let idlest = cluster.nodes().iter().min_by_key(|node| busy(node.name()));
        let node = idlest.context("a cluster without nodes")?;
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node.name()},
        });
        self.api.send(Request::create(&path(&format!("/{name}/binding")), binding))?;
        let pod = node.start_pod(lab, name)?;
        self.api
            .send(Request::merge(&path(&format!("/{name}/status")), status(&pod, container)))?;
        let running = Running { node: node.name().to_owned(), pod, ends: None };
        self.running.insert(name.to_owned(), running);
        Ok(())
    }

    /// Once its time is over: the process ends, then the object goes.
    fn end(&mut self, name: &str) -> Result<()> {
        let Some(running) = self.running.get_mut(name) else { return Ok(()) };
        let ends = *running.ends.get_or_insert_with(|| Instant::now() + PRE_STOP);
        if Instant::now() < ends {
            return Ok(());
        }
        running.pod.kill()?;
        self.api.send(Request::delete(&path(&format!("/{name}"))))?;
        self.running.remove(name);
        Ok(())
    }
}

/// Below the pods of the namespace.
fn path(rest: &str) -> String {
    format!("/api/v1/namespaces/default/pods{rest}")
}

/// What a kubelet says of a pod that runs and is ready.
fn status(pod: &Pod, container: &Value) -> Value {
    let [address, _] = pod.addresses();
    let ready = json!({"type": "Ready", "status": "True"});
    let container = json!({
        "name": container, "image": "lab", "imageID": "", "ready": true, "started": true,
        "restartCount": 0, "state": {"running": {}},
    });
    json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": pod.addresses().map(|ip| json!({"ip": ip})),
        "conditions": [ready],
        "containerStatuses": [container],
    }})
}
