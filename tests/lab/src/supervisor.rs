//! Keeps one program running, as the service manager of an installed machine would.
//!
//! One thread waits for the program's end and starts it again; it is stopped and joined on drop.

use std::{
    process::{Child, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    netns::Namespace,
    process::{Program, end},
    wait::eventually,
};

/// Pause before a start, like `RestartSec=` of a unit.
const RESTART_AFTER: Duration = Duration::from_millis(100);

/// A program that is started again whenever it ends.
#[derive(Debug)]
pub struct Supervisor {
    program: Program,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    child: Child,
    starts: u32,
    ends: Vec<ExitStatus>,
    stopping: bool,
}

impl Supervisor {
    /// Starts the program in a namespace and keeps it running.
    pub fn start(program: Program, namespace: Arc<Namespace>) -> Result<Self> {
        let child = namespace.enter(|| program.spawn())?;
        let state = State { child, starts: 1, ends: Vec::new(), stopping: false };
        let state = Arc::new(Mutex::new(state));
        let thread = {
            let (program, state) = (program.clone(), Arc::clone(&state));
            thread::Builder::new()
                .name(format!("keep {}", program.name))
                .spawn(move || keep(&program, &namespace, &state))
                .context("cannot start the supervisor's thread")?
        };
        Ok(Self { program, state, thread: Some(thread) })
    }

    /// The program as it is started.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The current process.
    pub fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(lock(&self.state).child.id())?))
    }

    /// How often it has been started.
    pub fn starts(&self) -> u32 {
        lock(&self.state).starts
    }

    /// How it ended, each time.
    pub fn ends(&self) -> Vec<ExitStatus> {
        lock(&self.state).ends.clone()
    }

    /// Sends a signal to the current process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal)
            .with_context(|| format!("cannot send {signal} to {}", self.program.name))
    }

    /// Sends a signal to the current process if there is one right now, and says whether there was.
    pub fn signal_if_running(&self, signal: Signal) -> Result<bool> {
        let mut state = lock(&self.state);
        // A process that has not been waited for keeps its number.
        if state.child.try_wait()?.is_some() {
            return Ok(false);
        }
        kill(Pid::from_raw(i32::try_from(state.child.id())?), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.program.name))?;
        Ok(true)
    }

    /// Sends a signal that ends the process and waits until the next one was started.
    pub fn restart(&self, signal: Signal, within: Duration) -> Result<ExitStatus> {
        let before = self.starts();
        self.signal(signal)?;
        eventually(&format!("{} started again", self.program.name), within, || {
            let state = lock(&self.state);
            ensure!(state.starts > before, "still its {before}. start");
            state.ends.last().copied().ok_or_else(|| anyhow!("it has not ended"))
        })
    }

    /// Ends the program for good by SIGKILL.
    pub fn kill(&mut self) {
        {
            let mut state = lock(&self.state);
            state.stopping = true;
            drop(state.child.kill());
            drop(state.child.wait());
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    /// Stops the program for good: SIGTERM, after five seconds SIGKILL.
    pub fn stop(&mut self) {
        {
            let mut state = lock(&self.state);
            state.stopping = true;
            end(&mut state.child);
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The supervisor's thread: until told to stop or until the program cannot be started.
fn keep(program: &Program, namespace: &Namespace, state: &Mutex<State>) {
    loop {
        match await_end(state) {
            Some(status) => lock(state).ends.push(status),
            None => return,
        }
        thread::sleep(RESTART_AFTER);
        let mut state = lock(state);
        if state.stopping {
            return;
        }
        let Ok(child) = namespace.enter(|| program.spawn()) else { return };
        state.child = child;
        state.starts += 1;
    }
}

/// Waits for the end of the current process; none when the supervisor is stopping.
fn await_end(state: &Mutex<State>) -> Option<ExitStatus> {
    loop {
        {
            let mut state = lock(state);
            if state.stopping {
                return None;
            }
            if let Ok(Some(status)) = state.child.try_wait() {
                return Some(status);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
