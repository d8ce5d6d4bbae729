//! What the command sees of the file system.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use roadstead_lab::unit::Unit;

/// What of the tree stands in the place of the machine's. `/run` is the last, for the tree itself
/// lies below it.
const PARTS: [&str; 4] = ["usr", "etc", "var/lib", "run"];
/// `ProtectSystem=strict` leaves these alone; other settings protect them.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// `PrivateTmp=` and `ProtectHome=`.
const EMPTIED: [(&str, &[&str]); 2] =
    [("PrivateTmp", &["/tmp", "/var/tmp"]), ("ProtectHome", &["/home", "/root", "/run/user"])];

/// Puts the tree in place, in a mount namespace of its own.
pub(crate) fn move_into(tree: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace (run as root)")?;
    change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    for part in PARTS {
        bind(&tree.join(part), &Path::new("/").join(part))?;
    }
    Ok(())
}

/// Restricts what is there to what a unit leaves.
pub(crate) fn restrict(unit: &Unit) -> Result<()> {
    for (key, directories) in EMPTIED {
        if unit.last("Service", key).is_some_and(|value| value == "yes") {
            for directory in directories.iter().filter(|path| Path::new(path).exists()) {
                mount_new(
                    "tmpfs",
                    directory,
                    if key == "PrivateTmp" { "mode=1777" } else { "mode=0700" },
                )?;
            }
        }
    }
    restrict_processes(unit)?;
    if unit.on("Service", "ProtectKernelTunables") {
        for path in mounts()?.iter().filter(|path| path.starts_with("/sys")) {
            read_only(path)?;
        }
        let settings = Path::new("/proc/sys");
        if settings.exists() {
            bind(settings, settings)?;
            read_only(settings)?;
        }
    }
    match unit.last("Service", "ProtectSystem") {
        Some("strict") => protect_system(&writable(unit)),
        other => bail!("ProtectSystem={other:?} is not strict"),
    }
}

/// `ProtectProc=` and `ProcSubset=`: a `/proc` of its own.
fn restrict_processes(unit: &Unit) -> Result<()> {
    let hide = unit.last("Service", "ProtectProc").unwrap_or("default");
    let subset = unit.last("Service", "ProcSubset").unwrap_or("all");
    let mut options = vec![format!("hidepid={}", if hide == "default" { "off" } else { hide })];
    if subset != "all" {
        options.push(format!("subset={subset}"));
    }
    mount_new("proc", "/proc", &options.join(","))
}

/// Where a unit may write: its own directories, and what it names.
fn writable(unit: &Unit) -> Vec<PathBuf> {
    let bases =
        [("ReadWritePaths", "/"), ("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")];
    let named = bases.into_iter().flat_map(|(key, base)| {
        unit.words("Service", key).into_iter().map(move |word| Path::new(base).join(word))
    });
    let private = EMPTIED[0].1.iter().map(PathBuf::from);
    named.chain(private).filter(|path| path.exists()).collect()
}

/// Everything is read-only but for what is writable and the kernel's own file systems.
fn protect_system(writable: &[PathBuf]) -> Result<()> {
    for path in writable {
        bind(path, path)?;
    }
    let kept = |path: &Path| {
        let kernel = KERNEL.iter().any(|kernel| path.starts_with(kernel));
        kernel || writable.iter().any(|kept| path.starts_with(kept))
    };
    for path in mounts()?.iter().filter(|path| !kept(path)) {
        read_only(path)?;
    }
    Ok(())
}

/// The mount points of this namespace, in the order of their mounting.
fn mounts() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points.map(PathBuf::from).collect())
}

/// A mount point that lies hidden below another is passed over: nobody gets at it.
fn read_only(path: &Path) -> Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    match mount(None::<&str>, path, None::<&str>, flags, None::<&str>) {
        Ok(()) | Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOTDIR) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot protect {}", path.display())),
    }
}

fn change(path: &Path, flags: MsFlags) -> Result<()> {
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot change the mount {}", path.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot mount {} on {}", from.display(), to.display()))
}

fn mount_new(kind: &str, on: &str, options: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(kind), on, Some(kind), flags, Some(options))
        .with_context(|| format!("cannot mount {kind} on {on}"))
}
