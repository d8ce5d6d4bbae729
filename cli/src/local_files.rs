//! The files on this host, read as the daemons read them.

use std::{path::Path, sync::Arc};

use roadstead_daemon::pools;
use roadstead_model::{
    Location, Problem, ServiceKey, SourceName,
    config::{Config, SourceKind},
    object::Service,
};
use roadstead_watch::{SourceView, manifests};

/// What a directory of manifests, or one file of it, says. `metallb` is the namespace whose MetalLB
/// objects are read, if any.
pub(crate) fn view(
    source: &SourceName,
    path: &Path,
    metallb: Option<&Arc<str>>,
) -> Result<SourceView, Problem> {
    manifests::check(source, path, metallb.cloned())
        .map_err(|error| Problem::error(Location::new(path, 0), format!("cannot be read: {error}")))
}

/// A configuration with the pools that the speaker uses, those of sources among them.
pub(crate) fn as_used(mut config: Config) -> Config {
    config.pools = pools::in_use(&config.paths.state_of("speaker"), &config);
    config
}

/// What the files say of one Service, where this user may read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// It is there and good.
    Service(Arc<Service>),
    /// It is there and refused.
    Refused(Arc<str>),
    /// Its source is read, and it is not there as a Service of type LoadBalancer.
    Absent,
    /// Nothing can be said.
    Unknown,
}

/// Looks a Service up in the source that its key names.
pub(crate) fn object(config: Option<&Config>, key: &ServiceKey) -> Object {
    let sources = config.map(|config| config.sources.as_slice()).unwrap_or_default();
    let Some(source) = sources.iter().find(|source| source.name == key.source) else {
        return Object::Unknown;
    };
    let SourceKind::Directory(directory) = &source.kind else {
        return Object::Unknown;
    };
    match view(&source.name, directory, source.metallb.as_ref()) {
        Err(_) => Object::Unknown,
        Ok(view) => match (view.services.get(key), view.refused.get(key)) {
            (Some(service), _) => Object::Service(service.clone()),
            (None, Some(why)) => Object::Refused(why.clone()),
            (None, None) => Object::Absent,
        },
    }
}
