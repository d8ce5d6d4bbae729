//! Inclusive ranges of addresses of one family.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Family;

/// An inclusive range of addresses of one family; a CIDR is a range too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why a text or a pair of addresses is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither an address, nor a CIDR, nor `first-last`.
    #[error("`{0}` is no address, CIDR (192.0.2.0/28) or range (192.0.2.10-192.0.2.20)")]
    Syntax(String),
    /// `first` is above `last`.
    #[error("the range starts at {first}, above its end {last}")]
    Backwards {
        /// The first address as written.
        first: IpAddr,
        /// The last address as written.
        last: IpAddr,
    },
    /// One end is IPv4, the other IPv6.
    #[error("the range mixes families: {first} and {last}")]
    MixedFamilies {
        /// The first address as written.
        first: IpAddr,
        /// The last address as written.
        last: IpAddr,
    },
}

impl AddressRange {
    /// The range `first..=last`.
    ///
    /// # Errors
    /// When the families differ or `first > last`.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::MixedFamilies { first, last });
        }
        if first > last {
            return Err(RangeError::Backwards { first, last });
        }
        Ok(Self { first, last })
    }

    /// The range of one address.
    pub fn single(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// First address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of all addresses of the range.
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.family() == Family::of(address) && self.first <= address && address <= self.last
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// How many addresses, saturating at `u128::MAX` (which only `::/0` reaches).
    pub fn len(&self) -> u128 {
        (to_bits(self.last) - to_bits(self.first)).saturating_add(1)
    }

    /// Always false: a range holds at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The addresses in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let family = self.family();
        (to_bits(self.first)..=to_bits(self.last)).map(move |bits| from_bits(family, bits))
    }

    /// The address after `address` within the range, if any.
    pub fn next_after(&self, address: IpAddr) -> Option<IpAddr> {
        if !self.contains(address) || address == self.last {
            return None;
        }
        Some(from_bits(self.family(), to_bits(address) + 1))
    }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => {
            let low = u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(u32::MAX);
            IpAddr::V4(Ipv4Addr::from_bits(low))
        }
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

impl From<IpNet> for AddressRange {
    /// All addresses of the prefix, network and broadcast addresses included.
    fn from(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self { first: net.network().into(), last: net.broadcast().into() },
            IpNet::V6(net) => Self { first: net.network().into(), last: net.broadcast().into() },
        }
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || RangeError::Syntax(text.to_owned());
        let text_trimmed = text.trim();
        if let Some((first, last)) = text_trimmed.split_once('-') {
            let first = first.trim().parse().map_err(|_| syntax())?;
            let last = last.trim().parse().map_err(|_| syntax())?;
            return Self::new(first, last);
        }
        if text_trimmed.contains('/') {
            return text_trimmed.parse::<IpNet>().map(Self::from).map_err(|_| syntax());
        }
        text_trimmed.parse().map(Self::single).map_err(|_| syntax())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Serialize for AddressRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let cidr: AddressRange = "192.0.2.0/30".parse().unwrap();
        assert_eq!(cidr.len(), 4);
        assert_eq!(cidr.iter().last().unwrap().to_string(), "192.0.2.3");
        let range: AddressRange = "192.0.2.10 - 192.0.2.12".parse().unwrap();
        assert_eq!(range.to_string(), "192.0.2.10-192.0.2.12");
        let one: AddressRange = "2001:db8::1".parse().unwrap();
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn a_range_backwards_or_of_two_families_is_refused() {
        assert!(matches!(
            "192.0.2.9-192.0.2.1".parse::<AddressRange>(),
            Err(RangeError::Backwards { .. })
        ));
        assert!(matches!(
            "192.0.2.9-2001:db8::".parse::<AddressRange>(),
            Err(RangeError::MixedFamilies { .. })
        ));
        assert!(matches!("banana".parse::<AddressRange>(), Err(RangeError::Syntax(_))));
    }

    #[test]
    fn the_whole_of_ipv6_is_a_range() {
        let all: AddressRange = "::/0".parse().unwrap();
        assert_eq!(all.len(), u128::MAX);
        assert!(all.contains("2001:db8::1".parse().unwrap()));
        assert!(!all.contains("192.0.2.1".parse().unwrap()));
    }
}
