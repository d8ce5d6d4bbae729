//! `roadstead flows`: which client stands behind a SNAT port.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use roadstead_model::{
    FlowFilter, Protocol,
    local::{Flow, Flows, NodeStatus},
};
use serde::Serialize;

use crate::{
    daemons::{Daemons, Heard, in_words},
    exit::Exit,
    orders::exit_of,
    output::{Format, Output},
    render::{Colour, Table, counted},
};

/// The answer as it is printed. Its JSON is a contract: fields may be added; none is renamed or
/// removed.
#[derive(Debug, Serialize)]
struct Listing {
    flows: Vec<FlowView>,
    /// Whether more matched.
    truncated: bool,
}

/// One flow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowView {
    protocol: Protocol,
    client: End,
    vip: End,
    /// Source towards the node.
    snat: End,
    node: NodeEnd,
    /// TCP state, or `udp`.
    state: String,
    /// Seconds since the last packet of either direction.
    idle_seconds: u64,
}

/// An address with its port.
#[derive(Debug, Serialize)]
struct End {
    address: IpAddr,
    port: u16,
}

/// The node's address with the NodePort.
#[derive(Debug, Serialize)]
struct NodeEnd {
    /// `metadata.name`; null where the node is gone.
    name: Option<Arc<str>>,
    #[serde(flatten)]
    end: End,
}

/// Asks the router for the flows that match every term.
pub(crate) async fn run(
    daemons: &Daemons,
    terms: &[String],
    limit: usize,
    format: Format,
    out: &mut Output,
) -> Exit {
    if let Err(why) = understood(terms) {
        out.complain(&why);
        return Exit::Usage;
    }
    let nodes = match nodes(daemons).await {
        Ok(nodes) => nodes,
        Err(why) => {
            out.complain(&why);
            return Exit::Silent;
        }
    };
    let filter = match filter(terms, &nodes) {
        Ok(filter) => filter,
        Err(why) => {
            out.complain(&why);
            return Exit::Usage;
        }
    };
    match daemons.router.get::<Flows>(&request(&filter, limit)).await {
        Ok(flows) => print(&Listing::new(flows, &nodes), format, out),
        Err(error) => {
            out.complain(&in_words(&error));
            exit_of(&error)
        }
    }
}

/// Whether every term is one, whatever nodes there are.
fn understood(terms: &[String]) -> Result<(), String> {
    let words = terms.iter().flat_map(|term| term.split([',', ' ']));
    for word in words.filter(|word| node_name(word).is_none()) {
        word.parse::<FlowFilter>().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The router's nodes.
async fn nodes(daemons: &Daemons) -> Result<Vec<NodeStatus>, String> {
    match daemons.statuses().await.router {
        Heard::Status(status) => Ok(status.nodes),
        Heard::NotNeeded => Err("no router runs here".to_owned()),
        Heard::Silent(why) => Err(why),
    }
}

fn request(filter: &FlowFilter, limit: usize) -> String {
    format!("/v1/flows?filter={filter}&limit={limit}")
}

/// The filter that the terms mean; names of nodes become their addresses.
fn filter(terms: &[String], nodes: &[NodeStatus]) -> Result<FlowFilter, String> {
    let terms: Result<Vec<String>, String> = terms
        .iter()
        .flat_map(|term| term.split([',', ' ']))
        .map(|term| node_name(term).map_or(Ok(term.to_owned()), |name| of_node(name, nodes)))
        .collect();
    terms?.join(",").parse().map_err(|error| format!("{error}"))
}

/// `node=NAME`, where the value is no address and no port.
fn node_name(term: &str) -> Option<&str> {
    let name = term.strip_prefix("node=")?;
    let is_address = term.parse::<FlowFilter>().is_ok();
    (!is_address && !name.is_empty()).then_some(name)
}

fn of_node(name: &str, nodes: &[NodeStatus]) -> Result<String, String> {
    let named = |node: &&NodeStatus| {
        *node.name == *name || format!("{}/{}", node.source, node.name) == name
    };
    let addresses: Vec<String> = nodes
        .iter()
        .filter(named)
        .flat_map(|node| node.addresses.iter().map(IpAddr::to_string))
        .collect();
    if addresses.is_empty() {
        return Err(format!("the router knows no node `{name}` with an address"));
    }
    Ok(format!("node={}", addresses.join("|")))
}

impl Listing {
    fn new(flows: Flows, nodes: &[NodeStatus]) -> Self {
        let names: BTreeMap<IpAddr, &Arc<str>> = nodes
            .iter()
            .flat_map(|node| node.addresses.iter().map(|address| (*address, &node.name)))
            .collect();
        let view = |flow| FlowView::new(flow, &names);
        Self { flows: flows.flows.into_iter().map(view).collect(), truncated: flows.truncated }
    }
}

impl FlowView {
    fn new(flow: Flow, names: &BTreeMap<IpAddr, &Arc<str>>) -> Self {
        let end = |(address, port)| End { address, port };
        let name = names.get(&flow.node.0).map(|name| Arc::clone(name));
        Self {
            protocol: flow.protocol,
            client: end(flow.client),
            vip: end(flow.vip),
            snat: end(flow.snat),
            node: NodeEnd { name, end: end(flow.node) },
            state: flow.state,
            idle_seconds: flow.idle_seconds,
        }
    }
}

fn print(flows: &Listing, format: Format, out: &mut Output) -> Exit {
    if let Some(exit) = out.value(format, flows) {
        return exit;
    }
    let text = shown(flows, out.terminal);
    out.print(&text);
    Exit::Fine
}

fn shown(flows: &Listing, terminal: bool) -> String {
    let header = ["PROTOCOL", "CLIENT", "VIP", "SNAT", "NODE", "IDLE", "STATE"];
    let mut table = Table::new(terminal, &header);
    for flow in &flows.flows {
        table.row(Colour::Plain, &cells(flow));
    }
    let count = counted(flows.flows.len(), "flow", "flows");
    let more = if flows.truncated { ", and more: narrow the filter or raise --limit" } else { "" };
    format!("{}{count}{more}\n", table.shown())
}

fn cells(flow: &FlowView) -> [String; 7] {
    let end = |end: &End| SocketAddr::new(end.address, end.port).to_string();
    let node = end(&flow.node.end);
    [
        flow.protocol.to_string(),
        end(&flow.client),
        end(&flow.vip),
        end(&flow.snat),
        flow.node.name.as_ref().map_or_else(|| node.clone(), |name| format!("{name} {node}")),
        format!("{} s", flow.idle_seconds),
        flow.state.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use roadstead_model::{SourceName, local::BackendState};

    use super::*;

    fn nodes() -> Vec<NodeStatus> {
        vec![NodeStatus {
            source: SourceName::new("home"),
            name: "n1".into(),
            addresses: vec!["192.0.2.5".parse().unwrap(), "2001:db8::5".parse().unwrap()],
            state: BackendState::Healthy,
            reason: String::new(),
        }]
    }

    fn filtered(terms: &[&str]) -> Result<String, String> {
        let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
        filter(&terms, &nodes()).map(|filter| request(&filter, 5))
    }

    #[test]
    fn terms_become_the_query() {
        let asked = |query: &str| Ok(format!("/v1/flows?filter={query}&limit=5"));
        assert_eq!(filtered(&[]), asked(""));
        assert_eq!(
            filtered(&["client=198.51.100.7", "tcp :443"]),
            asked("client=198.51.100.7,tcp,:443")
        );
        assert_eq!(filtered(&["node=n1"]), asked("node=192.0.2.5|2001:db8::5"));
        assert_eq!(filtered(&["node=home/n1,udp"]), asked("node=192.0.2.5|2001:db8::5,udp"));
        assert_eq!(filtered(&["node=192.0.2.0/24"]), asked("node=192.0.2.0/24"));
    }

    #[test]
    fn what_is_no_term_is_told() {
        let unknown = filtered(&["node=n9"]).unwrap_err();
        assert_eq!(unknown, "the router knows no node `n9` with an address");
        assert!(filtered(&["banana"]).unwrap_err().starts_with("`banana` is no filter"));
    }

    fn listing(truncated: bool) -> Listing {
        let end = |address: &str, port| (address.parse().unwrap(), port);
        let flow = |node: &str| Flow {
            protocol: Protocol::Tcp,
            client: end("2001:db8::7", 40_000),
            vip: end("2001:db8::10", 443),
            snat: end("2001:db8::1", 40_001),
            node: end(node, 30_443),
            state: "established".into(),
            idle_seconds: 3,
        };
        let flows = vec![flow("2001:db8::5"), flow("2001:db8::66")];
        Listing::new(Flows { flows, truncated }, &nodes())
    }

    #[test]
    fn a_flow_is_a_line_and_a_cut_is_told() {
        let text = shown(&listing(true), false);
        assert!(text.contains(" [2001:db8::7]:40000 "), "{text}");
        assert!(text.contains(" n1 [2001:db8::5]:30443 "), "{text}");
        assert!(text.contains(" [2001:db8::66]:30443 "), "no name of a node that is gone: {text}");
        assert!(
            text.ends_with("2 flows, and more: narrow the filter or raise --limit\n"),
            "{text}"
        );
    }

    #[test]
    fn the_json_is_that_of_the_contract() {
        let json = serde_json::to_value(listing(false)).unwrap();
        let end = |address: &str, port: u16| serde_json::json!({"address": address, "port": port});
        let flow = serde_json::json!({
            "protocol": "TCP",
            "client": end("2001:db8::7", 40_000),
            "vip": end("2001:db8::10", 443),
            "snat": end("2001:db8::1", 40_001),
            "node": {"name": "n1", "address": "2001:db8::5", "port": 30_443},
            "state": "established",
            "idleSeconds": 3,
        });
        assert_eq!(json["flows"][0], flow);
        assert_eq!(json["flows"][1]["node"]["name"], serde_json::Value::Null);
        assert_eq!(json["truncated"], false);
    }
}
