//! The local protocol: any text is a message or an error, and a message survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_model::local::{Assignments, DrainRequest, Flows, Programmed, RouterStatus, SpeakerStatus};
use serde_json::{from_slice, to_vec};

macro_rules! round_trip {
    ($bytes:expr, $($message:ty),*) => {
        $(if let Ok(message) = from_slice::<$message>($bytes) {
            let text = to_vec(&message).expect("a message can be written");
            assert_eq!(from_slice::<$message>(&text).expect("what was written is read"), message);
        })*
    };
}

fuzz_target!(|bytes: &[u8]| {
    round_trip!(bytes, Assignments, Programmed, SpeakerStatus, RouterStatus, Flows, DrainRequest);
});
