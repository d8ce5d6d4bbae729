//! Which Services of clusters were written to, so that it is taken off them when they are none of
//! ours any more: `owed.json`. It is on the disk before the first word is written to a Service, and
//! forgotten when the API server has confirmed that nothing of ours is there, so that no crash leaves
//! a finalizer behind that nobody takes off (K2).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use roadstead_daemon::{
    state::{self, StateError},
    words::chain,
};
use roadstead_model::{ServiceKey, report::Cleaned};
use serde::{Deserialize, Serialize};

const VERSION: u64 = 1;

/// The objects that were written to, by Service with their uid.
#[derive(Debug)]
pub(crate) struct Owed {
    path: PathBuf,
    services: BTreeMap<ServiceKey, Arc<str>>,
    /// Whether the file says less, or more.
    behind: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    services: BTreeMap<ServiceKey, Arc<str>>,
}

impl Owed {
    /// What the last run left. Losing it costs little: what is on an object that is still a load
    /// balancer is seen there.
    pub(crate) fn load(directory: &Path) -> Self {
        let path = directory.join("owed.json");
        let services = match state::read::<File>(&path) {
            Ok(Some(File { version: VERSION, services })) => services,
            Ok(None) => BTreeMap::new(),
            Ok(Some(File { version, .. })) => {
                tracing::warn!(version, file = %path.display(), "not read: a newer release wrote it");
                BTreeMap::new()
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a finalizer may be left on Services whose type was changed meanwhile");
                BTreeMap::new()
            }
        };
        Self { path, services, behind: false }
    }

    /// By Service, with the uid of the object.
    pub(crate) fn services(&self) -> &BTreeMap<ServiceKey, Arc<str>> {
        &self.services
    }

    /// An object is written to from now on.
    pub(crate) fn owe(&mut self, service: &ServiceKey, uid: &Arc<str>) {
        if self.services.get(service) != Some(uid) {
            self.services.insert(service.clone(), Arc::clone(uid));
            self.behind = true;
        }
    }

    /// Nothing of ours is on an object any more.
    pub(crate) fn forget(&mut self, cleaned: &Cleaned) {
        if self.services.get(&cleaned.service) == Some(&cleaned.uid) {
            self.services.remove(&cleaned.service);
            self.behind = true;
        }
    }

    /// Forgets all others.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&ServiceKey) -> bool) {
        let before = self.services.len();
        self.services.retain(|service, _| is_kept(service));
        self.behind |= self.services.len() != before;
    }

    /// Writes it, where it is not written.
    pub(crate) fn save(&mut self) -> Result<(), StateError> {
        if self.behind {
            let services = self.services.clone();
            state::write(&self.path, &File { version: VERSION, services })?;
            self.behind = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use roadstead_model::SourceName;

    use super::*;

    fn web() -> ServiceKey {
        ServiceKey::new(&SourceName::new("home"), "default", "web")
    }

    #[test]
    fn what_is_owed_outlives_a_restart_until_it_is_cleaned() {
        let directory = tempfile::tempdir().unwrap();
        let mut owed = Owed::load(directory.path());
        owed.owe(&web(), &"u1".into());
        owed.save().unwrap();
        let mut owed = Owed::load(directory.path());
        assert_eq!(owed.services()[&web()].as_ref(), "u1");
        owed.forget(&Cleaned { service: web(), uid: "of another object".into() });
        assert_eq!(owed.services().len(), 1);
        owed.forget(&Cleaned { service: web(), uid: "u1".into() });
        owed.save().unwrap();
        assert!(Owed::load(directory.path()).services().is_empty());
    }

    #[test]
    fn a_damaged_file_does_not_keep_the_speaker_down() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "banana", r#"{"version": 2, "services": {}}"#] {
            fs::write(directory.path().join("owed.json"), text).unwrap();
            assert!(Owed::load(directory.path()).services().is_empty());
        }
    }
}
