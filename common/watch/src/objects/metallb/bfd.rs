//! `BFDProfile`.

use std::{sync::Arc, time::Duration};

use roadstead_model::metallb::BfdProfile;

use super::values::{flag, number};
use crate::objects::fields::{Fields, Report};

pub(super) fn read(name: Arc<str>, spec: &Fields<'_, '_>, report: &mut Report<'_>) -> BfdProfile {
    let mut millis = |field: &str, default: u64| {
        let written: Option<u64> = number(spec, field, 10..=60_000, report);
        Duration::from_millis(written.unwrap_or(default))
    };
    BfdProfile {
        name,
        receive: millis("receiveInterval", 300),
        transmit: millis("transmitInterval", 300),
        echo: millis("echoInterval", 50),
        multiplier: number(spec, "detectMultiplier", 2..=255, report).unwrap_or(3),
        echo_mode: flag(spec, "echoMode", report),
        passive: flag(spec, "passiveMode", report),
        minimum_ttl: number(spec, "minimumTtl", 1..=254, report).unwrap_or(254),
    }
}
