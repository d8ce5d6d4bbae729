//! No text makes the parser panic, and no text makes it hold more than it says.

use proptest::prelude::*;

use super::*;

const SEEDS: [&str; 3] = [
    include_str!("../../../../tests/fixtures/kubectl.yaml"),
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: LoadBalancer\n  ports:\n  - {port: 80, nodePort: 30080}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.5}]}\n",
    "{\"apiVersion\": \"v1\", \"kind\": \"ServiceList\", \"items\": [{\"metadata\": {\"name\": \"a\"}, \"spec\": {\"type\": \"LoadBalancer\"}}]}",
];

/// A piece of text to put in the place of another.
fn splice() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<char>().prop_map(|c| c.to_string()),
        prop::sample::select(vec![
            "null",
            "\n",
            "---\n",
            "  ",
            "- ",
            ": ",
            "{",
            "}",
            "[",
            "]",
            "&a ",
            "*a",
            "!!int ",
            "|\n",
            "\"",
            "\t",
            "~",
            "<<: ",
            "99999999999999999999",
            "-1",
            "0x10",
            ".inf",
            "\u{feff}",
            "é",
            "192.0.2.0/24",
            "::",
            "kind: List\n",
        ])
        .prop_map(str::to_owned),
    ]
}

fn mutated() -> impl Strategy<Value = String> {
    let cut = (any::<prop::sample::Index>(), 0_usize..12, splice());
    (prop::sample::select(SEEDS.to_vec()), prop::collection::vec(cut, 1..8)).prop_map(
        |(seed, cuts)| {
            let mut text: Vec<char> = seed.chars().collect();
            for (at, length, put) in cuts {
                let from = at.index(text.len() + 1);
                let to = (from + length).min(text.len());
                text.splice(from..to, put.chars());
            }
            text.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        let parsed = parse(&text);
        prop_assert!(parsed.problems.len() <= MAX_PROBLEMS + 1);
    }

    #[test]
    fn mutated_manifests_never_panic(text in mutated()) {
        let parsed = parse(&text);
        let lines = text.lines().count() + 1;
        for problem in &parsed.problems {
            prop_assert!(problem.location.line <= lines, "{problem}");
            prop_assert!(!problem.message.contains('\n'), "{problem}");
        }
        if parsed.reading == Reading::Broken {
            prop_assert!(parsed.items.is_empty() && !parsed.problems.is_empty());
        }
    }

    #[test]
    fn a_truncated_manifest_never_panics(seed in prop::sample::select(SEEDS.to_vec()), at in any::<prop::sample::Index>()) {
        let cut: String = seed.chars().take(at.index(seed.chars().count())).collect();
        parse(&cut);
    }
}
