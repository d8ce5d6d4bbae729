//! Renews the token that a daemon speaks with: its host is outside of the cluster, and no kubelet
//! does it there.
//!
//! The daemon asks for a token of its own ServiceAccount, which is all that its role lets it ask for,
//! when half of the life of the one it has is over, and keeps it in its state directory.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    access::Access,
    failure::Failure,
    response,
    token::{self, Bound},
};
use crate::kubernetes::{kept::Kept, timing::Timing};

/// Largest answer to a request for a token in bytes.
const MAX_ANSWER: usize = 256 << 10;

/// Renews the token of one cluster.
pub(in crate::kubernetes) struct Renewal {
    kept: Kept,
    timing: Timing,
    /// When it may be asked for again.
    after: Instant,
    trouble: Option<String>,
}

impl Renewal {
    pub(in crate::kubernetes) fn new(kept: Kept, timing: Timing) -> Self {
        Self { kept, timing, after: Instant::now(), trouble: None }
    }

    /// What is wrong with the last attempt, once that is urgent.
    pub(in crate::kubernetes) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// Has another token made where one is due; true where there is a new one to be used.
    /// Cancelling it is safe: at worst a token runs out unused.
    pub(in crate::kubernetes) async fn renew(&mut self, access: &Access) -> bool {
        let now = SystemTime::now();
        let Some(own) = &access.token else {
            self.trouble = None;
            return false;
        };
        if !own.is_due(now) {
            self.trouble = None;
            return false;
        }
        if Instant::now() < self.after {
            return false;
        }
        let renewed = self.ask(access, own).await;
        // Not at once again, also where the clocks of host and server are far apart.
        let pause = if renewed.is_ok() { own.life() / 4 } else { self.timing.renewal };
        self.pause(pause);
        match renewed {
            Ok(renewed) => {
                tracing::info!(server = %access.server, account = %own.account(), "the token was renewed");
                self.trouble = None;
                renewed.is_some_and(|renewed| renewed.follows(own))
            }
            Err(failure) => {
                let is_told = failure.is_final() || own.is_urgent(now);
                self.trouble = is_told.then(|| told(access, own, &failure));
                false
            }
        }
    }

    async fn ask(&self, access: &Access, own: &Bound) -> Result<Option<Bound>, Failure> {
        let account = own.account();
        let request = token::request(&account.namespace, &account.name, own.life())?;
        let body = response::send(access, request, self.timing.answer).await?;
        let answer = response::whole(body, MAX_ANSWER, self.timing.answer).await?;
        let token = token::granted(&answer)?;
        let kept = self.kept.keep_token(&token);
        kept.map_err(|error| Failure::Broken(format!("a token that cannot be kept: {error}")))?;
        Ok(Bound::read(&token))
    }

    fn pause(&mut self, pause: Duration) {
        let now = Instant::now();
        self.after = now.checked_add(pause).unwrap_or(now);
    }
}

fn told(access: &Access, own: &Bound, failure: &Failure) -> String {
    let (server, account) = (&access.server, own.account());
    format!("the token of {account} is not renewed: the API server at {server} {failure}")
}
