//! A program in a namespace, with its output in files.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{netns::Namespace, wait::eventually};

/// How long a process has between SIGTERM and SIGKILL when it is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// What to start, and under which name its logs are kept.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the log files.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Additions to the environment.
    pub env: Vec<(String, String)>,
    /// Where `NAME.out` and `NAME.err` go; appended to when started again.
    pub logs: PathBuf,
}

impl Program {
    /// A program without arguments.
    pub fn new(name: &str, path: impl Into<PathBuf>, logs: &Path) -> Self {
        Self {
            name: name.to_owned(),
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            logs: logs.to_owned(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The file of its standard output.
    pub fn stdout(&self) -> PathBuf {
        self.logs.join(format!("{}.out", self.name))
    }

    /// The file of its standard error.
    pub fn stderr(&self) -> PathBuf {
        self.logs.join(format!("{}.err", self.name))
    }

    /// Starts it in a namespace.
    pub fn start(&self, namespace: &Namespace) -> Result<Process> {
        let child = namespace.enter(|| self.spawn())?;
        Ok(Process { program: self.clone(), child: Some(child) })
    }

    pub(crate) fn spawn(&self) -> Result<Child> {
        let append = |path: PathBuf| {
            File::options()
                .create(true)
                .append(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))
        };
        Command::new(&self.path)
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(append(self.stdout())?)
            .stderr(append(self.stderr())?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))
    }
}

/// A running program; dropped: SIGTERM, after five seconds SIGKILL.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Option<Child>,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> Result<Pid> {
        let child = self.child.as_ref().ok_or_else(|| anyhow!("{} is over", self.program.name))?;
        Ok(Pid::from_raw(i32::try_from(child.id())?))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal)
            .with_context(|| format!("cannot send {signal} to {}", self.program.name))
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.program.stdout()).unwrap_or_default()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.program.stderr()).unwrap_or_default()
    }

    /// Waits until a text appears in either output; fails at once when the process ends.
    pub fn wait_for_text(&mut self, text: &str, within: Duration) -> Result<()> {
        let what = format!("`{text}` from {}", self.program.name);
        eventually(&what, within, || {
            if self.stderr().contains(text) || self.stdout().contains(text) {
                return Ok(Ok(()));
            }
            match self.exited()? {
                Some(status) => Ok(Err(anyhow!("{status}; it said: {}", self.stderr()))),
                None => bail!("it has said: {}", self.stderr()),
            }
        })?
        .with_context(|| format!("waiting for {what}"))
    }

    /// Waits for the end.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.program.name);
        let status =
            eventually(&what, within, || self.exited()?.ok_or_else(|| anyhow!("it runs on")))?;
        Ok(status)
    }

    /// SIGTERM and the end; an end by any other signal or with a failure is an error.
    pub fn stop(&mut self, within: Duration) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(within)?;
        let fine = status.success() || status.signal() == Some(Signal::SIGTERM as i32);
        ensure!(fine, "{} ended with {status}: {}", self.program.name, self.stderr());
        Ok(())
    }

    /// SIGKILL, and the end.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait(GRACE).map(drop)
    }

    /// How it ended; none while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match self.child.as_mut() {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        end(&mut child);
    }
}

/// SIGTERM, a bounded wait, SIGKILL. Errors mean that it is gone already.
pub(crate) fn end(child: &mut Child) {
    if let (Ok(None), Ok(pid)) = (child.try_wait(), i32::try_from(child.id())) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let ended = eventually("the end of a process", GRACE, || {
        child.try_wait()?.ok_or_else(|| anyhow!("it runs on"))
    });
    if ended.is_err() {
        drop(child.kill());
        drop(child.wait());
    }
}

/// The directory of the programs that cargo built beside the running one.
pub fn built_binaries() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("LAB_BIN_DIR") {
        return Ok(dir.into());
    }
    let own = std::env::current_exe().context("cannot tell the path of the running program")?;
    let dir = own.parent().ok_or_else(|| anyhow!("{} has no directory", own.display()))?;
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    Ok(dir.to_owned())
}

/// The path of one program that cargo built; an error that says how to build it.
pub fn built(name: &str) -> Result<PathBuf> {
    let path = built_binaries()?.join(name);
    ensure!(
        path.exists(),
        "{} is not built: run `cargo build --workspace --bins` (`cargo xtask test` does)",
        path.display()
    );
    Ok(path)
}
