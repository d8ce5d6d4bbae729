//! Node ports that several Services name, and objects that are in several files.

use proptest::prelude::*;

use super::*;

/// A Service with a node port of its own choice.
fn at(name: &str, node_port: u16) -> String {
    service(name, 80).replace("30080", &node_port.to_string())
}

/// `a=30080 b=30081`.
fn held(dir: &mut Dir) -> String {
    let view = dir.view();
    let shown = |service: &Arc<roadstead_model::object::Service>| {
        let port = service.ports.first().and_then(|port| port.node_port).unwrap_or(0);
        format!("{}={port}", service.key.name)
    };
    view.services.values().map(shown).collect::<Vec<_>>().join(" ")
}

/// Which Services lack a node port of their own.
fn contested(dir: &mut Dir) -> String {
    let names: Vec<_> = dir.view().contested.iter().map(|(key, _)| key.name.to_string()).collect();
    names.join(" ")
}

#[test]
fn a_node_port_named_twice_takes_nobody_out_and_is_told() {
    let mut dir = Dir::with(&[("b.yaml", &at("b", 30080))]);
    dir.write("a.yaml", &at("a", 30080));
    assert_eq!(held(&mut dir), "a=30080 b=30080");
    assert_eq!(contested(&mut dir), "a b");
    assert_eq!(
        dir.errors(),
        [
            "/m/b.yaml:1: Service default/b: node port TCP 30080 is named by Service default/a in /m/a.yaml:1 too; who was served with it first keeps it, the other wants another"
        ]
    );
    dir.directory.handle_removed(&path("a.yaml"));
    assert_eq!((held(&mut dir), contested(&mut dir)), ("b=30080".to_owned(), String::new()));
    assert_eq!(dir.errors(), Vec::<String>::new());
}

#[test]
fn two_may_swap() {
    let mut dir = Dir::with(&[("a.yaml", &(at("a", 30080) + &at("b", 30081)))]);
    dir.write("a.yaml", &(at("a", 30081) + &at("b", 30080)));
    assert_eq!(held(&mut dir), "a=30081 b=30080");
    assert_eq!(contested(&mut dir), "");
}

#[test]
fn protocols_are_apart_and_other_types_and_health_checks_are_told() {
    let udp = at("u", 30080).replace("port: 80,", "port: 80, protocol: UDP,");
    let mut dir = Dir::with(&[("a.yaml", &(at("a", 30080) + &udp))]);
    assert_eq!(held(&mut dir), "a=30080 u=30080");
    assert_eq!(dir.errors(), Vec::<String>::new());
    let other = at("n", 30081).replace("LoadBalancer", "NodePort");
    let health = at("h", 30082)
        .replace("spec: {", "spec: {externalTrafficPolicy: Local, healthCheckNodePort: 30081, ");
    dir.write("b.yaml", &(other + &health));
    assert_eq!(held(&mut dir), "a=30080 h=30082 u=30080");
    assert_eq!(
        dir.errors(),
        [
            "/m/b.yaml:6: Service default/h: node port TCP 30081 is named by Service default/n in /m/b.yaml:1 too; who was served with it first keeps it, the other wants another"
        ]
    );
    assert_eq!(contested(&mut dir), "");
}

#[test]
fn of_an_object_in_two_files_the_first_good_one_is_used() {
    let mut dir = Dir::with(&[("b.yaml", &at("a", 30080))]);
    // A version that is refused takes no good one out, neither now nor after a start.
    dir.write("a.yaml", &refused("a"));
    assert_eq!(held(&mut dir), "a=30080");
    assert_eq!(held(&mut dir.restarted()), "a=30080");
    dir.write("a.yaml", &at("a", 30081));
    assert_eq!(held(&mut dir), "a=30081");
    assert_eq!(held(&mut dir.restarted()), "a=30081");
    assert_eq!(
        dir.errors(),
        [
            "/m/b.yaml:1: Service default/a: already in /m/a.yaml:1, which stays; one of them is to go"
        ]
    );
}

/// What is done to a file of conflicting Services: written with these names and node ports, or
/// deleted.
type Change = (usize, Option<Vec<(usize, u16)>>);

fn change() -> impl Strategy<Value = Change> {
    let services = prop::collection::vec((0..4_usize, 30_000..30_004_u16), 1..4);
    (0..FILES.len(), prop::option::weighted(0.8, services))
}

const FILES: [&str; 4] = ["a.yaml", "b.yaml", "c.yaml", "d.yaml"];
const NAMES: [&str; 4] = ["p", "q", "r", "s"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Who came first is nothing that a daemon may remember: after a start it would decide anew,
    /// and two daemons would decide differently.
    #[test]
    fn conflicts_come_to_the_same_after_a_start(changes in prop::collection::vec(change(), 1..12)) {
        let mut dir = Dir::with(&[]);
        for (file, services) in &changes {
            match services {
                Some(services) => {
                    let text: String = services.iter().map(|(name, port)| at(NAMES[*name], *port)).collect();
                    dir.write(FILES[*file], &text);
                }
                None => dir.directory.handle_removed(&path(FILES[*file])),
            }
            let (now, anew) = (dir.view(), dir.restarted().view());
            prop_assert_eq!(&now.services, &anew.services);
            prop_assert_eq!(&now.contested, &anew.contested);
            prop_assert_eq!(&now.refused, &anew.refused);
            prop_assert_eq!(&now.problems, &anew.problems);
        }
    }
}
