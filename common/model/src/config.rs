//! The checked configuration. `roadstead-config` makes it from TOML and is the only place that
//! knows defaults and rules; here a value that exists is a value that is right.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{AddressRange, ServiceKey, SourceName, report::IpMode};

pub use crate::group::{Group, Member};

pub use crate::{advertisement::Advertisement, selector::Selector};

/// The whole file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[[source]]`, at least one.
    pub sources: Vec<Source>,
    /// `[[pool]]`, in the order of the file; no two overlap.
    pub pools: Vec<Pool>,
    /// `[[reservation]]`: no name twice, no address twice, each in a pool.
    pub reservations: Vec<Reservation>,
    /// `[paths]`.
    pub paths: Paths,
    /// `[group]`; `None`: this host is alone.
    pub group: Option<Group>,
    /// `[speaker]`.
    pub speaker: Speaker,
    /// `[router]`.
    pub router: Router,
}

/// One `[[source]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Unique; part of every key.
    pub name: SourceName,
    /// Where the objects come from.
    pub kind: SourceKind,
    /// The namespace whose MetalLB objects are read; `None`: they are not.
    pub metallb: Option<Arc<str>>,
    /// Whether status, conditions, Events and the finalizer are written to the Services of a cluster.
    pub report: bool,
}

/// Where the objects of a source come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory of YAML and JSON.
    Directory(PathBuf),
    /// A cluster's API server.
    Cluster(Kubeconfig),
}

/// The kubeconfig files by which the daemons reach a cluster: one for all, or one for each with its
/// own rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The speaker's.
    pub speaker: PathBuf,
    /// The router's.
    pub router: PathBuf,
    /// The proxy's, where it has one.
    pub proxy: Option<PathBuf>,
}

impl Kubeconfig {
    /// One file for all daemons.
    pub fn for_all(path: PathBuf) -> Self {
        Self { speaker: path.clone(), router: path.clone(), proxy: Some(path) }
    }

    /// The file of one daemon; none where it has no rights on the cluster.
    pub fn of(&self, daemon: Daemon) -> Option<&Path> {
        match daemon {
            Daemon::Speaker => Some(&self.speaker),
            Daemon::Router => Some(&self.router),
            Daemon::Proxy => self.proxy.as_deref(),
        }
    }

    /// The files, each once.
    pub fn files(&self) -> BTreeSet<&Path> {
        let files = [Some(&self.speaker), Some(&self.router), self.proxy.as_ref()];
        files.into_iter().flatten().map(PathBuf::as_path).collect()
    }
}

/// A daemon of ours, where it matters which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// Says whose an address is and announces it.
    Speaker,
    /// Says which node gets a connection.
    Router,
    /// The L7 front.
    Proxy,
}

impl Daemon {
    /// Its name in paths, commands and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Speaker => "speaker",
            Self::Router => "router",
            Self::Proxy => "proxy",
        }
    }
}

/// One `[[pool]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique name.
    pub name: Arc<str>,
    /// Disjoint ranges in the order of the file.
    pub addresses: Vec<AddressRange>,
    /// Addresses never handed out.
    pub reserved: Vec<AddressRange>,
    /// Used without being asked for by name or address.
    pub auto_assign: bool,
    /// Lower is preferred; `None` (nothing said, or 0) comes last, then the order of the file.
    pub priority: Option<u32>,
    /// Only Services of these namespaces; empty = all.
    pub namespaces: Vec<Arc<str>>,
    /// Or of namespaces whose labels match one of these; empty (and no `namespaces`) = all.
    pub namespace_selectors: Vec<Selector>,
    /// Only Services whose labels match one of these; empty = all. Both this and what is said of
    /// namespaces must hold.
    pub service_selectors: Vec<Selector>,
    /// Passes over IPv4 addresses that end in .0 or .255.
    pub avoid_buggy_ips: bool,
    /// How the addresses are announced.
    pub announce: Announce,
    /// The legs (interface names) on which the pool is visible; `None` = every leg of the speaker.
    pub interfaces: Option<Vec<Arc<str>>>,
    /// Whether Services may share an address of this pool.
    pub sharing: Sharing,
    /// `host_addresses = true`: the pool names addresses of this host itself. Only the ports of
    /// Services are claimed, the host keeps the rest, and nothing is announced for them.
    pub host_addresses: bool,
    /// Only Services of this source: that of the `IPAddressPool` it was read from. `None`: it stands
    /// in the configuration, and every source's Services may use it.
    pub source: Option<SourceName>,
    /// Where and for which Services the addresses are announced by ARP and NDP; `None`: as
    /// `announce` and `interfaces` say.
    pub advertisements: Option<Vec<Advertisement>>,
    /// `drain = true`: what is held is kept, and nothing new is given.
    pub drain: bool,
    /// How long an address that was released is given to nobody but whose it was; zero = not at all.
    pub cool_down: Duration,
    /// How many addresses of the pool a namespace may hold.
    pub quota: Quota,
}

/// `[pool.quota]`: the most addresses of a pool that one namespace of one source holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// By `NAMESPACE`, or `SOURCE/NAMESPACE`, which wins.
    pub namespaces: BTreeMap<Arc<str>, u32>,
    /// `"*"`: each namespace that is not named; `None` = no limit.
    pub others: Option<u32>,
}

impl Quota {
    /// The most that a namespace may hold; `None` = no limit.
    pub fn of(&self, source: &SourceName, namespace: &str) -> Option<u32> {
        if self.namespaces.is_empty() {
            return self.others;
        }
        let named = |name: &str| self.namespaces.get(name).copied();
        named(&format!("{source}/{namespace}")).or_else(|| named(namespace)).or(self.others)
    }
}

/// `[[reservation]]`: addresses that are kept for somebody, whether there is such a Service or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Unique name.
    pub name: Arc<str>,
    /// Addresses inside pools, in the order of the file.
    pub addresses: Vec<IpAddr>,
    /// For whom.
    pub beneficiary: Beneficiary,
}

/// For whom addresses are reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beneficiary {
    /// `service = "SOURCE/NAMESPACE/NAME"`: it is given them without asking.
    Service(ServiceKey),
    /// `namespace = "SOURCE/NAMESPACE"`: those of its Services that ask, by the name of the
    /// reservation or of an address.
    Namespace {
        /// Name of the source.
        source: SourceName,
        /// `metadata.namespace`.
        namespace: Arc<str>,
    },
}

impl Beneficiary {
    /// Whether a Service may have what is reserved.
    pub fn includes(&self, service: &ServiceKey) -> bool {
        match self {
            Self::Service(key) => key == service,
            Self::Namespace { source, namespace } => {
                (source, namespace) == (&service.source, &service.namespace)
            }
        }
    }
}

impl Pool {
    /// A pool of which nothing more is said: announced by L2 on every leg, for everybody.
    pub fn new(name: impl Into<Arc<str>>, addresses: Vec<AddressRange>) -> Self {
        Self {
            name: name.into(),
            addresses,
            reserved: Vec::new(),
            auto_assign: true,
            priority: None,
            namespaces: Vec::new(),
            namespace_selectors: Vec::new(),
            service_selectors: Vec::new(),
            avoid_buggy_ips: false,
            announce: Announce { l2: true, bgp: false },
            interfaces: None,
            sharing: Sharing::Key,
            host_addresses: false,
            source: None,
            advertisements: None,
            drain: false,
            cool_down: Duration::ZERO,
            quota: Quota::default(),
        }
    }

    /// The name of a pool that was read from a source: `home/lan`.
    pub fn name_of(source: &SourceName, name: &str) -> Arc<str> {
        format!("{source}/{name}").into()
    }

    /// Whether an object of `source` means this pool by `name`: the whole name, or that of the
    /// `IPAddressPool` in its own source.
    pub fn is_called(&self, name: &str, source: &SourceName) -> bool {
        let own = self.source.as_ref().filter(|own| *own == source);
        let bare = own.and_then(|own| self.name.strip_prefix(own.as_str())?.strip_prefix('/'));
        *self.name == *name || bare == Some(name)
    }

    /// Whether Services must match something to be given its addresses.
    pub fn is_pinned(&self) -> bool {
        !self.namespaces.is_empty()
            || !self.namespace_selectors.is_empty()
            || !self.service_selectors.is_empty()
    }
}

/// How the addresses of a pool are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// ARP and NDP.
    pub l2: bool,
    /// BGP: accepted, not yet served.
    pub bgp: bool,
}

/// Which Services may share an address where their ports differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Never.
    Off,
    /// Services of one namespace that name the same sharing key (default).
    Key,
    /// Services that name the same sharing key, of any namespace.
    KeyAcrossNamespaces,
    /// Every Service, when the pool has no free address left (the VM with one address).
    WhenFull,
}

/// `[paths]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// One subdirectory per daemon: ledger, last assignments, status in directory mode.
    pub state: PathBuf,
    /// One subdirectory per daemon: local sockets.
    pub runtime: PathBuf,
    /// A bpffs mount of our own.
    pub bpffs: PathBuf,
}

impl Paths {
    /// State directory of one daemon (`speaker`, `router`).
    pub fn state_of(&self, daemon: &str) -> PathBuf {
        self.state.join(daemon)
    }

    /// Local socket of one daemon.
    pub fn socket_of(&self, daemon: &str) -> PathBuf {
        self.runtime.join(daemon).join("local.sock")
    }
}

/// `[speaker]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Legs to announce on; `None` = every interface that is up, has an address and is Ethernet.
    pub interfaces: Option<Vec<Arc<str>>>,
    /// Take only Services that name our `loadBalancerClass`.
    pub class_only: bool,
    /// Announce only what the router reports as programmed and ready.
    pub require_ready: bool,
    /// What kube-proxy is told of our addresses.
    pub ip_mode: IpMode,
    /// `[speaker.l2]`.
    pub l2: L2,
    /// Metrics, `/healthz`, `/readyz`.
    pub metrics: Option<SocketAddr>,
}

/// `[speaker.l2]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2 {
    /// How an address is probed before its first announcement.
    pub probe: Probe,
    /// Mean interval of the refresh of announcements (jittered ±25 %).
    pub refresh: Duration,
    /// How many of the next free addresses of each pool are probed ahead of need.
    pub probe_ahead: usize,
}

/// `l2.probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Three probes within 200 ms, announce, and go on listening on the RFC's schedule.
    Fast,
    /// RFC 5227 §2.1.1 and RFC 4862 §5.4 in full: 4 to 7 s.
    Rfc5227,
    /// No probing.
    Off,
}

/// `[router]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Legs the program is attached to; `None` = every Ethernet interface that is up.
    pub interfaces: Option<Vec<Arc<str>>>,
    /// Dedicated SNAT addresses; empty = the host's own address on the route to each node.
    pub snat_addresses: Vec<IpAddr>,
    /// Port range for SNAT on the host's own addresses, inclusive.
    pub snat_ports: (u16, u16),
    /// Capacity of the flow table; `None` = sized by the machine's memory.
    pub flows: Option<u32>,
    /// Nodes must have an address inside these prefixes; empty = any.
    pub nodes_allowed: Vec<IpNet>,
    /// How long established flows of a draining node are kept (S4).
    pub drain_deadline: Duration,
    /// Log every new flow to the journal.
    pub log_flows: bool,
    /// `[router.health]`.
    pub health: Health,
    /// Metrics, `/healthz`, `/readyz`.
    pub metrics: Option<SocketAddr>,
}

/// `[router.health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How often a node's base verdict is renewed.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Consecutive failures that make a backend unhealthy.
    pub fall: u32,
    /// Consecutive successes that make it healthy again.
    pub rise: u32,
    /// What the base verdict of a node asks.
    pub node_probe: NodeProbe,
    /// Probes per second in all, over every node and Service.
    pub budget: u32,
    /// Share of unhealthy backends (percent) above which all are used (S3).
    pub panic_threshold: u8,
    /// How long the weight of a recovered backend climbs; zero = at once.
    pub slow_start: Duration,
}

/// What the base verdict of a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeProbe {
    /// kube-proxy's `GET :PORT/healthz` where it answers, else a TCP connection to one NodePort.
    Auto {
        /// kube-proxy's health port.
        port: u16,
    },
    /// kube-proxy's `GET :PORT/healthz` only.
    KubeProxy {
        /// kube-proxy's health port.
        port: u16,
    },
    /// A TCP connection to one sentinel NodePort of the Services in hand.
    NodePort,
}
