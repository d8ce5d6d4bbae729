//! How long one change in a file of many Services takes until the Snapshot has it.
//!
//! `cargo run --release -p roadstead-watch --example reload [SERVICES [CHANGES]]` prints the
//! median and the 99th percentile, from before the write to the Snapshot in the reader's hand.

use std::{
    fs,
    future::pending,
    path::Path,
    time::{Duration, Instant},
};

use roadstead_model::{
    ServiceKey, SourceName,
    config::{Daemon, Source, SourceKind},
};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let services: u16 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let changes: u16 = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let root = std::env::temp_dir().join(format!("roadstead-reload-{}", std::process::id()));
    fs::create_dir(&root)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let took = runtime.block_on(measured(&root, services, changes));
    fs::remove_dir_all(&root)?;
    let mut took = took?;
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    println!("{services} Services: p50 {:?}, p99 {:?}", at(50), at(99));
    Ok(())
}

async fn measured(root: &Path, services: u16, changes: u16) -> Result<Vec<Duration>, Failed> {
    let file = root.join("all.yaml");
    fs::write(&file, text(services, 1))?;
    let name = SourceName::new("local");
    let source = Source {
        name: name.clone(),
        kind: SourceKind::Directory(root.to_path_buf()),
        metallb: None,
        report: true,
    };
    let mut watch = roadstead_watch::spawn(&[source], Daemon::Router, pending());
    let all = usize::from(services);
    watch.snapshots.wait_for(|snapshot| snapshot.services.len() == all).await?;
    let key = ServiceKey::new(&name, "default", "s0");
    let mut took = Vec::new();
    for port in 2..changes.saturating_add(2) {
        let new = text(services, port);
        let before = Instant::now();
        fs::write(&file, new)?;
        let has_it = |snapshot: &roadstead_model::Snapshot| {
            let port_of = |service: &roadstead_model::object::Service| {
                service.ports.first().map(|first| first.port)
            };
            snapshot.services.get(&key).and_then(|service| port_of(service)) == Some(port)
        };
        watch.snapshots.wait_for(|snapshot| has_it(snapshot)).await?;
        took.push(before.elapsed());
    }
    Ok(took)
}

/// Services as people write them; the first has the port that changes.
fn text(services: u16, port: u16) -> String {
    let mut text = String::new();
    for n in 0..services {
        let (port, node_port) = (if n == 0 { port } else { 80 }, n.saturating_add(30_000));
        text.push_str(&format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: s{n}\n  namespace: default\n  labels:\n    app: shop\n    tier: front\nspec:\n  type: LoadBalancer\n  selector:\n    app: s{n}\n  ports:\n  - name: http\n    protocol: TCP\n    port: {port}\n    targetPort: 8080\n    nodePort: {node_port}\n---\n"
        ));
    }
    text
}
