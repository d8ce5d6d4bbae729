//! What happened to each request.

use std::{cell::RefCell, io, time::Duration};

use roadstead_lab::load::{Latency, Report};
use tokio::time::Instant;

/// How one request ended.
pub(crate) enum Outcome {
    /// Answered by a node.
    Ok(String),
    /// No answer in time.
    Lost,
    /// An error of the socket or of the conversation.
    Failed(io::Error),
}

/// Collects outcomes.
pub(crate) struct Record(RefCell<State>);

struct State {
    report: Report,
    latencies: Vec<u64>,
    last_answer: Instant,
    longest_gap: Duration,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(State {
            report: Report::default(),
            latencies: Vec::new(),
            last_answer: Instant::now(),
            longest_gap: Duration::ZERO,
        }))
    }

    pub(crate) fn sent(&self) {
        self.0.borrow_mut().report.sent += 1;
    }

    /// An established connection is answered by another node than before.
    pub(crate) fn moved(&self) {
        self.0.borrow_mut().report.moved += 1;
    }

    pub(crate) fn ended(&self, due: Instant, outcome: Outcome) {
        let state = &mut *self.0.borrow_mut();
        match outcome {
            Outcome::Ok(node) => state.answered(due, node),
            Outcome::Lost => state.report.lost += 1,
            Outcome::Failed(error) => state.failed(&error),
        }
    }

    pub(crate) fn report(&self) -> Report {
        let state = &mut *self.0.borrow_mut();
        state.latencies.sort_unstable();
        let mut report = state.report.clone();
        report.latency_us = percentiles(&state.latencies);
        report.longest_gap_ms = u64::try_from(state.longest_gap.as_millis()).unwrap_or(u64::MAX);
        report
    }
}

impl State {
    fn answered(&mut self, due: Instant, node: String) {
        let now = Instant::now();
        if self.report.ok == 0 {
            eprintln!("first answer");
        }
        self.report.ok += 1;
        *self.report.by_node.entry(node).or_default() += 1;
        self.longest_gap = self.longest_gap.max(now - self.last_answer);
        self.last_answer = now;
        self.latencies.push(u64::try_from((now - due).as_micros()).unwrap_or(u64::MAX));
    }

    fn failed(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => self.report.refused += 1,
            _ => self.report.reset += 1,
        }
        *self.report.errors.entry(error.to_string()).or_default() += 1;
    }
}

fn percentiles(sorted: &[u64]) -> Latency {
    let at = |percent: usize| {
        let index = sorted.len().saturating_sub(1) * percent / 100;
        sorted.get(index).copied().unwrap_or_default()
    };
    Latency { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
}
