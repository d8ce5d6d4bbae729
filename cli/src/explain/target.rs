//! What is to be explained, as written on the command line.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// A Service, or an address with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `[SOURCE/]NAMESPACE/NAME`.
    Service {
        /// The source, where it is named.
        source: Option<String>,
        /// `metadata.namespace`.
        namespace: String,
        /// `metadata.name`.
        name: String,
    },
    /// `ADDRESS[:PORT]`; IPv6 with a port in brackets.
    Address(IpAddr, Option<u16>),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Address(socket.ip(), Some(socket.port())));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address, None));
        }
        let parts: Vec<&str> = text.split('/').collect();
        let wrong = || {
            "write NAMESPACE/NAME (for instance default/web), SOURCE/NAMESPACE/NAME, an address, or \
             ADDRESS:PORT".to_owned()
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(wrong());
        }
        let service = |source: Option<&str>, namespace: &str, name: &str| Self::Service {
            source: source.map(str::to_owned),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match parts.as_slice() {
            [namespace, name] => Ok(service(None, namespace, name)),
            [source, namespace, name] => Ok(service(Some(source), namespace, name)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_addresses_are_told_apart() {
        let service = |source: Option<&str>| Target::Service {
            source: source.map(str::to_owned),
            namespace: "default".into(),
            name: "web".into(),
        };
        let address = |text: &str, port| Target::Address(text.parse().unwrap(), port);
        for (text, target) in [
            ("default/web", service(None)),
            ("home/default/web", service(Some("home"))),
            ("192.0.2.10", address("192.0.2.10", None)),
            ("192.0.2.10:80", address("192.0.2.10", Some(80))),
            ("2001:db8::1", address("2001:db8::1", None)),
            ("[2001:db8::1]", address("2001:db8::1", None)),
            ("[2001:db8::1]:443", address("2001:db8::1", Some(443))),
        ] {
            assert_eq!(text.parse(), Ok(target), "{text}");
        }
        for text in ["", "web", "a/b/c/d", "/web", "default/", "192.0.2.10:http"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
