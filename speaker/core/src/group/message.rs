//! What the hosts of a group say to each other, as JSON, members by name: two hosts may list them in
//! another order. Bytes to types and back, nothing else; what does not fit is an error, never a guess.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Heartbeat, Rank, Standing, Version};
use crate::ipam::{Ledger, LedgerError};

/// Terms and editions stay below this, so that every JSON reader gets them whole (RFC 8259 section 6).
pub(super) const MAX_COUNTER: u64 = 1 << 53;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No JSON of that form.
    #[error("no message of a group: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A counter beyond what any group reaches.
    #[error("no message of a group: a term or an edition is above {MAX_COUNTER}")]
    Counter,
    /// The ledger in it cannot be used.
    #[error("the assignments of the other host cannot be used")]
    Ledger(#[from] LedgerError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHeartbeat {
    term: u64,
    standing: Standing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hears: Option<Arc<str>>,
    version: Version,
    fit: bool,
}

impl Heartbeat {
    /// As it is sent; `name` gives a member's name.
    pub fn encode(&self, name: impl Fn(Rank) -> Option<Arc<str>>) -> Vec<u8> {
        let Self { term, standing, hears, version, fit } = *self;
        let wire = WireHeartbeat { term, standing, hears: hears.and_then(name), version, fit };
        serde_json::to_vec(&wire).expect("numbers, words and a name")
    }

    /// Reads what [`Self::encode`] wrote; `rank` finds a member by its name. One that this host does
    /// not know of is nobody.
    ///
    /// # Errors
    /// On anything else.
    pub fn decode(bytes: &[u8], rank: impl Fn(&str) -> Option<Rank>) -> Result<Self, MessageError> {
        let wire: WireHeartbeat = serde_json::from_slice(bytes)?;
        let WireHeartbeat { term, standing, hears, version, fit } = wire;
        let largest = term.max(version.term).max(version.edition);
        if largest > MAX_COUNTER {
            return Err(MessageError::Counter);
        }
        Ok(Self { term, standing, hears: hears.and_then(|name| rank(&name)), version, fit })
    }
}

/// What a writer has assigned: all that another needs to go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// How new it is.
    pub version: Version,
    /// Who holds what.
    pub ledger: Ledger,
    /// Addresses that the writer announces: who takes over announces them at once.
    pub announced: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAssigned<'a> {
    version: Version,
    announced: Vec<IpAddr>,
    /// The ledger in its own form, which has a version of its own.
    ledger: std::borrow::Cow<'a, str>,
}

impl Assigned {
    /// As it is sent.
    pub fn encode(version: Version, ledger: &Ledger, announced: Vec<IpAddr>) -> Vec<u8> {
        let wire = WireAssigned { version, announced, ledger: ledger.encode().into() };
        serde_json::to_vec(&wire).expect("numbers, addresses and a text")
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// On anything else; the ledger is held to all that a ledger on disk is held to.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let wire: WireAssigned<'_> = serde_json::from_slice(bytes)?;
        if wire.version.term.max(wire.version.edition) > MAX_COUNTER {
            return Err(MessageError::Counter);
        }
        let ledger = Ledger::decode(wire.ledger.as_bytes())?;
        // What the ledger does not hold is nobody's to announce (S1).
        let held = |address: &IpAddr| ledger.addresses().contains_key(address);
        let announced = wire.announced.into_iter().filter(held).collect();
        Ok(Self { version: wire.version, ledger, announced })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["edge1", "edge2", "edge3"];

    fn name(rank: Rank) -> Option<Arc<str>> {
        NAMES.get(rank).map(|name| (*name).into())
    }

    fn rank(name: &str) -> Option<Rank> {
        NAMES.iter().position(|known| *known == name)
    }

    fn heartbeats() -> impl Strategy<Value = Heartbeat> {
        let standing =
            prop_oneof![Just(Standing::Starting), Just(Standing::Writes), Just(Standing::Follows)];
        let number = 0..=MAX_COUNTER;
        let hears = proptest::option::of(0_usize..3);
        (number.clone(), standing, hears, number.clone(), number, any::<bool>()).prop_map(
            |(term, standing, hears, of_term, edition, fit)| {
                let version = Version { term: of_term, edition };
                Heartbeat { term, standing, hears, version, fit }
            },
        )
    }

    proptest! {
        #[test]
        fn a_heartbeat_survives_the_way(heartbeat in heartbeats()) {
            let bytes = heartbeat.encode(name);
            prop_assert_eq!(Heartbeat::decode(&bytes, rank).unwrap(), heartbeat);
            for end in 0..bytes.len() {
                prop_assert!(Heartbeat::decode(&bytes[..end], rank).is_err());
            }
        }

        #[test]
        fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Heartbeat::decode(&bytes, rank).is_err());
            prop_assert!(Assigned::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_counter_that_would_end_all_counting_is_refused() {
        let text = r#"{"term":9007199254740993,"standing":"writes","version":{"term":1,"edition":1},"fit":true}"#;
        let error = Heartbeat::decode(text.as_bytes(), rank).unwrap_err();
        assert!(matches!(error, MessageError::Counter), "{error}");
    }

    #[test]
    fn assignments_survive_the_way_and_announce_nothing_that_nobody_holds() {
        let text = r#"{"version":1,"generation":7,"next_since":3,"addresses":[{"address":"192.0.2.10","pool":"lan","kind":"virtual","holders":[{"service":"local/default/web","since":2,"ports":[{"protocol":"TCP","port":80}],"leaving":false}]}]}"#;
        let ledger = Ledger::decode(text.as_bytes()).unwrap();
        let version = Version { term: 3, edition: 7 };
        let announced = ["192.0.2.10", "203.0.113.9"].map(|text| text.parse().unwrap()).to_vec();
        let bytes = Assigned::encode(version, &ledger, announced);
        let read = Assigned::decode(&bytes).unwrap();
        let announced = vec!["192.0.2.10".parse().unwrap()];
        assert_eq!(read, Assigned { version, ledger, announced });
        for end in 0..bytes.len() {
            assert!(Assigned::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
