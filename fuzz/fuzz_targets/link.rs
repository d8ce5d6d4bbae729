//! What comes over a group's link, from strangers and from members: any bytes are a message or a typed
//! error, a stranger's are always an error, and what is read survives a round trip.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use roadstead_link::{Key, channel, frame};
use roadstead_speaker_core::group::{Heartbeat, message::Assigned};

const NAMES: [&str; 2] = ["edge1", "edge2"];

fuzz_target!(|bytes: &[u8]| {
    if let Some(preamble) = bytes.first_chunk::<{ frame::PREAMBLE }>() {
        let _ = frame::check_preamble(*preamble);
    }
    let mut received = BytesMut::from(bytes);
    while let Some(sealed) = frame::take(&mut received) {
        let key = Key::parse(&"5a".repeat(32)).expect("a key");
        assert!(channel::respond(&key, "edge1", &sealed).is_err(), "a stranger was let in");
        let (initiator, _) = channel::Initiator::begin(&key, "edge2").expect("begins");
        assert!(initiator.finish(&sealed).is_err(), "a stranger was let in");
    }
    let rank = |name: &str| NAMES.iter().position(|known| *known == name);
    if let Ok(heartbeat) = Heartbeat::decode(bytes, rank) {
        let again = heartbeat.encode(|rank| NAMES.get(rank).map(|name| (*name).into()));
        assert_eq!(Heartbeat::decode(&again, rank).expect("what was written is read"), heartbeat);
    }
    if let Ok(assigned) = Assigned::decode(bytes) {
        let again = Assigned::encode(assigned.version, &assigned.ledger, assigned.announced.clone());
        assert_eq!(Assigned::decode(&again).expect("what was written is read"), assigned);
    }
});
