//! The appliance as the README installs it: the README's own commands fill a tree of the lab, and
//! the daemons run in it under the users, capabilities and filters of their unit files.
//!
//! Process 1 of the lab is no systemd, so `lab-confine` does to a command what systemd would do,
//! [`Supervisor`] starts it again, and a socket of the lab hears sd_notify(3).

use std::{
    cell::RefCell,
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    edge::{Manifests, Status},
    host::Host,
    process::{Program, built, built_binaries},
    supervisor::Supervisor,
    topology::Lab,
    unit::Unit,
    wait::eventually,
};

/// The path by which a unit's programs know the service manager's socket.
const NOTIFY: &str = "/run/systemd/notify";
/// How long a unit of type notify may take until it says READY=1.
const READY: Duration = Duration::from_secs(15);

/// An installed edge host.
#[derive(Debug)]
pub struct Installed {
    // The daemons first: fields are dropped in order, and what they use goes after them.
    running: Vec<(String, Supervisor)>,
    notified: UnixDatagram,
    told: RefCell<Vec<String>>,
    host: Host,
    tree: PathBuf,
    logs: PathBuf,
    /// The directory source, `/etc/roadstead/manifests`.
    pub manifests: Manifests,
}

impl Installed {
    /// Runs the commands of the README's section "Install" on the edge host of a lab, with the
    /// programs that cargo built; then writes `roadstead.toml` and mounts the bpffs.
    pub fn install(lab: &Lab, checkout: &Path, toml: &str) -> Result<Self> {
        let tree = lab.dir().join("installed");
        for part in ["etc/systemd/system", "run/systemd", "var/lib", "usr", "usr.upper", "usr.work"]
        {
            let path = tree.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let notified = UnixDatagram::bind(tree.join(&NOTIFY[1..]))?;
        fs::set_permissions(tree.join(&NOTIFY[1..]), fs::Permissions::from_mode(0o777))?;
        notified.set_nonblocking(true)?;
        let installed = Self {
            running: Vec::new(),
            notified,
            told: RefCell::default(),
            host: lab.edge()?.clone(),
            logs: lab.logs(),
            manifests: Manifests::new(tree.join("etc/roadstead/manifests")),
            tree,
        };
        installed.mount_usr()?;
        for command in install_commands(&fs::read_to_string(checkout.join("README.md"))?)? {
            installed.run_in(checkout, &command)?;
        }
        fs::write(installed.tree.join("etc/roadstead/roadstead.toml"), toml)?;
        installed.mount_bpffs()?;
        Ok(installed)
    }

    /// `/usr` is the machine's with a layer of the lab's above.
    fn mount_usr(&self) -> Result<()> {
        let tree = self.tree.display();
        let options = format!("lowerdir=/usr,upperdir={tree}/usr.upper,workdir={tree}/usr.work");
        let on = format!("{tree}/usr");
        self.host.run(&["mount", "-t", "overlay", "-o", &options, "overlay", &on]).map(drop)
    }

    /// As the mount unit says.
    fn mount_bpffs(&self) -> Result<()> {
        let unit = self.unit("run-roadstead-bpf.mount")?;
        let say = |key| unit.last("Mount", key).ok_or_else(|| anyhow!("the mount has no {key}="));
        let on = self.path(say("Where")?).display().to_string();
        let (kind, options, what) = (say("Type")?, say("Options")?, say("What")?);
        self.host.run(&["mount", "-t", kind, "-o", options, what, &on]).map(drop)
    }

    /// One command of the README, by bash, with the built programs in the place of release ones.
    fn run_in(&self, checkout: &Path, command: &str) -> Result<()> {
        let programs = built_binaries()?.display().to_string();
        let command = command.replace("target/release", &programs);
        let line = format!("set -e; cd '{}'; {command}", checkout.display());
        self.as_root(&["bash", "-c", &line]).map(drop)
    }

    /// Where a path of the installed machine is on this one.
    pub fn path(&self, path: &str) -> PathBuf {
        self.tree.join(path.trim_start_matches('/'))
    }

    /// An installed unit.
    pub fn unit(&self, name: &str) -> Result<Unit> {
        Unit::read(&self.unit_path(name))
    }

    fn unit_path(&self, name: &str) -> PathBuf {
        self.path("/etc/systemd/system").join(name)
    }

    /// Runs a command in the tree as root, whatever its status.
    pub fn output_as_root(&self, command: &[&str]) -> Result<Output> {
        let (confine, tree) = self.confine()?;
        let mut line = vec![confine.as_str(), "--tree", tree.as_str(), "--"];
        line.extend(command);
        self.host.output(&line)
    }

    /// Runs a command in the tree as root and wants success; returns its output.
    pub fn as_root(&self, command: &[&str]) -> Result<String> {
        let output = self.output_as_root(command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{command:?}: {}: {text}{said}", output.status);
        Ok(text)
    }

    fn confine(&self) -> Result<(String, String)> {
        Ok((built("lab-confine")?.display().to_string(), self.tree.display().to_string()))
    }

    /// Runs the commands of a oneshot unit, as at its start (`ExecStart`) or its end (`ExecStop`).
    pub fn run_oneshot(&self, name: &str, key: &str) -> Result<String> {
        let unit = self.unit(name)?;
        ensure!(unit.last("Service", "Type") == Some("oneshot"), "{name} is no oneshot");
        self.run_before(&unit)?;
        let command = self.command(name, &unit, key)?;
        let line: Vec<&str> = command.iter().map(String::as_str).collect();
        self.host.run(&line)
    }

    /// `ExecStartPre=` with `+`: with full privileges.
    fn run_before(&self, unit: &Unit) -> Result<()> {
        for line in unit.values("Service", "ExecStartPre") {
            let Some(command) = line.strip_prefix('+') else { bail!("`{line}` is not run here") };
            self.as_root(&command.split_whitespace().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// The command of a unit, confined as the unit says.
    fn command(&self, name: &str, unit: &Unit, key: &str) -> Result<Vec<String>> {
        let line = unit.last("Service", key).ok_or_else(|| anyhow!("{name} has no {key}="))?;
        self.under(name, line.trim_start_matches('-').split_whitespace())
    }

    fn under<'a>(
        &self,
        name: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<String>> {
        let (confine, tree) = self.confine()?;
        let unit = self.unit_path(name).display().to_string();
        let head = [confine, "--tree".into(), tree, "--unit".into(), unit, "--".into()];
        Ok(head.into_iter().chain(words.into_iter().map(str::to_owned)).collect())
    }

    /// Runs any command as a unit's would be, whatever its status.
    pub fn output_under(&self, name: &str, command: &[&str]) -> Result<Output> {
        let line = self.under(name, command.iter().copied())?;
        self.host.output(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a unit of type notify, keeps it running, and waits for READY=1.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let unit = self.unit(name)?;
        ensure!(unit.last("Service", "Type") == Some("notify"), "{name} is not of type notify");
        self.run_before(&unit)?;
        let command = self.command(name, &unit, "ExecStart")?;
        let (confine, args) = command.split_first().ok_or_else(|| anyhow!("no command"))?;
        let seconds: u64 = unit.last("Service", "WatchdogSec").unwrap_or("0").parse()?;
        let program = Program::new(name, confine, &self.logs)
            .args(args)
            .env("NOTIFY_SOCKET", NOTIFY)
            .env("WATCHDOG_USEC", &(seconds * 1_000_000).to_string())
            .env("ROADSTEAD_LOG", "debug");
        let supervisor = Supervisor::start(program, self.host.namespace().clone())?;
        self.running.push((name.to_owned(), supervisor));
        self.await_ready(name)
    }

    /// The supervisor of a started unit.
    pub fn running(&self, name: &str) -> Result<&Supervisor> {
        let found = self.running.iter().find(|(running, _)| running == name);
        found.map(|(_, supervisor)| supervisor).ok_or_else(|| anyhow!("{name} was not started"))
    }

    /// Waits until a daemon says READY=1. One at a time is waited for.
    pub fn await_ready(&self, name: &str) -> Result<()> {
        eventually(&format!("READY=1 from {name}"), READY, || {
            while let Some(text) = self.hear() {
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            }
            let ends = self.running(name)?.ends();
            bail!("it has ended by {ends:?}; the end of its log: {}", self.log_tail(name))
        })
    }

    /// The next message to the service manager, where there is one.
    fn hear(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.notified.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        self.told.borrow_mut().push(text.clone());
        Some(text)
    }

    /// Every message to the service manager so far.
    pub fn told(&self) -> Vec<String> {
        while self.hear().is_some() {}
        self.told.borrow().clone()
    }

    /// The last lines of a unit's log.
    pub fn log_tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.logs.join(format!("{name}.err"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// `roadstead status -o json`, asked by root.
    pub fn status(&self) -> Result<Status> {
        let output = self.output_as_root(&["roadstead", "status", "-o", "json"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&text)
            .with_context(|| format!("status ended with {}: {text}{said}", output.status))
    }

    /// A field of `/proc/PID/status` of a started unit.
    pub fn process_field(&self, name: &str, field: &str) -> Result<String> {
        let pid = self.running(name)?.pid()?;
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned()).ok_or_else(|| anyhow!("no field {field}"))
    }
}

/// The commands of the README that install: the indented ones of its section, but for the build,
/// for what only a cluster or a running systemd can do, and for `sysctl`, which knows no tree.
pub fn install_commands(readme: &str) -> Result<Vec<String>> {
    let section = readme.split("\n## ").find(|section| section.starts_with("Install"));
    let section = section.ok_or_else(|| anyhow!("the README has no section Install"))?;
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    let words = ["install ", "mkdir ", "systemd-sysusers"];
    let commands = lines.filter(|line| words.iter().any(|word| line.starts_with(word)));
    Ok(commands.map(|line| line.replace(" && sysctl --system", "")).collect())
}
