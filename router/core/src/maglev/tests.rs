use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("local/n{n}/192.0.2.{n}")).collect()
}

fn shares(names: &[String], weight: impl Fn(usize) -> u32) -> Vec<Share<'_>> {
    names
        .iter()
        .enumerate()
        .map(|(n, name)| Share {
            name,
            backend: BackendId::try_from(n).unwrap(),
            weight: weight(n),
        })
        .collect()
}

fn counts(table: &Table) -> BTreeMap<BackendId, usize> {
    let mut counts = BTreeMap::new();
    for backend in table.iter() {
        *counts.entry(*backend).or_default() += 1;
    }
    counts
}

/// Slots that differ although neither side names `apart`.
fn moved(before: &Table, after: &Table, apart: BackendId) -> usize {
    before.iter().zip(after.iter()).filter(|(a, b)| a != b && **a != apart && **b != apart).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// M1: the share of each is within 2 % of its weight's part, or within two slots where a
    /// backend has so few that a slot is more than that.
    #[test]
    fn the_share_follows_the_weight(weights in prop::collection::vec(0_u32..100, 1..160)) {
        let names = names(weights.len());
        let table = table(&shares(&names, |n| weights[n]));
        let total: u32 = weights.iter().sum();
        let counts = counts(&table);
        for (n, weight) in weights.iter().enumerate() {
            let got = counts.get(&BackendId::try_from(n).unwrap()).copied().unwrap_or(0) as f64;
            if total == 0 || *weight == 0 {
                prop_assert_eq!(got, 0.0);
                continue;
            }
            let fair = TABLE_SLOTS as f64 * f64::from(*weight) / f64::from(total);
            prop_assert!((got - fair).abs() <= (fair * 0.02).max(2.0), "{got} slots for {fair}");
        }
    }

    /// M2: neither the order of the input nor the host's indices matter.
    #[test]
    fn the_order_of_the_input_does_not_matter(
        order in Just((0..40_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let names = names(40);
        let straight = table(&shares(&names, |n| 1 + u32::try_from(n % 3).unwrap()));
        let renamed: Vec<Share<'_>> = order
            .iter()
            .enumerate()
            .map(|(index, n)| Share {
                name: &names[*n],
                backend: BackendId::try_from(index + 100).unwrap(),
                weight: 1 + u32::try_from(n % 3).unwrap(),
            })
            .collect();
        let shuffled = table(&renamed);
        for (a, b) in straight.iter().zip(shuffled.iter()) {
            prop_assert_eq!(usize::from(*a), order[usize::from(*b) - 100]);
        }
    }

    /// M3: taking one of N away (or adding it) moves its share and at most 2 % more.
    #[test]
    fn one_backend_more_or_less_leaves_the_others(count in 2_usize..100, gone in 0_usize..100) {
        let gone = gone % count;
        let names = names(count);
        let before = table(&shares(&names, |_| 1));
        let after = table(&shares(&names, |n| u32::from(n != gone)));
        let moved = moved(&before, &after, BackendId::try_from(gone).unwrap());
        prop_assert!(moved * 50 <= TABLE_SLOTS, "{moved} slots of others moved, {count} backends");
    }

    /// The climb of a recovering backend takes slots for it and moves few of the others'.
    #[test]
    fn a_changed_weight_leaves_the_others(count in 3_usize..60, percent in 1_u32..100) {
        let names = names(count);
        let before = table(&shares(&names, |_| 100));
        let after = table(&shares(&names, |n| if n == 0 { percent } else { 100 }));
        let moved = moved(&before, &after, 0);
        prop_assert!(moved * 50 <= TABLE_SLOTS, "{moved} slots of others moved");
    }
}

/// A large cluster: every one of a thousand nodes gets its part within a slot.
#[test]
fn a_thousand_nodes_share_evenly() {
    let names = names(1_000);
    let counts = counts(&table(&shares(&names, |_| 7)));
    assert_eq!(counts.len(), 1_000);
    assert!(counts.values().all(|slots| (16..=17).contains(slots)), "{counts:?}");
}

#[test]
fn nobody_with_weight_is_an_empty_table() {
    let empty = table(&[]);
    assert_eq!(empty.len(), TABLE_SLOTS);
    assert!(empty.iter().all(|slot| *slot == NO_BACKEND));
    let names = names(3);
    assert_eq!(table(&shares(&names, |_| 0)), empty);
}

#[test]
fn weights_are_relative() {
    let names = names(9);
    assert_eq!(table(&shares(&names, |_| 1)), table(&shares(&names, |_| 1_000_000)));
}

/// M2, over releases: another value here would move every client of every user.
#[test]
fn the_table_of_three_nodes_is_what_it_always_was() {
    let names = names(3);
    let table = table(&shares(&names, |n| u32::try_from(n).unwrap() + 1));
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    for slot in table.iter() {
        hasher.write(&slot.to_be_bytes());
    }
    assert_eq!(hasher.finish(), 13_781_256_307_720_866_249);
}
