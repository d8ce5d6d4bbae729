//! The Kubernetes objects as the daemons see them: defaulted, validated, reduced to what the work
//! needs. `roadstead-watch` makes them; nothing after it knows where they came from.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, NodeKey, Protocol, ServiceKey};

/// The `loadBalancerClass` that is ours.
pub const LOAD_BALANCER_CLASS: &str = "roadstead.io/load-balancer";

/// A Service of `type: LoadBalancer` (others never reach a Snapshot).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Identity.
    pub key: ServiceKey,
    /// `metadata.uid`, where the input has one: tells a re-created object from an edited one.
    pub uid: Option<Arc<str>>,
    /// `metadata.labels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.loadBalancerClass`.
    pub class: Option<Arc<str>>,
    /// What the object asks of the allocator.
    pub request: AddressRequest,
    /// `spec.ipFamilyPolicy` and `spec.ipFamilies`, defaulted.
    pub families: Families,
    /// `spec.ports`, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// `spec.loadBalancerSourceRanges`, or the annotation where the field is empty.
    pub source_ranges: SourceRanges,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.healthCheckNodePort`, where the policy is Local.
    pub health_check_node_port: Option<u16>,
    /// `spec.sessionAffinity: ClientIP` and its timeout (10,800 s where nothing is said).
    pub affinity: Option<Duration>,
    /// How its NodePorts are probed; none means by a TCP connection.
    pub health_check: Option<Arc<HealthCheck>>,
    /// `status.loadBalancer.ingress[].ip`: a request where the ledger is silent, never authority.
    pub status_addresses: Vec<IpAddr>,
    /// Whether the finalizer `service.kubernetes.io/load-balancer-cleanup` keeps the object until its
    /// address is silent. True where nobody writes it: a directory, a cluster that is only read.
    #[serde(default = "guarded")]
    pub guarded: bool,
    /// Warnings about the object itself that `status` repeats (an SCTP port, a bad range, …).
    pub warnings: Vec<String>,
}

fn guarded() -> bool {
    true
}

/// What a TCP port of a Service is asked at a node, beyond a connection: the annotations
/// `roadstead.io/health-check` and `roadstead.io/health-check-…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HealthCheck {
    /// In which protocol.
    pub protocol: HealthProtocol,
    /// What a request over HTTP or HTTPS asks for: an absolute path, perhaps with a query.
    pub path: Arc<str>,
    /// The host that the request names (and TLS, by SNI); where nothing is said, the node's address.
    pub host: Option<Arc<str>>,
    /// The one port of `spec.ports` that is asked so; the others are asked by a connection. None
    /// means every TCP port.
    pub port: Option<u16>,
}

/// In which protocol a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthProtocol {
    /// `GET`, where status 200 to 399 is a pass.
    Http,
    /// The same over TLS. The certificate is not verified: a node behind its NodePort has no name.
    Https,
    /// `grpc.health.v1.Health/Check` of the whole server, over HTTP/2 without TLS; SERVING is a pass.
    Grpc,
}

impl HealthCheck {
    /// Whether a port of the Service is asked so.
    pub fn covers(&self, protocol: Protocol, port: u16) -> bool {
        protocol == Protocol::Tcp && self.port.is_none_or(|own| own == port)
    }
}

/// What a Service asks of the allocator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRequest {
    /// `roadstead.io/addresses`, `metallb.io/loadBalancerIPs` or `spec.loadBalancerIP`: any number
    /// of each family up to [`MAX_ADDRESSES`] in all.
    pub addresses: Vec<IpAddr>,
    /// Host names among `roadstead.io/addresses`, lower-case, each once, at most [`MAX_HOSTS`]: what
    /// they resolve to is asked for.
    #[serde(default)]
    pub hosts: Vec<Arc<str>>,
    /// `roadstead.io/address-count`: how many addresses of each family are wanted, 1 to
    /// [`MAX_ADDRESSES`]; `None` = as many as are named, or one.
    #[serde(default)]
    pub count: Option<usize>,
    /// `roadstead.io/pool` or `metallb.io/address-pool`: the name of a pool, or several by commas,
    /// any of which will do.
    pub pool: Option<Arc<str>>,
    /// `roadstead.io/allow-shared-ip` or `metallb.io/allow-shared-ip`: Services with the same key
    /// may share an address where their ports differ.
    pub sharing_key: Option<Arc<str>>,
    /// `roadstead.io/share-with-namespaces`: the other namespaces whose Services may share; `None` =
    /// any that names the key.
    #[serde(default)]
    pub share_with: Option<Vec<Arc<str>>>,
    /// `roadstead.io/reservation`: the name under which the addresses are kept when the Service goes.
    #[serde(default)]
    pub reservation: Option<Arc<str>>,
}

/// Most addresses of one family that one Service holds, and most that it names.
pub const MAX_ADDRESSES: usize = 16;
/// Most host names that one Service asks for.
pub const MAX_HOSTS: usize = 4;

impl AddressRequest {
    /// The names of the pools asked for; none = any pool. The name of a pool has no comma.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        let names = self.pool.iter().flat_map(|names| names.split(','));
        names.map(str::trim).filter(|name| !name.is_empty())
    }
}

/// `spec.ipFamilyPolicy` with `spec.ipFamilies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Families {
    /// One address of this family.
    Single(Family),
    /// Both, or as many as the pools have; `first` is preferred where only one can be had.
    PreferDual {
        /// The primary family.
        first: Family,
    },
    /// Both or none.
    RequireDual {
        /// The primary family.
        first: Family,
    },
}

impl Families {
    /// The families in order of preference.
    pub fn wanted(self) -> Vec<Family> {
        let both = |first| match first {
            Family::V4 => vec![Family::V4, Family::V6],
            Family::V6 => vec![Family::V6, Family::V4],
        };
        match self {
            Self::Single(family) => vec![family],
            Self::PreferDual { first } | Self::RequireDual { first } => both(first),
        }
    }
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// `name`, empty where the object has none.
    pub name: Arc<str>,
    /// `protocol`, TCP where nothing is said. SCTP ports are kept so that status can name them.
    pub protocol: Protocol,
    /// `port` on the VIP, never 0.
    pub port: u16,
    /// `nodePort`; none where the object has none (nobody allocates one behind a directory).
    pub node_port: Option<u16>,
}

/// `spec.loadBalancerSourceRanges`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceRanges {
    /// Nothing is said: every client.
    Any,
    /// These clients only. Never empty: an input whose every range is invalid keeps the last good
    /// ranges, or is refused.
    Only(Vec<IpNet>),
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Every healthy node, with pods or without.
    Cluster,
    /// Only nodes with ready local endpoints.
    Local,
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Identity.
    pub key: NodeKey,
    /// `status.addresses` of type InternalIP, in the order of the object.
    pub addresses: Vec<IpAddr>,
    /// The Ready condition. Shown to people; removes nothing (KEP-3458).
    pub ready: bool,
    /// The label `node.kubernetes.io/exclude-from-external-load-balancers` (unparsable = excluded).
    pub excluded: bool,
    /// `metadata.labels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// The endpoints of one Service, all of its EndpointSlices taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Every endpoint, deduplicated by address, ordered by address.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// `nodeName`, where the input has one.
    pub node: Option<Arc<str>>,
    /// `conditions.ready`; nothing said means ready.
    pub ready: bool,
    /// `conditions.serving`; nothing said means as `ready`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
}

/// A Namespace: its labels select pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// `metadata.labels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}
