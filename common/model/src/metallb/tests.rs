//! Pools and advertisements as the allocator sees them.

use super::*;
use crate::{SourceName, config::Pool};

fn home() -> SourceName {
    SourceName::new("home")
}

fn pool(name: &str, addresses: &str) -> AddressPool {
    AddressPool {
        name: name.into(),
        labels: Labels::new(),
        addresses: vec![addresses.parse().unwrap()],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    }
}

fn selecting(key: &str, value: &str) -> Selector {
    Selector { match_labels: [(key.into(), value.into())].into(), ..Selector::default() }
}

fn announcing(name: &str) -> L2Advertisement {
    L2Advertisement { name: name.into(), ..L2Advertisement::default() }
}

fn only(objects: &MetalLb) -> Pool {
    let mut pools = objects.pools_of(&home());
    assert_eq!(pools.len(), 1);
    pools.remove(0)
}

#[test]
fn a_pool_is_its_sources_and_called_by_its_own_name_there() {
    let objects = MetalLb { pools: vec![pool("lan", "192.0.2.0/28")], ..MetalLb::default() };
    let pool = only(&objects);
    assert_eq!((&*pool.name, &pool.source), ("home/lan", &Some(home())));
    assert!(pool.is_called("lan", &home()) && pool.is_called("home/lan", &home()));
    assert!(!pool.is_called("lan", &SourceName::new("away")));
}

#[test]
fn a_pool_without_an_advertisement_is_announced_nowhere() {
    let mut objects = MetalLb { pools: vec![pool("lan", "192.0.2.0/28")], ..MetalLb::default() };
    assert!(!only(&objects).announce.l2 && !only(&objects).exposure(&[]).l2);
    objects.l2_advertisements = vec![announcing("all")];
    let exposure = only(&objects).exposure(&[None]);
    assert!(only(&objects).announce.l2 && exposure.l2 && exposure.interfaces.is_none());
}

#[test]
fn an_advertisement_is_about_the_pools_it_names_or_selects() {
    let mut labelled = pool("lan", "192.0.2.0/28");
    labelled.labels.insert("zone".into(), "dmz".into());
    let scope = |pools: &[&str], selectors: &[Selector]| Scope {
        pools: pools.iter().map(|name| (*name).into()).collect(),
        selectors: selectors.to_vec(),
    };
    let dmz = || selecting("zone", "dmz");
    for (scope, wanted) in [
        (scope(&[], &[]), true),
        (scope(&["lan"], &[]), true),
        (scope(&["other"], &[]), false),
        (scope(&[], &[dmz()]), true),
        (scope(&["other"], &[dmz()]), true),
        (scope(&[], &[selecting("zone", "lab")]), false),
    ] {
        assert_eq!(scope.covers(&labelled), wanted, "{scope:?}");
    }
}

#[test]
fn interfaces_of_several_advertisements_add_up_for_the_services_they_select() {
    let on = |name: &str, interface: &str, tier: Option<&str>| L2Advertisement {
        interfaces: vec![interface.into()],
        service_selectors: tier.iter().map(|tier| selecting("tier", tier)).collect(),
        ..announcing(name)
    };
    let objects = MetalLb {
        pools: vec![pool("lan", "192.0.2.0/28")],
        l2_advertisements: vec![on("a", "lan0", Some("front")), on("b", "lan1", Some("back"))],
        ..MetalLb::default()
    };
    let labels = |tier: &str| Labels::from([("tier".into(), tier.into())]);
    let pool = only(&objects);
    let legs = |labels: &[Option<&Labels>]| {
        let exposure = pool.exposure(labels);
        (exposure.l2, exposure.interfaces.unwrap_or_default().join(" "))
    };
    assert_eq!(legs(&[Some(&labels("front"))]), (true, "lan0".to_owned()));
    assert_eq!(legs(&[Some(&labels("front")), Some(&labels("back"))]).1, "lan0 lan1");
    assert_eq!(legs(&[Some(&labels("other"))]), (false, String::new()));
    assert_eq!(legs(&[None]), (true, "lan0 lan1".to_owned()), "what is not known holds");
}

#[test]
fn pools_of_two_origins_never_overlap() {
    let of = |name: &str, addresses: &str| MetalLb {
        pools: vec![pool(name, addresses)],
        ..MetalLb::default()
    };
    let (home, away) = (home(), SourceName::new("away"));
    let configured = [Pool::new("file", vec!["192.0.2.0/28".parse().unwrap()])];
    let (one, other) = (of("lan", "192.0.2.16/28"), of("lan", "192.0.2.32/28"));
    let both = effective(&configured, [(&away, &one), (&home, &other)]).unwrap();
    let names: Vec<_> = both.iter().map(|pool| &*pool.name).collect();
    assert_eq!(names, ["file", "away/lan", "home/lan"]);
    let met = effective(&configured, [(&home, &of("lan", "192.0.2.15"))]).unwrap_err();
    assert_eq!(
        met.to_string(),
        "pool `home/lan`: 192.0.2.15 overlaps 192.0.2.0-192.0.2.15 of pool `file`; an address \
         belongs to one pool"
    );
    assert!(effective(&[], [(&away, &one), (&home, &one)]).is_err());
}
