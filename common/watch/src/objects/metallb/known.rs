//! The fields that MetalLB 0.16's definitions have, so that typos are found where a person wrote
//! them.

use super::kind::MetalLbKind;
use crate::objects::known_fields::{
    Field, METADATA,
    Shape::{Any, List, Object},
};

/// The fields of a kind.
pub(super) fn fields(kind: MetalLbKind) -> &'static [Field] {
    match kind {
        MetalLbKind::Pool => POOL,
        MetalLbKind::L2Advertisement => L2_ADVERTISEMENT,
        MetalLbKind::BgpAdvertisement => BGP_ADVERTISEMENT,
        MetalLbKind::Peer => PEER,
        MetalLbKind::BfdProfile => BFD_PROFILE,
        MetalLbKind::Community => COMMUNITY,
    }
}

macro_rules! object {
    ($spec:expr) => {
        &[
            ("apiVersion", Any),
            ("kind", Any),
            ("metadata", Object(METADATA)),
            ("spec", Object($spec)),
            ("status", Any),
        ]
    };
}

const SELECTOR: &[Field] = &[
    ("matchLabels", Any),
    ("matchExpressions", List(&[("key", Any), ("operator", Any), ("values", Any)])),
];

const POOL: &[Field] = object!(&[
    ("addresses", Any),
    ("autoAssign", Any),
    ("avoidBuggyIPs", Any),
    (
        "serviceAllocation",
        Object(&[
            ("namespaceSelectors", List(SELECTOR)),
            ("namespaces", Any),
            ("priority", Any),
            ("serviceSelectors", List(SELECTOR)),
        ])
    ),
]);

const L2_ADVERTISEMENT: &[Field] = object!(&[
    ("interfaces", Any),
    ("ipAddressPoolSelectors", List(SELECTOR)),
    ("ipAddressPools", Any),
    ("nodeSelectors", List(SELECTOR)),
    ("preferredNodeSelectors", List(&[("preference", Object(SELECTOR)), ("weight", Any)])),
    ("serviceSelectors", List(SELECTOR)),
]);

const BGP_ADVERTISEMENT: &[Field] = object!(&[
    ("aggregationLength", Any),
    ("aggregationLengthV6", Any),
    ("communities", Any),
    ("ipAddressPoolSelectors", List(SELECTOR)),
    ("ipAddressPools", Any),
    ("localPref", Any),
    ("nodeSelectors", List(SELECTOR)),
    ("peers", Any),
    ("serviceSelectors", List(SELECTOR)),
]);

const PEER: &[Field] = object!(&[
    ("bfdProfile", Any),
    ("connectTime", Any),
    ("disableMP", Any),
    ("dualStackAddressFamily", Any),
    ("dynamicASN", Any),
    ("ebgpMultiHop", Any),
    ("enableGracefulRestart", Any),
    ("holdTime", Any),
    ("interface", Any),
    ("keepaliveTime", Any),
    ("localASN", Any),
    ("myASN", Any),
    ("nodeSelectors", List(SELECTOR)),
    ("password", Any),
    ("passwordSecret", Object(&[("name", Any), ("namespace", Any)])),
    ("peerASN", Any),
    ("peerAddress", Any),
    ("peerPort", Any),
    ("routerID", Any),
    ("sourceAddress", Any),
    ("vrf", Any),
]);

const BFD_PROFILE: &[Field] = object!(&[
    ("detectMultiplier", Any),
    ("echoInterval", Any),
    ("echoMode", Any),
    ("minimumTtl", Any),
    ("passiveMode", Any),
    ("receiveInterval", Any),
    ("transmitInterval", Any),
]);

const COMMUNITY: &[Field] = object!(&[("communities", List(&[("name", Any), ("value", Any)]))]);
