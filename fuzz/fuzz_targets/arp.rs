//! ARP: any bytes are a packet or a typed error, and a packet is emitted as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_wire::Arp;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(arp) = Arp::parse(bytes) {
        assert_eq!(Arp::parse(&arp.emit()), Ok(arp));
    }
});
