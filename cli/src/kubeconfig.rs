//! `roadstead kubeconfig`: what a cluster must know of the daemons, and a kubeconfig for each.
//!
//! Applies `etc/kubernetes` and writes `NAME.DAEMON.kubeconfig`, each readable by its daemon only.
//! May be done again at any time.

mod files;

use std::{fmt::Write, path::PathBuf, time::Duration};

use roadstead_model::config::Daemon;
use roadstead_watch::kubernetes::setup::{self, Credentials, Order};

use crate::{args::KubeconfigArguments, exit::Exit, output::Output};

/// What is applied, in this order: the namespace before what lies in it.
const MANIFESTS: [&str; 3] = [
    include_str!("../../etc/kubernetes/namespace.yaml"),
    include_str!("../../etc/kubernetes/speaker.yaml"),
    include_str!("../../etc/kubernetes/router.yaml"),
];
/// Who gets a kubeconfig. The proxy is not served yet, and has no right to anything.
const DAEMONS: [Daemon; 2] = [Daemon::Speaker, Daemon::Router];

/// Prints the manifests, or sets the cluster up and writes the files.
pub(crate) async fn run(arguments: &KubeconfigArguments, out: &mut Output) -> Exit {
    if arguments.print {
        out.print(&manifests());
        return Exit::Fine;
    }
    match set_up(arguments, out).await {
        Ok(()) => Exit::Fine,
        Err(error) => {
            out.complain(&error);
            Exit::Problem
        }
    }
}

async fn set_up(arguments: &KubeconfigArguments, out: &mut Output) -> Result<(), String> {
    let order = Order {
        kubeconfig: arguments.kubeconfig.clone(),
        context: arguments.context.clone(),
        server: arguments.server.clone(),
        lasts: arguments.duration,
        manifests: MANIFESTS.map(str::to_owned).to_vec(),
        daemons: DAEMONS.to_vec(),
    };
    let done = setup::set_up(&order).await.map_err(|error| error.to_string())?;
    let mut written = Vec::new();
    for credentials in &done.credentials {
        let daemon = credentials.daemon;
        let name = format!("{}.{}.kubeconfig", arguments.name, daemon.as_str());
        let file = arguments.out.join(name);
        let user = format!("roadstead-{}", daemon.as_str());
        let owner = files::write_for(&file, &credentials.kubeconfig, &user)
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
        if let Some(doubt) = owner {
            out.complain(&format!("{}: {doubt}", file.display()));
        }
        written.push((credentials, file));
    }
    if is_loopback(&done.server) {
        out.complain(&format!(
            "the daemons will ask {}, which is their own host; where that is not the API server's, write its address by --server https://ADDRESS:6443",
            done.server
        ));
    }
    out.print(&told(&arguments.name, &written));
    Ok(())
}

/// What was written, and what is left to do.
fn told(name: &str, written: &[(&Credentials, PathBuf)]) -> String {
    let mut text = String::new();
    for (credentials, file) in written {
        let (daemon, lasts) = (credentials.daemon.as_str(), in_words(credentials.lasts));
        let file = file.display();
        let _ = writeln!(text, "# {file}: a token for {lasts}, which the {daemon} renews");
    }
    let files: Vec<String> = written
        .iter()
        .map(|(it, file)| format!("{} = \"{}\"", it.daemon.as_str(), file.display()))
        .collect();
    let _ =
        writeln!(text, "[[source]]\nname = \"{name}\"\nkubeconfig = {{ {} }}", files.join(", "));
    text
}

fn manifests() -> String {
    MANIFESTS.map(str::trim_end).join("\n---\n")
}

/// A server that a daemon would reach on its own host only.
fn is_loopback(server: &str) -> bool {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    ["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own))
}

/// In the largest unit that it is a whole number of.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
    let fits = |(unit, _): &&(u64, &str)| seconds >= *unit && seconds.is_multiple_of(*unit);
    match units.iter().find(fits) {
        Some((unit, word)) => format!("{} {word}", seconds.checked_div(*unit).unwrap_or(seconds)),
        None => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests;
