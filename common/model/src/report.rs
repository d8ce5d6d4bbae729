//! What the speaker has to say on the Services of clusters: their status, conditions, Events and the
//! finalizer. The speaker makes it of what it has decided; `roadstead-watch` brings the objects in
//! line with it. Nothing here knows an API.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{Protocol, ServiceKey, SourceName, reason::Condition};

/// The finalizer that keeps a Service until its addresses are silent and released (KEP-980).
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// Everything that is to be said, on all Services of all clusters. The next one replaces it whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// Sources of which it is known who holds what, so that nothing is held where nothing is said.
    /// Nothing is written to others: a source that was not read yet, all of them on a host that does
    /// not assign.
    pub complete: BTreeSet<SourceName>,
    /// By Service. One that is not here is not spoken of: it is another's, or not known well enough.
    pub services: BTreeMap<ServiceKey, Arc<ServiceReport>>,
    /// Services that hold something and are not spoken of, because they are on their way out or their
    /// source is in doubt: nothing on them is touched.
    pub kept: BTreeSet<ServiceKey>,
    /// Services that hold nothing any more, were written to, and are gone or another's, with their
    /// uid: what was written is to be taken off. Until [`Cleaned`] says that it is.
    pub lapsed: BTreeMap<ServiceKey, Arc<str>>,
}

/// What is to be said on one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReport {
    /// `metadata.uid` of the object that it is about; `None`: of whichever bears the name.
    pub uid: Option<Arc<str>>,
    /// Whether the ledger holds an address for it, or one is still announced: it wants the finalizer.
    pub holds: bool,
    /// `status.loadBalancer.ingress`, in the order of preference.
    pub ingress: Vec<Ingress>,
    /// Its conditions, in the order of [`ServiceReport`]'s maker, each type once.
    pub conditions: Vec<Condition>,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ingress {
    /// `ip`.
    pub address: IpAddr,
    /// `ipMode`.
    pub ip_mode: IpMode,
    /// `ports`: one entry for each of the Service's, as the API wants it where there is any.
    pub ports: Vec<PortStatus>,
}

/// What kube-proxy makes of an address of ours (KEP-1860).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IpMode {
    /// Pods and nodes reach it by way of the load balancer, as everybody does.
    Proxy,
    /// kube-proxy takes the address for its own: pods and nodes are short-cut to the endpoints.
    #[serde(rename = "VIP")]
    Vip,
}

/// A port of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortStatus {
    /// `spec.ports[].port`.
    pub port: u16,
    /// `spec.ports[].protocol`.
    pub protocol: Protocol,
    /// Why it is not served: a CamelCase word.
    pub error: Option<Arc<str>>,
}

/// What was written to a lapsed Service is off it, or the object is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// Which Service.
    pub service: ServiceKey,
    /// As [`Reports::lapsed`] named it.
    pub uid: Arc<str>,
}
