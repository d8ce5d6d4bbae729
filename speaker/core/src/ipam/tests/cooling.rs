//! `cool_down`: an address that was released goes to nobody else for a while.

use super::*;

const COOL_DOWN: u64 = 600;

fn cooling(size: u8) -> World {
    World::new([Pool { cool_down: Duration::from_secs(COOL_DOWN), ..lan(size) }])
}

#[test]
fn another_gets_the_next_address_and_the_same_its_own_at_once() {
    let mut world = cooling(5);
    world.put(service("web")).run();
    world.delete("web").settle();
    world.put(service("other")).run();
    assert_eq!(world.live("other"), ["192.0.2.11"]);
    world.restart().put(service("web")).run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert!(!world.allocator.ledger().encode().contains("\"released\""), "nothing is left of it");
}

#[test]
fn who_waits_gets_it_when_the_time_is_over_and_is_told_when() {
    let mut world = cooling(1);
    world.put(service("old")).run();
    world.delete("old").run();
    world.now += 5;
    let outcome = world.put(service("web")).settle();
    assert_eq!(said(&outcome, "web").1, "PoolCoolingDown");
    assert_eq!(outcome.next, Some(world.now + COOL_DOWN + 1), "from when it fell silent");
    let outcome = world.wait(COOL_DOWN);
    assert!(world.live("web").is_empty() && !outcome.changed);
    let outcome = world.restart().wait(1);
    assert_eq!(world.live("web"), ["192.0.2.10"], "without an edit, over a restart");
    assert_eq!(outcome.next, None);
}

#[test]
fn a_clock_that_went_back_keeps_nobody_out_for_longer_than_the_time_itself() {
    let mut world = cooling(1);
    world.put(service("old")).run();
    world.delete("old").settle();
    world.now -= 500_000;
    let outcome = world.restart().put(service("web")).run();
    assert_eq!(outcome.next, Some(world.now + COOL_DOWN + 1));
    world.restart().wait(COOL_DOWN + 1);
    assert_eq!(world.live("web"), ["192.0.2.10"]);
}

#[test]
fn the_time_is_that_of_the_configuration_in_use() {
    let mut world = cooling(1);
    world.put(service("old")).run();
    world.delete("old").settle();
    world.put(service("web")).run();
    assert!(world.live("web").is_empty());
    world.pools = vec![lan(1)];
    world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    world.delete("web").settle();
    world.pools = vec![Pool { cool_down: Duration::from_secs(COOL_DOWN), ..lan(1) }];
    world.put(service("next")).run();
    assert_eq!(world.live("next"), ["192.0.2.10"], "what was not remembered is not brought back");
}

#[test]
fn all_who_shared_an_address_get_it_back() {
    let mut world = cooling(5);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).run();
    world.delete("a").delete("b").settle();
    world.put(keyed("c", "k", 82)).run();
    assert_eq!(world.live("c"), ["192.0.2.11"], "not before they are back");
    world.put(keyed("b", "k", 81)).run();
    world.put(keyed("a", "k", 80)).run();
    assert_eq!([world.live("a"), world.live("b")].concat(), ["192.0.2.10", "192.0.2.10"]);
}

#[test]
fn an_address_that_one_of_two_left_is_not_kept_from_those_who_share_it() {
    let mut world = cooling(5);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).run();
    world.delete("a").settle();
    world.put(keyed("c", "k", 80)).run();
    assert_eq!(world.live("c"), ["192.0.2.10"]);
}

#[test]
fn what_was_left_for_another_address_cools_down_too() {
    let mut world = cooling(3);
    world.put(service("web")).run();
    world.put(asking("web", &["192.0.2.12"])).settle();
    world.put(service("other")).run();
    assert_eq!(world.live("other"), ["192.0.2.11"]);
    world.put(asking("web", &["192.0.2.10"])).run();
    assert_eq!(world.live("web"), ["192.0.2.10"], "it is its own");
}

#[test]
fn what_is_remembered_is_bounded_and_the_one_with_most_pays() {
    let mut memory = crate::ipam::memory::Memory::default();
    let address = |n: u32| IpAddr::from(std::net::Ipv6Addr::from(u128::from(n)));
    memory.release(address(0), &key("modest"), 1);
    for n in 1..=17_000 {
        memory.release(address(20_000 - n), &key("greedy/web"), u64::from(n));
    }
    assert!((16_000..=16_384).contains(&memory.released().count()));
    assert!(memory.cooling(address(0)).is_some(), "the oldest of all, and not the greedy's");
    assert!(memory.cooling(address(19_999)).is_none());
    assert!(memory.cooling(address(3_000)).is_some());
}
