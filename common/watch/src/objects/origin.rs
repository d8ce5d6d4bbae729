//! Where an object was written down, for the few things that only one of both places can be told.

/// Who has seen an object before us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody: a person wrote it into a file. Typos are ours to find, and what an API server would
    /// allocate must stand there.
    File,
    /// An API server, which has validated and defaulted it, and may know fields that we do not.
    ApiServer,
}

impl Origin {
    /// Whether typos in the names of fields, and values that are only unusual, are worth telling.
    pub(crate) fn is_proofread(self) -> bool {
        match self {
            Self::File => true,
            Self::ApiServer => false,
        }
    }

    /// Why a port has no nodePort, and what would give it one.
    pub(crate) fn no_node_port(self) -> &'static str {
        match self {
            Self::File => {
                "has no nodePort, and nobody allocates one here; `nodePort: 30080` or the like is wanted"
            }
            Self::ApiServer => {
                "has no nodePort, so that nothing can be sent to the nodes; `allocateLoadBalancerNodePorts: true` gives it one"
            }
        }
    }
}
