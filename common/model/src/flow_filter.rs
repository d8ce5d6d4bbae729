//! Which flows a person asks for: shared by the command line, which sends it, and the router, which
//! applies it to a table of a million flows.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{Protocol, local::Flow};

/// Terms that must all match. As text, terms stand between commas or blanks; an empty filter
/// matches every flow.
///
/// | term | matches |
/// |---|---|
/// | `192.0.2.7`, `192.0.2.0/24` | an address of either side |
/// | `192.0.2.7:443`, `[2001:db8::7]:443` | an address with its port |
/// | `:443`, `443`, `port=443` | a port of either side |
/// | `client=…`, `vip=…`, `snat=…`, `node=…` | any of these on that side only |
/// | `tcp`, `udp` | the protocol |
///
/// Alternatives within one term stand between `|`: `node=192.0.2.5|2001:db8::5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Protocol(Protocol),
    End(Option<Side>, Vec<End>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Vip,
    Snat,
    Node,
}

const SIDES: [(&str, Side); 4] =
    [("client", Side::Client), ("vip", Side::Vip), ("snat", Side::Snat), ("node", Side::Node)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Within(IpNet),
    Port(u16),
    Exactly(IpAddr, u16),
}

/// A text that is no term of a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no filter: write an address, a prefix, a port, address:port, tcp or udp, and before \
     it client=, vip=, snat= or node= where one side is meant"
)]
pub struct ParseFilterError(String);

impl FlowFilter {
    /// Whether a flow matches every term.
    pub fn matches(&self, flow: &Flow) -> bool {
        self.terms.iter().all(|term| term.matches(flow))
    }

    /// Whether every flow matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl Term {
    fn matches(&self, flow: &Flow) -> bool {
        match self {
            Self::Protocol(protocol) => flow.protocol == *protocol,
            Self::End(Some(side), ends) => ends.iter().any(|end| end.matches(side.of(flow))),
            Self::End(None, ends) => {
                SIDES.iter().any(|(_, side)| ends.iter().any(|end| end.matches(side.of(flow))))
            }
        }
    }
}

impl Side {
    fn of(self, flow: &Flow) -> (IpAddr, u16) {
        match self {
            Self::Client => flow.client,
            Self::Vip => flow.vip,
            Self::Snat => flow.snat,
            Self::Node => flow.node,
        }
    }
}

impl End {
    fn matches(self, (address, port): (IpAddr, u16)) -> bool {
        match self {
            Self::Within(net) => net.contains(&address),
            Self::Port(wanted) => wanted == port,
            Self::Exactly(wanted, wanted_port) => (wanted, wanted_port) == (address, port),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
            return Some(Self::Exactly(socket.ip(), socket.port()));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Within(address.into()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Some(Self::Within(net.trunc()));
        }
        text.strip_prefix(':').unwrap_or(text).parse().ok().map(Self::Port)
    }
}

impl FromStr for FlowFilter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let terms = text.split([',', ' ']).filter(|term| !term.is_empty());
        Ok(Self { terms: terms.map(str::parse).collect::<Result<_, _>>()? })
    }
}

impl FromStr for Term {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseFilterError(text.to_owned());
        match text.to_ascii_lowercase().as_str() {
            "tcp" => return Ok(Self::Protocol(Protocol::Tcp)),
            "udp" => return Ok(Self::Protocol(Protocol::Udp)),
            _ => {}
        }
        let (side, ends) = match text.split_once('=') {
            None => (None, text),
            Some(("port", port)) => {
                let port = port.parse().map_err(|_| wrong())?;
                return Ok(Self::End(None, vec![End::Port(port)]));
            }
            Some((name, ends)) => {
                let side = SIDES.iter().find(|(side, _)| *side == name).ok_or_else(wrong)?;
                (Some(side.1), ends)
            }
        };
        let ends = ends.split('|').map(|end| End::parse(end).ok_or_else(wrong));
        Ok(Self::End(side, ends.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for FlowFilter {
    /// As [`FromStr`] reads it, without blanks: fit for the query `filter=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(","))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(f, "{}", protocol.to_string().to_lowercase()),
            Self::End(side, ends) => {
                if let Some((name, _)) = SIDES.iter().find(|(_, known)| Some(*known) == *side) {
                    write!(f, "{name}=")?;
                }
                let ends: Vec<String> = ends.iter().map(ToString::to_string).collect();
                f.write_str(&ends.join("|"))
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, "{}", net.addr())
            }
            Self::Within(net) => write!(f, "{net}"),
            Self::Port(port) => write!(f, ":{port}"),
            Self::Exactly(address, port) => {
                write!(f, "{}", std::net::SocketAddr::new(*address, *port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow() -> Flow {
        let end = |address: &str, port| (address.parse().unwrap(), port);
        Flow {
            protocol: Protocol::Tcp,
            client: end("198.51.100.7", 40_000),
            vip: end("192.0.2.10", 443),
            snat: end("203.0.113.1", 40_001),
            node: end("203.0.113.5", 30_443),
            state: "established".into(),
            idle_seconds: 3,
        }
    }

    #[test]
    fn each_term_matches_what_it_names_and_nothing_else() {
        for text in [
            "",
            "198.51.100.7",
            "198.51.100.0/24",
            "203.0.113.1:40001",
            ":443",
            "443",
            "port=30443",
            "tcp",
            "TCP",
            "client=198.51.100.7:40000",
            "vip=192.0.2.10 port=443, node=203.0.113.0/24",
            "snat=40001",
            "node=2001:db8::5|203.0.113.5",
        ] {
            assert!(text.parse::<FlowFilter>().unwrap().matches(&flow()), "{text}");
        }
        for text in [
            "198.51.100.8",
            "203.0.113.1:40000",
            ":80",
            "udp",
            "client=192.0.2.10",
            "vip=192.0.2.10,udp",
            "node=:443",
            "2001:db8::/32",
        ] {
            assert!(!text.parse::<FlowFilter>().unwrap().matches(&flow()), "{text}");
        }
    }

    #[test]
    fn what_is_no_term_is_refused() {
        for text in
            ["banana", "client=", "who=192.0.2.1", "port=http", "70000", "192.0.2.0/33", "|"]
        {
            assert!(text.parse::<FlowFilter>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(text in "((client=|vip=|snat=|node=)?(192\\.0\\.2\\.[0-9]|2001:db8::/64|\\[2001:db8::1\\]:[1-9]|:[0-9]{1,4}|tcp)[, ]?){0,4}") {
            if let Ok(filter) = text.parse::<FlowFilter>() {
                prop_assert_eq!(filter.to_string().parse::<FlowFilter>().unwrap(), filter);
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<FlowFilter>();
        }
    }
}
