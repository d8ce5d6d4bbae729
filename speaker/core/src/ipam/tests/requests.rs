//! An address moves only when its Service asks for another: not by an edit that asks for nothing else,
//! and not by an edit of the pools that still hold it.

use super::*;

type Edit = fn(&mut Service);

#[test]
fn edits_that_are_no_request_move_nobody() {
    let edits: [(&str, Edit); 13] = [
        ("uid", |s| s.uid = Some("another".into())),
        ("labels", |s| drop(s.labels.insert("app".into(), "web".into()))),
        ("our class", |s| s.class = Some("roadstead.io/load-balancer".into())),
        ("another port", |s| s.ports = vec![tcp(8080)]),
        ("no port", |s| s.ports.clear()),
        ("no nodePort", |s| s.ports[0].node_port = None),
        ("another nodePort", |s| s.ports[0].node_port = Some(31_000)),
        ("source ranges", |s| {
            s.source_ranges = SourceRanges::Only(vec!["203.0.113.0/24".parse().unwrap()]);
        }),
        ("policy", |s| s.traffic_policy = TrafficPolicy::Local),
        ("affinity", |s| s.affinity = Some(Duration::from_secs(9))),
        ("a forged status", |s| s.status_addresses = vec![ip("192.0.2.14")]),
        ("a key of its own", |s| s.request.sharing_key = Some("k".into())),
        ("a reservation", |s| s.request.reservation = Some("r".into())),
    ];
    for (what, edit) in edits {
        let mut world = World::new([lan(5)]);
        world.put(service("a")).put(service("web")).run();
        world.delete("a").settle();
        world.edit("web", edit);
        world.settle();
        assert_eq!(world.live("web"), ["192.0.2.11"], "{what}");
    }
}

#[test]
fn a_request_for_what_is_held_moves_nobody() {
    let edits: [(&str, Edit); 5] = [
        ("its address", |s| s.request.addresses = vec![ip("192.0.2.11")]),
        ("its pool", |s| s.request.pool = Some("lan".into())),
        ("its number", |s| s.request.count = Some(1)),
        ("both families where there is one", |s| {
            s.families = Families::PreferDual { first: Family::V6 };
        }),
        ("a name for it", |s| s.request.hosts = vec!["web.example.org".into()]),
    ];
    for (what, edit) in edits {
        let mut world = World::new([lan(5)]);
        world.put(service("a")).put(service("web")).run();
        world.delete("a").settle();
        world.resolve("web.example.org", &["192.0.2.11"]).edit("web", edit);
        world.settle();
        assert_eq!(world.live("web"), ["192.0.2.11"], "{what}");
    }
}

#[test]
fn pools_that_still_hold_the_address_move_nobody() {
    let other = || pool("other", &["198.51.100.0/28"]);
    let edits: [(&str, Vec<Pool>); 14] = [
        ("a better pool", vec![lan(5), Pool { priority: Some(1), ..other() }]),
        ("a pinned pool", vec![lan(5), Pool { namespaces: vec!["default".into()], ..other() }]),
        ("a lower priority", vec![Pool { priority: Some(9), ..lan(5) }, other()]),
        ("on request only", vec![Pool { auto_assign: false, ..lan(5) }, other()]),
        ("drained", vec![Pool { drain: true, ..lan(5) }, other()]),
        ("no quota", vec![Pool { quota: most(0), ..lan(5) }, other()]),
        ("cool-down", vec![Pool { cool_down: Duration::from_secs(9), ..lan(5) }, other()]),
        ("no sharing", vec![Pool { sharing: Sharing::Off, ..lan(5) }, other()]),
        ("shared when full", vec![Pool { sharing: Sharing::WhenFull, ..lan(5) }, other()]),
        ("pinned to it", vec![Pool { namespaces: vec!["default".into()], ..lan(5) }, other()]),
        ("renamed", vec![pool("new", &["192.0.2.0/24"]), other()]),
        ("split", vec![pool("one", &["192.0.2.10"]), pool("two", &["192.0.2.11"]), other()]),
        ("buggy addresses avoided", vec![Pool { avoid_buggy_ips: true, ..lan(5) }, other()]),
        ("shrunken around it", vec![pool("lan", &["192.0.2.11"]), other()]),
    ];
    for (what, pools) in edits {
        let mut world = World::new([lan(5)]);
        world.put(asking("a", &["192.0.2.10"])).put(service("web")).run();
        world.delete("a").settle();
        assert!(world.allocator.orphans(&pools, &world.snapshot).is_empty(), "{what}");
        world.pools = pools;
        world.settle();
        assert_eq!(world.live("web"), ["192.0.2.11"], "{what}");
        world.restart().settle();
        assert_eq!(world.live("web"), ["192.0.2.11"], "{what}, after a restart");
    }
}

#[test]
fn a_changed_request_is_served_first_and_then_the_old_address_is_left() {
    let edits: [(&str, Edit, &str); 4] = [
        ("an address", |s| s.request.addresses = vec![ip("192.0.2.14")], "192.0.2.14"),
        ("a pool", |s| s.request.pool = Some("other".into()), "198.51.100.1"),
        ("a name", |s| s.request.hosts = vec!["web.example.org".into()], "192.0.2.13"),
        ("a family", |s| s.families = Families::Single(Family::V6), "2001:db8::1"),
    ];
    for (what, edit, address) in edits {
        let mut world = World::new([lan(5), pool("other", &["198.51.100.1", "2001:db8::1"])]);
        world.put(service("web")).resolve("web.example.org", &["192.0.2.13"]).run();
        world.edit("web", edit);
        let outcome = world.run();
        assert_eq!(world.live("web"), [address], "{what}");
        assert_eq!(world.leaving("web"), ["192.0.2.10"], "{what}: until it is silent");
        assert_eq!(said(&outcome, "web").1, "Allocated", "{what}");
    }
}
