//! `drain`, `undrain`, `release`, `confirm`: orders to a daemon.

use roadstead_daemon::local::{Client, ClientError};
use roadstead_model::local::{Done, DrainRequest, DrainTarget, ReleaseRequest};
use serde::Serialize;

use crate::{
    args::DrainWhat,
    daemons::{Daemons, in_words, patiently},
    exit::Exit,
    output::Output,
};

/// `drain`.
pub(crate) async fn drain(daemons: &Daemons, what: &DrainWhat, out: &mut Output) -> Exit {
    let (client, request) = order(daemons, what);
    give(client, "/v1/drain", &request, out).await
}

/// `undrain`; without more, this host.
pub(crate) async fn undrain(daemons: &Daemons, what: Option<&DrainWhat>, out: &mut Output) -> Exit {
    let host = DrainWhat::Host { until_reboot: false };
    let (client, request) = order(daemons, what.unwrap_or(&host));
    give(client, "/v1/undrain", &request, out).await
}

/// `release`. Addresses are the speaker's business.
pub(crate) async fn release(daemons: &Daemons, reservation: &str, out: &mut Output) -> Exit {
    let request = ReleaseRequest { reservation: reservation.to_owned() };
    give(&daemons.speaker, "/v1/release", &request, out).await
}

/// `confirm`. Each daemon reads the sources for itself, so each is told.
pub(crate) async fn confirm(daemons: &Daemons, out: &mut Output) -> Exit {
    let answers = daemons.confirm().await;
    let mut exit = Exit::Fine;
    for (daemon, answer) in answers {
        match answer {
            Ok(done) => out.print(&format!("{daemon}: {}", done.message)),
            Err(error) => {
                out.complain(&in_words(&error));
                exit = exit.max(exit_of(&error));
            }
        }
    }
    exit
}

/// Nodes are the router's business, announcements the speaker's.
fn order<'d>(daemons: &'d Daemons, what: &DrainWhat) -> (&'d Client, DrainRequest) {
    match what {
        DrainWhat::Node { name } => {
            let target = DrainTarget::Node(name.clone());
            (&daemons.router, DrainRequest { target, until_reboot: false })
        }
        DrainWhat::Host { until_reboot } => {
            let target = DrainTarget::Host;
            (&daemons.speaker, DrainRequest { target, until_reboot: *until_reboot })
        }
    }
}

async fn give(client: &Client, path: &str, body: &impl Serialize, out: &mut Output) -> Exit {
    match patiently(client, client.post::<_, Done>(path, body)).await {
        Ok(done) => {
            out.print(&done.message);
            Exit::Fine
        }
        Err(error) => {
            out.complain(&in_words(&error));
            exit_of(&error)
        }
    }
}

/// The exit status of a call that failed.
pub(crate) fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Unreachable { .. } | ClientError::Broken { .. } => Exit::Silent,
        ClientError::Refused(_) => Exit::Problem,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_order_goes_to_the_daemon_whose_business_it_is() {
        let daemons = Daemons::of(Path::new("/nonexistent/x.toml"), Some(Path::new("/r")));
        let node = DrainWhat::Node { name: "home/n1".into() };
        let (client, request) = order(&daemons, &node);
        assert_eq!(client.socket(), Path::new("/r/router/local.sock"));
        assert_eq!(request.target, DrainTarget::Node("home/n1".into()));
        let (client, request) = order(&daemons, &DrainWhat::Host { until_reboot: true });
        assert_eq!(client.socket(), Path::new("/r/speaker/local.sock"));
        assert_eq!(request, DrainRequest { target: DrainTarget::Host, until_reboot: true });
    }

    #[test]
    fn silence_and_refusal_end_differently() {
        assert_eq!(exit_of(&ClientError::Refused("no such node".into())), Exit::Problem);
        let broken = ClientError::Broken { socket: "/r".into(), why: "cut".into() };
        assert_eq!(exit_of(&broken), Exit::Silent);
    }
}
