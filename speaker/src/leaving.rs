//! Drains that are answered when the host has fallen silent, so that whoever stops the daemons next
//! (a shutdown) stops nothing that still answers.

use std::time::Duration;

use roadstead_model::local::{Done, Refusal};
use tokio::{sync::oneshot, time::Instant};

/// How long silence is waited for; below what the command line waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

type Answer = oneshot::Sender<Result<Done, Refusal>>;

/// Drains that wait for silence.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Vec<Leaver>);

#[derive(Debug)]
struct Leaver {
    answer: Answer,
    words: String,
    until: Instant,
}

impl Leaving {
    /// A drain that is in force and to be answered with `words`.
    pub(crate) fn wait(&mut self, answer: Answer, words: String, now: Instant) {
        self.0.push(Leaver { answer, words, until: now + PATIENCE });
    }

    /// Answers all of them when there is silence, and those that have waited long enough anyhow.
    pub(crate) fn answer(&mut self, silent: bool, now: Instant) {
        let (done, waiting) =
            std::mem::take(&mut self.0).into_iter().partition(|one| silent || one.until <= now);
        self.0 = waiting;
        let done: Vec<Leaver> = done;
        for Leaver { answer, mut words, .. } in done {
            if !silent {
                words += "; not all of it is silent yet, `roadstead status` tells what is not";
            }
            tracing::info!("{words}");
            // Whoever asked may have gone away; the order is carried out all the same.
            let _ = answer.send(Ok(Done { message: words }));
        }
    }

    /// When the first of them has waited long enough.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.0.iter().map(|one| one.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(answered: &mut oneshot::Receiver<Result<Done, Refusal>>) -> Option<String> {
        Some(answered.try_recv().ok()?.unwrap().message)
    }

    #[test]
    fn a_drain_is_answered_when_there_is_silence() {
        let (answer, mut answered) = oneshot::channel();
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.wait(answer, "withdrawn".into(), now);
        leaving.answer(false, now);
        assert_eq!(message(&mut answered), None);
        leaving.answer(true, now);
        assert_eq!(message(&mut answered).unwrap(), "withdrawn");
        assert_eq!(leaving.until(), None);
    }

    #[test]
    fn one_that_waited_long_enough_is_told_so() {
        let (answer, mut answered) = oneshot::channel();
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.wait(answer, "withdrawn".into(), now);
        leaving.answer(false, leaving.until().unwrap());
        assert!(message(&mut answered).unwrap().starts_with("withdrawn; not all of it"));
    }
}
