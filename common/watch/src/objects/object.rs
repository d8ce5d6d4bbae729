//! One object of a source: its identity, what it says, and what became of it.

use std::{fmt, sync::Arc};

use roadstead_model::{
    Location, Protocol, ServiceKey,
    object::{Endpoint, Namespace, Node, Service},
};

use super::metallb::{kind::MetalLbKind, part::Part};

/// Identity of an object within its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// `v1` Service: namespace and name.
    Service(Arc<str>, Arc<str>),
    /// `v1` Node: name.
    Node(Arc<str>),
    /// `discovery.k8s.io/v1` EndpointSlice: namespace and name.
    EndpointSlice(Arc<str>, Arc<str>),
    /// `v1` Namespace: name.
    Namespace(Arc<str>),
    /// One of `metallb.io`: kind, namespace and name.
    MetalLb(MetalLbKind, Arc<str>, Arc<str>),
}

impl fmt::Display for ObjectId {
    /// `Service default/web`, `Node n1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(namespace, name) => write!(f, "Service {namespace}/{name}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::EndpointSlice(namespace, name) => write!(f, "EndpointSlice {namespace}/{name}"),
            Self::Namespace(name) => write!(f, "Namespace {name}"),
            Self::MetalLb(kind, namespace, name) => {
                write!(f, "{} {namespace}/{name}", kind.as_str())
            }
        }
    }
}

/// An object, defaulted and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Service of `type: LoadBalancer`.
    Service(Arc<Service>),
    /// A Service of another type: not ours, but its node ports are taken.
    OtherService(Vec<(Protocol, u16)>),
    /// A Node.
    Node(Arc<Node>),
    /// An EndpointSlice; `None` for one that belongs to no Service or holds no addresses.
    EndpointSlice(Option<Arc<Slice>>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// One of MetalLB's.
    MetalLb(Arc<Part>),
}

/// One EndpointSlice of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Service that the label `kubernetes.io/service-name` names.
    pub service: ServiceKey,
    /// Its endpoints, in the order of the object.
    pub endpoints: Vec<Endpoint>,
}

/// An object's place and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Identity.
    pub id: ObjectId,
    /// Where it stands: where it begins in its file, or its cluster.
    pub location: Location,
    /// The object, or why it is refused.
    pub content: Content,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Good.
    Good(Object),
    /// Not used: the last good one stays.
    Refused {
        /// The first error, for people.
        reason: Arc<str>,
    },
}
