//! The lab, tried on itself with the kernel's own tools: no daemon takes part.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
    unistd::gettid,
};
use roadstead_lab::{
    Capture, Host, Lab, Load, Node, Supervisor, Topology, artifacts, eventually,
    impair::Direction,
    netns::{self, Namespace},
    presets,
    process::Program,
    wire::{Rules, Wire},
};

const SOON: Duration = Duration::from_secs(5);

fn ping(from: &Host, to: &str) -> Result<String> {
    from.run(&["ping", "-n", "-c", "1", "-W", "2", to])
}

fn namespaces(prefix: &str) -> Result<usize> {
    let names = fs::read_dir("/run/netns")?.flatten();
    Ok(names.filter(|name| name.file_name().to_string_lossy().starts_with(prefix)).count())
}

#[test]
fn every_host_of_the_routed_lab_reaches_its_neighbours_over_both_families() -> Result<()> {
    let lab = Lab::routed("lab-routed", 3)?;
    for edge in ["192.0.2.2", "2001:db8:1::2"] {
        ping(lab.client()?, edge)?;
        ping(lab.near()?, edge)?;
    }
    for node in 1..=3 {
        let node = lab.node(node)?;
        ping(lab.edge()?, &node.v4()?.to_string())?;
        ping(lab.edge()?, &node.v6()?.to_string())?;
        ensure!(ping(node, "198.51.100.10").is_err(), "a node must not reach the client by itself");
    }
    ensure!(lab.edge()?.read_sysctl("net/ipv4/ip_forward")? == "0", "the edge forwards");
    Ok(())
}

#[test]
fn every_host_of_the_segment_reaches_every_other() -> Result<()> {
    let lab = Lab::segment("lab-segment", 2)?;
    for node in [lab.node(1)?, lab.node(2)?] {
        ping(lab.client()?, &node.v4()?.to_string())?;
        ping(lab.near()?, &node.v6()?.to_string())?;
        ping(lab.edge()?, &node.v6()?.to_string())?;
    }
    Ok(())
}

#[test]
fn dropping_a_lab_leaves_nothing() -> Result<()> {
    let lab = Lab::segment("lab-cleanup", 1)?;
    let (prefix, dir) = (format!("{}-", lab.prefix()), lab.dir().to_owned());
    let node = Node::start(lab.node(1)?, &lab.logs(), &[])?;
    ensure!(namespaces(&prefix)? == 6, "switch, client, router, near, edge, node1");
    drop(node);
    drop(lab);
    ensure!(namespaces(&prefix)? == 0, "namespaces of {prefix} are left");
    ensure!(!dir.exists(), "{} is left", dir.display());
    Ok(())
}

#[test]
fn labs_that_outlive_their_process_have_names_of_their_own() -> Result<()> {
    let stem = format!("lab-claim-{}-", std::process::id());
    let (one, two) = (artifacts::claim(&stem)?, artifacts::claim(&stem)?);
    ensure!((&one, &two) == (&format!("{stem}1"), &format!("{stem}2")), "{one} and {two}");
    artifacts::remove_prefix(&one);
    ensure!(artifacts::names(&stem) == [two.clone()], "{:?}", artifacts::names(&stem));
    ensure!(artifacts::claim(&stem)? == one, "a name that was given up is free");
    artifacts::names(&stem).iter().for_each(|name| artifacts::remove_prefix(name));
    ensure!(artifacts::names(&stem).is_empty(), "{:?} are left", artifacts::names(&stem));
    Ok(())
}

#[test]
fn only_names_of_dead_processes_are_stale() {
    let own = netns::prefix(0);
    assert!(!netns::is_stale(&format!("{own}-edge")));
    // Above the kernel's largest PID_MAX_LIMIT of 2^22, so it cannot run.
    assert!(netns::is_stale("rs-4194999-0-edge"));
    assert!(!netns::is_stale("rs-demo1-edge"));
    assert!(!netns::is_stale("cni-1234"));
}

/// Every thread has an entry in /proc, and may have got the number of a process that is gone.
#[test]
fn a_thread_with_the_number_of_a_dead_process_is_no_lab() {
    thread::scope(|scope| {
        let number = scope.spawn(|| {
            let number = gettid();
            (number, netns::is_stale(&format!("rs-{number}-0-edge")))
        });
        let (number, is_stale) = number.join().expect("the thread ends");
        assert!(is_stale, "thread {number} is taken for a lab");
    });
}

/// `ip netns add` mounts the folder of names on itself: what was mounted before lies below.
#[test]
fn a_name_below_another_mount_is_removed() -> Result<()> {
    let name = format!("covered-{}", std::process::id());
    let path = Path::new("/run/netns").join(&name);
    let in_mounts_of_its_own = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        std::mem::forget(Namespace::new(&name)?);
        let (dir, bind) = ("/run/netns", MsFlags::MS_BIND);
        mount(Some(dir), dir, None::<&str>, bind, None::<&str>)?;
        ensure!(fs::remove_file(&path).is_err(), "nothing covers {name}");
        netns::remove_all(&name);
        ensure!(!path.exists(), "{name} is left");
        Ok(())
    };
    let outcome = thread::scope(|scope| scope.spawn(in_mounts_of_its_own).join());
    outcome.map_err(|_| anyhow!("the thread panicked"))?
}

#[test]
fn a_capture_sees_the_address_resolution_of_a_ping() -> Result<()> {
    let lab = Lab::routed("lab-capture", 1)?;
    let edge = lab.edge()?;
    let mut capture = Capture::start(edge, "eth0", "arp or icmp6", &lab.logs())?;
    ping(lab.near()?, "192.0.2.2")?;
    ping(lab.near()?, "2001:db8:1::2")?;
    let near = lab.near()?.leg("eth0")?.mac.to_string();
    let requests = eventually("the ARP request", SOON, || {
        let frames = capture.frames("arp[6:2] = 1 and arp dst host 192.0.2.2")?;
        ensure!(!frames.is_empty(), "none yet");
        Ok(frames)
    })?;
    ensure!(requests[0].from == near && requests[0].to == "ff:ff:ff:ff:ff:ff", "{requests:?}");
    eventually("the neighbour solicitation", SOON, || {
        let frames = capture.frames("icmp6 and ip6[40] = 135")?;
        ensure!(frames.iter().any(|frame| frame.from == near), "{frames:?}");
        Ok(())
    })?;
    capture.stop()
}

#[test]
fn nodes_answer_with_their_name_and_the_load_counts_it() -> Result<()> {
    let lab = Lab::segment("lab-load", 2)?;
    let mut node = Node::start(lab.node(1)?, &lab.logs(), &["--local-endpoints=31999=0"])?;
    let to = SocketAddr::new(lab.node(1)?.v4()?.into(), 30000);
    let to_v6 = SocketAddr::new(lab.node(1)?.v6()?.into(), 30001);
    for load in
        [Load::connect(to), Load::keep_alive(to_v6, 4), Load::udp(to, 4), Load::udp(to_v6, 0)]
    {
        let report = load.count(40).run(lab.client()?, &lab.logs())?;
        report.all_answered()?;
        report.spread_over(&["node1"])?;
        ensure!(report.sent == 40, "{report:?}");
    }
    let health = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
    let ask = |url| lab.edge()?.run(&[&health[..], &[url]].concat());
    ensure!(ask("http://192.0.2.101:10256/healthz")? == "200");
    ensure!(ask("http://192.0.2.101:31999/healthz")? == "503");
    node.report_healthy(false)?;
    eventually("an unhealthy node", SOON, || {
        ensure!(ask("http://192.0.2.101:10256/healthz")? == "503");
        Ok(())
    })?;
    node.stop_serving()?;
    let report = Load::connect(to).count(5).run(lab.client()?, &lab.logs())?;
    ensure!(report.refused == 5, "{report:?}");
    Ok(())
}

#[test]
fn a_load_tells_what_a_dead_node_loses_and_its_return() -> Result<()> {
    let lab = Lab::segment("lab-dead", 1)?;
    let mut node = Node::start(lab.node(1)?, &lab.logs(), &[])?;
    let to = SocketAddr::new(lab.node(1)?.v6()?.into(), 30000);
    let load = Load::udp(to, 4).timeout(Duration::from_millis(300));
    let running = load.clone().start(lab.near()?, &lab.logs())?;
    node.die()?;
    let report = {
        let dead = Load::udp(to, 1).timeout(Duration::from_millis(300)).count(10);
        let report = dead.run(lab.near()?, &lab.logs())?;
        node.revive()?;
        report
    };
    ensure!(report.ok == 0, "a dead node answered: {report:?}");
    eventually("the node's return", SOON, || {
        load.clone().count(5).run(lab.near()?, &lab.logs())?.all_answered()
    })?;
    let report = running.finish()?;
    ensure!(report.failed() > 0 && report.longest_gap_ms >= 50, "{report:?}");
    Ok(())
}

#[test]
fn an_impairment_acts_until_it_is_dropped() -> Result<()> {
    let lab = Lab::segment("lab-impair", 1)?;
    let (edge, near) = (lab.edge()?, lab.near()?);
    let deaf = lab.switch()?.impair("edge-eth0", Direction::Out, "ether type arp drop")?;
    ensure!(ping(near, "192.0.2.2").is_err(), "ARP passes");
    ping(near, "2001:db8:1::2")?;
    drop(deaf);
    near.forget_neighbours()?;
    ping(near, "192.0.2.2")?;
    let cut = lab.switch()?.cut("edge-eth0")?;
    ensure!(ping(near, "2001:db8:1::2").is_err(), "a cut link carries");
    drop(cut);
    edge.mtu("eth0", 1280)?;
    ensure!(edge.ip("link show eth0")?.contains("mtu 1280"));
    edge.offload("eth0", "tx", false)?;
    ensure!(edge.run(&["ethtool", "-k", "eth0"])?.contains("tx-checksumming: off"));
    Ok(())
}

#[test]
fn a_supervisor_starts_again_what_was_killed() -> Result<()> {
    let lab = Lab::segment("lab-supervisor", 1)?;
    let program = Program::new("sleeper", "sleep", &lab.logs()).arg("1000");
    let mut supervisor = Supervisor::start(program, lab.edge()?.namespace().clone())?;
    let first = supervisor.pid()?;
    let status = supervisor.restart(Signal::SIGKILL, SOON)?;
    ensure!(!status.success() && supervisor.starts() == 2 && supervisor.pid()? != first);
    let last = supervisor.pid()?;
    supervisor.stop();
    let gone = !Path::new(&format!("/proc/{last}")).exists();
    ensure!(gone, "{last} outlived its supervisor");
    Ok(())
}

#[test]
fn a_lab_is_built_within_bounds() -> Result<()> {
    let lab = presets::routed(3).build("lab-speed")?;
    let took = lab.built_in();
    // About half a second alone; the bound leaves room for a loaded machine.
    ensure!(took < Duration::from_secs(10), "building took {took:?}");
    lab.host("nobody").err().context("a host that is not there was found").map(drop)
}

#[test]
fn a_wire_delays_loses_and_cuts() -> Result<()> {
    let mut plan = Topology::new();
    let _ = plan.host("left").leg("cable", ["192.0.2.1/24", "2001:db8:1::1/64"]).wired();
    let _ = plan.host("right").leg("cable", ["192.0.2.2/24", "2001:db8:1::2/64"]);
    let lab = plan.build("lab-wire")?;
    let wire = Wire::start(&lab, "left", "eth0", 7)?;
    let (left, right) = (lab.host("left")?, lab.host("right")?);
    ping(left, "192.0.2.2")?;
    ping(left, "2001:db8:1::2")?;
    wire.set(Rules { delay: Duration::from_millis(40), ..Rules::default() });
    let began = Instant::now();
    ping(left, "192.0.2.2")?;
    ensure!(began.elapsed() >= Duration::from_millis(80), "40 ms each way: {:?}", began.elapsed());
    wire.set(Rules { cut: true, ..Rules::default() });
    ensure!(ping(left, "192.0.2.2").is_err(), "a cut wire carries");
    wire.set(Rules { loss: 300, ..Rules::default() });
    let node = Node::start(right, &lab.logs(), &[])?;
    let to = SocketAddr::new(node.host().v4()?.into(), 30000);
    let load = Load::udp(to, 4).rate(200).count(200).timeout(Duration::from_millis(300));
    let report = load.run(left, &lab.logs())?;
    ensure!(report.lost > 20 && report.ok > 20, "about half should be lost: {report:?}");
    wire.set(Rules { jitter: Duration::from_millis(5), ..Rules::default() });
    Load::keep_alive(to, 4).rate(100).count(100).run(left, &lab.logs())?.all_answered()
}
