//! Kubernetes for real: etcd, kube-apiserver, kube-controller-manager, kube-proxy and kubectl in
//! the namespaces of a lab. No container runtime, no kubelet: the test plays the kubelet's part.
//!
//! ```text
//! plane   etcd ◀─ kube-apiserver ◀─TLS, RBAC─ kube-controller-manager, kubectl
//!                      ▲
//! nodeN   kube-proxy ──┘   nftables in the node's namespace: NodePorts, masquerade, healthz
//!           └─ podM        a namespace behind a veth pair: one process that answers
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`assets`] | where the programs are |
//! | [`authority`], [`identity`], [`kubeconfig`] | certificates, who may ask, how a client is told |
//! | [`plane`] | the control plane of a host |
//! | [`api`] | thousands of objects at once |
//! | [`kubectl`], [`objects`] | objects written and read back |
//! | [`node`], [`pod`] | a node with its kube-proxy, pods as processes |
//! | [`kubelet`] | pods of Deployments placed on nodes, started, ended |
//! | [`cluster`] | all of it in one lab |
//! | [`https`] | single questions to the API and to kube-proxy |
//! | [`fault`] | an API server at its worst, between the daemons and the real one |
//! | [`token`] | tokens of ServiceAccounts that are older than the test |
//! | [`rights`] | the daemons' roles and kubeconfigs, by `roadstead kubeconfig` |
//! | [`shared`] | one cluster for several tests of a program |

pub mod api;
pub mod assets;
pub mod authority;
pub mod cluster;
pub mod fault;
pub mod https;
pub mod identity;
pub mod kubeconfig;
pub mod kubectl;
pub mod kubelet;
pub mod node;
pub mod objects;
pub mod plane;
pub mod pod;
pub mod rights;
pub mod shared;
pub mod token;

pub use api::Api;
pub use cluster::{Cluster, Flags};
pub use fault::{Fault, Faults};
pub use identity::Identity;
pub use kubectl::Kubectl;
pub use kubelet::Kubelet;
pub use node::{KubeNode, ProxyMode};
pub use plane::Plane;
pub use pod::Pod;
pub use rights::{Admission, Admitted};
pub use shared::Shared;
