//! Running cargo and other programs, shown before they run.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// The repository: the directory above this package.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A call of the cargo that called us.
pub(crate) struct Cargo {
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Cargo {
    pub(crate) fn new<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), env: Vec::new() }
    }

    pub(crate) fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    fn command(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(&self.args).current_dir(root());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    fn announce(&self) {
        println!("$ cargo {}", self.args.join(" "));
        drop(std::io::stdout().flush());
    }

    /// Runs it with our terminal.
    pub(crate) fn run(&self) -> Result<()> {
        self.announce();
        let status = self.command().status().context("cannot run cargo")?;
        ensure!(status.success(), "cargo {} ended with {status}", self.args.join(" "));
        Ok(())
    }

    /// Runs it, shows its standard output line by line and hands each line to `seen`. Returns
    /// whether it succeeded.
    pub(crate) fn watch(&self, mut seen: impl FnMut(&str)) -> Result<bool> {
        self.announce();
        let mut child =
            self.command().stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
        let stdout = child.stdout.take().context("no pipe from cargo")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            seen(&line);
        }
        Ok(child.wait()?.success())
    }

    /// Runs it and returns its standard output.
    pub(crate) fn output(&self) -> Result<String> {
        let mut command = self.command();
        let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo {} failed", self.args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Runs a program with our terminal; its exit status becomes ours.
pub(crate) fn program(path: &Path, args: &[&str]) -> Result<()> {
    let status = Command::new(path)
        .args(args)
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run {}", path.display()))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => std::process::exit(code),
        None => bail!("{} ended with {status}", path.display()),
    }
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// The path of a binary that cargo built.
pub(crate) fn built(profile: &str, name: &str) -> Result<PathBuf> {
    let path = target_dir().join(profile).join(name);
    ensure!(path.exists(), "{} was not built", path.display());
    Ok(path)
}

/// Where a command is found: on PATH, or where Debian keeps what only root uses.
pub(crate) fn which(command: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut dirs = env::split_paths(&path).chain(extra);
    dirs.find_map(|dir| Some(dir.join(command)).filter(|file| file.is_file()))
}

/// Whether we run as root (the owner of our own process).
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// An error that says what to do, for verbs that make network namespaces.
pub(crate) fn require_root(verb: &str) -> Result<()> {
    ensure!(
        is_root(),
        "`cargo xtask {verb}` makes networks in namespaces and loads programs into the kernel: \
         run it as root (`sudo -E env PATH=$PATH cargo xtask {verb}`)"
    );
    Ok(())
}
