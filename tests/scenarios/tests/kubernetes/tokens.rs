//! The tokens of the daemons run out, and nobody but the daemons renews them.
//!
//! Input: tokens that are nearly over, or are over, signed by the API server's own key.
//! Output: each daemon asks for a new one of its own and lives by it; one that came too late says
//! what to do, and goes on as soon as that is done.
//! On the wire: nothing is lost meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    edge::DaemonName,
    eventually,
    kube::{
        Admission,
        token::{self, Age},
    },
};

use super::watched::{SOON, Watched, all_answered, watched};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn daemons_renew_their_tokens_and_say_what_to_do_where_they_came_too_late() -> Result<()> {
    watched("tokens", |world| {
        let web = world.serve("web")?;
        let loads = world.load(web)?;
        give(world, Age { old: HOUR - Duration::from_secs(600), life: HOUR })?;
        for daemon in DaemonName::ALL {
            eventually("a new token", SOON, || ensure_secret(&kept(world, daemon)))?;
        }
        // What is left opens nothing: whoever gets in now does so by what he has renewed.
        give(world, Age { old: 3 * HOUR, life: HOUR })?;
        for daemon in DaemonName::ALL {
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        world.wait_ready()?;
        world.serve("second")?;
        world.wait_for_certainty()?;

        for daemon in DaemonName::ALL {
            fs::remove_file(kept(world, daemon))?;
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        told(world)?;
        world.is_announced(web)?;
        Admission::new("home", &world.edge.state()).run(world.cluster.plane())?;
        world.wait_ready()?;
        world.serve("third")?;
        all_answered(loads)
    })
}

/// Both daemons have a token of this age from now on.
fn give(world: &Watched, age: Age) -> Result<()> {
    for daemon in DaemonName::ALL {
        let file = format!("home.{}.kubeconfig", daemon.as_str());
        let account = format!("roadstead-{}", daemon.as_str());
        let token = token::aged(world.cluster.plane(), &account, age)?;
        token::replace(&world.edge.state().join(file), &token)?;
    }
    Ok(())
}

/// Where a daemon keeps the token that it has renewed.
fn kept(world: &Watched, daemon: DaemonName) -> PathBuf {
    world.edge.state().join(daemon.as_str()).join("clusters/home/token")
}

fn ensure_secret(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{} has mode {mode:o}", file.display());
    Ok(())
}

/// `status` says what has happened to the credentials, and what to do.
fn told(world: &Watched) -> Result<()> {
    eventually("the advice", SOON, || {
        let (_, text) = world.said("status")?;
        ensure!(text.contains("answers 401"), "{text}");
        ensure!(text.contains("`roadstead kubeconfig` makes new ones"), "{text}");
        Ok(())
    })
}
