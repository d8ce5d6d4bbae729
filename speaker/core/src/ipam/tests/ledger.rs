//! The ledger on disk: what is written is read, and what is damaged is named.

use proptest::prelude::*;

use crate::ipam::LedgerError;

use super::*;

const GOOD: &str = r#"{"version":2,"generation":7,"next_since":9,"addresses":[
  {"address":"192.0.2.10","pool":"lan","kind":"virtual","holders":[
    {"service":"local/default/a","since":2,"ports":[{"protocol":"TCP","port":80}],"sharing_key":"k","leaving":false},
    {"service":"local/default/b","since":3,"ports":[{"protocol":"UDP","port":80}],"sharing_key":"k","leaving":true}]},
  {"address":"2001:db8::1","pool":"six","kind":"host","holders":[
    {"service":"local/default/a","since":4,"ports":[],"share_with":["prod"],"host":"web.example.org","reservation":"r","leaving":false}]}],
  "released":[{"address":"192.0.2.11","service":"local/default/c","at":1790000000}],
  "kept":[{"address":"192.0.2.12","reservation":"local/default/db"}]}"#;

fn damaged(from: &str, to: &str) -> LedgerError {
    let text = GOOD.replace(from, to);
    assert_ne!(text, GOOD, "the damage is done");
    Ledger::decode(text.as_bytes()).expect_err("damaged")
}

#[test]
fn the_documented_form_is_read_and_written() {
    let ledger = Ledger::decode(GOOD.as_bytes()).unwrap();
    assert_eq!(ledger.generation(), 7);
    let flat: String = GOOD.lines().map(str::trim_start).chain(["\n"]).collect();
    assert_eq!(ledger.encode(), flat);
}

#[test]
fn the_first_version_is_read_and_lacks_what_came_later() {
    let (addresses, _) = GOOD.split_once(",\n  \"released\"").unwrap();
    let first = addresses.replace("\"version\":2", "\"version\":1") + "}";
    let ledger = Ledger::decode(first.as_bytes()).unwrap();
    assert!(ledger.encode().starts_with("{\"version\":2,"));
    assert!(!ledger.encode().contains("released"));
}

#[test]
fn what_is_remembered_twice_is_named() {
    let released = r#"{"address":"192.0.2.11","service":"local/default/c","at":1790000000}"#;
    let twice = damaged(released, &[released, released].join(","));
    assert!(matches!(twice, LedgerError::DuplicateMemory { .. }), "{twice}");
    let kept = r#"{"address":"192.0.2.12","reservation":"local/default/db"}"#;
    let twice = damaged(kept, &[kept, kept].join(","));
    assert!(twice.to_string().contains("192.0.2.12"), "{twice}");
    let mapped = damaged("192.0.2.12", "::ffff:192.0.2.12");
    assert!(matches!(mapped, LedgerError::MappedAddress(_)), "{mapped}");
    let future = damaged("1790000000", "18446744073709551615");
    assert!(matches!(future, LedgerError::Counter { name: "at", .. }), "{future}");
}

#[test]
fn more_addresses_of_a_family_than_one_may_have_are_named() {
    let entry = |n: usize| {
        format!(
            r#"{{"address":"192.0.2.{n}","pool":"lan","kind":"virtual","holders":[{{"service":"local/default/a","since":{n},"ports":[],"leaving":false}}]}}"#
        )
    };
    let ledger = |count: usize| {
        let entries: Vec<_> = (1..=count).map(entry).collect();
        let head = r#"{"version":2,"generation":7,"next_since":99,"addresses":["#;
        Ledger::decode(format!("{head}{}]}}", entries.join(",")).as_bytes())
    };
    assert!(ledger(16).is_ok());
    let many = ledger(17).unwrap_err();
    assert!(matches!(many, LedgerError::TooManyOfFamily { count: 17, .. }), "{many}");
}

#[test]
fn a_fresh_ledger_is_one() {
    let ledger = Ledger::default();
    assert_eq!(Ledger::decode(ledger.encode().as_bytes()).unwrap(), ledger);
}

#[test]
fn every_truncation_is_an_error() {
    for end in 0..GOOD.len() {
        assert!(Ledger::decode(&GOOD.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn an_empty_file_or_one_of_zeros_is_said_to_be_cut_off() {
    for bytes in [&b""[..], b" \n", &[0; 4096]] {
        assert!(matches!(Ledger::decode(bytes), Err(LedgerError::Empty)));
    }
}

#[test]
fn versions_are_told_apart() {
    let newer = damaged("\"version\":2", "\"version\":3");
    assert!(matches!(newer, LedgerError::NewerVersion(3)));
    assert!(newer.to_string().contains("newer"));
    let newer_form = r#"{"version":3,"something":"else"}"#;
    assert!(matches!(Ledger::decode(newer_form.as_bytes()), Err(LedgerError::NewerVersion(3))));
    assert!(matches!(damaged("\"version\":2", "\"version\":0"), LedgerError::UnknownVersion(0)));
}

#[test]
fn syntax_is_placed() {
    assert_eq!(
        damaged("\"UDP\"", "\"QUIC\"").to_string(),
        "the ledger is damaged at line 4, column 70"
    );
    for (from, to) in [
        ("\"pool\":\"six\",", ""),
        ("\"since\":4", "\"since\":4,\"colour\":\"red\""),
        ("\"since\":4", "\"since\":4,\"since\":5"),
        ("2001:db8::1", "banana"),
        ("local/default/b", "b"),
        ("\"port\":80", "\"port\":65536"),
        ("\"generation\":7", "\"generation\":-7"),
    ] {
        assert!(matches!(damaged(from, to), LedgerError::Syntax(_)), "{from} -> {to}");
    }
}

#[test]
fn contradictions_are_named() {
    let address = damaged("2001:db8::1", "192.0.2.10");
    assert!(matches!(address, LedgerError::DuplicateAddress(_)), "{address}");
    assert!(address.to_string().contains("192.0.2.10"));
    let holder = damaged("default/b", "default/a");
    assert!(matches!(holder, LedgerError::DuplicateHolder { .. }), "{holder}");
    let port = damaged("\"UDP\"", "\"TCP\"");
    assert!(matches!(port, LedgerError::PortClaimedTwice { .. }), "{port}");
    assert!(port.to_string().contains("80/TCP of 192.0.2.10"));
    let zero = damaged("\"UDP\",\"port\":80", "\"UDP\",\"port\":0");
    assert!(matches!(zero, LedgerError::ImpossiblePort { .. }), "{zero}");
    let sctp = damaged("\"UDP\"", "\"SCTP\"");
    assert!(matches!(sctp, LedgerError::ImpossiblePort { .. }), "{sctp}");
    let listed = damaged(
        r#"[{"protocol":"UDP","port":80}]"#,
        r#"[{"protocol":"UDP","port":80},{"protocol":"UDP","port":80}]"#,
    );
    assert!(matches!(listed, LedgerError::DuplicatePort { .. }), "{listed}");
}

#[test]
fn contradictions_between_entries_are_named() {
    for order in [damaged("\"since\":4", "\"since\":3"), damaged("\"since\":4", "\"since\":9")] {
        assert!(matches!(order, LedgerError::BrokenOrder { .. }), "{order}");
    }
    let nobody = damaged(
        r#"{"service":"local/default/a","since":4,"ports":[],"share_with":["prod"],"host":"web.example.org","reservation":"r","leaving":false}"#,
        "",
    );
    assert!(matches!(nobody, LedgerError::NoHolder(_)), "{nobody}");
    let mapped = damaged("2001:db8::1", "::ffff:192.0.2.99");
    assert!(matches!(mapped, LedgerError::MappedAddress(_)), "{mapped}");
    let counter = damaged("\"generation\":7", "\"generation\":18446744073709551615");
    assert!(matches!(counter, LedgerError::Counter { name: "generation", .. }), "{counter}");
}

#[test]
fn what_is_too_large_is_not_read() {
    let huge = vec![b' '; crate::ipam::MAX_BYTES + 1];
    assert!(matches!(Ledger::decode(&huge), Err(LedgerError::TooLarge(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        prop_assert!(Ledger::decode(&bytes).is_err());
    }

    #[test]
    fn one_byte_changed_is_an_error_or_another_sound_ledger(at in 0..GOOD.len(), byte: u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(ledger) = Ledger::decode(&bytes) {
            let text = ledger.encode();
            prop_assert_eq!(Ledger::decode(text.as_bytes()).unwrap().encode(), text);
        }
    }
}
