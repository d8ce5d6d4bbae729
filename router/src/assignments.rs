//! Who has which address: a long poll of the speaker's socket, and the last copy on disk, from
//! which a router starts when the speaker is not there (S8).

use std::sync::Arc;

use roadstead_daemon::local::{self, Client};
use roadstead_model::local::Assignments;
use tokio::sync::watch;

use crate::memory::Memory;

/// The last assignments, and whether the speaker answers now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// `None` until there was a copy on disk or an answer.
    pub(crate) assignments: Option<Arc<Assignments>>,
    /// Whether the last call was answered.
    pub(crate) connected: bool,
    /// Whether they are the copy on disk: the speaker has not spoken in this run.
    pub(crate) remembered: bool,
}

impl Heard {
    /// The copy on disk, before the speaker has answered.
    pub(crate) fn remembered(memory: Option<&Memory>) -> Self {
        let assignments = memory.map(|memory| Arc::new(memory.assignments.clone()));
        Self { assignments, connected: false, remembered: true }
    }
}

/// Keeps `heard` current. Owned by `app`; cancelling is safe at any point: the next call asks anew.
pub(crate) async fn follow(client: Client, heard: watch::Sender<Heard>) {
    let hear = |said| match said {
        Ok(assignments) => connected(&heard, assignments),
        Err(error) => lost(&heard, &error),
    };
    local::follow(client, "/v1/assignments", hear).await;
}

fn connected(heard: &watch::Sender<Heard>, assignments: Assignments) {
    heard.send_if_modified(|heard| {
        if !heard.connected {
            tracing::info!("the speaker answers");
        }
        // Generation 0: a speaker that has just started and has decided nothing. That says nothing
        // about what was there before.
        let last = heard.assignments.take();
        let now = match &last {
            Some(last) if assignments.generation == 0 => Arc::clone(last),
            _ => Arc::new(assignments),
        };
        let same = heard.connected && last.as_ref() == Some(&now);
        let remembered = heard.remembered && last.as_ref() == Some(&now);
        *heard = Heard { assignments: Some(now), connected: true, remembered };
        !same
    });
}

fn lost(heard: &watch::Sender<Heard>, error: &dyn std::error::Error) {
    heard.send_if_modified(|heard| {
        let was = heard.connected;
        if was {
            tracing::warn!(error = %error, "the speaker does not answer; the last assignments stay");
        }
        heard.connected = false;
        was
    });
}

#[cfg(test)]
mod tests {
    use roadstead_daemon::{
        local::{Answer, Server},
        publish::Seen,
    };

    use super::*;

    #[tokio::test]
    async fn a_speaker_that_comes_later_is_heard_and_its_loss_leaves_the_last_word() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("local.sock");
        let (sender, mut heard) = watch::channel(Heard::default());
        let following = tokio::spawn(follow(Client::new(&socket), sender));
        let server = Server::bind(&socket).unwrap();
        let assignments = Assignments { generation: 7, ..Assignments::default() };
        let serving = tokio::spawn(server.serve(move |call| {
            let answer = Answer::json(&assignments);
            let known = call.after() == Some(Seen { generation: 7, run: Some(0) });
            async move {
                if known {
                    std::future::pending::<()>().await;
                }
                answer
            }
        }));
        let connected = heard.wait_for(|heard| heard.connected).await.unwrap().clone();
        assert_eq!(connected.assignments.unwrap().generation, 7);
        serving.abort();
        let _ = serving.await;
        let lost = heard.wait_for(|heard| !heard.connected).await.unwrap().clone();
        assert_eq!(lost.assignments.unwrap().generation, 7);
        following.abort();
    }

    #[test]
    fn a_speaker_that_has_decided_nothing_yet_takes_nothing_away() {
        let memory = Assignments { generation: 7, ..Assignments::default() };
        let before =
            Heard { assignments: Some(Arc::new(memory)), connected: false, remembered: true };
        let (sender, heard) = watch::channel(before);
        connected(&sender, Assignments::default());
        let generation = |heard: &Heard| heard.assignments.as_ref().map(|known| known.generation);
        assert!(heard.borrow().connected);
        assert_eq!(generation(&heard.borrow()), Some(7));
        connected(&sender, Assignments { generation: 8, ..Assignments::default() });
        assert_eq!(generation(&heard.borrow()), Some(8));
    }
}
