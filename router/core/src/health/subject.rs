//! One thing that is probed: what it is asked next, and what an answer means for it.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use roadstead_model::config::NodeProbe;
use siphasher::sip::SipHasher13;

use super::{
    Failure, Question, Target, kube_proxy_port, node_port_question,
    verdict::{Record, Verdict},
};

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
    pub(super) last: Duration,
    rounds: u32,
}

/// What a subject is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// A node's address.
    Node(NodeAsk),
    /// This NodePort.
    NodePort(u16),
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
    sentinels: Vec<u16>,
    /// Index of the sentinel to use; moves on when one fails.
    turn: usize,
}

impl NodeAsk {
    pub(super) fn new(sentinels: Vec<u16>) -> Self {
        Self { kube_proxy: false, fall_back: false, sentinels, turn: 0 }
    }

    fn sentinel(&self) -> Option<u16> {
        let index = self.turn.checked_rem(self.sentinels.len())?;
        self.sentinels.get(index).copied()
    }

    fn question(&mut self, address: IpAddr, probe: NodeProbe, round: u32) -> Option<Question> {
        let fall_back = std::mem::take(&mut self.fall_back);
        let health = kube_proxy_port(probe).map(|port| Question::Http((address, port).into()));
        let sentinel = self.sentinel().map(|port| Question::Tcp((address, port).into()));
        match probe {
            NodeProbe::KubeProxy { .. } => health,
            NodeProbe::NodePort => sentinel,
            NodeProbe::Auto { .. } if fall_back => sentinel,
            NodeProbe::Auto { .. } if self.kube_proxy || round.is_multiple_of(KUBE_PROXY_AGAIN) => {
                health
            }
            NodeProbe::Auto { .. } => sentinel.or(health),
        }
    }

    /// The meaning of an answer; `None`: it says nothing, ask the other way now.
    fn judge(
        &mut self,
        question: Question,
        result: Result<(), Failure>,
        probe: NodeProbe,
    ) -> Option<Result<(), Failure>> {
        let health = matches!(question, Question::Http(_));
        let answered = matches!(result, Ok(()) | Err(Failure::Status(_)));
        if health && answered {
            self.kube_proxy = true;
        }
        if !health && result.is_err() {
            self.turn = self.turn.wrapping_add(1);
        }
        let auto = matches!(probe, NodeProbe::Auto { .. });
        if auto && health && !answered && !self.sentinels.is_empty() {
            self.fall_back = true;
            return None;
        }
        Some(result)
    }
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
            rounds: 0,
        }
    }

    /// Whether a probe has ever been sent.
    pub(super) fn asked(&self) -> bool {
        self.rounds > 0
    }

    /// Follows the NodePorts that may stand in for kube-proxy.
    pub(super) fn sentinels(&mut self, sentinels: &[u16]) {
        if let Ask::Node(node) = &mut self.ask
            && node.sentinels != sentinels
        {
            node.sentinels = sentinels.to_vec();
        }
    }

    /// What to ask in this round; `None` where there is no way to ask.
    pub(super) fn ask(&mut self, target: &Target, probe: NodeProbe) -> Option<Question> {
        let question = match (&mut self.ask, target) {
            (Ask::Node(node), Target::Node(address)) => node.question(*address, probe, self.rounds),
            (Ask::NodePort(port), Target::Port(_, claim, address)) => {
                Some(node_port_question(*claim, SocketAddr::new(*address, *port)))
            }
            (Ask::Local(port), Target::Local(_, address)) => {
                Some(Question::Http(SocketAddr::new(*address, *port)))
            }
            (Ask::Node(_), Target::Port(..) | Target::Local(..))
            | (Ask::NodePort(_), Target::Node(_) | Target::Local(..))
            | (Ask::Local(_), Target::Node(_) | Target::Port(..)) => None,
        };
        self.rounds = self.rounds.wrapping_add(1);
        question
    }

    /// What an answer means for the verdict; `None`: nothing, ask again at once.
    pub(super) fn judge(
        &mut self,
        question: Question,
        result: Result<(), Failure>,
        probe: NodeProbe,
    ) -> Option<Result<(), Failure>> {
        match &mut self.ask {
            Ask::Node(node) => node.judge(question, result, probe),
            Ask::NodePort(_) | Ask::Local(_) => Some(result),
        }
    }
}

/// `wait` ± 10 %, by a hash of whom and when: probes of many subjects do not march in step.
pub(super) fn jittered(wait: Duration, target: &Target, now: Duration) -> Duration {
    let mut hasher = SipHasher13::new();
    (target, now).hash(&mut hasher);
    let permille = u32::try_from(hasher.finish() % 201).unwrap_or(100) + 900;
    wait / 1_000 * permille
}
