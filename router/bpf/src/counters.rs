//! What the program has counted, summed over the processors.

use std::io;

use libbpf_rs::MapCore as _;
use roadstead_router_core::maps::{BackendId, FrontendId, MapError};

use crate::{Dataplane, Error, REASONS, pins::MAPS, typed::open_map};

/// What one backend has done since the maps were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCounters {
    /// New flows sent to it.
    pub flows: u64,
    /// Of them answered.
    pub answered: u64,
    /// SYNs that it answered with a reset.
    pub resets: u64,
    /// SYNs that clients sent again before it answered.
    pub unanswered: u64,
}

/// What one frontend has seen since the maps were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontendCounters {
    /// New flows.
    pub flows: u64,
    /// Packets of clients refused.
    pub refused: u64,
}

impl Dataplane {
    /// Bytes of kernel memory that all maps take. Fixed when they are created.
    ///
    /// # Errors
    /// When a pin cannot be opened or the kernel does not tell.
    pub fn memory(&self) -> Result<u64, Error> {
        let mut bytes = 0_u64;
        for name in MAPS {
            let info = open_map(&self.pins, name)?.query_fdinfo();
            let info = info.map_err(|error| Error::Kernel {
                act: "read the size of a map",
                source: io::Error::other(error),
            })?;
            bytes = bytes.saturating_add(info.memlock.unwrap_or(0));
        }
        Ok(bytes)
    }

    /// Packets by the label of the reason that kept them, in the order of [`REASONS`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn drops(&self) -> Result<Vec<(&'static str, u64)>, MapError> {
        let reasons = (0_u32..).zip(REASONS);
        reasons.map(|(index, reason)| Ok((reason.label, self.drops_of(index)?))).collect()
    }

    fn drops_of(&self, index: u32) -> Result<u64, MapError> {
        Ok(self.drops.each_processor(index)?.into_iter().fold(0, u64::wrapping_add))
    }

    /// The counters of a backend.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn backend_counters(&self, id: BackendId) -> Result<BackendCounters, MapError> {
        let each = self.backend_counts.each_processor(id.into())?;
        Ok(each.into_iter().fold(BackendCounters::default(), |sum, one| BackendCounters {
            flows: sum.flows.wrapping_add(one.flows),
            answered: sum.answered.wrapping_add(one.answered),
            resets: sum.resets.wrapping_add(one.resets),
            unanswered: sum.unanswered.wrapping_add(one.unanswered),
        }))
    }

    /// The counters of a frontend.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn frontend_counters(&self, id: FrontendId) -> Result<FrontendCounters, MapError> {
        let each = self.frontend_counts.each_processor(id)?;
        Ok(each.into_iter().fold(FrontendCounters::default(), |sum, one| FrontendCounters {
            flows: sum.flows.wrapping_add(one.flows),
            refused: sum.refused.wrapping_add(one.refused),
        }))
    }
}
