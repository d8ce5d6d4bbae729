//! A port with its backends, which it shares with other ports until they are looked at.

use std::sync::Arc;

use roadstead_model::{
    Protocol,
    local::{Backend, BackendStatus, PortStatus},
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeSeq, SerializeStruct},
};

/// One port of a Service. In JSON every backend is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortView {
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// The Service port.
    pub(crate) port: u16,
    told: PortStatus,
    lists: Arc<[Arc<[Backend]>]>,
}

impl PortView {
    /// A port of a status that has these lists.
    pub(crate) fn new(told: PortStatus, lists: Arc<[Arc<[Backend]>]>) -> Self {
        Self { protocol: told.protocol, port: told.port, told, lists }
    }

    /// Its backends.
    pub(crate) fn backends(&self) -> impl Iterator<Item = BackendStatus> {
        self.told.backends(&self.lists)
    }
}

impl Serialize for PortView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut port = serializer.serialize_struct("PortView", 3)?;
        port.serialize_field("protocol", &self.protocol)?;
        port.serialize_field("port", &self.port)?;
        port.serialize_field("backends", &Backends(self))?;
        port.end()
    }
}

struct Backends<'p>(&'p PortView);

impl Serialize for Backends<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut backends = serializer.serialize_seq(None)?;
        self.0.backends().try_for_each(|backend| backends.serialize_element(&backend))?;
        backends.end()
    }
}
