//! What is released is silent, whenever the daemons die (S5).
//!
//! Input: Services that come, go, are renamed and take over one another's addresses, from two pools
//! too small for all; meanwhile both daemons are killed at any moment, also while they start, and
//! stand still while the other goes on. Output: at every moment only what the ledger holds is
//! answered for; once all is settled exactly what is assigned answers, and each port is its own
//! Service's. On the wire: no ARP answer, neighbour advertisement or ping from any other address of
//! the pools.
//!
//! `LAB_ROUNDS=N` and `LAB_SEED=N` in the environment: longer, and other moments.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually, presets,
};
use roadstead_scenarios::{
    World, ask,
    local::{self, Assignments, Programmed},
    roll_call::RollCall,
    scenario,
    world::SOON,
};

/// Addresses of each family.
const POOL: u8 = 5;
/// Services that there may be: more than addresses.
const NAMES: u16 = 8;
const ROUNDS: u64 = 6;
const CHANGES: u64 = 5;

fn pool() -> BTreeSet<IpAddr> {
    (0..POOL).flat_map(|n| [v4(n), v6(n)]).collect()
}

fn v4(n: u8) -> IpAddr {
    [192, 0, 2, 10 + n].into()
}

fn v6(n: u8) -> IpAddr {
    [0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100 + u16::from(n)].into()
}

fn configuration() -> String {
    let last = POOL - 1;
    format!(
        "[[pool]]\nname = \"lan\"\naddresses = [\"{}-{}\", \"{}-{}\"]\n\n\
         [router.health]\ninterval = \"300ms\"\ntimeout = \"250ms\"\nslow_start = \"0s\"\n",
        v4(0),
        v4(last),
        v6(0),
        v6(last)
    )
}

/// The moments: the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// A moment that nothing waits for: it is an input, as the changes are.
    fn moment(&mut self, longest: u64) {
        thread::sleep(Duration::from_millis(self.roll(longest)));
    }

    fn daemon(&mut self) -> DaemonName {
        if self.roll(2) == 0 { DaemonName::Speaker } else { DaemonName::Router }
    }
}

/// The Services that there are, by name.
type Wanted = BTreeMap<String, Wish>;

/// What one of them wants.
struct Wish {
    /// Its one port.
    port: u16,
    /// The addresses that would do.
    among: BTreeSet<IpAddr>,
}

fn port(number: u16) -> u16 {
    8000 + number
}

/// One more or one fewer, or one with another name and the same port; some ask for addresses, which
/// others may hold.
fn change(world: &World, wanted: &mut Wanted, dice: &mut Dice) -> Result<()> {
    let number = u16::try_from(dice.roll(NAMES.into()))?;
    let old = wanted.iter().find(|(_, wish)| wish.port == port(number));
    let old = old.map(|(name, _)| name.clone());
    if old.is_none() || dice.roll(3) == 0 {
        // Every name is new: whatever a daemon says of it, it has seen this change.
        let name = format!("s{number}-{}", dice.roll(1_000_000));
        add(world, wanted, dice, name, number)?;
    }
    if let Some(old) = old {
        world.edge.manifests.delete(&old)?;
        wanted.remove(&old);
    }
    Ok(())
}

fn add(
    world: &World,
    wanted: &mut Wanted,
    dice: &mut Dice,
    name: String,
    number: u16,
) -> Result<()> {
    let mut service = ServiceYaml::new(&name)
        .tcp(port(number), 30000 + number)
        .set("ipFamilyPolicy", "PreferDualStack".into());
    let mut among = pool();
    if dice.roll(3) == 0 {
        let n = u8::try_from(dice.roll(POOL.into()))?;
        service = service.addresses(&format!("{},{}", v4(n), v6(n)));
        among = [v4(n), v6(n)].into();
    }
    world.edge.manifests.service(&service)?;
    wanted.insert(name, Wish { port: port(number), among });
    Ok(())
}

/// What befalls a daemon, or both.
fn blow(world: &World, dice: &mut Dice) -> Result<()> {
    let first = dice.daemon();
    let strike = |daemon, signal| world.edge.daemon(daemon)?.signal_if_running(signal).map(drop);
    match dice.roll(4) {
        0 => strike(first, Signal::SIGKILL),
        1 => DaemonName::ALL.iter().try_for_each(|daemon| strike(*daemon, Signal::SIGKILL)),
        2 => {
            strike(first, Signal::SIGKILL)?;
            // The supervisor starts it after 100 ms: this hits it while it starts.
            dice.moment(250);
            strike(first, Signal::SIGKILL)
        }
        _ => {
            strike(first, Signal::SIGSTOP)?;
            dice.moment(400);
            let other = dice.daemon();
            if other != first {
                strike(other, Signal::SIGKILL)?;
                dice.moment(200);
            }
            let end = if dice.roll(2) == 0 { Signal::SIGKILL } else { Signal::SIGCONT };
            strike(first, end)
        }
    }
}

/// What the ledger on disk holds.
fn held(ledger: &Path) -> Result<BTreeSet<IpAddr>> {
    let Ok(text) = fs::read_to_string(ledger) else { return Ok(BTreeSet::new()) };
    let ledger: serde_json::Value = serde_json::from_str(&text)?;
    let entries = ledger["addresses"].as_array().into_iter().flatten();
    entries.map(|entry| Ok(entry["address"].as_str().unwrap_or_default().parse()?)).collect()
}

/// S5 at every moment until told to stop, whoever is alive.
fn only_what_is_held_answers(ledger: &Path, roll_call: &RollCall, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let before = held(ledger)?;
        let answering = roll_call.resolved(&pool())?;
        let after = held(ledger)?;
        let stray: Vec<_> =
            answering.iter().filter(|a| !before.contains(a) && !after.contains(a)).collect();
        ensure!(stray.is_empty(), "answered for, but held by nobody: {stray:?}");
    }
    Ok(())
}

/// Changes and blows while somebody looks on.
fn turbulence(
    world: &World,
    roll_call: &RollCall,
    wanted: &mut Wanted,
    dice: &mut Dice,
) -> Result<()> {
    let ledger = world.edge.state().join("speaker/ledger.json");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| only_what_is_held_answers(&ledger, roll_call, &stop));
        let turbulent = (0..CHANGES).try_for_each(|_| {
            change(world, wanted, dice)?;
            dice.moment(80);
            if dice.roll(3) > 0 { blow(world, dice) } else { Ok(()) }
        });
        let settled = turbulent.and_then(|()| settled(world, wanted).map(drop));
        stop.store(true, Ordering::Relaxed);
        let watched = watch.join().map_err(|_| anyhow!("the roll call panicked"))?;
        watched.and(settled)
    })
}

/// Waits until both daemons have seen every change and agree.
fn settled(world: &World, wanted: &Wanted) -> Result<Assignments> {
    eventually("both daemons agree", SOON, || {
        let status = world.edge.status()?;
        ensure!(status.daemons.iter().filter(|d| d.ready).count() == 2, "{:?}", status.daemons);
        let known: BTreeSet<&str> = status.services.iter().map(|s| s.name.as_str()).collect();
        ensure!(known.iter().copied().eq(wanted.keys().map(String::as_str)), "{known:?}");
        let programmed: Programmed = local::programmed(world)?;
        let assignments: Assignments = local::assignments(world)?;
        ensure!(programmed.applied == assignments.generation, "{programmed:?} {assignments:?}");
        let everywhere: BTreeSet<IpAddr> = assignments.addresses().collect();
        ensure!(
            !assignments.withdrawing
                && assignments.answered == everywhere
                && programmed.answering == everywhere,
            "{assignments:?} {programmed:?}"
        );
        let served = |name: &String| assignments.services.iter().any(|(own, _)| own == name);
        let stuck = |wish: &Wish| wish.among.is_subset(&everywhere);
        let waits = wanted.iter().find(|(name, wish)| !served(name) && !stuck(wish));
        ensure!(waits.is_none(), "{:?} fits: {assignments:?}", waits.map(|(name, _)| name));
        Ok(assignments)
    })
}

/// Exactly what is assigned answers, each Service on its own port.
fn exactly_what_is_assigned_answers(
    world: &World,
    roll_call: &RollCall,
    wanted: &Wanted,
    assignments: &Assignments,
) -> Result<()> {
    let assigned: BTreeSet<IpAddr> = assignments.addresses().collect();
    let resolved = roll_call.resolved(&pool())?;
    ensure!(resolved == assigned, "resolved: {resolved:?}; assigned: {assigned:?}");
    let pinged = roll_call.pinged(&pool())?;
    ensure!(pinged == assigned, "answering pings: {pinged:?}; assigned: {assigned:?}");
    let near = world.near()?;
    for (name, addresses) in &assignments.services {
        let wish = wanted.get(name).with_context(|| format!("{name} is not wanted any more"))?;
        let own = wish.port;
        for address in addresses {
            ask::tcp(near, SocketAddr::new(*address, own)).with_context(|| name.clone())?;
            for other in (0..NAMES).map(port).filter(|other| *other != own) {
                ask::refused(near, SocketAddr::new(*address, other))
                    .with_context(|| format!("{address} is {name}'s, whose port is {own}"))?;
            }
        }
    }
    Ok(())
}

fn from_environment(name: &str, default: u64) -> Result<u64> {
    env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| name.to_owned()))
}

fn round(world: &World, roll_call: &RollCall, wanted: &mut Wanted, dice: &mut Dice) -> Result<()> {
    turbulence(world, roll_call, wanted, dice)?;
    let assignments = settled(world, wanted)?;
    exactly_what_is_assigned_answers(world, roll_call, wanted, &assignments)
}

#[test]
fn what_is_released_is_silent_whenever_the_daemons_die() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "silence", &configuration()),
        |world| {
            let seed = from_environment("LAB_SEED", 5)?;
            let roll_call = RollCall::open(world)?;
            let (mut wanted, mut dice) = (Wanted::new(), Dice(seed));
            for n in 0..from_environment("LAB_ROUNDS", ROUNDS)? {
                round(world, &roll_call, &mut wanted, &mut dice)
                    .with_context(|| format!("seed {seed}, round {n}"))?;
            }
            Ok(())
        },
    )
}

#[test]
fn what_a_lost_ledger_held_is_silent_when_its_services_are_gone_too() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "silence-lost", &configuration()),
        |world| {
            let roll_call = RollCall::open(world)?;
            let web = ServiceYaml::new("web").tcp(80, 30000).dual();
            let held = BTreeSet::from_iter(world.serve("web", &web)?);
            eventually("the program answers", SOON, || {
                let resolved = roll_call.resolved(&pool())?;
                ensure!(resolved == held, "{resolved:?}");
                Ok(())
            })?;
            DaemonName::ALL.iter().for_each(|daemon| world.edge.stop_daemon(*daemon));
            fs::remove_dir_all(world.edge.state().join("speaker"))?;
            world.edge.manifests.delete("web")?;
            ensure!(roll_call.pinged(&pool())? == held, "the program did not go on");
            world.start_daemons()?;
            eventually("nobody answers any more", SOON, || {
                let (resolved, pinged) = (roll_call.resolved(&pool())?, roll_call.pinged(&pool())?);
                ensure!(resolved.is_empty() && pinged.is_empty(), "{resolved:?} {pinged:?}");
                Ok(())
            })
        },
    )
}
