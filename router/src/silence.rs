//! Nodes that have stopped answering, by what the program counts.
//!
//! A client sends its SYN again after a second (RFC 6298 §2.1): as a passive signal that is late. The
//! counters tell at once: new flows go to a node, and not one of them is answered.
//!
//! A signal has a node probed and nothing more. Each silence is told once, and again after a while:
//! flows that nobody ever answers (one-way UDP) say little.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use roadstead_router_bpf::BackendCounters;
use roadstead_router_core::maps::BackendId;

/// How often the counters of nodes in use are read.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// How often those of all are, to find out which are in use.
const SURVEY: Duration = Duration::from_secs(2);
/// How often a silence is told that goes on.
const AGAIN: Duration = Duration::from_secs(10);
/// Looks without an answer that make a silence.
const SILENT_LOOKS: u32 = 2;

/// What is known of every node that has had flows.
#[derive(Debug)]
pub(crate) struct Silence {
    seen: BTreeMap<BackendId, Seen>,
    look: Instant,
    survey: Instant,
}

/// One node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    counters: BackendCounters,
    /// Looks since a flow began that nothing has answered.
    waiting: u32,
    /// When its silence was told, unless it has answered since.
    told: Option<Instant>,
}

impl Silence {
    /// Knows nobody yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { seen: BTreeMap::new(), look: now, survey: now }
    }

    /// Looks, where it is time: who has fallen silent. `read` reads the counters of one of `backends`.
    ///
    /// # Errors
    /// When counters cannot be read.
    pub(crate) fn look<E>(
        &mut self,
        now: Instant,
        backends: BackendId,
        read: impl Fn(BackendId) -> Result<BackendCounters, E>,
    ) -> Result<Vec<BackendId>, E> {
        if now < self.look {
            return Ok(Vec::new());
        }
        self.look = now + LOOK;
        if self.survey <= now {
            self.survey = now + SURVEY;
            self.survey_all(backends, &read)?;
        }
        let mut silent = Vec::new();
        for (id, seen) in &mut self.seen {
            if seen.follow(read(*id)?, now) {
                silent.push(*id);
            }
        }
        Ok(silent)
    }

    fn survey_all<E>(
        &mut self,
        backends: BackendId,
        read: impl Fn(BackendId) -> Result<BackendCounters, E>,
    ) -> Result<(), E> {
        for id in (0..backends).filter(|id| !self.seen.contains_key(id)).collect::<Vec<_>>() {
            let counters = read(id)?;
            if counters.flows > 0 {
                self.seen.insert(id, Seen { counters, ..Seen::default() });
            }
        }
        Ok(())
    }
}

impl Seen {
    /// Takes in what is counted now. True when the node's silence is to be told.
    fn follow(&mut self, counters: BackendCounters, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.counters, counters);
        if counters.answered != before.answered {
            (self.waiting, self.told) = (0, None);
            return false;
        }
        self.waiting = match self.waiting {
            0 => u32::from(counters.flows != before.flows),
            looks => looks.saturating_add(1),
        };
        let again = self.told.is_none_or(|told| told + AGAIN <= now);
        let silent = again && self.waiting >= SILENT_LOOKS;
        if silent {
            (self.waiting, self.told) = (0, Some(now));
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// What is told at each look, one for each pair of (flows, answered) counted until then.
    fn told(counted: &[(u64, u64)]) -> Vec<bool> {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let looks = (0_u32..).zip(counted).map(|(look, (flows, answered))| {
            let counters =
                BackendCounters { flows: *flows, answered: *answered, ..Default::default() };
            let read =
                |id| Ok::<_, Infallible>(if id == 1 { counters } else { Default::default() });
            !silence.look(start + LOOK * look, 3, read).unwrap().is_empty()
        });
        looks.collect()
    }

    #[test]
    fn flows_that_begin_and_are_not_answered_are_a_silence_told_once() {
        let counted = [(1, 1), (2, 2), (4, 2), (6, 2), (8, 2), (9, 2), (9, 2)];
        assert_eq!(told(&counted), [false, false, false, true, false, false, false]);
    }

    #[test]
    fn one_flow_is_enough_and_no_flow_is_no_silence() {
        let counted = [(1, 1), (2, 2), (2, 2), (2, 2), (3, 2), (3, 2)];
        assert_eq!(told(&counted), [false, false, false, false, false, true]);
    }

    #[test]
    fn a_node_that_answers_now_and_then_is_not_silent() {
        let counted = [(1, 1), (5, 2), (9, 2), (13, 3), (17, 3), (21, 4)];
        assert_eq!(told(&counted), [false; 6]);
    }

    #[test]
    fn flows_that_nobody_ever_answers_are_told_now_and_then() {
        let counted: Vec<(u64, u64)> = (1..250).map(|flows| (flows, 0)).collect();
        assert_eq!(told(&counted).iter().filter(|told| **told).count(), 3);
    }

    #[test]
    fn a_silence_is_told_again_after_an_answer() {
        let counted = [(1, 1), (2, 2), (3, 2), (3, 2), (4, 3), (5, 3), (5, 3)];
        assert_eq!(told(&counted), [false, false, false, true, false, false, true]);
    }

    #[test]
    fn counters_of_nodes_that_have_no_flows_are_read_by_the_survey_alone() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let reads = std::cell::Cell::new(0);
        let read = |_| {
            reads.set(reads.get() + 1);
            Ok::<_, Infallible>(BackendCounters::default())
        };
        for look in 0..10 {
            assert!(silence.look(start + LOOK * look, 100, read).unwrap().is_empty());
        }
        assert_eq!(reads.get(), 100);
    }
}
