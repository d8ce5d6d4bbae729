//! Answers to health probes: any bytes are a status or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_router_core::health::answer;

fuzz_target!(|bytes: &[u8]| {
    if let Some(line) = bytes.first_chunk() {
        assert!(answer::http_status(line).is_none_or(|status| status <= 999));
    }
    let _ = answer::serving_status(bytes);
    // With a length that is true, so that the bytes reach the fields.
    if let Ok(length) = u32::try_from(bytes.len()) {
        let framed = [&[0], &length.to_be_bytes()[..], bytes].concat();
        let _ = answer::serving_status(&framed);
    }
});
