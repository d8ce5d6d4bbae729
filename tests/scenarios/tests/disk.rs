//! A disk that takes nothing any more.
//!
//! Input: a state directory on a small file system that is full, or read-only, also at a start of the
//! daemons. Output: what is held stays held and served, what is deleted or drained falls silent;
//! nothing new is announced that a restart would forget; a message; all of it mends itself once there
//! is room. On the wire: no announcement of what is not on the disk, neither over IPv4 nor over IPv6.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually, presets, throughout,
};
use roadstead_scenarios::{
    Both, World, scenario,
    world::{SOON, one_pool},
};

/// A file system of 1 MiB over a state directory.
struct Disk(PathBuf);

impl Disk {
    fn over(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)?;
        let data = Some("size=1m");
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), data)
            .with_context(|| format!("cannot mount a tmpfs on {}", path.display()))?;
        Ok(Self(path))
    }

    /// Takes nothing any more and can still be read, or takes all again.
    fn read_only(&self, read_only: bool) -> Result<()> {
        let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let none = None::<&str>;
        Ok(mount(none, &self.0, none, MsFlags::MS_REMOUNT | flags, none)?)
    }

    /// An empty read-only file system over it.
    fn cover(&self) -> Result<()> {
        let none = None::<&str>;
        Ok(mount(Some("tmpfs"), &self.0, Some("tmpfs"), MsFlags::MS_RDONLY, none)?)
    }

    fn uncover(&self) -> Result<()> {
        Ok(umount2(&self.0, MntFlags::MNT_DETACH)?)
    }

    /// Leaves no room for anything.
    fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.0.join("filler"))?;
        for _ in 0..1024 {
            if let Err(error) = filler.write_all(&[1; 4096]) {
                ensure!(error.kind() == ErrorKind::StorageFull, "{error}");
                return Ok(());
            }
        }
        bail!("4 MiB fit into 1 MiB")
    }

    fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn web(name: &str, node_port: u16) -> ServiceYaml {
    ServiceYaml::new(name).tcp(80, node_port).dual()
}

/// Waits until status tells of the disk, or no longer does.
fn wait_told(world: &World, disk: &Disk, told: bool) -> Result<()> {
    let directory = disk.0.display().to_string();
    eventually(&format!("status tells of the disk: {told}"), SOON, || {
        let text = String::from_utf8(world.edge.cli(&["status"])?.stdout)?;
        ensure!(text.contains(&directory) == told, "{text}");
        Ok(())
    })
}

fn with_a_disk(test: &str, body: impl FnOnce(&mut World, &Disk, Both) -> Result<()>) -> Result<()> {
    with_a_disk_over("speaker", test, body)
}

/// Over this directory of the state, or all of it.
fn with_a_disk_over(
    directory: &str,
    test: &str,
    body: impl FnOnce(&mut World, &Disk, Both) -> Result<()>,
) -> Result<()> {
    scenario(
        || World::prepare(&presets::routed(2), test, &one_pool()),
        |world| {
            let disk = Disk::over(world.edge.state().join(directory))?;
            world.start_daemons()?;
            let held = world.serve_both("held", &web("held", 30000), 80)?;
            body(world, &disk, held)?;
            // They hold the file system.
            DaemonName::ALL.into_iter().for_each(|daemon| world.edge.stop_daemon(daemon));
            Ok(())
        },
    )
}

#[test]
fn a_read_only_disk_holds_new_addresses_back_until_it_is_writable() -> Result<()> {
    with_a_disk("disk-read-only", |world, disk, held| {
        disk.cover()?;
        world.edge.manifests.service(&web("new", 30001))?;
        wait_told(world, disk, true)?;
        throughout("nothing new is announced", Duration::from_secs(1), || {
            let status = world.edge.status()?;
            let new = status.service("default/new")?;
            ensure!(new.announced.is_empty(), "{new:?}");
            held.answer(world.client()?)
        })?;
        disk.uncover()?;
        let new = world.both_of("new", 80)?;
        wait_told(world, disk, false)?;
        new.answer(world.client()?)?;
        world.edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
        let after = world.both_of("new", 80)?;
        ensure!(after == new, "the ledger forgot {new:?}: {after:?}");
        Ok(())
    })
}

#[test]
fn with_a_full_disk_nothing_is_announced_that_a_restart_would_forget() -> Result<()> {
    with_a_disk("disk-full", |world, disk, held| {
        disk.fill()?;
        // The file that the ledger replaces makes room for the ledger: this one may get through.
        world.edge.manifests.service(&web("new", 30001))?;
        wait_told(world, disk, true)?;
        let status = world.edge.status()?;
        let announced = &status.service("default/new")?.announced;
        world.edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
        ensure!(world.both_of("held", 80)? == held, "what was held is held");
        held.answer(world.client()?)?;
        disk.empty()?;
        let after = world.both_of("new", 80)?;
        let kept = announced.iter().all(|before| after.addresses().contains(&before.address));
        ensure!(kept, "{announced:?} was forgotten for {after:?}");
        wait_told(world, disk, false)?;
        after.answer(world.client()?)
    })
}

/// Restarts daemons as a crash does; what was held is there again.
fn crash(world: &World, daemons: &[DaemonName], held: Both) -> Result<()> {
    for daemon in daemons {
        world.edge.restart(*daemon, Signal::SIGKILL)?;
    }
    ensure!(world.both_of("held", 80)? == held, "what was held moved");
    held.answer(world.client()?)
}

fn wait_silent(what: &str, address: Both, world: &World) -> Result<()> {
    eventually(what, SOON, || address.resolve_to_nobody(world.near()?))
}

#[test]
fn a_start_on_a_full_disk_withdraws_what_is_deleted_and_drains() -> Result<()> {
    with_a_disk("disk-full-start", |world, disk, held| {
        let gone = world.serve_both("gone", &web("gone", 30001), 80)?;
        disk.fill()?;
        crash(world, &[DaemonName::Speaker], held)?;
        ensure!(world.both_of("gone", 80)? == gone, "the other one moved");
        world.edge.manifests.delete("gone")?;
        wait_silent("the deleted one is silent", gone, world)?;
        held.answer(world.client()?)?;
        let said = world.edge.cli_ok(&["drain", "self"])?;
        ensure!(said.contains("does not outlive a reboot"), "{said}");
        wait_silent("the drained host is silent", held, world)?;
        world.edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
        world.edge.wait_reason("default/held", "Drained", SOON)?;
        held.resolve_to_nobody(world.near()?)?;
        disk.empty()?;
        eventually("the order is on the disk", SOON, || {
            ensure!(disk.0.join("drained.json").exists(), "no drained.json");
            Ok(())
        })?;
        world.edge.cli_ok(&["undrain", "self"])?;
        ensure!(world.both_of("held", 80)? == held, "it came back elsewhere");
        held.answer(world.client()?)
    })
}

#[test]
fn daemons_that_start_on_a_read_only_disk_serve_what_it_holds() -> Result<()> {
    with_a_disk_over("", "disk-read-only-start", |world, disk, held| {
        let gone = world.serve_both("gone", &web("gone", 30001), 80)?;
        disk.read_only(true)?;
        crash(world, &DaemonName::ALL, held)?;
        ensure!(world.both_of("gone", 80)? == gone, "the other one moved");
        world.edge.manifests.service(&web("new", 30002))?;
        world.edge.manifests.delete("gone")?;
        wait_silent("the deleted one is silent", gone, world)?;
        wait_told(world, disk, true)?;
        let status = world.edge.status()?;
        let new = status.service("default/new")?;
        ensure!(new.announced.is_empty(), "{new:?}");
        held.answer(world.client()?)?;
        disk.read_only(false)?;
        let new = world.both_of("new", 80)?;
        wait_told(world, disk, false)?;
        new.answer(world.client()?)?;
        crash(world, &DaemonName::ALL, held)
    })
}
