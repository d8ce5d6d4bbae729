//! `roadstead migrate metallb`: what would change if Roadstead took MetalLB's place, object by object
//! and address by address. Only looks: nothing is written anywhere.

mod objects;
mod report;
mod services;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::BTreeSet,
    env,
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    Problem, Snapshot, SourceName,
    config::{Config, Daemon, Kubeconfig, Source, SourceKind},
    problem::Severity,
    snapshot::SourceState,
};
use roadstead_netlink::Netlink;
use roadstead_watch::{Watch, kubernetes, manifests};
use tokio::time::timeout;

use crate::{args::MetalLbArguments, exit::Exit, output::Output};
use report::Report;

/// How long an API server may take to list everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long MetalLB's objects are waited for when all else is there.
const LINGER: Duration = Duration::from_secs(5);
/// What the source is called where the configuration does not read it.
const NAME: &str = "cluster";

/// Everything that the answer rests on.
struct Facts {
    /// The source that is looked at.
    source: SourceName,
    snapshot: Arc<Snapshot>,
    /// Our own configuration, where there is one that can be used.
    config: Option<Config>,
    /// The interfaces of this host; empty where the kernel cannot be asked.
    interfaces: BTreeSet<Arc<str>>,
}

/// Looks, and prints what would change.
pub(crate) async fn metallb(arguments: &MetalLbArguments, config: &Path, out: &mut Output) -> Exit {
    let config = roadstead_config::load(config).ok().map(|loaded| loaded.config);
    let read = match arguments.paths.as_slice() {
        [] => read_cluster(arguments, config.as_ref()).await,
        paths => read_files(paths, &arguments.namespace),
    };
    let (source, snapshot) = match read {
        Ok(read) => read,
        Err(why) => {
            out.complain(&why);
            return Exit::Problem;
        }
    };
    let interfaces = interfaces().await;
    let report = Report::of(&Facts { source, snapshot, config, interfaces });
    let exit = if report.changes { Exit::Problem } else { Exit::Fine };
    match out.value(arguments.format, &report) {
        Some(Exit::Fine) => exit,
        Some(failed) => failed,
        None => {
            let text = report.text(out.terminal);
            out.print(&text);
            exit
        }
    }
}

/// The files together, as if they were one directory.
fn read_files(paths: &[PathBuf], namespace: &str) -> Result<(SourceName, Arc<Snapshot>), String> {
    let source = SourceName::new(NAME);
    let view = manifests::check_all(&source, paths, Some(namespace.into()))
        .map_err(|error| format!("cannot be read: {error}"))?;
    let namespaces = view.namespaces.into_iter();
    let namespaces = namespaces.map(|(name, it)| ((source.clone(), name), it));
    let snapshot = Snapshot {
        sources: [(source.clone(), SourceState::Current)].into(),
        services: view.services,
        refused: view.refused,
        nodes: view.nodes,
        endpoints: view.endpoints,
        namespaces: namespaces.collect(),
        metallb: view.metallb.into_iter().map(|objects| (source.clone(), objects)).collect(),
        problems: view.problems,
        ..Snapshot::default()
    };
    Ok((source, Arc::new(snapshot)))
}

/// The cluster of a kubeconfig, listed once.
async fn read_cluster(
    arguments: &MetalLbArguments,
    config: Option<&Config>,
) -> Result<(SourceName, Arc<Snapshot>), String> {
    let file = kubeconfig(arguments)?;
    kubernetes::check(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = name_of(&file, config);
    let source = Source {
        name: name.clone(),
        kind: SourceKind::Cluster(Kubeconfig::for_all(file)),
        metallb: Some(Arc::from(arguments.namespace.as_str())),
        report: false,
    };
    let Watch { mut snapshots, .. } = roadstead_watch::spawn(&[source], Daemon::Speaker, pending());
    let is_read = |snapshot: &Arc<Snapshot>| snapshot.is_complete();
    let read = timeout(PATIENCE, snapshots.wait_for(is_read)).await.map(|read| read.is_ok());
    if read != Ok(true) {
        let told = told(&snapshots.borrow().problems, Severity::Error);
        let told = if told.is_empty() { vec!["it does not answer".to_owned()] } else { told };
        return Err(format!("the cluster cannot be read: {}", told.join("; ")));
    }
    // What cannot be seen of them, or is wrong with them, is among the problems.
    let is_known = |snapshot: &Arc<Snapshot>| snapshot.metallb.contains_key(&name);
    let _ = timeout(LINGER, snapshots.wait_for(is_known)).await;
    let snapshot = Arc::clone(&snapshots.borrow());
    Ok((name, snapshot))
}

/// As kubectl finds it, where none is named; of several in `KUBECONFIG` the first.
fn kubeconfig(arguments: &MetalLbArguments) -> Result<PathBuf, String> {
    if let Some(file) = &arguments.kubeconfig {
        return Ok(file.clone());
    }
    let named = env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let named = named.and_then(|value| env::split_paths(&value).next());
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    named.or_else(home).ok_or_else(|| {
        "no cluster is named: write --kubeconfig FILE, or the files that kubectl printed".to_owned()
    })
}

/// The name that the configuration has for the cluster of a kubeconfig.
fn name_of(file: &Path, config: Option<&Config>) -> SourceName {
    let sources = config.into_iter().flat_map(|config| &config.sources);
    let mut named = sources.filter(|source| match &source.kind {
        SourceKind::Cluster(kubeconfig) => kubeconfig.files().contains(file),
        SourceKind::Directory(_) => false,
    });
    named.next().map_or_else(|| SourceName::new(NAME), |source| source.name.clone())
}

/// Problems from a severity on, in words, each once.
fn told(problems: &[Problem], least: Severity) -> Vec<String> {
    let told = problems.iter().filter(|problem| problem.severity >= least);
    told.map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect()
}

async fn interfaces() -> BTreeSet<Arc<str>> {
    let Ok((netlink, follower)) = Netlink::open() else { return BTreeSet::new() };
    let asking = async {
        let mut tables = netlink.tables();
        drop(tables.wait_for(|tables| tables.is_read()).await);
        let tables = Arc::clone(&tables.borrow());
        tables.links.values().map(|link| Arc::clone(&link.name)).collect()
    };
    tokio::select! {
        names = asking => names,
        () = follower.run() => BTreeSet::new(),
    }
}
