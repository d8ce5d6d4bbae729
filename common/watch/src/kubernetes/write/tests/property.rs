//! Everything that may happen, in any order.

use proptest::prelude::*;

use super::*;

/// What may happen to a cluster and its speaker.
#[derive(Clone, Debug)]
enum Happens {
    Create(u8),
    Say(u8, Option<u8>, bool),
    Delete(u8),
    Lapse(u8),
    Forge(u8, bool),
    Watch,
    Answered,
    Unheard(bool),
    Restart,
    Seconds(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    let name = || 0..3_u8;
    prop_oneof![
        2 => name().prop_map(Happens::Create),
        4 => (name(), prop::option::of(10..13_u8), any::<bool>()).prop_map(|(n, a, r)| Happens::Say(n, a, r)),
        1 => name().prop_map(Happens::Delete),
        1 => name().prop_map(Happens::Lapse),
        1 => (name(), any::<bool>()).prop_map(|(n, f)| Happens::Forge(n, f)),
        4 => Just(Happens::Watch),
        6 => Just(Happens::Answered),
        2 => any::<bool>().prop_map(Happens::Unheard),
        1 => Just(Happens::Restart),
        2 => (1..2_000_u16).prop_map(Happens::Seconds),
    ]
}

impl World {
    fn happen(&mut self, what: &Happens) {
        let named = |number: u8| format!("s{number}");
        match *what {
            Happens::Create(n) if !self.objects.contains_key(&key(&named(n))) => {
                let uid = format!("u{}", self.version);
                self.create(&named(n), &uid);
            }
            Happens::Say(n, address, reason) => {
                let Some(object) = self.objects.get(&key(&named(n))) else { return };
                if object["metadata"]["deletionTimestamp"].is_string() {
                    return;
                }
                let uid = object["metadata"]["uid"].as_str().expect("text").to_owned();
                let address = address.map(|last| format!("192.0.2.{last}"));
                let reason = if reason { "A" } else { "B" };
                self.say(&named(n), report(&uid, address.as_deref(), reason));
            }
            Happens::Delete(n) => self.delete(&named(n)),
            Happens::Lapse(n) => self.lapse(&named(n)),
            Happens::Forge(n, full) if self.objects.contains_key(&key(&named(n))) => {
                let forged = if full { json!([{"ip": "198.51.100.66"}]) } else { json!([]) };
                self.forge(&named(n), "other", forged);
            }
            Happens::Create(_) | Happens::Forge(..) => {}
            Happens::Watch => self.watch(),
            Happens::Answered => drop(self.step()),
            Happens::Unheard(is_carried_out) => self.step_unheard(is_carried_out),
            Happens::Restart => self.restart(),
            Happens::Seconds(seconds) => self.seconds += u64::from(seconds),
        }
        self.take_cleaned();
    }

    /// Each object is as it is to be, but for addresses that another holds.
    fn check(&self) {
        for (key, said) in &self.reports.services {
            let Some(object) = self.objects.get(key) else { continue };
            let is_about = said.uid.as_deref() == object["metadata"]["uid"].as_str();
            if !is_about || object["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            assert_eq!(self.is_guarded(&key.name), said.holds, "{object}");
            assert_eq!(self.told(&key.name, "Allocated"), Some(said.conditions[0].reason.as_str()));
            let wanted: Vec<_> = said.ingress.iter().map(|it| it.address.to_string()).collect();
            let held = self.told(&key.name, "Reported") == Some("StatusHeldByAnother");
            let forged = self.shown(&key.name) == ["198.51.100.66"];
            let is_right = self.shown(&key.name) == wanted || forged && (held || wanted.is_empty());
            assert!(is_right, "{wanted:?}: {object}");
        }
        assert!(self.reports.lapsed.is_empty(), "{:?}", self.reports.lapsed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_it_converges_and_comes_to_rest(story in prop::collection::vec(happens(), 1..60)) {
        let mut world = World::new();
        for what in &story {
            world.happen(what);
        }
        world.settle();
        world.check();
    }
}
