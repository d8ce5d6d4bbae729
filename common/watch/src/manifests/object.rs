//! What a file says, object by object, before the files of a directory are put together.

use std::{fmt, sync::Arc};

use roadstead_model::{
    Location, Problem, Protocol, ServiceKey,
    object::{Endpoint, Namespace, Node, Service},
};

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
}

impl fmt::Display for ObjectId {
    /// `Service default/web`, `Node n1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(namespace, name) => write!(f, "Service {namespace}/{name}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::EndpointSlice(namespace, name) => write!(f, "EndpointSlice {namespace}/{name}"),
            Self::Namespace(name) => write!(f, "Namespace {name}"),
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
}

/// One EndpointSlice of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Service that the label `kubernetes.io/service-name` names.
    pub service: ServiceKey,
    /// Its endpoints, in the order of the object.
    pub endpoints: Vec<Endpoint>,
}

/// An object's place in a file and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Identity.
    pub id: ObjectId,
    /// Where the object begins.
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

/// Objects of a kind that does not concern Roadstead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// `Deployment (apps/v1)`.
    pub kind: String,
    /// The first of them.
    pub location: Location,
    /// How many.
    pub count: usize,
}

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// How far the file could be read.
    pub reading: Reading,
    /// Its objects, in the order of the file.
    pub items: Vec<Item>,
    /// Kinds that are passed over.
    pub foreign: Vec<Foreign>,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// How far a file could be read, which decides what its silence about an object means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Whole: an object that is not there is not there.
    #[default]
    Whole,
    /// It has an object that cannot be named: an object that is missing may be that one.
    Nameless,
    /// There is nothing in it but blanks: perhaps somebody is about to write it.
    Blank,
    /// Not at all.
    Broken,
}
