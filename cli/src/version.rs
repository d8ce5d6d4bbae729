//! `roadstead version`.

use crate::{daemons::Daemons, exit::Exit, output::Output};

/// Prints the version of this program, and of the daemons that answer: after an upgrade they differ
/// until the daemons are restarted. What was asked for is known without them, so their silence is
/// told and is no failure.
pub(crate) async fn run(daemons: &Daemons, out: &mut Output) -> Exit {
    out.print(&format!("roadstead {}", roadstead_daemon::VERSION));
    let answers = daemons.statuses().await;
    let speaker = answers.speaker.status().map(|status| &status.daemon);
    let router = answers.router.status().map(|status| &status.daemon);
    for daemon in [speaker, router].into_iter().flatten() {
        out.print(&format!("roadstead-{} {} (running)", daemon.name, daemon.version));
    }
    for silence in answers.silences() {
        out.complain(silence);
    }
    Exit::Fine
}
