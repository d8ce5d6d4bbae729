//! What the speaker writes to a real API server: status, conditions, Events and the finalizer, with
//! the rights that it has and no other.
//!
//! Input: objects by kubectl, statuses by others. Output: what `kubectl` shows; on the wire, that an
//! address is silent before its object goes, and that no status moves a packet.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Edge,
    edge::DaemonName,
    eventually,
    kube::{Kubectl, objects},
};
use roadstead_scenarios::ask;
use serde_json::{Value, json};

use super::watched::{SOON, watched};

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

fn service(kubectl: &Kubectl, name: &str) -> Result<Value> {
    kubectl.get(&["service", name])
}

/// The addresses in a Service's status.
fn shown(service: &Value) -> Vec<String> {
    let entries = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    entries.filter_map(|entry| Some(entry["ip"].as_str()?.to_owned())).collect()
}

/// `True Probed` of a condition of ours.
fn told(service: &Value, kind: &str) -> String {
    let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    let ours = format!("roadstead.io/{kind}");
    let found = conditions.into_iter().find(|it| it["type"] == json!(ours));
    let word = |field: &str| found.and_then(|it| it[field].as_str()).unwrap_or("-").to_owned();
    format!("{} {}", word("status"), word("reason"))
}

fn until_told(kubectl: &Kubectl, name: &str, kind: &str, wanted: &str) -> Result<Value> {
    eventually(&format!("{name}: {kind} is {wanted}"), SOON, || {
        let service = service(kubectl, name)?;
        ensure!(told(&service, kind) == wanted, "{kind} is {}", told(&service, kind));
        Ok(service)
    })
}

/// Another manager writes the addresses of a status.
fn forge(kubectl: &Kubectl, name: &str, manager: &str, ingress: &Value) -> Result<()> {
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let manager = format!("--field-manager={manager}");
    let how = ["patch", "service", name, "--subresource=status", "--type=merge", &manager];
    kubectl.run(&[&how[..], &["-p", &patch]].concat()).map(drop)
}

/// The speaker announces nothing more, and waits for the router to say that the kernel is silent.
fn until_let_go(edge: &Edge) -> Result<()> {
    eventually("the speaker lets it go", SOON, || {
        let status = edge.status()?;
        ensure!(status.services.iter().all(|it| it.announced.is_empty()), "{status:?}");
        Ok(())
    })
}

fn texts(addresses: [IpAddr; 2]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn events(kubectl: &Kubectl, name: &str) -> Result<Vec<String>> {
    let of = format!("--field-selector=involvedObject.name={name}");
    let list = kubectl.get(&["events", &of])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().map(|it| format!("{} {}", it["type"], it["reason"]).replace('"', "")).collect())
}

/// `kubectl expose`, to the last step: the address is in the status as kube-proxy is to take it, and
/// `kubectl describe` tells what happened; after the deletion the object stays until it is silent.
#[test]
fn a_service_shows_its_addresses_and_goes_when_they_are_silent() -> Result<()> {
    watched("writing-status", |world| {
        let web = world.serve("web")?;
        let kubectl = world.cluster.kubectl()?;
        let service = until_told(&kubectl, "web", "Announced", "True Probed")?;
        ensure!(shown(&service) == texts(web.addresses()), "{}", service["status"]);
        for entry in service["status"]["loadBalancer"]["ingress"].as_array().context("entries")? {
            ensure!(entry["ipMode"] == "Proxy", "{entry}");
            ensure!(entry["ports"] == json!([{"port": 80, "protocol": "TCP"}]), "{entry}");
        }
        ensure!(service["metadata"]["finalizers"] == json!([FINALIZER]), "{}", service["metadata"]);
        ensure!(told(&service, "Allocated") == "True Allocated", "{}", service["status"]);
        let described = eventually("Events in kubectl describe", SOON, || {
            let text = kubectl.run(&["describe", "service", "web"])?;
            ensure!(text.contains("Probed") && text.contains("from pool `lan`"), "{text}");
            Ok(text)
        })?;
        ensure!(described.contains("roadstead.io/speaker"), "{described}");
        let counts = ask::get(world.lab.edge()?, "127.0.0.1:9641".parse()?, "/metrics")?;
        let counts = String::from_utf8_lossy(&counts).into_owned();
        for (verb, code) in [("watch", 200), ("apply", 200), ("create", 201)] {
            let count = format!(
                "roadstead_api_requests_total{{source=\"home\",verb=\"{verb}\",code=\"{code}\"}}"
            );
            ensure!(counts.contains(&count), "no {count} in {counts}");
        }

        let near = world.lab.near()?.clone();
        world.edge.daemon(DaemonName::Router)?.signal(Signal::SIGSTOP)?;
        kubectl.run(&["delete", "service", "web", "--wait=false"])?;
        until_let_go(&world.edge)?;
        // The router stands still, so that nobody knows the addresses to be silent.
        let going = self::service(&kubectl, "web")?;
        ensure!(going["metadata"]["deletionTimestamp"].is_string(), "{}", going["metadata"]);
        ensure!(going["metadata"]["finalizers"] == json!([FINALIZER]), "{}", going["metadata"]);
        ensure!(web.resolve_to_nobody(&near).is_err(), "the kernel is silent already");
        world.edge.daemon(DaemonName::Router)?.signal(Signal::SIGCONT)?;
        kubectl.wait_for("service/web", "delete")?;
        web.resolve_to_nobody(&near)
    })
}

/// A status by a tenant, or by a controller that is not asked: the ledger's word is written again,
/// and packets go where they went. Whoever insists is left alone, and it is told.
#[test]
fn a_forged_status_is_written_over_and_moves_nothing() -> Result<()> {
    watched("writing-forged", |world| {
        let web = world.serve("web")?;
        let kubectl = world.cluster.kubectl()?;
        until_told(&kubectl, "web", "Announced", "True Probed")?;
        let forged = json!([{"ip": "198.51.100.66", "ipMode": "VIP"}]);
        forge(&kubectl, "web", "tenant", &forged)?;
        eventually("the status is ours again", SOON, || {
            let service = service(&kubectl, "web")?;
            ensure!(shown(&service) == texts(web.addresses()), "{:?}", shown(&service));
            Ok(())
        })?;
        eventually("it is told", SOON, || {
            let events = events(&kubectl, "web")?;
            ensure!(events.contains(&"Warning StatusRestored".to_owned()), "{events:?}");
            Ok(())
        })?;
        world.answers(&web)?;
        forge(&kubectl, "web", "tenant", &forged)?;
        let service = until_told(&kubectl, "web", "Reported", "False StatusHeldByAnother")?;
        ensure!(shown(&service) == ["198.51.100.66"], "{:?}", shown(&service));
        world.answers(&web)
    })
}

/// k3s's ServiceLB and clouds' controllers were there first: their addresses stay, ours are served
/// all the same, and the way out is told.
#[test]
fn a_status_that_another_wrote_first_stays() -> Result<()> {
    watched("writing-held", |world| {
        let kubectl = world.cluster.kubectl()?;
        world.edge.kill_daemon(DaemonName::Speaker);
        let service = objects::service("web", "LoadBalancer", 80, 8080);
        kubectl.apply(&service.to_string())?;
        forge(&kubectl, "web", "k3s", &json!([{"ip": "198.51.100.7", "ipMode": "VIP"}]))?;
        world.edge.start_daemon(DaemonName::Speaker)?;
        let web = world.serve("web")?;
        let service = until_told(&kubectl, "web", "Announced", "True Probed")?;
        ensure!(shown(&service) == ["198.51.100.7"], "{:?}", shown(&service));
        ensure!(told(&service, "Reported") == "False StatusHeldByAnother", "{service}");
        world.answers(&web)?;
        let told = world.edge.cli(&["status", "-o", "json"])?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure!(told.contains("held by `k3s`"), "{told}");
        kubectl.delete(&["service/web"])
    })
}

/// A Service that is no load balancer any more, and one that is given away to another: nothing of
/// ours stays on them, when their addresses are silent.
#[test]
fn a_change_of_type_takes_everything_of_ours_off() -> Result<()> {
    watched("writing-type", |world| {
        let web = world.serve("web")?;
        let kubectl = world.cluster.kubectl()?;
        until_told(&kubectl, "web", "Announced", "True Probed")?;
        let near = world.lab.near()?.clone();
        for (patch, is_ours) in [
            (json!({"spec": {"type": "ClusterIP"}}), false),
            (json!({"spec": {"type": "LoadBalancer"}}), true),
            (json!({"spec": {"type": "ClusterIP"}}), false),
            (
                json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/other"}}),
                false,
            ),
        ] {
            kubectl.run(&["patch", "service", "web", "-p", &patch.to_string()])?;
            if is_ours {
                let again = until_told(&kubectl, "web", "Announced", "True Probed")?;
                ensure!(shown(&again).len() == 2, "{}", again["status"]);
                continue;
            }
            eventually(&format!("nothing of ours after {patch}"), SOON, || {
                let service = service(&kubectl, "web")?;
                let left = service["metadata"]["finalizers"].is_array()
                    || service["metadata"]["managedFields"].to_string().contains("roadstead");
                ensure!(!left && service["status"] == json!({"loadBalancer": {}}), "{service}");
                Ok(())
            })?;
            web.resolve_to_nobody(&near)?;
        }
        Ok(())
    })
}

/// K2 over everything that can go away: the object is deleted while the API server is dead, and the
/// speaker is killed before it is back.
#[test]
fn a_deletion_with_the_api_away_and_the_speaker_killed_is_carried_out_in_the_end() -> Result<()> {
    watched("writing-away", |world| {
        let web = world.serve("web")?;
        let kubectl = world.cluster.kubectl()?;
        until_told(&kubectl, "web", "Announced", "True Probed")?;
        let near = world.lab.near()?.clone();
        world.edge.daemon(DaemonName::Router)?.signal(Signal::SIGSTOP)?;
        kubectl.run(&["delete", "service", "web", "--wait=false"])?;
        until_let_go(&world.edge)?;
        world.cluster.plane_mut().kill_api()?;
        world.edge.daemon(DaemonName::Router)?.signal(Signal::SIGCONT)?;
        eventually("silence", SOON, || web.resolve_to_nobody(&near))?;
        world
            .edge
            .daemon(DaemonName::Speaker)?
            .restart(Signal::SIGKILL, Duration::from_secs(10))?;
        world.cluster.plane_mut().start_api()?;
        kubectl.wait_for("service/web", "delete")
    })
}

/// Refusals are on the object, in words.
#[test]
fn a_refusal_is_told_on_the_service_and_mended_by_an_edit() -> Result<()> {
    watched("writing-refusal", |world| {
        let kubectl = world.cluster.kubectl()?;
        let mut asks = objects::service("asks", "LoadBalancer", 80, 8080);
        asks["metadata"]["annotations"] =
            json!({"roadstead.io/addresses": "203.0.113.250,2001:db8:77::1"});
        kubectl.apply(&asks.to_string())?;
        let service = until_told(&kubectl, "asks", "Allocated", "False AddressNotInPool")?;
        ensure!(service["metadata"]["finalizers"].is_null(), "{}", service["metadata"]);
        eventually("an Event", SOON, || {
            let events = events(&kubectl, "asks")?;
            ensure!(events.contains(&"Warning AddressNotInPool".to_owned()), "{events:?}");
            Ok(())
        })?;
        let mut bare = objects::service("bare", "LoadBalancer", 81, 8080);
        bare["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        kubectl.apply(&bare.to_string())?;
        until_told(&kubectl, "bare", "Allocated", "False NoNodePort")?;
        kubectl.run(&["annotate", "service", "asks", "roadstead.io/addresses-"])?;
        let service = until_told(&kubectl, "asks", "Allocated", "True Allocated")?;
        ensure!(!shown(&service).is_empty(), "{}", service["status"]);
        kubectl.delete(&["service/asks", "service/bare"])
    })
}
