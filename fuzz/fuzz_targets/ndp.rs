//! NDP: any bytes are a message or a typed error, and a message survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_wire::Frame;

fuzz_target!(|bytes: &[u8]| {
    // Behind a fixed EtherType, so that the bytes reach the neighbour discovery parser.
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend_from_slice(bytes);
    for frame in [bytes, &frame] {
        if let Ok(parsed) = Frame::parse(frame) {
            assert_eq!(Frame::parse(&parsed.emit()), Ok(parsed));
        }
    }
});
