//! What Services ask for that no pool of the configuration can give, whoever else is there.

use std::path::Path;

use roadstead_model::{
    Location, Problem,
    config::Config,
    object::{LOAD_BALANCER_CLASS, Service},
};
use roadstead_watch::SourceView;

/// A warning per wish that cannot come true; the place is the directory's, as an object does not
/// remember its line.
pub(super) fn vain(config: &Config, view: &SourceView, directory: &Path) -> Vec<Problem> {
    let ours = view.services.values().filter(|service| is_ours(config, service));
    let told = ours.flat_map(|service| {
        let name = format!("Service {}/{}", service.key.namespace, service.key.name);
        of_service(config, service).into_iter().map(move |why| format!("{name} {why}"))
    });
    let place = Location::new(directory, 0);
    told.map(|message| Problem::warning(place.clone(), message)).collect()
}

fn is_ours(config: &Config, service: &Service) -> bool {
    match &service.class {
        Some(class) => **class == *LOAD_BALANCER_CLASS,
        None => !config.speaker.class_only,
    }
}

fn of_service(config: &Config, service: &Service) -> Vec<String> {
    let pools = &config.pools;
    let names = || pools.iter().map(|pool| format!("`{}`", pool.name)).collect::<Vec<_>>();
    let is_there = |name: &str| pools.iter().any(|pool| pool.is_called(name, &service.key.source));
    let missing = service.request.pools().filter(|name| !is_there(name));
    let outside = service.request.addresses.iter().filter(|address| {
        !pools.iter().any(|pool| pool.addresses.iter().any(|range| range.contains(**address)))
    });
    let missing = missing.map(|name| {
        format!(
            "asks for the pool `{name}`, which is not there: write one of {}",
            names().join(", ")
        )
    });
    let outside = outside.map(|address| {
        format!("asks for {address}, which lies in no pool: ask for another, or add it to a pool")
    });
    missing.chain(outside).collect()
}
