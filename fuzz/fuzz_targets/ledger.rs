//! The ledger: any bytes are a ledger or a typed error, and a ledger survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_speaker_core::ipam::{Allocator, Ledger};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ledger) = Ledger::decode(bytes) {
        let text = ledger.encode();
        let again = Ledger::decode(text.as_bytes()).expect("what was written is read");
        assert_eq!(again.encode(), text);
        // Whatever a ledger says, an allocator can start from it.
        let _ = Allocator::restore(ledger);
    }
});
