//! One network namespace: made, entered by a thread of its own, removed.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where `ip netns` and `nsenter --net=` look for names.
const NETNS_DIR: &str = "/run/netns";
/// Start of every name: `rs-PID-N-HOST`.
const PREFIX: &str = "rs-";

/// A network namespace with a name in `/run/netns`, removed on drop. Processes that still run
/// inside keep it alive without the name: stop them first.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
}

impl Namespace {
    /// Makes an empty namespace; its loopback is still down.
    pub fn new(name: &str) -> Result<Self> {
        fs::create_dir_all(NETNS_DIR).with_context(|| format!("cannot make {NETNS_DIR}"))?;
        let path = Path::new(NETNS_DIR).join(name);
        File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let namespace = Self { name: name.to_owned(), path };
        in_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("cannot make a network namespace (run the tests as root)")?;
            bind("/proc/thread-self/ns/net", &namespace.path)
        })?;
        Ok(namespace)
    }

    /// The name in `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command that opens a shell inside.
    pub fn nsenter(&self) -> String {
        format!("nsenter --net={}", self.path.display())
    }

    /// Runs `work` in a thread that has entered the namespace. Sockets that it opens and children
    /// that it starts belong to the namespace for good.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_new_thread(|| {
            let file = File::open(&self.path)
                .with_context(|| format!("cannot open {}", self.path.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter {}", self.name))?;
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what labs of processes that no longer run have left: the programs inside their
/// namespaces first, then the names.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(NETNS_DIR) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_stale) {
            remove_with_programs(&entry.path());
        }
    }
}

/// Removes every namespace whose name starts with `prefix`, with the programs inside.
pub fn remove_all(prefix: &str) {
    let Ok(entries) = fs::read_dir(NETNS_DIR) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
            remove_with_programs(&entry.path());
        }
    }
}

fn remove_with_programs(path: &Path) {
    for pid in programs_inside(path) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    remove(path);
}

/// The processes of a namespace: those whose `/proc/PID/ns/net` is the same file.
fn programs_inside(namespace: &Path) -> Vec<Pid> {
    let (Ok(wanted), Ok(processes)) = (fs::metadata(namespace), fs::read_dir("/proc")) else {
        return Vec::new();
    };
    let inside = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let net = fs::metadata(entry.path().join("ns/net")).ok()?;
        (net.ino() == wanted.ino() && net.dev() == wanted.dev()).then(|| Pid::from_raw(pid))
    };
    processes.flatten().filter_map(inside).collect()
}

/// Whether a name is a lab's (`rs-PID-…`) and that process is gone.
pub fn is_stale(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    owner.and_then(|pid| pid.parse::<u32>().ok()).is_some_and(|pid| !is_process(pid))
}

/// Whether there is such a process. `/proc/N` is there for every thread too (proc(5)), and a
/// thread of somebody else's is no lab.
fn is_process(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    group.is_some_and(|group| group.trim() == pid.to_string())
}

/// The start of the names of a lab of this process.
pub fn prefix(number: u32) -> String {
    format!("{PREFIX}{}-{number}", std::process::id())
}

fn bind(source: &str, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount {source} on {}", target.display()))
}

/// Unmounts and deletes; both may fail where a removal was half done before, and that is fine.
fn remove(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
    if fs::remove_file(path).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
        drop(in_new_thread(|| remove_covered(path)));
    }
}

/// Deletes a name whose mount lies below another on the whole directory, where no path leads to it:
/// `ip netns add` mounts the directory on itself. In mounts of its own the calling thread takes off
/// what covers it; the name's deletion then ends its mounts everywhere.
fn remove_covered(path: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot have mounts of its own")?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("cannot keep its mounts to itself")?;
    for place in [Path::new(NETNS_DIR), path] {
        while umount2(place, MntFlags::MNT_DETACH).is_ok() {}
    }
    fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))
}

/// A namespace belongs to a thread: a fresh one leaves the caller's where it is.
fn in_new_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let result = scope.spawn(work).join();
        result.unwrap_or_else(|_| Err(anyhow!("the thread inside the namespace panicked")))
    })
}
