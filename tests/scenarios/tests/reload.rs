//! SIGHUP: a new configuration while everything runs.
//!
//! Input: a pool more, a bad file, a pool less that is in use; a drain with a deadline. Output: the
//! new pool is used; what cannot be is refused whole and says why; an established flow lives until
//! its node's deadline. On the wire: after the deadline a reset, not before.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{
    Load,
    edge::{DaemonName, ServiceYaml},
    eventually, presets, uninterrupted,
};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

const MORE: &str = "[[pool]]\nname = \"more\"\nauto_assign = false\n\
                    addresses = [\"192.0.2.60\", \"2001:db8:1::60\"]\n";

/// NodePorts are unique in a cluster.
fn web(name: &str) -> ServiceYaml {
    let node_port = if name == "web" { 30000 } else { 30001 };
    ServiceYaml::new(name).tcp(80, node_port).dual()
}

fn reload(world: &World, toml: &str) -> Result<()> {
    world.edge.configure(toml)?;
    DaemonName::ALL.iter().try_for_each(|daemon| world.edge.reload(*daemon))
}

/// Waits until a daemon's log tells of something.
fn wait_logged(world: &World, daemon: DaemonName, words: &[&str]) -> Result<()> {
    let log = world.edge.daemon(daemon)?.program().stderr();
    eventually(&format!("{words:?} in the log of the {}", daemon.as_str()), SOON, || {
        let text = std::fs::read_to_string(&log)?;
        let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(found, "it ends with {:?}", text.lines().last());
        Ok(())
    })
}

#[test]
fn a_pool_more_is_used_and_costs_nothing() -> Result<()> {
    scenario(
        || World::routed("reload-pool"),
        |world| {
            let load = world.serve_both("web", &web("web"), 80)?.load(world, Load::connect)?;
            world.edge.manifests.service(&web("later").pool("more"))?;
            world.edge.wait_reason("default/later", "NoSuchPool", SOON)?;
            reload(world, &format!("{}\n{MORE}", one_pool()))?;
            let later = world.both_of("later", 80)?;
            let more: [IpAddr; 2] = ["192.0.2.60".parse()?, "2001:db8:1::60".parse()?];
            ensure!(later.addresses() == more, "{later:?}");
            later.answer(world.client()?)?;
            load.all_answered()
        },
    )
}

#[test]
fn a_bad_file_is_refused_and_the_last_good_one_stays() -> Result<()> {
    scenario(
        || World::routed("reload-bad"),
        |world| {
            let at = world.serve_both("web", &web("web"), 80)?;
            reload(world, "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.300\"]\n")?;
            for daemon in DaemonName::ALL {
                wait_logged(world, daemon, &["the reload is refused"])?;
            }
            world.serve_both("other", &web("other"), 80)?.answer(world.client()?)?;
            at.answer(world.client()?)
        },
    )
}

#[test]
fn a_reload_that_would_orphan_an_address_names_the_services() -> Result<()> {
    scenario(
        || World::routed("reload-orphan"),
        |world| {
            let at = world.serve_both("web", &web("web"), 80)?;
            let smaller = [("192.0.2.10-", "192.0.2.30-"), ("1::100/120", "1::200/120")];
            for (address, (pool, without_it)) in at.addresses().into_iter().zip(smaller) {
                reload(world, &one_pool().replace(pool, without_it))?;
                let words = ["the reload is refused", "default/web", &address.to_string()];
                for daemon in DaemonName::ALL {
                    wait_logged(world, daemon, &words)?;
                }
            }
            let still = world.both_of("web", 80)?;
            ensure!(still == at, "{still:?}");
            at.answer(world.client()?)
        },
    )
}

/// A leg that serves is not given up for a slip of the pen.
#[test]
fn an_interface_that_is_not_there_is_refused_by_both_daemons() -> Result<()> {
    scenario(
        || World::routed("reload-leg"),
        |world| {
            let at = world.serve_both("web", &web("web"), 80)?;
            for (section, name) in [("router", "ens98"), ("speaker", "ens99")] {
                let slip = format!("{}\n[{section}]\ninterfaces = [\"{name}\"]\n", one_pool());
                reload(world, &slip)?;
                for daemon in DaemonName::ALL {
                    wait_logged(world, daemon, &["the reload is refused", name, "eth0"])?;
                }
            }
            at.answer(world.client()?)
        },
    )
}

/// S1, with the speaker down: the router alone looks at the pools.
#[test]
fn a_router_alone_refuses_what_would_orphan_and_starts_without_it() -> Result<()> {
    scenario(
        || World::routed("reload-alone"),
        |world| {
            let at = world.serve_both("web", &web("web"), 80)?;
            world.edge.stop_daemon(DaemonName::Speaker);
            world.edge.configure(&one_pool().replace("192.0.2.10-", "192.0.2.30-"))?;
            world.edge.reload(DaemonName::Router)?;
            let [v4, v6] = at.addresses();
            let words = ["the reload is refused", "default/web", &v4.to_string()];
            wait_logged(world, DaemonName::Router, &words)?;
            at.answer(world.client()?)?;
            world.edge.stop_daemon(DaemonName::Router);
            world.edge.start_daemon(DaemonName::Router)?;
            eventually("silence for the address in no pool", SOON, || {
                let mac = ask::who_has(world.near()?, v4)?;
                ensure!(mac.is_none(), "{mac:?} answers for {v4}");
                Ok(())
            })?;
            let mac = ask::who_has(world.near()?, v6)?;
            ensure!(mac.is_some(), "nobody answers for {v6}, which is in the pool");
            Ok(())
        },
    )
}

/// A connection that asks when told to.
struct Long(TcpStream);

impl Long {
    fn open(world: &World, to: SocketAddr) -> Result<Self> {
        let client = world.client()?.namespace().clone();
        let stream = client.enter(|| Ok(TcpStream::connect(to)?))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self(stream))
    }

    /// The node that answers.
    fn ask(&mut self) -> Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")?;
        let mut buffer = [0; 4096];
        let length = uninterrupted(|| self.0.read(&mut buffer))?;
        ensure!(length > 0, "the connection is closed");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let node = text.split_whitespace().find_map(|word| word.strip_prefix("node="));
        Ok(node.ok_or_else(|| anyhow!("an odd answer: {text}"))?.to_owned())
    }
}

#[test]
fn a_drained_nodes_flows_live_until_the_deadline() -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(4);
    let toml = one_pool()
        .replace("[router.health]", "[router]\ndrain_deadline = \"4s\"\n\n[router.health]");
    scenario(
        || World::build(&presets::routed(2), "reload-drain", &toml),
        |world| {
            for vip in world.serve_web()? {
                let to = SocketAddr::new(vip, 80);
                let mut long = Long::open(world, to)?;
                let node = long.ask()?;
                let began = Instant::now();
                world.edge.cli_ok(&["drain", "node", &node])?;
                eventually("new flows go elsewhere", SOON, || {
                    ensure!(ask::tcp(world.client()?, to)?.node != node);
                    Ok(())
                })?;
                while began.elapsed() < DEADLINE - Duration::from_secs(1) {
                    ensure!(long.ask()? == node, "an established flow moved before the deadline");
                }
                let error = eventually("the end of the flow", SOON, || match long.ask() {
                    Ok(node) => Err(anyhow!("{node} still answers")),
                    Err(error) => Ok(error),
                })?;
                ensure!(began.elapsed() >= DEADLINE, "cut before the deadline");
                let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                ensure!(kind == Some(ErrorKind::ConnectionReset), "not reset: {error:#}");
                world.edge.cli_ok(&["undrain", "node", &node])?;
                world.wait_healthy("default/web")?;
            }
            Ok(())
        },
    )
}
