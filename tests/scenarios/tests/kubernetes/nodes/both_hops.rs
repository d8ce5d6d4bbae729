//! Both hops: the edge host chooses a node, kube-proxy there chooses a pod, anywhere.
//!
//! Input: Services of both families with TCP and UDP ports, and edits of them. Output: every question
//! is answered by way of every node and by every pod; an edit touches what it names and nothing else.

use anyhow::{Result, ensure};
use roadstead_lab::{Load, eventually};
use roadstead_scenarios::{Both, ask};
use serde_json::{Value, json};

use super::{App, SOON, on_nodes, service};

const BULK: usize = 1 << 20;

/// TCP 80 and one more port.
fn two_ports(name: &str, protocol: &str, port: u16) -> Value {
    let mut service = service(name);
    service["spec"]["ports"] = ports(protocol, port);
    service
}

fn ports(protocol: &str, port: u16) -> Value {
    json!([
        {"name": "main", "protocol": "TCP", "port": 80, "targetPort": 8080},
        {"name": "other", "protocol": protocol, "port": port, "targetPort": 8080},
    ])
}

/// Every address answers datagrams on a port.
fn datagrams(app: &App<'_>, port: u16) -> Result<()> {
    let client = app.nodes.client()?;
    eventually(&format!("{} answers UDP {port}", app.name), SOON, || {
        app.at.port(port).into_iter().try_for_each(|to| ask::udp(client, to).map(drop))
    })
}

#[test]
fn both_families_and_both_protocols_pass_them() -> Result<()> {
    on_nodes(|nodes| {
        let app = nodes.serve_as(&two_ports("hops", "UDP", 53), &[1, 2])?;
        app.first_hops(&[1, 2])?;
        app.answered_by(&["hops-1", "hops-2"])?;
        datagrams(&app, 53)?;
        let client = nodes.client()?;
        for to in app.at {
            ask::bulk(client, to, BULK)?;
        }
        let tcp = app.load(|to| Load::connect(to).rate(50).count(100))?;
        let udp = app.load(|to| Load::udp((to.ip(), 53).into(), 4).rate(50).count(100))?;
        tcp.all_answered()?;
        udp.all_answered()?;
        app.end()
    })
}

/// A port that moves, changes its protocol and goes leaves the connections on the other one alone.
#[test]
fn an_edited_port_leaves_the_other_alone() -> Result<()> {
    on_nodes(|nodes| {
        let app = nodes.serve_as(&two_ports("edited", "TCP", 81), &[1, 2])?;
        let client = nodes.client()?;
        let answers = |at: Both| eventually(&format!("{at:?} answers"), SOON, || at.answer(client));
        let refuses = |at: Both| eventually(&format!("{at:?} refuses"), SOON, || at.refuse(client));
        answers(app.at.port(81))?;
        app.first_hops(&[1, 2])?;
        let running = app.keep_asking()?;
        app.patch(&json!({"spec": {"ports": ports("TCP", 82)}}))?;
        answers(app.at.port(82))?;
        refuses(app.at.port(81))?;
        app.patch(&json!({"spec": {"ports": ports("UDP", 82)}}))?;
        refuses(app.at.port(82))?;
        datagrams(&app, 82)?;
        app.patch(&json!({"spec": {"ports": [ports("TCP", 80)[0]]}}))?;
        eventually("UDP 82 refuses", SOON, || {
            app.at.port(82).into_iter().try_for_each(|to| ask::udp_refused(client, to))
        })?;
        running.all_answered()?;
        app.end()
    })
}

/// PreferDualStack and back: the second family comes and goes, the first one's connections stay.
#[test]
fn a_second_family_comes_and_goes() -> Result<()> {
    on_nodes(|nodes| {
        let app = nodes.serve("second", &[1, 2])?;
        app.first_hops(&[1, 2])?;
        let [v4, v6] = app.at.addresses();
        let (client, near) = (nodes.client()?, nodes.lab.near()?);
        let load = Load::keep_alive((v4, 80).into(), 20).rate(100);
        let running = load.start(client, &nodes.lab.logs())?;
        app.patch(&json!({"spec": {"ipFamilyPolicy": "SingleStack"}}))?;
        eventually(&format!("{v6} is silent"), SOON, || {
            let mac = ask::who_has(near, v6)?;
            ensure!(mac.is_none(), "{mac:?} answers for {v6}");
            Ok(())
        })?;
        app.patch(&json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}}))?;
        nodes.edge.wait_service(&app.key(), "two addresses", SOON, |found| {
            (found.announced.len() == 2).then_some(())
        })?;
        let again = Both::new(nodes.edge.wait_announced(&app.key(), SOON)?, 80)?;
        ensure!(again.addresses()[0] == v4, "the first address changed to {again:?}");
        eventually("both answer", SOON, || again.answer(client))?;
        running.finish()?.all_answered()?;
        app.end()
    })
}
