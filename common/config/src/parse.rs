//! Texts of single keys: durations, names, paths, addresses, ports. Each function says in its error
//! what would be right.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use roadstead_model::AddressRange;

/// Longest interface name: the kernel's IFNAMSIZ less the final zero.
const INTERFACE_NAME_MAX: usize = 15;

/// Longest name of a source or a pool: a DNS label, so that it fits label values and file names.
const NAME_MAX: usize = 63;

/// `10s`, `250ms`, `5m`, `1h` or `0s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration: write \"250ms\", \"10s\", \"5m\" or \"1h\"");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(unit_at).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

/// A duration of `range`.
pub(crate) fn duration_within(
    text: &str,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let duration = duration(text)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let (low, high) = (show(*range.start()), show(*range.end()));
    Err(format!("\"{text}\" is outside \"{low}\" to \"{high}\""))
}

/// A duration as [`duration`] reads it.
pub(crate) fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit_ms, unit) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms >= unit_ms && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") }
}

/// The name of a source or a pool.
pub(crate) fn name(text: &str) -> Result<Arc<str>, String> {
    let in_set = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && text.len() <= NAME_MAX && text.chars().all(in_set) {
        return Ok(text.into());
    }
    Err(format!(
        "\"{}\" is no name: 1 to {NAME_MAX} of a-z, 0-9, '.' and '-', first a letter or digit",
        text.escape_debug()
    ))
}

/// The name of a Kubernetes namespace (RFC 1123 label).
pub(crate) fn namespace(text: &str) -> Result<Arc<str>, String> {
    let in_set = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges_right = !text.starts_with('-') && !text.ends_with('-');
    if !text.is_empty() && text.len() <= NAME_MAX && edges_right && text.chars().all(in_set) {
        return Ok(text.into());
    }
    Err(format!("\"{}\" is no namespace: 1 to 63 of a-z, 0-9 and '-'", text.escape_debug()))
}

/// The name of a network interface (the kernel's `dev_valid_name`).
pub(crate) fn interface(text: &str) -> Result<Arc<str>, String> {
    if text.len() > INTERFACE_NAME_MAX {
        return Err(format!(
            "\"{}\" is no interface: its name has {} bytes, the kernel allows {INTERFACE_NAME_MAX}",
            text.escape_debug(),
            text.len()
        ));
    }
    let wrong = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text == "." || text == ".." || text.contains(wrong) {
        return Err(format!("\"{}\" is no interface: write a name as eth0", text.escape_debug()));
    }
    Ok(text.into())
}

/// An absolute path without `..`.
pub(crate) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && !climbs && !text.contains('\0') {
        return Ok(path.components().collect());
    }
    let shown = text.escape_debug();
    Err(format!("\"{shown}\" is not an absolute path: start it with '/' and leave out \"..\""))
}

/// An address, a CIDR or a range.
pub(crate) fn range(text: &str) -> Result<AddressRange, String> {
    text.parse().map_err(|error: roadstead_model::range::RangeError| error.to_string())
}

/// The prefix that a CIDR means, where the text names an address inside it (`192.0.2.5/24`).
pub(crate) fn host_bits(text: &str) -> Option<IpNet> {
    let net: IpNet = text.trim().parse().ok()?;
    (net.addr() != net.network()).then(|| net.trunc())
}

/// A single address.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("\"{}\" is no IP address", text.escape_debug()))
}

/// A prefix; an address alone means itself.
pub(crate) fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().map(|net| net.trunc());
    net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        format!("\"{}\" is no prefix: write 192.0.2.0/24 or 2001:db8::/64", text.escape_debug())
    })
}

/// Where metrics are served; `None` for `off`.
pub(crate) fn metrics(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => Err(format!(
            "\"{}\" is no address with a port: write \"127.0.0.1:9641\" or \"off\"",
            text.escape_debug()
        )),
    }
}

/// `FIRST-LAST`, both included.
pub(crate) fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || {
        let shown = text.escape_debug();
        format!("\"{shown}\" is no range of ports: write \"32768-60999\"")
    };
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first > last {
        return Err(format!("the range starts at {first}, above its end {last}"));
    }
    if first < 1024 {
        return Err(format!("port {first} is below 1024, where the host's own services live"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_alike() {
        for text in ["0s", "1ms", "250ms", "10s", "90s", "5m", "1h"] {
            assert_eq!(show(duration(text).unwrap()), text);
        }
        assert_eq!(show(duration("3600s").unwrap()), "1h");
        for text in ["", "s", "10", "10 s", "-1s", "1.5s", "10S", "1m30s", "99999999999999999999s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("18446744073709551615h").is_err());
    }

    #[test]
    fn a_cidr_with_host_bits_is_noticed() {
        assert_eq!(host_bits("192.0.2.5/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(host_bits("192.0.2.0/24"), None);
        assert_eq!(host_bits("192.0.2.1-192.0.2.9"), None);
    }

    #[test]
    fn paths_lose_their_double_slashes_only() {
        assert_eq!(absolute_path("//var//lib/x/").unwrap(), Path::new("/var/lib/x"));
        assert!(absolute_path("var/lib").is_err());
        assert!(absolute_path("/var/../etc").is_err());
        assert!(absolute_path("/a\0b").is_err());
    }
}
