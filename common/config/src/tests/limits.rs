//! `drain`, `cool_down`, `[pool.quota]` and `[[reservation]]`: what is right, and what is told of the
//! rest.

use std::time::Duration;

use roadstead_model::{SourceName, config::Beneficiary};

use super::{load_text, shown};

/// A pool for cases about other things; it fills lines 1 to 3.
const POOL: &str = "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10-192.0.2.50\"]\n";

/// `text` follows [`POOL`], so that its first line is line 4.
fn told(text: &str, expected: &[&str]) {
    let problems = match load_text(&format!("{POOL}{text}")) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    assert_eq!(shown(&problems), expected, "for:\n{text}");
}

#[test]
fn a_pool_that_says_nothing_bounds_nothing() {
    let config = load_text(POOL).unwrap().config;
    let pool = &config.pools[0];
    assert_eq!((pool.drain, pool.cool_down), (false, Duration::ZERO));
    assert_eq!(pool.quota.of(&SourceName::new("local"), "default"), None);
    assert!(config.reservations.is_empty());
}

#[test]
fn bounds_of_a_pool() {
    let text = "drain = true\ncool_down = \"10m\"\n\
                [pool.quota]\ndefault = 3\n\"home/default\" = 0\n\"*\" = 7\n";
    let config = load_text(&format!("{POOL}{text}")).unwrap().config;
    let pool = &config.pools[0];
    assert_eq!((pool.drain, pool.cool_down), (true, Duration::from_secs(600)));
    let quota = |source: &str, namespace: &str| pool.quota.of(&SourceName::new(source), namespace);
    assert_eq!(quota("local", "default"), Some(3));
    assert_eq!(quota("home", "default"), Some(0));
    assert_eq!(quota("home", "other"), Some(7));
}

#[test]
fn wrong_bounds_of_a_pool() {
    told(
        "cool_down = \"1000h\"\n",
        &["roadstead.toml:4: `cool_down` of pool \"lan\": \"1000h\" is outside \"0s\" to \"168h\""],
    );
    told(
        "quota = 3\n",
        &["roadstead.toml:4: `quota` of pool \"lan\" is a number, not a table of whole numbers"],
    );
    told(
        "[pool.quota]\na = \"many\"\nb = -1\nC = 1\n\"x/y/z\" = 1\n",
        &[
            "roadstead.toml:5: `quota` of pool \"lan\" is a string, not a table of whole numbers",
            "roadstead.toml:6: `quota` of pool \"lan\": `b` is -1, outside 0 to 4294967295",
            "roadstead.toml:7: `quota` of pool \"lan\": \"C\" is no namespace: 1 to 63 of a-z, 0-9 \
             and '-'",
            "roadstead.toml:8: `quota` of pool \"lan\": \"y/z\" is no namespace: 1 to 63 of a-z, 0-9 \
             and '-'",
        ],
    );
    let many: String = (0..1_001).map(|n| format!("n{n} = 1\n")).collect();
    told(
        &format!("[pool.quota]\n{many}"),
        &["roadstead.toml:4: `quota` of pool \"lan\" names 1001 namespaces, more than 1000"],
    );
}

#[test]
fn reservations_are_for_a_service_or_a_namespace() {
    let text = "[[reservation]]\nname = \"db\"\naddresses = [\"192.0.2.10\"]\n\
                service = \"local/default/db\"\n\
                [[reservation]]\nname = \"shop\"\naddresses = [\"192.0.2.11\", \"192.0.2.12\"]\n\
                namespace = \"home/shop\"\n";
    let reservations = load_text(&format!("{POOL}{text}")).unwrap().config.reservations;
    let service = "local/default/db".parse().unwrap();
    assert_eq!(reservations[0].beneficiary, Beneficiary::Service(service));
    let namespace =
        Beneficiary::Namespace { source: SourceName::new("home"), namespace: "shop".into() };
    assert_eq!(reservations[1].beneficiary, namespace);
    assert_eq!(reservations[1].addresses.len(), 2);
}

#[test]
fn reservations_that_are_for_nobody() {
    told(
        "[[reservation]]\nname = \"db\"\naddresses = [\"192.0.2.10\"]\n",
        &["roadstead.toml:4: reservation \"db\" has neither `service` nor `namespace`: write \
           service = \"local/default/db\", or namespace = \"local/default\""],
    );
    told(
        "[[reservation]]\nname = \"db\"\naddresses = []\nservice = \"default/db\"\n",
        &[
            "roadstead.toml:6: `addresses` of reservation \"db\" is empty: write [\"192.0.2.10\"]",
            "roadstead.toml:7: `service` of reservation \"db\": \"default/db\" is no service: write \
             SOURCE/NAMESPACE/NAME",
        ],
    );
    told(
        "[[reservation]]\nname = \"db\"\nnamespace = \"default\"\n",
        &[
            "roadstead.toml:4: reservation \"db\" has no `addresses`: add addresses = \
             [\"192.0.2.10\"]",
            "roadstead.toml:6: `namespace` of reservation \"db\": \"default\" is no namespace of a \
             source: write SOURCE/NAMESPACE",
        ],
    );
}

#[test]
fn an_address_is_kept_once_and_where_it_can_be_had() {
    let reserve = |name: &str, address: &str| {
        format!(
            "[[reservation]]\nname = \"{name}\"\naddresses = [\"{address}\"]\nnamespace = \"a/b\"\n"
        )
    };
    told(
        &(reserve("db", "192.0.2.10") + &reserve("db", "192.0.2.10")),
        &[
            "roadstead.toml:9: reservation \"db\" is written twice: first at roadstead.toml:5",
            "roadstead.toml:10: reservation \"db\": 192.0.2.10 is reserved already \
             (roadstead.toml:6); an address is kept for one",
        ],
    );
    told(
        &reserve("db", "203.0.113.1"),
        &["roadstead.toml:6: reservation \"db\": 203.0.113.1 lies in no [[pool]]: nobody gets it \
           from there"],
    );
    told(
        &("reserved = [\"192.0.2.10\"]\n".to_owned() + &reserve("db", "192.0.2.10")),
        &["roadstead.toml:7: reservation \"db\": 192.0.2.10 is `reserved` in pool \"lan\" \
           (roadstead.toml:2), which hands it out to nobody: take it out there"],
    );
}
