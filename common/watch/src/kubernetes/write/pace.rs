//! How fast an API server is written to. Pure: chance and `now` are arguments.

use std::time::{Duration, Instant};

use crate::kubernetes::{api::backoff::Backoff, timing::Timing};

/// Requests that are on their way at once, at most.
pub(super) const IN_FLIGHT: usize = 16;
/// Requests in a second, at most, in the long run.
const RATE: u32 = 200;
/// Requests that may be sent at once after a pause.
const BURST: u32 = 50;

/// A bucket of tokens that fills by time.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    every: Duration,
    most: u32,
    /// When the bucket would be full, had nothing been taken since: the debt in time.
    full_at: Instant,
}

impl Bucket {
    /// A full one: `most` tokens, one more each `every`.
    pub(super) fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self { every, most, full_at: now }
    }

    /// When there is a token.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let span = self.every.saturating_mul(self.most.saturating_sub(1));
        let ready = self.full_at.checked_sub(span).unwrap_or(now);
        ready.max(now)
    }

    /// Whether nothing was taken of late.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.ready_at(now) > now {
            return false;
        }
        self.full_at = self.full_at.max(now).checked_add(self.every).unwrap_or(now);
        true
    }
}

/// What all requests to one API server share.
#[derive(Debug)]
pub(super) struct Pace {
    bucket: Bucket,
    in_flight: usize,
    backoff: Backoff,
    paused_until: Option<Instant>,
    asked_most: Duration,
}

impl Pace {
    pub(super) fn new(timing: &Timing, now: Instant) -> Self {
        let every = Duration::from_secs(1).checked_div(RATE).unwrap_or_default();
        Self {
            bucket: Bucket::new(BURST, every, now),
            in_flight: 0,
            backoff: Backoff::new(timing.retry, timing.retry_most),
            paused_until: None,
            asked_most: timing.asked_most,
        }
    }

    /// When the next request may be sent; none: when one that is on its way has come back.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let free = self.bucket.ready_at(now).max(self.paused_until.unwrap_or(now));
        (self.in_flight < IN_FLIGHT).then_some(free)
    }

    /// A request is sent, if it may be.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let may = self.ready_at(now).is_some_and(|at| at <= now) && self.bucket.take(now);
        self.in_flight = self.in_flight.saturating_add(usize::from(may));
        may
    }

    /// One has come back, and the server can be talked to.
    pub(super) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.backoff.reset();
    }

    /// One has failed for a reason that all would fail for: nobody answers, too many requests, no
    /// right. Those that failed together count once.
    pub(super) fn fail(&mut self, asked: Option<Duration>, chance: u64, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        let asked = asked.unwrap_or_default().min(self.asked_most);
        let wait = self.backoff.after_failure(chance).max(asked);
        self.paused_until = now.checked_add(wait);
    }

    /// There is another client, which may fare better.
    pub(super) fn resume(&mut self) {
        self.paused_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(&Timing::DEFAULT, start);
        let mut sent = 0;
        for millisecond in 0..2_000 {
            let now = start + Duration::from_millis(millisecond);
            while pace.start(now) {
                pace.end();
                sent += 1;
            }
        }
        assert!((445..=451).contains(&sent), "{sent} in 2 s");
    }

    #[test]
    fn no_more_than_so_many_are_on_their_way() {
        let now = Instant::now();
        let mut pace = Pace::new(&Timing::DEFAULT, now);
        let sent = (0..100).filter(|_| pace.start(now)).count();
        assert_eq!((sent, pace.ready_at(now)), (IN_FLIGHT, None));
        pace.end();
        assert!(pace.start(now));
    }

    #[test]
    fn failures_pause_all_once_and_the_server_may_ask_for_longer() {
        let now = Instant::now();
        let mut pace = Pace::new(&Timing::DEFAULT, now);
        assert!(pace.start(now) && pace.start(now));
        pace.fail(None, 500, now);
        let first = pace.ready_at(now).expect("free");
        assert_eq!(first, now + Timing::DEFAULT.retry);
        pace.fail(Some(Duration::from_secs(9)), 500, now);
        assert_eq!(pace.ready_at(now), Some(first), "it failed together with the first");
        assert!(pace.start(first));
        pace.fail(Some(Duration::from_secs(9)), 500, first);
        assert_eq!(pace.ready_at(first), Some(first + Duration::from_secs(9)));
        pace.resume();
        assert!(pace.start(first));
    }
}
