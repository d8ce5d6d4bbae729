//! `roadstead flows`: which client stands behind a SNAT port.

use std::net::{IpAddr, SocketAddr};

use roadstead_model::{
    FlowFilter,
    local::{Flow, Flows, NodeStatus},
};

use crate::{
    args::Format,
    daemons::{Daemons, Heard, in_words},
    exit::Exit,
    orders::exit_of,
    output::Output,
    render::{Colour, Table, counted},
};

/// Asks the router for the flows that match every term.
pub(crate) async fn run(
    daemons: &Daemons,
    terms: &[String],
    limit: usize,
    format: Format,
    out: &mut Output,
) -> Exit {
    let nodes = match nodes(daemons, terms).await {
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
        Ok(flows) => print(&flows, format, out),
        Err(error) => {
            out.complain(&in_words(&error));
            exit_of(&error)
        }
    }
}

/// The router's nodes, where a term names one.
async fn nodes(daemons: &Daemons, terms: &[String]) -> Result<Vec<NodeStatus>, String> {
    let terms = terms.iter().flat_map(|term| term.split([',', ' ']));
    if terms.filter_map(node_name).next().is_none() {
        return Ok(Vec::new());
    }
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

fn print(flows: &Flows, format: Format, out: &mut Output) -> Exit {
    if let Some(exit) = out.value(format, flows) {
        return exit;
    }
    let text = shown(flows, out.terminal);
    out.print(&text);
    Exit::Fine
}

fn shown(flows: &Flows, terminal: bool) -> String {
    let header = ["PROTOCOL", "CLIENT", "VIP", "SNAT", "NODE", "IDLE", "STATE"];
    let mut table = Table::new(terminal, &header);
    for flow in &flows.flows {
        table.row(Colour::Plain, &cells(flow));
    }
    let count = counted(flows.flows.len(), "flow", "flows");
    let more = if flows.truncated { ", and more: narrow the filter or raise --limit" } else { "" };
    format!("{}{count}{more}\n", table.shown())
}

fn cells(flow: &Flow) -> [String; 7] {
    let end = |(address, port)| SocketAddr::new(address, port).to_string();
    [
        flow.protocol.to_string(),
        end(flow.client),
        end(flow.vip),
        end(flow.snat),
        end(flow.node),
        format!("{} s", flow.idle_seconds),
        flow.state.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use roadstead_model::{Protocol, SourceName, local::BackendState};

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

    #[test]
    fn a_flow_is_a_line_and_a_cut_is_told() {
        let end = |address: &str, port| (address.parse().unwrap(), port);
        let flow = Flow {
            protocol: Protocol::Tcp,
            client: end("2001:db8::7", 40_000),
            vip: end("2001:db8::10", 443),
            snat: end("2001:db8::1", 40_001),
            node: end("2001:db8::5", 30_443),
            state: "established".into(),
            idle_seconds: 3,
        };
        let text = shown(&Flows { flows: vec![flow], truncated: true }, false);
        assert!(text.contains("[2001:db8::7]:40000"), "{text}");
        assert!(text.ends_with("1 flow, and more: narrow the filter or raise --limit\n"), "{text}");
    }
}
