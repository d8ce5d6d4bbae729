//! Whose `status.loadBalancer` is. Pure: no I/O, `now` is an argument.
//!
//! | what stands there | it is |
//! |---|---|
//! | nothing, or what we applied | ours |
//! | addresses that the Service holds, whoever wrote them (MetalLB did before a migration) | ours: taken over |
//! | other addresses or none any more, and we had written ours before | ours: written again, by force |
//! | the same, and the same manager has done so twice within [`WINDOW`] | held by it; tried again after [`PEACE`] |
//! | other addresses, and we never wrote any | held by whoever wrote them |
//!
//! A status is for people and for kube-proxy. Nothing here says where packets go: a forged one
//! gains nothing, and one that another holds costs nothing but itself.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_model::{
    reason::{Condition, ConditionStatus},
    report::Ingress,
};

use crate::kubernetes::read::observed::{Marks, Shown};

/// The condition that says whether the status is ours: also the memory, over restarts, of that it was.
pub(super) const KIND: &str = "Reported";
/// A manager that takes the status back twice within this time is not argued with.
pub(super) const WINDOW: Duration = Duration::from_secs(600);
/// How long it is left alone then.
pub(super) const PEACE: Duration = Duration::from_secs(1_800);
/// Where nobody is named as the writer.
const SOMEBODY: &str = "an unknown manager";

/// Who may write the addresses of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// We; `restored`: they were ours and are another's now.
    Ours {
        /// Who wrote over them.
        restored_from: Option<Arc<str>>,
    },
    /// Another.
    Held {
        /// Who.
        by: Arc<str>,
        /// When to try again, if ever.
        until: Option<Instant>,
    },
}

/// What is remembered of quarrels over one status.
#[derive(Clone, Debug, Default)]
pub(super) struct Contest {
    taken: Option<(Arc<str>, Instant)>,
    yields: Option<(Arc<str>, Instant)>,
}

impl Contest {
    /// Notes that the object was changed, and not by us.
    pub(super) fn note(&mut self, before: &Marks, after: &Marks, now: Instant) {
        if !before.shown.is_ours || after.shown.is_ours {
            return;
        }
        let by = owner(&after.shown);
        let again = self.taken.as_ref().is_some_and(|(who, when)| {
            *who == by && now.saturating_duration_since(*when) <= WINDOW
        });
        if again {
            self.yields = now.checked_add(PEACE).map(|until| (Arc::clone(&by), until));
        }
        self.taken = Some((by, now));
    }

    /// Who may write `wanted`, which is not empty.
    pub(super) fn decide(&self, marks: &Marks, wanted: &[Ingress], now: Instant) -> Claim {
        let shown = &marks.shown;
        if shown.is_ours || !shown.is_empty && is_of(shown, wanted) {
            return Claim::Ours { restored_from: None };
        }
        if let Some((who, until)) = self.yields.as_ref().filter(|(_, until)| *until > now) {
            return Claim::Held { by: Arc::clone(who), until: Some(*until) };
        }
        let by = owner(shown);
        if shown.is_empty {
            let restored_from = self.taken.as_ref().map(|_| by);
            return Claim::Ours { restored_from };
        }
        let was_ours = marks.condition(KIND).is_some_and(|it| it.status == ConditionStatus::True);
        if was_ours || self.taken.is_some() {
            return Claim::Ours { restored_from: Some(by) };
        }
        Claim::Held { by, until: None }
    }
}

impl Claim {
    /// What the Service is told of it.
    pub(super) fn condition(&self) -> Condition {
        match self {
            Self::Ours { .. } => {
                let message = "status.loadBalancer is written by roadstead";
                Condition::new(KIND, ConditionStatus::True, "Written", message)
            }
            Self::Held { by, .. } => {
                Condition::new(KIND, ConditionStatus::False, "StatusHeldByAnother", held(by))
            }
        }
    }
}

/// What is to be done where another holds a status.
pub(super) fn held(by: &str) -> String {
    format!(
        "status.loadBalancer is held by `{by}`, and its addresses stay: switch the other load \
         balancer off (k3s: `--disable=servicelb`), or make the Service anew with loadBalancerClass: {}",
        roadstead_model::object::LOAD_BALANCER_CLASS
    )
}

/// Whether all that stands there are addresses of ours.
fn is_of(shown: &Shown, wanted: &[Ingress]) -> bool {
    let ours = |address: &IpAddr| wanted.iter().any(|ingress| ingress.address == *address);
    !shown.has_others && shown.addresses.iter().all(ours)
}

fn owner(shown: &Shown) -> Arc<str> {
    shown.others.first().map_or_else(|| SOMEBODY.into(), Arc::clone)
}

#[cfg(test)]
mod tests {
    use roadstead_model::report::IpMode;

    use super::*;

    fn wanted() -> Vec<Ingress> {
        let ingress = |text: &str| Ingress {
            address: text.parse().expect("an address"),
            ip_mode: IpMode::Proxy,
            ports: Vec::new(),
        };
        vec![ingress("192.0.2.10"), ingress("2001:db8::10")]
    }

    fn shows(addresses: &[&str], by: &str) -> Marks {
        let shown = Shown {
            addresses: addresses.iter().map(|text| text.parse().expect("one")).collect(),
            is_empty: addresses.is_empty(),
            is_ours: by == "roadstead",
            others: if by == "roadstead" { vec![] } else { vec![by.into()] },
            ..Shown::default()
        };
        Marks { shown, ..Marks::default() }
    }

    fn ours() -> Claim {
        Claim::Ours { restored_from: None }
    }

    #[test]
    fn nothing_ours_and_our_addresses_by_another_are_ours_to_write() {
        let contest = Contest::default();
        let now = Instant::now();
        for marks in [
            shows(&[], "k3s"),
            shows(&["192.0.2.10"], "roadstead"),
            shows(&["192.0.2.10"], "metallb"),
            shows(&["2001:db8::10", "192.0.2.10"], "metallb"),
        ] {
            assert_eq!(contest.decide(&marks, &wanted(), now), ours(), "{marks:?}");
        }
    }

    #[test]
    fn what_another_wrote_first_stays_for_ever() {
        let contest = Contest::default();
        let now = Instant::now();
        let mut odd = shows(&["192.0.2.10"], "cloud");
        odd.shown.has_others = true;
        for marks in [
            shows(&["198.51.100.7"], "cloud"),
            shows(&["192.0.2.10", "198.51.100.7"], "cloud"),
            odd,
        ] {
            let held = Claim::Held { by: "cloud".into(), until: None };
            assert_eq!(contest.decide(&marks, &wanted(), now), held, "{marks:?}");
        }
        let words = Claim::Held { by: "k3s".into(), until: None }.condition().message;
        assert!(words.contains("`k3s`") && words.contains("--disable=servicelb"), "{words}");
        assert!(words.contains("roadstead.io/load-balancer"), "{words}");
    }

    #[test]
    fn what_was_ours_is_written_again_also_after_a_restart() {
        let mut forged = shows(&["198.51.100.7"], "kubectl-edit");
        let told = ours().condition();
        forged.conditions.push(crate::kubernetes::read::observed::Told {
            condition: told,
            since: String::new(),
            is_ours: true,
        });
        let claim = Contest::default().decide(&forged, &wanted(), Instant::now());
        assert_eq!(claim, Claim::Ours { restored_from: Some("kubectl-edit".into()) });
    }

    #[test]
    fn whoever_takes_it_back_twice_in_a_while_is_left_alone_for_a_while() {
        let mut contest = Contest::default();
        let (own, taken) = (shows(&["192.0.2.10"], "roadstead"), shows(&["198.51.100.7"], "cloud"));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        contest.note(&own, &taken, at(0));
        assert!(matches!(contest.decide(&taken, &wanted(), at(0)), Claim::Ours { .. }));
        // Too long ago to be a quarrel.
        contest.note(&own, &taken, at(700));
        assert!(matches!(contest.decide(&taken, &wanted(), at(700)), Claim::Ours { .. }));
        contest.note(&own, &taken, at(900));
        let until = at(900) + PEACE;
        let held = Claim::Held { by: "cloud".into(), until: Some(until) };
        assert_eq!(contest.decide(&taken, &wanted(), at(901)), held);
        assert!(matches!(contest.decide(&taken, &wanted(), until), Claim::Ours { .. }));
        // Another one begins anew.
        contest.note(&own, &shows(&["198.51.100.8"], "k3s"), until);
        assert!(matches!(contest.decide(&taken, &wanted(), until), Claim::Ours { .. }));
    }

    /// Nobody is named as the owner of what is not there.
    #[test]
    fn a_status_that_is_emptied_again_and_again_is_a_quarrel_too() {
        let mut contest = Contest::default();
        let (own, emptied) = (
            shows(&["192.0.2.10"], "roadstead"),
            Marks { shown: Shown { is_empty: true, ..Shown::default() }, ..Marks::default() },
        );
        let now = Instant::now();
        contest.note(&own, &emptied, now);
        let restored = Claim::Ours { restored_from: Some(SOMEBODY.into()) };
        assert_eq!(contest.decide(&emptied, &wanted(), now), restored);
        contest.note(&own, &emptied, now);
        let claim = contest.decide(&emptied, &wanted(), now);
        assert!(matches!(claim, Claim::Held { until: Some(_), .. }), "{claim:?}");
    }
}
