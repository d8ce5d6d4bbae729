//! The units: how exposed they are, and that the daemons do their work under them.
//!
//! Input: the README's commands, run in a tree of the lab, and the unit files as they are. Output:
//! the daemons run with the users, the capabilities and the system call filters of their units, serve
//! and come back after SIGKILL. On the wire: as without confinement.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{Host, Installed, Load, edge::ServiceYaml, eventually, presets, unit::Unit};
use roadstead_scenarios::{
    World, ask,
    installed::{LOAD, ROUTER, SPEAKER, announced, checkout, install},
    scenario,
    world::{SOON, one_pool},
};

/// What `systemd-analyze security` may say at most, of 10.
const EXPOSURE: f64 = 2.0;
/// CAP_NET_RAW, bit 13 (capability.h), as /proc prints a set.
const NET_RAW: &str = "0000000000002000";
const NOTHING: &str = "0000000000000000";

fn units(extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(checkout().join("systemd"))?.flatten().map(|entry| entry.path());
    let wanted = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    let mut units: Vec<PathBuf> = entries.filter(wanted).collect();
    units.sort();
    ensure!(!units.is_empty(), "the units were not found");
    Ok(units)
}

fn analyze(arguments: &[&str], units: &[PathBuf]) -> Result<Output> {
    let mut command = Command::new("systemd-analyze");
    command.args(["--no-pager"]).args(arguments).args(units).env("SYSTEMD_LOG_COLOR", "no");
    command.output().context("cannot run systemd-analyze")
}

#[test]
fn every_service_is_hardly_exposed() -> Result<()> {
    for unit in units(&["service"])? {
        let output = analyze(&["security", "--offline=true"], std::slice::from_ref(&unit))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.contains("Overall exposure level"));
        let figure = line.and_then(|line| line.rsplit(": ").next()?.split(' ').next());
        let figure: f64 = figure.ok_or_else(|| anyhow!("no figure in {text}"))?.parse()?;
        ensure!(figure <= EXPOSURE, "{} is exposed by {figure}:\n{text}", unit.display());
    }
    Ok(())
}

#[test]
fn systemd_complains_of_nothing_but_programs_not_installed_here() -> Result<()> {
    let output = analyze(&["verify", "--man=no"], &units(&["service", "mount"])?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "is not executable: No such file or directory";
    let others: Vec<&str> = said.lines().filter(|line| !line.ends_with(expected)).collect();
    ensure!(others.is_empty(), "{others:#?}");
    Ok(())
}

/// The paths of the contract, which `roadstead-config` has as defaults.
#[test]
fn units_and_configuration_mean_the_same_paths() -> Result<()> {
    let read = |name: &str| Unit::read(&checkout().join("systemd").join(name));
    for (name, daemon) in [(SPEAKER, "roadstead/speaker"), (ROUTER, "roadstead/router")] {
        let unit = read(name)?;
        for key in ["StateDirectory", "RuntimeDirectory"] {
            ensure!(unit.last("Service", key) == Some(daemon), "{name}: {key}");
        }
        ensure!(unit.last("Service", "ConfigurationDirectory") == Some("roadstead"), "{name}");
    }
    let place = read("run-roadstead-bpf.mount")?;
    ensure!(place.last("Mount", "Where") == Some("/run/roadstead/bpf"));
    for name in [LOAD, ROUTER] {
        ensure!(read(name)?.words("Service", "ReadWritePaths") == ["/run/roadstead/bpf"], "{name}");
    }
    let tmpfiles = fs::read_to_string(checkout().join("systemd/tmpfiles.conf"))?;
    let made: BTreeSet<&str> =
        tmpfiles.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    for base in ["/run/roadstead", "/var/lib/roadstead"] {
        for path in [base.to_owned(), format!("{base}/speaker"), format!("{base}/router")] {
            ensure!(made.contains(path.as_str()), "tmpfiles.conf does not make {path}");
        }
    }
    Ok(())
}

/// What the README enables is everything that can be enabled, and all of it exists.
#[test]
fn the_readme_enables_every_unit() -> Result<()> {
    let readme = fs::read_to_string(checkout().join("README.md"))?;
    let line = readme.lines().find_map(|line| line.trim().strip_prefix("systemctl enable --now "));
    let named: BTreeSet<String> = line
        .ok_or_else(|| anyhow!("the README enables nothing"))?
        .split_whitespace()
        .map(|name| if name.contains('.') { name.to_owned() } else { format!("{name}.service") })
        .collect();
    let mut installable = BTreeSet::new();
    for path in units(&["service", "mount"])? {
        ensure!(
            Unit::read(&path)?.has("Install", "WantedBy"),
            "{} cannot be enabled",
            path.display()
        );
        installable.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    ensure!(named == installable, "{named:?} is enabled, {installable:?} could be");
    Ok(())
}

/// `systemctl enable` as the README has it, without a running systemd: everything is wanted at boot.
#[test]
fn what_the_readme_enables_starts_at_boot() -> Result<()> {
    let readme = fs::read_to_string(checkout().join("README.md"))?;
    let line = readme.lines().find_map(|line| line.trim().strip_prefix("systemctl enable --now "));
    let units: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    scenario(
        || World::bare(&presets::segment(1), "units-enable", ""),
        |world| {
            let it = install(world, &one_pool())?;
            let root = format!("--root={}", it.path("/").display());
            world.lab.edge()?.run(&[&["systemctl", &root, "enable"], units.as_slice()].concat())?;
            let wants = fs::read_dir(it.path("/etc/systemd/system/multi-user.target.wants"))?;
            ensure!(wants.count() == units.len(), "{units:?} are not all wanted at boot");
            Ok(())
        },
    )
}

/// A misspelt key is passed over by `sysctl --system` with a warning that nobody reads.
#[test]
fn every_sysctl_exists() -> Result<()> {
    let text = fs::read_to_string(checkout().join("systemd/sysctl.conf"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let key = line.split('=').next().unwrap_or_default().trim().replace('.', "/");
        let path = PathBuf::from("/proc/sys").join(key);
        ensure!(path.exists(), "`{line}`: there is no {}", path.display());
    }
    Ok(())
}

fn has(it: &Installed, unit: &str, expected: &[(&str, &str)]) -> Result<()> {
    for (field, value) in expected {
        let found = it.process_field(unit, field)?;
        ensure!(found == *value, "{unit}: {field} is {found}, not {value}");
    }
    Ok(())
}

/// Every set of a process, its filters, and that it cannot get more.
fn is_confined(it: &Installed, unit: &str, capabilities: &str) -> Result<()> {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        has(it, unit, &[(set, capabilities)])?;
    }
    has(it, unit, &[("Seccomp", "2"), ("NoNewPrivs", "1")])?;
    let user = it.unit(unit)?.last("Service", "User").unwrap_or("root").to_owned();
    let passwd = fs::read_to_string(it.path("/etc/passwd"))?;
    let uid =
        passwd.lines().find_map(|line| line.strip_prefix(&format!("{user}:x:"))?.split(':').next());
    let uid = uid.ok_or_else(|| anyhow!("{passwd} has no {user}"))?;
    ensure!(it.process_field(unit, "Uid")? == [uid; 4].join("\t"), "{unit} is not {user}");
    Ok(())
}

fn is_answered_for(world: &World, host: &Host, vip: IpAddr) -> Result<()> {
    let (mac, leg) = (ask::who_has(host, vip)?, world.lab.edge()?.leg("eth0")?);
    ensure!(mac == Some(leg.mac.to_string()), "{vip} is answered for by {mac:?}");
    Ok(())
}

fn serves(world: &World, it: &Installed) -> Result<IpAddr> {
    let vip = *announced(it, "default/web")?.first().ok_or_else(|| anyhow!("no address"))?;
    is_answered_for(world, world.near()?, vip)?;
    let to = SocketAddr::new(vip, 80);
    eventually("it is served", SOON, || ask::tcp(world.client()?, to))?;
    Ok(vip)
}

#[test]
fn the_daemons_serve_under_their_units_and_come_back() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(2), "units", ""),
        |world| {
            let mut it = install(world, &one_pool())?;
            it.manifests.service(&ServiceYaml::new("web").tcp(80, 30000).dual())?;
            it.run_oneshot(LOAD, "ExecStart")?;
            it.start(SPEAKER)?;
            it.start(ROUTER)?;
            let to = SocketAddr::new(serves(world, &it)?, 80);
            let logs = world.lab.logs();
            let running = Load::keep_alive(to, 8).rate(100).start(world.client()?, &logs)?;
            for unit in [SPEAKER, ROUTER] {
                it.running(unit)?.restart(Signal::SIGKILL, SOON)?;
                it.await_ready(unit)?;
                it.running(unit)?.signal(Signal::SIGHUP)?;
                it.await_ready(unit)?;
                it.running(unit)?.restart(Signal::SIGTERM, SOON)?;
                it.await_ready(unit)?;
                serves(world, &it)?;
                ensure!(it.running(unit)?.starts() == 3, "{unit} ended by itself as well");
            }
            running.finish()?.all_answered()?;
            let told = it.told();
            let count = |what| told.iter().filter(|text| text.contains(what)).count();
            // Three processes of each unit, one reload and one end of each by a signal.
            for (what, least) in [("WATCHDOG=1", 6), ("RELOADING=1", 2), ("STOPPING=1", 2)] {
                ensure!(count(what) >= least, "{what} was told {} times: {told:?}", count(what));
            }
            is_confined(&it, SPEAKER, NET_RAW)?;
            is_confined(&it, ROUTER, NOTHING)
        },
    )
}

/// The speaker by itself: an address is held and defended by a process with one capability.
#[test]
fn the_speaker_is_ready_under_its_unit_without_a_router() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(1), "units-speaker", ""),
        |world| {
            let mut it = install(world, &one_pool())?;
            it.manifests.service(&ServiceYaml::new("web").tcp(80, 30000))?;
            it.start(SPEAKER)?;
            is_confined(&it, SPEAKER, NET_RAW)?;
            eventually("it has an address", SOON, || {
                let status = it.status()?;
                ensure!(!status.service("default/web")?.addresses.is_empty(), "{status:?}");
                Ok(())
            })
        },
    )
}

/// The router's user may read the speaker's socket, and give it no orders.
#[test]
fn orders_are_taken_from_root_and_the_daemons_own_user_alone() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(1), "units-orders", ""),
        |world| {
            let mut it = install(world, &one_pool())?;
            it.start(SPEAKER)?;
            let ask = |verb: &[&str]| it.output_under(ROUTER, &[&["roadstead"], verb].concat());
            let order = ask(&["drain", "self"])?;
            let said = String::from_utf8_lossy(&order.stderr);
            ensure!(order.status.code() == Some(1), "{order:?}");
            ensure!(said.contains("root"), "it is not said who may: {said}");
            let drained = |it: &Installed| it.path("/var/lib/roadstead/speaker/drained.json");
            ensure!(!drained(&it).exists(), "it is drained all the same");
            it.as_root(&["roadstead", "drain", "self"])?;
            ensure!(drained(&it).exists(), "root's order was not carried out");
            Ok(())
        },
    )
}

/// An interface that comes when everything runs is attached by a process without capabilities.
#[test]
fn a_leg_that_comes_late_is_attached_without_capabilities() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(1), "units-late-leg", ""),
        |world| {
            let mut it = install(world, &one_pool())?;
            it.run_oneshot(LOAD, "ExecStart")?;
            it.start(SPEAKER)?;
            it.start(ROUTER)?;
            let edge = world.lab.edge()?;
            edge.ip("link add late0 type veth peer name late1")?;
            edge.ip("addr add 203.0.113.9/24 dev late0")?;
            edge.ip("link set late1 up")?;
            edge.ip("link set late0 up")?;
            let shown = edge.ip("-o link show dev late0")?;
            let index = shown.split(':').next().unwrap_or_default().trim().to_owned();
            let pin = schema(&it)?.join("links").join(index);
            eventually("the link is pinned", SOON, || {
                ensure!(pin.exists(), "there is no {}", pin.display());
                Ok(())
            })?;
            is_confined(&it, ROUTER, NOTHING)
        },
    )
}

/// The directory of the router's pins, named after the version of their schema.
fn schema(it: &Installed) -> Result<PathBuf> {
    let router = it.path("/run/roadstead/bpf/router");
    let mut entries = fs::read_dir(&router)?;
    let only = entries.next().ok_or_else(|| anyhow!("nothing is in {}", router.display()))??;
    ensure!(entries.next().is_none(), "more than one version is in {}", router.display());
    Ok(only.path())
}

/// The unit that stops before the daemons at shutdown, and its counterpart at boot.
#[test]
fn shutdown_withdraws_and_boot_announces_again() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(2), "units-drain", ""),
        |world| {
            let drain = "roadstead-drain.service";
            let mut it = install(world, &one_pool())?;
            let unit = it.unit(drain)?;
            for daemon in [SPEAKER, ROUTER] {
                // What starts after stops before.
                ensure!(unit.words("Unit", "After").contains(&daemon), "{drain} stops too late");
            }
            it.manifests.service(&ServiceYaml::new("web").tcp(80, 30000))?;
            it.run_oneshot(LOAD, "ExecStart")?;
            it.start(SPEAKER)?;
            it.start(ROUTER)?;
            let vip = serves(world, &it)?;
            it.run_oneshot(drain, "ExecStop")?;
            eventually("silence", SOON, || {
                let mac = ask::who_has(world.near()?, vip)?;
                ensure!(mac.is_none(), "{mac:?} answers for {vip}");
                Ok(())
            })?;
            it.run_oneshot(drain, "ExecStart")?;
            serves(world, &it).map(drop)
        },
    )
}

/// A capability that is not needed for loading is not in the unit: without any one of them loading
/// fails, and says what is missing.
#[test]
fn loading_needs_each_capability_of_its_unit() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(1), "units-load", ""),
        |world| {
            let it = install(world, &one_pool())?;
            let path = it.path("/etc/systemd/system").join(LOAD);
            let whole = fs::read_to_string(&path)?;
            let needed: Vec<String> = it
                .unit(LOAD)?
                .words("Service", "AmbientCapabilities")
                .into_iter()
                .map(str::to_owned)
                .collect();
            ensure!(needed == it.unit(LOAD)?.words("Service", "CapabilityBoundingSet"));
            for capability in &needed {
                fs::write(&path, without(&whole, capability))?;
                let error = it.run_oneshot(LOAD, "ExecStart").err();
                let error = error.ok_or_else(|| anyhow!("loads without {capability}"))?;
                ensure!(format!("{error:#}").contains(capability), "{capability}: {error:#}");
            }
            fs::write(&path, whole)?;
            it.run_oneshot(LOAD, "ExecStart").map(drop)
        },
    )
}

fn without(unit: &str, capability: &str) -> String {
    let lines = unit.lines().map(|line| {
        let kept = line.split(' ').map(|word| word.strip_suffix(capability).unwrap_or(word));
        if line.contains("Capabilit") {
            kept.collect::<Vec<_>>().join(" ")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The confinement that the other tests rely on is there: what a unit denies is denied.
#[test]
fn what_a_unit_denies_is_denied() -> Result<()> {
    let denied: [(&str, &str); 5] = [
        ("touch /etc/roadstead/new", "Read-only file system"),
        ("touch /var/lib/roadstead/speaker/new", "Read-only file system"),
        ("unshare --user true", "Operation not permitted"),
        ("ls /proc/1", "No such file or directory"),
        ("ping -n -c 1 127.0.0.1", "Operation not permitted"),
    ];
    scenario(
        || World::bare(&presets::segment(1), "units-denied", ""),
        |world| {
            let it = install(world, &one_pool())?;
            let try_it = |command: &str| {
                it.output_under(ROUTER, &command.split_whitespace().collect::<Vec<_>>())
            };
            for (command, expected) in denied {
                let output = try_it(command)?;
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(said.contains(expected) && !output.status.success(), "{command}: {said}");
            }
            for unit in [ROUTER, SPEAKER, LOAD, "roadstead-drain.service"] {
                let killed = it.output_under(unit, &["chown", "0", "/run/roadstead"])?;
                let signal = killed.status.signal();
                ensure!(signal == Some(Signal::SIGSYS as i32), "{unit}: {killed:?}");
            }
            let own = try_it("touch /var/lib/roadstead/router/new /run/roadstead/router/new")?;
            ensure!(own.status.success(), "{own:?}");
            Ok(())
        },
    )
}

/// Nobody but the router's user gets at the maps.
#[test]
fn the_pins_belong_to_the_routers_user_alone() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(1), "units-pins", ""),
        |world| {
            let it = install(world, &one_pool())?;
            it.run_oneshot(LOAD, "ExecStart")?;
            let line = ["stat", "-c", "%a %U:%G", "/run/roadstead/bpf"];
            let owner = it.as_root(&line)?;
            // The sticky bit is every bpffs's own.
            ensure!(owner.trim() == "1700 roadstead-router:roadstead", "{owner}");
            // The kernel's own two files, maps.debug and progs.debug, are root's.
            let find = "find /run/roadstead/bpf -mindepth 1 -not -name *.debug -not -user roadstead-router";
            let pins = it.as_root(&find.split(' ').collect::<Vec<_>>())?;
            ensure!(pins.is_empty(), "of somebody else: {pins}");
            ensure!(schema(&it)?.join("maps").is_dir(), "nothing is pinned");
            Ok(())
        },
    )
}
