//! The edge host with the two daemons, as they were built, under a supervisor.
//!
//! The lab knows of them what a user knows: `--config FILE`, the directory of manifests, and
//! `roadstead status -o json`.

mod manifests;
mod status;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Output},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};

pub use manifests::{Manifests, ServiceYaml, endpoint_slice_yaml, node_yaml};
pub use status::{Announced, Backend, Condition, Daemon, Port, Service, Status};

use crate::{
    host::Host,
    process::{Program, built},
    supervisor::Supervisor,
    topology::Lab,
    wait::eventually,
};

/// How long a daemon may take until it reports ready.
const READY: Duration = Duration::from_secs(15);
/// Within what the supervisor has started a daemon again.
const RESTART: Duration = Duration::from_secs(10);

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DaemonName {
    /// `roadstead-speaker`
    Speaker,
    /// `roadstead-router`
    Router,
}

impl DaemonName {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Speaker, Self::Router];

    /// As `status` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Speaker => "speaker",
            Self::Router => "router",
        }
    }
}

/// An edge host that can run the daemons.
#[derive(Debug)]
pub struct Edge {
    // The daemons first: fields are dropped in order, and what they use goes after them.
    speaker: Option<Supervisor>,
    router: Option<Supervisor>,
    _bpffs: Bpffs,
    host: Host,
    dir: PathBuf,
    logs: PathBuf,
    log_level: &'static str,
    /// The directory source.
    pub manifests: Manifests,
}

impl Edge {
    /// Writes a configuration of paths and one directory source with `toml` behind it (pools,
    /// `[speaker]`, `[router]`), mounts a bpffs, starts nothing.
    pub fn prepare(lab: &Lab, toml: &str) -> Result<Self> {
        Self::prepare_on(lab, lab.edge()?, toml)
    }

    /// The same on any host: each has a directory of its own, and logs with its name before them.
    pub fn prepare_on(lab: &Lab, host: &Host, toml: &str) -> Result<Self> {
        let dir = lab.dir().join(host.name());
        for part in ["state", "run", "bpf", "manifests"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let edge = Self {
            speaker: None,
            router: None,
            _bpffs: Bpffs::mount(dir.join("bpf"))?,
            host: host.clone(),
            logs: lab.logs(),
            log_level: "debug",
            manifests: Manifests::new(dir.join("manifests")),
            dir,
        };
        edge.configure(toml)?;
        Ok(edge)
    }

    /// Prepares and starts both daemons.
    pub fn start(lab: &Lab, toml: &str) -> Result<Self> {
        let mut edge = Self::prepare(lab, toml)?;
        edge.start_daemon(DaemonName::Speaker)?;
        edge.start_daemon(DaemonName::Router)?;
        Ok(edge)
    }

    /// Writes the configuration anew (atomically); the daemons read it at SIGHUP.
    pub fn configure(&self, toml: &str) -> Result<()> {
        let dir = self.dir.display();
        let text = format!(
            "[paths]\nstate = \"{dir}/state\"\nruntime = \"{dir}/run\"\nbpffs = \"{dir}/bpf\"\n\n\
             [[source]]\nname = \"local\"\ndirectory = \"{dir}/manifests\"\n\n{toml}\n"
        );
        let draft = self.dir.join("roadstead.toml.new");
        fs::write(&draft, text)?;
        fs::rename(&draft, self.config())?;
        Ok(())
    }

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("roadstead.toml")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The directory of the local sockets.
    pub fn runtime(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Has daemons that are started from now on log like an installed one, not every step: for
    /// measurements.
    pub fn log_sparsely(&mut self) {
        self.log_level = "info";
    }

    /// Starts one daemon under a supervisor.
    pub fn start_daemon(&mut self, daemon: DaemonName) -> Result<()> {
        let name = format!("roadstead-{}", daemon.as_str());
        let program = Program::new(&self.log_name(&name), built(&name)?, &self.logs)
            .arg("--config")
            .arg(self.config().display().to_string())
            .env("ROADSTEAD_LOG", self.log_level);
        let started = Supervisor::start(program, self.host.namespace().clone())?;
        *self.slot(daemon) = Some(started);
        Ok(())
    }

    /// How the logs of a program are called: those of the only edge host as the program.
    fn log_name(&self, program: &str) -> String {
        match self.host.name() {
            "edge" => program.to_owned(),
            host => format!("{host}-{program}"),
        }
    }

    /// Ends one daemon for good by SIGKILL.
    pub fn kill_daemon(&mut self, daemon: DaemonName) {
        if let Some(mut supervisor) = self.slot(daemon).take() {
            supervisor.kill();
        }
    }

    /// Stops one daemon for good by SIGTERM.
    pub fn stop_daemon(&mut self, daemon: DaemonName) {
        self.slot(daemon).take();
    }

    /// The supervisor of a running daemon.
    pub fn daemon(&self, daemon: DaemonName) -> Result<&Supervisor> {
        let slot = match daemon {
            DaemonName::Speaker => &self.speaker,
            DaemonName::Router => &self.router,
        };
        slot.as_ref().ok_or_else(|| anyhow!("the {} was not started", daemon.as_str()))
    }

    /// Ends a daemon by a signal, waits until it was started again and is ready again.
    pub fn restart(&self, daemon: DaemonName, signal: Signal) -> Result<ExitStatus> {
        let status = self.daemon(daemon)?.restart(signal, RESTART)?;
        self.wait_ready(daemon)?;
        Ok(status)
    }

    /// Waits until a daemon has written a text to its log.
    pub fn wait_log(&self, daemon: DaemonName, text: &str, within: Duration) -> Result<()> {
        let file = self.daemon(daemon)?.program().stderr();
        eventually(&format!("`{text}` in {}", file.display()), within, || {
            let log = fs::read_to_string(&file)?;
            ensure!(
                log.contains(text),
                "its last line: {}",
                log.lines().last().unwrap_or_default()
            );
            Ok(())
        })
    }

    /// SIGHUP.
    pub fn reload(&self, daemon: DaemonName) -> Result<()> {
        self.daemon(daemon)?.signal(Signal::SIGHUP)
    }

    /// Waits until a daemon says that it is ready.
    pub fn wait_ready(&self, daemon: DaemonName) -> Result<()> {
        eventually(&format!("the {} is ready", daemon.as_str()), READY, || {
            let status = self.status()?;
            let found = status.daemons.iter().find(|entry| entry.name == daemon.as_str());
            ensure!(found.is_some_and(|entry| entry.ready), "{:?}", status.daemons);
            Ok(())
        })
    }

    /// Runs `roadstead` with this configuration.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let program = built("roadstead")?.display().to_string();
        let config = self.config().display().to_string();
        let mut line = vec![program.as_str()];
        line.extend(arguments);
        line.extend(["--config", config.as_str()]);
        self.host.output(&line)
    }

    /// Runs `roadstead` and wants exit status 0.
    pub fn cli_ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cli(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "roadstead {arguments:?}: {}: {text}{said}",
            output.status
        );
        Ok(text)
    }

    /// `roadstead status -o json`.
    pub fn status(&self) -> Result<Status> {
        let output = self.cli(&["status", "-o", "json"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&text)
            .with_context(|| format!("status ended with {}: {text}{said}", output.status))
    }

    /// Waits until `wanted` of the status of a Service (`NAMESPACE/NAME`) is there.
    pub fn wait_service<T>(
        &self,
        service: &str,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&Service) -> Option<T>,
    ) -> Result<T> {
        eventually(&format!("{service}: {what}"), within, || {
            let status = self.status()?;
            let found = status.service(service)?;
            wanted(found).ok_or_else(|| anyhow!("its status: {found:?}"))
        })
    }

    /// Waits until a Service holds and announces its addresses; returns them.
    pub fn wait_announced(&self, service: &str, within: Duration) -> Result<Vec<std::net::IpAddr>> {
        self.wait_service(service, "announced", within, |found| {
            let all = found
                .addresses
                .iter()
                .all(|address| found.announced.iter().any(|entry| entry.address == *address));
            (all && !found.addresses.is_empty()).then(|| found.addresses.clone())
        })
    }

    /// Waits until a condition of a Service has this reason.
    pub fn wait_reason(&self, service: &str, reason: &str, within: Duration) -> Result<Condition> {
        self.wait_service(service, &format!("reason {reason}"), within, |found| {
            found.conditions.iter().find(|condition| condition.reason == reason).cloned()
        })
    }

    /// Beside the logs, what `status` and the maps say: for a failed test.
    pub fn dump(&self) {
        let status = self.cli(&["status", "-o", "json"]).map(|output| output.stdout);
        let status_file = self.logs.join(self.log_name("status.json"));
        drop(fs::write(status_file, status.unwrap_or_default()));
        drop(fs::copy(self.config(), self.logs.join(self.log_name("roadstead.toml"))));
        drop(self.dump_maps());
    }

    /// Every pinned map by bpftool, where there is one.
    fn dump_maps(&self) -> Result<()> {
        for file in files_below(&self.bpffs())? {
            let path = file.display().to_string();
            let output = self.host.output(&["bpftool", "map", "dump", "pinned", &path])?;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if output.status.success() && output.stdout.len() < 4 << 20 {
                fs::write(self.logs.join(format!("map-{name}.txt")), output.stdout)?;
            }
        }
        Ok(())
    }

    fn slot(&mut self, daemon: DaemonName) -> &mut Option<Supervisor> {
        match daemon {
            DaemonName::Speaker => &mut self.speaker,
            DaemonName::Router => &mut self.router,
        }
    }
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A bpffs on a directory of the lab, unmounted on drop.
///
/// The programs in the lab are started with setns, never by `ip netns exec`: that remounts /sys
/// and hides the pins of a bpffs below it.
#[derive(Debug)]
struct Bpffs(PathBuf);

impl Bpffs {
    fn mount(path: PathBuf) -> Result<Self> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("bpf"), &path, Some("bpf"), flags, Some("mode=0700"))
            .with_context(|| format!("cannot mount a bpffs on {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

/// A port of `status`, for messages.
impl Port {
    /// The backends in a state, by node name.
    pub fn nodes_in(&self, state: &str) -> Vec<&str> {
        let in_state = self.backends.iter().filter(|backend| backend.state == state);
        in_state.map(|backend| backend.node.as_str()).collect()
    }
}

impl Status {
    /// A Service by `NAMESPACE/NAME`.
    pub fn service(&self, name: &str) -> Result<&Service> {
        let Some((namespace, name)) = name.split_once('/') else {
            bail!("`{name}` is not NAMESPACE/NAME");
        };
        let found = self.services.iter().find(|s| s.namespace == namespace && s.name == name);
        found.ok_or_else(|| anyhow!("no Service {namespace}/{name} in status"))
    }
}
