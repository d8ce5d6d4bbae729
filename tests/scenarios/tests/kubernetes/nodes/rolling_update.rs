//! A rolling update without a failed request, where a preStop hook gives two seconds.
//!
//! Input: pods that are replaced one by one, each new one ready before the old one ends, each old one
//! serving for two seconds after its deletion; a Service of each policy over the same pods. Output: a
//! connection for each request, every one answered (K9).

use std::time::Duration;

use anyhow::Result;
use roadstead_lab::{Load, kube::Pod, throughout};
use serde_json::json;

use super::{App, Nodes, on_nodes_alone, service};

/// What the hook takes.
const PRE_STOP: Duration = Duration::from_secs(2);
const APP: &str = "rolling";

/// A Service over the pods of [`APP`].
fn over_the_pods<'n>(nodes: &'n Nodes, name: &str, policy: &str) -> Result<App<'n>> {
    let mut service = service(name);
    service["spec"]["selector"] = json!({"app": APP});
    service["spec"]["externalTrafficPolicy"] = json!(policy);
    nodes.serve_as(&service, &[])
}

/// A new pod beside the old one, which then ends.
fn replace(nodes: &Nodes, old: Pod, node: u8, name: &str) -> Result<Pod> {
    let new = nodes.pod(node, name, APP)?;
    nodes.terminate(old.name())?;
    throughout("the preStop hook", PRE_STOP, || Ok(()))?;
    nodes.end(old)?;
    Ok(new)
}

#[test]
fn no_request_fails_while_every_pod_is_replaced() -> Result<()> {
    on_nodes_alone(|nodes| {
        let old = [(1, "rolling-1"), (2, "rolling-2")];
        let old =
            old.map(|(node, name)| Ok::<_, anyhow::Error>((node, nodes.pod(node, name, APP)?)));
        let cluster = over_the_pods(nodes, "rolling-cluster", "Cluster")?;
        let local = over_the_pods(nodes, "rolling-local", "Local")?;
        cluster.answered_by(&["rolling-1", "rolling-2"])?;
        local.answered_by(&["rolling-1", "rolling-2"])?;
        let request = |to| Load::connect(to).rate(50);
        let loads = [cluster.load(request)?, local.load(request)?];
        let mut new = Vec::new();
        for pod in old {
            let (node, pod) = pod?;
            // The second one moves to the other node, so that one of them ends with no pod.
            new.push(replace(nodes, pod, 1, &format!("rolling-{}", node + 2))?);
        }
        loads.into_iter().try_for_each(super::Loaded::all_answered)?;
        local.answered_by(&["rolling-3", "rolling-4"])?;
        let pods: Vec<String> = new.iter().map(|pod| format!("pod/{}", pod.name())).collect();
        cluster.end()?;
        local.end()?;
        nodes.kubectl()?.delete(&pods.iter().map(String::as_str).collect::<Vec<_>>())
    })
}
