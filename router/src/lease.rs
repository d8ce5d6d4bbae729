//! The speaker's lease: how long ARP and NDP may be answered for a speaker that is not heard.
//!
//! In a group another host takes the addresses over when this one's speaker dies or hangs, however well
//! this router does. So the speaker is asked for its lease, and the kernel program is told; when nobody
//! renews it, because the speaker or this router is gone, the program falls silent by itself.

use std::{convert::Infallible, sync::Arc, time::Duration};

use roadstead_daemon::local::Client;
use roadstead_model::local::Lease;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::assignments::Heard;

/// Pause where nothing else is said.
const RENEW: Duration = Duration::from_millis(100);
/// How long an answer is waited for: a speaker that hangs is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Told until when leased answers are given.
pub(crate) type SetLease = dyn Fn(u64) + Send + Sync;

/// Passes the lease on for as long as the assignments are leased; never ends by itself. Cancelling is
/// safe: the lease that was passed on ends in its time.
pub(crate) async fn follow(
    client: Client,
    mut heard: watch::Receiver<Heard>,
    set: Arc<SetLease>,
) -> Infallible {
    loop {
        let leased = heard.wait_for(is_leased).await.map(drop);
        if leased.is_err() {
            std::future::pending::<()>().await;
        }
        renew(&client, &heard, &set).await;
    }
}

fn is_leased(heard: &Heard) -> bool {
    heard.assignments.as_ref().is_some_and(|assignments| assignments.leased)
}

/// Asks again and again, until the assignments are leased no more.
async fn renew(client: &Client, heard: &watch::Receiver<Heard>, set: &Arc<SetLease>) {
    let mut pace = RENEW;
    let mut ticks = interval(pace);
    while is_leased(&heard.borrow()) {
        ticks.tick().await;
        let Ok(Ok(lease)) = timeout(PATIENCE, client.get::<Lease>("/v1/lease")).await else {
            continue;
        };
        if lease.renew == 0 {
            continue;
        }
        set(lease.until);
        let wanted = Duration::from_millis(lease.renew);
        if wanted != pace {
            pace = wanted;
            ticks = interval(pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use roadstead_daemon::local::{Answer, Server};
    use roadstead_model::local::Assignments;

    use super::*;

    fn heard(leased: bool) -> Heard {
        let assignments = Assignments { leased, ..Assignments::default() };
        Heard { assignments: Some(Arc::new(assignments)), connected: true, remembered: false }
    }

    #[tokio::test]
    async fn the_lease_is_passed_on_while_the_assignments_are_leased() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("local.sock");
        let asked = Arc::new(AtomicU64::new(0));
        let (count, server) = (asked.clone(), Server::bind(&socket).unwrap());
        let serving = tokio::spawn(server.serve(move |_| {
            let until = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Answer::json(&Lease { until, renew: 1 }) }
        }));
        let (heard_in, heard_out) = watch::channel(heard(false));
        let (told_in, mut told) = watch::channel(0);
        let set = Arc::new(move |until| {
            told_in.send_replace(until);
        });
        let following = tokio::spawn(follow(Client::new(&socket), heard_out, set));
        tokio::task::yield_now().await;
        assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody leases anything");
        heard_in.send_replace(heard(true));
        told.wait_for(|until| *until >= 3).await.unwrap();
        following.abort();
        serving.abort();
    }
}
