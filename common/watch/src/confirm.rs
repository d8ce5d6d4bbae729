//! `roadstead confirm`: what an operator's order made of the doubt about a source, in words.

use std::fmt;

use roadstead_model::{ServiceKey, SourceName, snapshot::SourceState};
use tokio::sync::{mpsc, oneshot};

use crate::view::SourceView;

/// Services named in one answer; the others are counted.
const NAMED: usize = 5;

/// What an order did to one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Its name.
    pub source: SourceName,
    /// Why it was in doubt; `None` where it was not, and nothing was done.
    pub doubt: Option<String>,
    /// How many Services of `type: LoadBalancer` it holds now.
    pub services: usize,
    /// Services that were kept in doubt and are gone now.
    pub gone: Vec<ServiceKey>,
    /// Why it is in doubt all the same, where it is: no order makes an API server answer.
    pub remains: Option<String>,
}

impl Confirmed {
    /// From what the source said before and after the order.
    pub(crate) fn of(source: &SourceName, before: &SourceView, after: &SourceView) -> Self {
        let (doubt, remains) = (doubt(before), doubt(after));
        let gone = before.services.keys().filter(|key| !after.services.contains_key(key));
        let gone = if doubt.is_some() { gone.cloned().collect() } else { Vec::new() };
        Self { source: source.clone(), doubt, services: after.services.len(), gone, remains }
    }
}

fn doubt(view: &SourceView) -> Option<String> {
    match &view.state {
        SourceState::Current => None,
        SourceState::Unread => Some("it could not be read yet".to_owned()),
        SourceState::Doubtful { reason } => Some(reason.clone()),
    }
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(doubt) = &self.doubt else {
            return write!(f, "source {} was not in doubt", self.source);
        };
        let services = match self.services {
            1 => "1 Service".to_owned(),
            count => format!("{count} Services"),
        };
        if let Some(remains) = self.remains.as_ref().filter(|_| self.gone.is_empty()) {
            return write!(
                f,
                "source {} is in doubt ({remains}), and nothing that could be believed was said; it keeps {services}",
                self.source
            );
        }
        write!(
            f,
            "source {} was in doubt ({doubt}); from now on it holds what can be read of it: {services}, any other is gone",
            self.source
        )?;
        let named: Vec<_> = self.gone.iter().take(NAMED).map(ToString::to_string).collect();
        let more = self.gone.len().saturating_sub(NAMED);
        match (named.as_slice(), more) {
            ([], _) => Ok(()),
            (named, 0) => write!(f, " ({})", named.join(", ")),
            (named, more) => write!(f, " ({} and {more} more)", named.join(", ")),
        }
    }
}

/// Gives the order to all sources of a watch. Cheap to clone; it does not keep the watch alive.
#[derive(Clone, Debug)]
pub struct Confirm {
    orders: mpsc::Sender<Order>,
}

/// An order with the place for its answer: one line for each source.
pub(crate) type Order = oneshot::Sender<Vec<Confirmed>>;

/// Orders that wait. People give them, so a few are enough; when full, the caller waits.
const ORDERS: usize = 4;

pub(crate) fn channel() -> (Confirm, mpsc::Receiver<Order>) {
    let (orders, waiting) = mpsc::channel(ORDERS);
    (Confirm { orders }, waiting)
}

impl Confirm {
    /// Has every source that is in doubt take what can be read of it now as the truth; what cannot
    /// be read at all is gone. Nothing of that is kept over a restart, which reads anew. Answers
    /// for each source in the order of names; empty when the watch has ended.
    pub async fn confirm(&self) -> Vec<Confirmed> {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(answer).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }
}

/// The order's outcome in one text, for people.
pub fn in_words(confirmed: &[Confirmed]) -> String {
    let doubted: Vec<_> =
        confirmed.iter().filter(|it| it.doubt.is_some()).map(ToString::to_string).collect();
    if doubted.is_empty() { "no source was in doubt".to_owned() } else { doubted.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new(&SourceName::new("home"), "default", name)
    }

    fn confirmed(doubt: Option<&str>, gone: usize) -> Confirmed {
        Confirmed {
            source: SourceName::new("home"),
            doubt: doubt.map(str::to_owned),
            services: 1,
            gone: (0..gone).map(|n| key(&format!("s{n}"))).collect(),
            remains: None,
        }
    }

    #[test]
    fn the_answer_names_doubt_and_what_follows_and_is_bounded() {
        assert_eq!(in_words(&[]), "no source was in doubt");
        assert_eq!(in_words(&[confirmed(None, 0)]), "no source was in doubt");
        assert_eq!(
            in_words(&[confirmed(None, 0), confirmed(Some("/m: gone"), 2)]),
            "source home was in doubt (/m: gone); from now on it holds what can be read of it: 1 Service, any other is gone (home/default/s0, home/default/s1)"
        );
        let away = Confirmed {
            remains: Some("the API is away".to_owned()),
            ..confirmed(Some("the API is away"), 0)
        };
        assert_eq!(
            in_words(&[away]),
            "source home is in doubt (the API is away), and nothing that could be believed was said; it keeps 1 Service"
        );
        let many = in_words(&[confirmed(Some("/m: gone"), 1_000)]);
        assert!(many.ends_with("home/default/s4 and 995 more)"), "{many}");
    }
}
