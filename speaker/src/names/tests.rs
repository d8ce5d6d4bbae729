use std::sync::Mutex;

use super::*;

/// A name server: what it answers, and how often it was asked.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    addresses: BTreeMap<Arc<str>, &'static str>,
    asked: BTreeMap<Arc<str>, usize>,
}

impl Zone {
    fn set(&self, name: &str, address: Option<&'static str>) {
        let addresses = &mut self.0.lock().unwrap().addresses;
        match address {
            Some(address) => addresses.insert(name.into(), address),
            None => addresses.remove(name),
        };
    }

    fn asked(&self, name: &str) -> usize {
        self.0.lock().unwrap().asked.get(name).copied().unwrap_or_default()
    }

    fn lookup(
        &self,
        name: Arc<str>,
    ) -> impl Future<Output = Result<BTreeSet<IpAddr>, String>> + Send + 'static + use<> {
        let mut zone = self.0.lock().unwrap();
        *zone.asked.entry(name.clone()).or_default() += 1;
        let address = zone.addresses.get(&name).copied();
        let found = address.map(|address| BTreeSet::from([address.parse().unwrap()]));
        async move { found.ok_or_else(|| "no such name".to_owned()) }
    }
}

fn asking_for<'n>(names: impl IntoIterator<Item = &'n str>) -> Wanted {
    let followed = names.into_iter().map(Into::into).collect();
    Wanted { followed, too_many: BTreeSet::new() }
}

fn at(address: &str) -> Lookup {
    Lookup::Addresses(BTreeSet::from([address.parse().unwrap()]))
}

async fn until(known: &mut watch::Receiver<Arc<Names>>, what: impl Fn(&Names) -> bool) {
    known.wait_for(|names| what(names)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_at_once_and_again_and_what_it_said_last_is_kept() {
    let zone = Zone::default();
    zone.set("web.example.org", Some("192.0.2.10"));
    let (want, wanted) = watch::channel(asking_for(["web.example.org", "none.example.org"]));
    let (publish, mut known) = watch::channel(Arc::default());
    let server = zone.clone();
    let follower = follow(wanted, publish, move |name| server.lookup(name));
    let story = async {
        until(&mut known, |names| names.len() == 2).await;
        assert_eq!(known.borrow()["web.example.org"], at("192.0.2.10"));
        assert_eq!(known.borrow()["none.example.org"], Lookup::Failed("no such name".into()));
        zone.set("web.example.org", None);
        zone.set("none.example.org", Some("2001:db8::1"));
        until(&mut known, |names| names["none.example.org"] == at("2001:db8::1")).await;
        assert!(zone.asked("web.example.org") >= 2, "both were due at the same moment");
        assert_eq!(known.borrow()["web.example.org"], at("192.0.2.10"), "the last good is kept");
        zone.set("web.example.org", Some("192.0.2.11"));
        until(&mut known, |names| names["web.example.org"] == at("192.0.2.11")).await;
        want.send(asking_for(["none.example.org"])).unwrap();
        until(&mut known, |names| names.len() == 1).await;
        drop(want);
    };
    tokio::join!(follower, story);
}

#[tokio::test(start_paused = true)]
async fn a_few_names_are_looked_up_at_a_time() {
    let many: Vec<String> = (0..3 * AT_ONCE).map(|n| format!("n{n}.example.org")).collect();
    let (want, wanted) = watch::channel(asking_for(many.iter().map(String::as_str)));
    let (publish, mut known) = watch::channel(Arc::default());
    let running = Arc::new(Mutex::new((0_usize, 0_usize)));
    let count = running.clone();
    let slow = move |_| {
        let running = count.clone();
        async move {
            {
                let mut count = running.lock().unwrap();
                count.0 += 1;
                count.1 = count.1.max(count.0);
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            running.lock().unwrap().0 -= 1;
            Err("the name server is away".to_owned())
        }
    };
    let story = async {
        until(&mut known, |names| names.len() == 3 * AT_ONCE).await;
        drop(want);
    };
    tokio::join!(follow(wanted, publish, slow), story);
    assert_eq!(running.lock().unwrap().1, AT_ONCE);
}

#[tokio::test]
async fn the_systems_resolver_is_asked() {
    let found = resolve("localhost".into()).await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert!(resolve("no-such-name.invalid".into()).await.is_err());
}

#[test]
fn a_namespace_that_asks_for_names_without_end_takes_none_from_others() {
    let mut snapshot = Snapshot::default();
    let mut ask = |namespace: &str, name: String| {
        let mut service = crate::control::tests::service(&name);
        service.key.namespace = namespace.into();
        service.request.hosts = vec![format!("{name}.example.org").into()];
        snapshot.services.insert(service.key.clone(), Arc::new(service));
    };
    for n in 0..2 * MOST_OF_NAMESPACE {
        ask("greedy", format!("a{n:02}"));
    }
    ask("modest", "b".into());
    let wanted = wanted(&snapshot);
    assert_eq!(wanted.followed.len(), MOST_OF_NAMESPACE + 1);
    assert!(wanted.followed.contains("b.example.org"));
    assert_eq!(wanted.too_many.len(), MOST_OF_NAMESPACE);
}

#[test]
fn a_name_has_some_addresses_and_not_thousands() {
    let all = |count: u32| (0..count).map(|n| IpAddr::V4((0xc612_0000 + n).into()));
    assert_eq!(usable(all(2).chain(all(2))).unwrap().len(), 2);
    assert_eq!(usable(all(32)).unwrap().len(), 32);
    assert!(usable(all(33)).unwrap_err().contains("more than 32"));
    assert!(usable(all(0)).unwrap_err().contains("no address"));
}
