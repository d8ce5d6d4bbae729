//! A node of the lab: `lab-node` in its namespace.

use std::{path::Path, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::{
    host::Host,
    process::{Process, Program, built},
};

const READY: Duration = Duration::from_secs(10);

/// A running node: serves NodePorts 30000 to 30031 over TCP and UDP, and kube-proxy's healthz.
#[derive(Debug)]
pub struct Node {
    host: Host,
    program: Program,
    process: Option<Process>,
}

impl Node {
    /// Starts it; `options` are further arguments of `lab-node`.
    pub fn start(host: &Host, logs: &Path, options: &[&str]) -> Result<Self> {
        let program = Program::new(host.name(), built("lab-node")?, logs)
            .arg(format!("--name={}", host.name()))
            .args(options.iter().copied());
        let mut node = Self { host: host.clone(), program, process: None };
        node.serve()?;
        Ok(node)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Power failure: the processes die without a word and the link goes down.
    pub fn die(&mut self) -> Result<()> {
        for leg in self.host.legs() {
            self.host.link(&leg.interface, false)?;
        }
        self.stop_serving()
    }

    /// The processes die, the host itself still answers (closed ports).
    pub fn stop_serving(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Comes back after [`Self::die`] or [`Self::stop_serving`].
    pub fn revive(&mut self) -> Result<()> {
        for leg in self.host.legs() {
            self.host.bring_up(leg)?;
        }
        self.serve()
    }

    /// Makes kube-proxy's health port answer 503, or 200 again.
    pub fn report_healthy(&self, healthy: bool) -> Result<()> {
        let signal = if healthy { Signal::SIGUSR2 } else { Signal::SIGUSR1 };
        self.process.as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    fn serve(&mut self) -> Result<()> {
        drop(std::fs::remove_file(self.program.stdout()));
        let mut process = self.program.start(self.host.namespace())?;
        process.wait_for_text("ready", READY)?;
        self.process = Some(process);
        Ok(())
    }
}
