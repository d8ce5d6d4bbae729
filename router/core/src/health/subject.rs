//! One thing that is probed: what it is asked next, and what an answer means for it.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use roadstead_model::{config::NodeProbe, object::HealthCheck};
use siphasher::sip::SipHasher13;

use super::{
    Failure, Question, Sentinel, Target, kube_proxy_port, node_port_question,
    verdict::{Record, Verdict},
};

/// A host that has answered is taken for silent after this many times what it has taken.
const PATIENCE: u32 = 4;
/// But never sooner: Linux's own lower bound of a retransmission is 200 ms (RFC 6298 §2.4 says one
/// second), and three probes are lost before a verdict falls, not one segment.
const LEAST_PATIENCE: Duration = Duration::from_millis(150);
/// One part in so many of a slow answer is forgotten with each answer.
const FORGET: u32 = 8;

/// A node whose kube-proxy does not answer is asked there again once in so many rounds.
const KUBE_PROXY_AGAIN: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) record: Record,
    pub(super) ask: Ask,
    /// When the next probe is due; `None` while one is in flight or none is wanted.
    pub(super) due: Option<Duration>,
    pub(super) in_flight: bool,
    pub(super) since: Duration,
    /// When the last probe was over.
    pub(super) last: Duration,
    /// When the last probe began.
    begun: Duration,
    /// How long passes have taken: the slowest of late.
    taken: Option<Duration>,
    rounds: u32,
}

/// What a subject is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// A node's address.
    Node(NodeAsk),
    /// This NodePort, by this check where there is one.
    NodePort(u16, Option<Arc<HealthCheck>>),
    /// This `healthCheckNodePort`.
    Local(u16),
}

/// The two ways to ask a node, and which of them has worked.
#[derive(Clone, Debug)]
pub(super) struct NodeAsk {
    /// Whether kube-proxy's health port ever answered here.
    kube_proxy: bool,
    /// kube-proxy has just not answered: ask a NodePort before judging.
    fall_back: bool,
    sentinels: Vec<Sentinel>,
    /// Index of the sentinel to use; moves on when one fails.
    turn: usize,
}

impl NodeAsk {
    pub(super) fn new(sentinels: Vec<Sentinel>) -> Self {
        Self { kube_proxy: false, fall_back: false, sentinels, turn: 0 }
    }

    fn sentinel(&self) -> Option<Sentinel> {
        let index = self.turn.checked_rem(self.sentinels.len())?;
        self.sentinels.get(index).copied()
    }

    fn question(
        &mut self,
        address: IpAddr,
        probe: NodeProbe,
        round: u32,
        confirming: bool,
    ) -> Option<Question> {
        let kube_proxy_again = round.is_multiple_of(KUBE_PROXY_AGAIN) && !confirming;
        let fall_back = std::mem::take(&mut self.fall_back);
        let health = kube_proxy_port(probe).map(|port| Question::Http((address, port).into()));
        let sentinel = self.sentinel().map(|it| Question::Tcp((address, it.port).into()));
        match probe {
            NodeProbe::KubeProxy { .. } => health,
            NodeProbe::NodePort => sentinel,
            NodeProbe::Auto { .. } if fall_back => sentinel,
            NodeProbe::Auto { .. } if self.kube_proxy || kube_proxy_again => health,
            NodeProbe::Auto { .. } => sentinel.or(health),
        }
    }

    /// The meaning of an answer.
    fn judge(
        &mut self,
        question: &Question,
        result: Result<(), Failure>,
        probe: NodeProbe,
    ) -> Judgement {
        if let Question::Tcp(to) | Question::Udp(to) = question {
            return self.judge_sentinel(to.port(), result);
        }
        let answered = matches!(result, Ok(()) | Err(Failure::Status(_)));
        self.kube_proxy |= answered;
        // Where kube-proxy has answered, silence is the host's; a refusal may be its restart.
        let host_fails = self.kube_proxy && result != Err(Failure::Refused);
        let auto = matches!(probe, NodeProbe::Auto { .. });
        if auto && !answered && !host_fails && !self.sentinels.is_empty() {
            self.fall_back = true;
            return Judgement::AskAgain;
        }
        Judgement::Verdict(result)
    }

    /// A refusal at a NodePort that never passed anywhere speaks of its Service, not of the node.
    fn judge_sentinel(&mut self, port: u16, result: Result<(), Failure>) -> Judgement {
        if result.is_err() {
            self.turn = self.turn.wrapping_add(1);
        }
        let proven = self.sentinels.iter().any(|it| it.port == port && it.proven);
        match result {
            Err(Failure::Refused) if !proven => Judgement::Nothing,
            result => Judgement::Verdict(result),
        }
    }
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This, for the verdict.
    Verdict(Result<(), Failure>),
    /// Nothing yet: there is another way to ask.
    AskAgain,
    /// Nothing at all.
    Nothing,
}

impl Subject {
    pub(super) fn new(verdict: Verdict, ask: Ask, now: Duration) -> Self {
        Self {
            record: Record::new(verdict),
            ask,
            due: None,
            in_flight: false,
            since: now,
            last: Duration::ZERO,
            begun: Duration::ZERO,
            taken: None,
            rounds: 0,
        }
    }

    /// A probe begins.
    pub(super) fn sent(&mut self, now: Duration) {
        self.in_flight = true;
        self.begun = now;
    }

    /// A probe is over.
    pub(super) fn received(&mut self, result: Result<(), Failure>, now: Duration) {
        self.in_flight = false;
        self.last = now;
        if result.is_ok() {
            let took = now.saturating_sub(self.begun);
            let before = self.taken.unwrap_or_default();
            self.taken = Some(took.max(before - before / FORGET));
        }
    }

    /// When the last probe began.
    pub(super) fn begun(&self) -> Duration {
        self.begun
    }

    /// How long passes have taken: the slowest of late.
    pub(super) fn taken(&self) -> Option<Duration> {
        self.taken
    }

    /// Whether a probe has ever been sent.
    pub(super) fn asked(&self) -> bool {
        self.rounds > 0
    }

    /// Follows the NodePorts that may stand in for kube-proxy.
    pub(super) fn sentinels(&mut self, sentinels: &[Sentinel]) {
        if let Ask::Node(node) = &mut self.ask
            && node.sentinels != sentinels
        {
            node.sentinels = sentinels.to_vec();
        }
    }

    /// What to ask in this round; `None` where there is no way to ask.
    pub(super) fn ask(&mut self, target: &Target, probe: NodeProbe) -> Option<Question> {
        let confirming = self.record.verdict.in_doubt();
        let question = match (&mut self.ask, target) {
            (Ask::Node(node), Target::Node(address)) => {
                node.question(*address, probe, self.rounds, confirming)
            }
            (Ask::NodePort(port, check), Target::Port(_, claim, address)) => {
                let address = SocketAddr::new(*address, *port);
                Some(node_port_question(*claim, address, check.as_ref()))
            }
            (Ask::Local(port), Target::Local(_, address)) => {
                Some(Question::Http(SocketAddr::new(*address, *port)))
            }
            (Ask::Node(_), Target::Port(..) | Target::Local(..))
            | (Ask::NodePort(..), Target::Node(_) | Target::Local(..))
            | (Ask::Local(_), Target::Node(_) | Target::Port(..)) => None,
        };
        self.rounds = self.rounds.wrapping_add(1);
        question
    }

    /// What an answer means for the verdict.
    pub(super) fn judge(
        &mut self,
        question: &Question,
        result: Result<(), Failure>,
        probe: NodeProbe,
    ) -> Judgement {
        match &mut self.ask {
            Ask::Node(node) => node.judge(question, result, probe),
            Ask::NodePort(..) | Ask::Local(_) => Judgement::Verdict(result),
        }
    }
}

/// How long a host may take to answer at all that has taken `taken` before.
pub(super) fn patience(taken: Duration, timeout: Duration) -> Duration {
    taken.saturating_mul(PATIENCE).max(LEAST_PATIENCE).min(timeout)
}

/// `wait` ± 10 %, by a hash of whom and when: probes of many subjects do not march in step.
pub(super) fn jittered(wait: Duration, target: &Target, now: Duration) -> Duration {
    let mut hasher = SipHasher13::new();
    (target, now).hash(&mut hasher);
    let permille = u32::try_from(hasher.finish() % 201).unwrap_or(100) + 900;
    wait / 1_000 * permille
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_vary_by_a_tenth_and_do_not_march_in_step() {
        let wait = Duration::from_secs(1);
        let of = |last: u8| jittered(wait, &Target::Node([192, 0, 2, last].into()), Duration::ZERO);
        let mut all: Vec<Duration> = (1..=100).map(of).collect();
        assert!(all.iter().all(|one| (wait * 9 / 10..=wait * 11 / 10).contains(one)), "{all:?}");
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 50, "of a hundred nodes only {} differ", all.len());
        let again = jittered(wait, &Target::Node([192, 0, 2, 1].into()), wait);
        assert_ne!(again, of(1), "the next round is drawn anew");
    }
}
