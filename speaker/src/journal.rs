//! What the log is told of the sources: each problem once, when it comes, and each change between
//! knowledge and doubt.

use std::{collections::BTreeSet, sync::Arc};

use roadstead_model::{Problem, Snapshot, SourceName, problem::Severity, snapshot::SourceState};

/// Problems told of one change; `roadstead check` prints all of them.
const AT_ONCE: usize = 20;

/// The snapshot of which the log was told last.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    told: Arc<Snapshot>,
}

impl Journal {
    /// Tells what is new in a snapshot.
    pub(crate) fn follow(&mut self, snapshot: &Arc<Snapshot>) {
        if Arc::ptr_eq(&self.told, snapshot) {
            return;
        }
        for (source, state) in changed_sources(&self.told, snapshot) {
            tell_state(source, state);
        }
        let new = new_problems(&self.told, snapshot);
        new.iter().take(AT_ONCE).for_each(|problem| tell(problem));
        let more = new.len().saturating_sub(AT_ONCE);
        if more > 0 {
            tracing::warn!(more, "more problems of the manifests: see `roadstead check`");
        }
        self.told = Arc::clone(snapshot);
    }
}

/// Sources that came into doubt or out of it.
fn changed_sources<'s>(
    old: &Snapshot,
    new: &'s Snapshot,
) -> Vec<(&'s SourceName, &'s SourceState)> {
    let known = |source| old.sources.get(source).unwrap_or(&SourceState::Unread);
    let changed = new.sources.iter().filter(|(source, state)| known(source) != *state);
    changed.collect()
}

fn tell_state(source: &SourceName, state: &SourceState) {
    match state {
        SourceState::Unread => {}
        SourceState::Current => tracing::info!(%source, "the source is read"),
        SourceState::Doubtful { reason } => {
            tracing::warn!(%source, reason, "the source is in doubt; what is held stays");
        }
    }
}

/// Problems that were not there before; what is passed over by design is not among them.
fn new_problems<'s>(old: &Snapshot, new: &'s Snapshot) -> Vec<&'s Problem> {
    let old: BTreeSet<&Problem> = old.problems.iter().collect();
    let told = new.problems.iter().filter(|problem| problem.severity > Severity::Notice);
    told.filter(|problem| !old.contains(problem)).collect()
}

fn tell(problem: &Problem) {
    match problem.severity {
        Severity::Error => tracing::error!("{problem}"),
        Severity::Warning => tracing::warn!("{problem}"),
        Severity::Notice => tracing::info!("{problem}"),
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::Location;

    use super::*;

    fn snapshot(state: SourceState, problems: &[Problem]) -> Snapshot {
        Snapshot {
            sources: [(SourceName::new("local"), state)].into(),
            problems: problems.to_vec(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_problem_is_told_when_it_comes_and_not_again() {
        let place = Location::new("/m/a.yaml", 3);
        let old = Problem::error(place.clone(), "spec.ports is missing");
        let new = Problem::warning(place.clone(), "no such field");
        let foreign = Problem::notice(place, "Deployment: passed over");
        let before = snapshot(SourceState::Current, std::slice::from_ref(&old));
        let after = snapshot(SourceState::Current, &[old.clone(), new.clone(), foreign]);
        assert_eq!(new_problems(&before, &after), [&new]);
        assert!(new_problems(&after, &before).is_empty());
        assert_eq!(new_problems(&Snapshot::default(), &before), [&old]);
    }

    #[test]
    fn doubt_is_told_when_it_comes_and_when_it_ends() {
        let doubtful = SourceState::Doubtful { reason: "gone".to_owned() };
        let (sound, doubted) = (snapshot(SourceState::Current, &[]), snapshot(doubtful, &[]));
        assert_eq!(changed_sources(&sound, &doubted).len(), 1);
        assert_eq!(changed_sources(&doubted, &sound).len(), 1);
        assert!(changed_sources(&doubted, &doubted.clone()).is_empty());
        assert_eq!(changed_sources(&Snapshot::default(), &sound).len(), 1);
    }
}
