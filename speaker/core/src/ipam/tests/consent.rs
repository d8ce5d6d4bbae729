//! Sharing across namespaces: never by the word of one, and never at the cost of another.

use super::*;

fn open(size: u8) -> World {
    World::new([Pool { sharing: Sharing::KeyAcrossNamespaces, ..lan(size) }])
}

fn with(mut service: Service, namespaces: &[&str]) -> Service {
    service.request.share_with = Some(namespaces.iter().map(|name| (*name).into()).collect());
    service
}

#[test]
fn a_guessed_key_opens_nothing_where_the_pool_keeps_namespaces_apart() {
    for sharing in [Sharing::Off, Sharing::Key] {
        let mut world = World::new([Pool { sharing, ..lan(3) }]);
        world.put(keyed("victim", "front", 80)).run();
        world.put(keyed("evil/web", "front", 81)).run();
        assert_eq!(world.live("evil/web"), ["192.0.2.11"]);
        let mut same = asking("evil/same", &["192.0.2.10"]);
        same.request.sharing_key = Some("front".into());
        same.ports = vec![tcp(82)];
        world.put(same).run();
        assert!(world.live("evil/same").is_empty(), "nor does naming the address");
    }
}

#[test]
fn who_names_its_partners_is_joined_by_nobody_else() {
    let mut world = open(5);
    world.put(with(keyed("victim", "front", 80), &["prod"])).run();
    world.put(keyed("evil/web", "front", 81)).run();
    assert_eq!(world.live("evil/web"), ["192.0.2.11"], "a key alone is not enough");
    world.put(with(keyed("evil/again", "front", 82), &["default"])).run();
    assert_ne!(world.live("evil/again"), ["192.0.2.10"], "nor is consent of one side");
    world.put(with(keyed("prod/web", "front", 83), &["default"])).run();
    assert_eq!(world.live("prod/web"), ["192.0.2.10"], "each names the other");
    world.put(with(keyed("own", "front", 84), &[])).run();
    assert_ne!(world.live("own"), ["192.0.2.10"], "it would be beside prod, which it leaves out");
}

#[test]
fn who_takes_its_consent_back_is_the_one_that_moves() {
    let mut world = open(2);
    world.put(keyed("a", "front", 80)).put(keyed("prod/b", "front", 81)).run();
    assert_eq!(world.live("prod/b"), ["192.0.2.10"]);
    world.put(with(keyed("a", "front", 80), &[])).run();
    assert_eq!(world.live("prod/b"), ["192.0.2.10"], "another's edit moves nobody");
    assert_eq!(world.live("a"), ["192.0.2.11"]);
}

/// However one tenant edits its key, its ports and its partners, the others stay where they are and
/// keep their ports.
#[test]
fn no_edit_of_one_tenant_costs_another_its_address_or_a_port() {
    for sharing in [Sharing::Off, Sharing::Key, Sharing::KeyAcrossNamespaces, Sharing::WhenFull] {
        let mut world = World::new([Pool { sharing, ..lan(2) }]);
        world.put(keyed("a", "front", 80)).put(keyed("prod/b", "front", 81)).run();
        let before = [world.live("a"), world.live("prod/b")];
        for key in [Some("front"), Some("other"), None] {
            for port in [80, 81, 82] {
                for partners in [None, Some(&["default", "prod"][..]), Some(&[][..])] {
                    let mut evil = on_port("evil/web", port);
                    evil.request.sharing_key = key.map(Into::into);
                    evil.request.addresses = vec![ip("192.0.2.10")];
                    evil.request.share_with =
                        partners.map(|all| all.iter().map(|name| (*name).into()).collect());
                    world.put(evil).settle();
                    assert_eq!([world.live("a"), world.live("prod/b")], before);
                    assert_eq!(world.ports("a", &before[0][0]), [80]);
                }
            }
        }
    }
}
