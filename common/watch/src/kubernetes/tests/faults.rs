//! What goes wrong with an API server, and that nothing which serves is lost by it.

use super::{
    api::{Mood, NAMESPACES},
    *,
};
use crate::kubernetes::api::response::MAX_EVENT;

/// Three Services, seen.
async fn three() -> (Api, Lab) {
    let api = Api::start().await;
    api.change(|world| {
        for (name, port) in [("a", 1), ("b", 2), ("c", 3)] {
            world.apply(SERVICES, service(name, port));
        }
    });
    let mut lab = Lab::new(&api);
    assert_eq!(lab.until_current().await.services.len(), 3);
    (api, lab)
}

/// Has the server be like this, and all watches end.
fn turn(api: &Api, mood: Mood) {
    api.change(|world| {
        world.mood = mood;
        world.end_watches();
    });
}

#[tokio::test]
async fn while_the_api_fails_nothing_changes_and_afterwards_all_is_followed() {
    for (mood, words) in [
        (Mood::Refuses(500, None), "answers 500: not now"),
        (Mood::Refuses(503, None), "answers 503"),
        (Mood::Refuses(429, Some(1)), "answers 429"),
        (Mood::Refuses(403, None), "answers 403"),
        (Mood::Truncates, "cannot be understood"),
        (Mood::Babbles, "cannot be understood"),
        (Mood::Silent, "no answer within"),
    ] {
        let (api, mut lab) = three().await;
        turn(&api, mood);
        let away = lab.until_doubt(words).await;
        assert_eq!(names(&away), ["a", "b", "c"]);
        api.change(|world| {
            world.delete(SERVICES, "default/a");
            world.apply(SERVICES, service("d", 4));
            world.mood = Mood::Well;
        });
        let back =
            lab.until("followed", |it| is_current(it) && it.services.contains_key(&key("d"))).await;
        assert_eq!(names(&back), ["b", "c", "d"]);
        assert!(back.gone.contains(&key("a")));
        assert_eq!(
            api.change(|world| world.lists()),
            4,
            "the history was followed: no second list"
        );
    }
}

#[tokio::test]
async fn an_api_that_is_away_at_the_start_is_no_error() {
    let api = Api::start().await;
    turn(&api, Mood::Refuses(503, None));
    let mut lab = Lab::new(&api);
    let away = lab.until("told", |it| !it.problems.is_empty()).await;
    assert_eq!(away.sources[&home()], SourceState::Unread);
    let told = away.problems[0].to_string();
    assert!(told.starts_with("cluster home: "), "{told}");
    assert!(
        told.contains(&format!("the API server at http://{} answers 503", api.address)),
        "{told}"
    );
    turn(&api, Mood::Well);
    assert_eq!(lab.until_current().await.problems, []);
}

#[tokio::test]
async fn nobody_listens_at_the_start_and_then_somebody_does() {
    let mut lab = Lab::with(&[], |directory| write_kubeconfig(directory, "127.0.0.1:1", "token"));
    lab.until("told", |it| it.problems.iter().any(|it| it.message.contains("cannot be reached")))
        .await;
    let api = Api::start().await;
    write_kubeconfig(lab.directory.path(), &api.address.to_string(), "token");
    lab.until_current().await;
}

#[tokio::test]
async fn a_history_that_is_lost_is_listed_anew_and_what_went_meanwhile_is_gone() {
    let (api, mut lab) = three().await;
    api.change(|world| {
        world.delete(SERVICES, "default/b");
        world.apply(SERVICES, service("d", 4));
        world.compact();
    });
    let after = lab.until("listed anew", |it| it.services.contains_key(&key("d"))).await;
    assert_eq!(names(&after), ["a", "c", "d"]);
    let after = lab.until("b is gone", |it| it.gone.contains(&key("b"))).await;
    assert!(is_current(&after));
}

#[tokio::test]
async fn a_watch_refused_as_too_old_lists_anew() {
    let (api, mut lab) = three().await;
    turn(&api, Mood::Silent);
    lab.until_doubt("no answer").await;
    api.change(|world| {
        world.delete(SERVICES, "default/b");
        world.compact();
        world.mood = Mood::Well;
    });
    let after = lab.until("b is gone", |it| it.gone.contains(&key("b")) && is_current(it)).await;
    assert_eq!(names(&after), ["a", "c"]);
}

#[tokio::test]
async fn watches_are_renewed_from_the_last_bookmark_without_a_list() {
    let (api, mut lab) = three().await;
    api.change(|world| {
        world.version += 1_000;
        world.bookmark();
        world.apply(NODES, node("n2", "192.0.2.6"));
        world.bookmark();
    });
    lab.until("n2", |it| it.nodes.len() == 2).await;
    // Who has not heard the bookmark would have to list now.
    api.change(|world| {
        world.oldest = world.version;
        world.end_watches();
    });
    api.change(|world| world.apply(SERVICES, service("d", 4)));
    lab.until_service("d").await;
    assert_eq!(api.change(|world| world.lists()), 4);
}

#[tokio::test]
async fn an_empty_list_after_a_good_one_is_held_back_until_it_is_confirmed() {
    let (api, mut lab) = three().await;
    api.change(|world| {
        world.forget(SERVICES);
        world.compact();
    });
    let doubt = lab.until_doubt("the list of Services lacks 3 of 3").await;
    assert_eq!(names(&doubt), ["a", "b", "c"]);
    assert!(!doubt.is_gone(&key("a")));
    // What is new is taken all the same.
    api.change(|world| world.apply(SERVICES, service("d", 4)));
    lab.until_service("d").await;
    let confirmed = lab.confirm.confirm().await;
    assert_eq!((confirmed[0].services, confirmed[0].gone.len()), (1, 3));
    let after = lab.until_current().await;
    assert_eq!(names(&after), ["d"]);
    assert!(after.is_gone(&key("a")));
}

#[tokio::test]
async fn a_server_that_comes_to_itself_without_a_word_is_believed_again() {
    let (api, mut lab) = three().await;
    let before = api.change(|world| world.backup());
    api.change(|world| {
        world.forget(SERVICES);
        world.compact();
    });
    lab.until_doubt("the list of Services lacks 3 of 3").await;
    api.change(|world| world.recover(before));
    assert_eq!(names(&*lab.until_current().await), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_store_that_was_restored_is_noticed_and_changes_nothing() {
    let api = Api::start().await;
    api.change(|world| world.apply(SERVICES, service("old", 1)));
    let backup = api.change(|world| world.backup());
    api.change(|world| world.apply(SERVICES, service("new", 2)));
    let mut lab = Lab::new(&api);
    lab.until_current().await;

    api.change(|world| world.restore(backup));
    let doubt = lab.until_doubt("restored from a backup").await;
    assert_eq!(names(&doubt), ["new", "old"]);
    // The new history is followed, though its versions are of the past.
    api.change(|world| world.apply(SERVICES, service("next", 3)));
    lab.until_service("next").await;
    lab.confirm.confirm().await;
    let after =
        lab.until("believed", |it| is_current(it) && !it.services.contains_key(&key("new"))).await;
    assert_eq!(names(&after), ["next", "old"]);
}

#[tokio::test]
async fn what_was_reached_is_written_down_without_further_news() {
    let api = Api::start().await;
    let paced = Timing { notes: Duration::from_millis(300), idle: BOUND * 2, ..QUICK };
    let mut lab = Lab::paced(paced, &[], |directory| {
        write_kubeconfig(directory, &api.address.to_string(), "token");
    });
    lab.until_current().await;
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    lab.until_service("web").await;
    lab.until_kept(api.change(|world| world.version)).await;
}

/// The ledger has what the backup lacks, and only a source in doubt keeps it.
#[tokio::test]
async fn a_store_that_was_restored_while_nobody_watched_is_noticed_until_it_is_confirmed() {
    let api = Api::start().await;
    api.change(|world| world.apply(SERVICES, service("old", 1)));
    let backup = api.change(|world| world.backup());
    api.change(|world| world.apply(SERVICES, service("new", 2)));
    let mut lab = Lab::new(&api);
    lab.until_current().await;
    lab.until_kept(api.change(|world| world.version)).await;

    api.change(|world| world.restore(backup));
    for _ in 0..2 {
        lab.restart();
        let doubt = lab.until_doubt("restored from a backup").await;
        assert_eq!(names(&doubt), ["old"]);
        assert!(!doubt.is_gone(&key("new")));
    }
    api.change(|world| world.apply(SERVICES, service("next", 3)));
    assert!(!is_current(&*lab.until_service("next").await));
    lab.confirm.confirm().await;
    assert!(lab.until_current().await.is_gone(&key("new")));
    lab.restart();
    assert!(is_current(&*lab.until("read", |it| !it.services.is_empty()).await));
}

#[tokio::test]
async fn a_connection_that_went_dead_is_noticed() {
    let (api, mut lab) = three().await;
    api.change(|world| {
        world.deafen_watches();
        world.apply(SERVICES, service("d", 4));
    });
    lab.until_service("d").await;
}

#[tokio::test]
async fn a_token_that_is_rotated_on_the_disk_is_used_at_once() {
    let api = Api::start().await;
    api.change(|world| world.token = Some("token".to_owned()));
    let mut lab = Lab::new(&api);
    lab.until_current().await;
    turn(&api, Mood::Well);
    api.change(|world| {
        world.token = Some("second".to_owned());
        world.end_watches();
    });
    lab.until_doubt("answers 401: Unauthorized").await;
    replace(lab.directory.path(), "token", "second\n");
    lab.until_current().await;
    api.change(|world| world.apply(SERVICES, service("d", 4)));
    lab.until_service("d").await;
}

#[tokio::test]
async fn a_kubeconfig_that_turns_bad_is_told_and_the_last_good_one_stays() {
    let (api, mut lab) = three().await;
    replace(lab.directory.path(), "kubeconfig", "{");
    lab.until("told", |it| {
        it.problems.iter().any(|it| it.message.contains("no kubeconfig that can be used"))
    })
    .await;
    api.change(|world| world.apply(SERVICES, service("d", 4)));
    assert!(is_current(&*lab.until_service("d").await));
}

#[tokio::test]
async fn large_objects_are_read_and_their_ballast_is_not_kept() {
    let (api, mut lab) = three().await;
    let mut large = service("large", 5);
    large["metadata"]["managedFields"] = json!([{"fieldsV1": "x".repeat(1_500_000)}]);
    large["metadata"]["annotations"] = json!({"note": "y".repeat(1_000_000)});
    api.change(|world| world.apply(SERVICES, large));
    let seen = lab.until_service("large").await;
    let kept = format!("{:?}", seen.services[&key("large")]);
    assert!(kept.len() < 2_000, "{}", kept.len());
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_smaller_ones() {
    let api = Api::start().await;
    api.change(|world| {
        world.streams = false;
        for index in 1..=9 {
            let mut large = service(&format!("s{index}"), index);
            large["metadata"]["annotations"] = json!({"note": "y".repeat(2_500_000)});
            world.apply(SERVICES, large);
        }
    });
    // A server that is built without optimisation takes its time for 20 MB.
    let patient = Timing { answer: BOUND, ..QUICK };
    let mut lab = Lab::paced(patient, &[], |directory| {
        write_kubeconfig(directory, &api.address.to_string(), "token");
    });
    assert_eq!(lab.until_current().await.services.len(), 9);
}

/// What a tenant can write is at most 1.5 MiB in etcd, of which JSON makes up to six times as much.
#[tokio::test]
async fn the_largest_object_of_a_tenant_holds_up_nobody() {
    let (api, mut lab) = three().await;
    let mut large = service("large", 5);
    large["metadata"]["annotations"] = json!({"note": "y".repeat(9 << 20)});
    api.change(|world| world.apply(SERVICES, large));
    api.change(|world| world.apply(SERVICES, service("victim", 6)));
    lab.until_service("victim").await;
}

#[tokio::test]
async fn an_event_larger_than_any_object_is_refused_and_takes_nothing_away() {
    let (api, mut lab) = three().await;
    let mut monster = service("monster", 5);
    monster["metadata"]["annotations"] = json!({"note": "y".repeat(MAX_EVENT + 1)});
    api.change(|world| world.apply(SERVICES, monster));
    let doubt = lab.until_doubt("says more than 12582912 bytes at once").await;
    assert_eq!(names(&doubt), ["a", "b", "c"]);
}

#[tokio::test]
async fn one_cluster_that_is_away_and_another_that_floods_touch_no_other_source() {
    let quiet = Api::start().await;
    let flooding = Api::start().await;
    let configs = tempfile::tempdir().expect("a directory");
    let other = |name: &str, server: &str| {
        let directory = configs.path().join(name);
        fs::create_dir(&directory).expect("created");
        write_kubeconfig(&directory, server, "token");
        let kubeconfig = Kubeconfig::for_all(directory.join("kubeconfig"));
        Source {
            name: SourceName::new(name),
            kind: SourceKind::Cluster(kubeconfig),
            metallb: None,
            report: true,
        }
    };
    let others = [other("away", "127.0.0.1:1"), other("flood", &flooding.address.to_string())];
    let mut lab = Lab::with(&others, |directory| {
        write_kubeconfig(directory, &quiet.address.to_string(), "token");
    });
    lab.until_current().await;
    flooding.change(|world| {
        for index in 0..10_050 {
            let name = format!("n{index}");
            world.apply(NAMESPACES, json!({"metadata": {"name": name}}));
        }
    });
    quiet.change(|world| world.apply(SERVICES, service("web", 80)));
    lab.until_service("web").await;
    let flood = SourceName::new("flood");
    let last = lab
        .until("the flood is bounded", |it| match it.sources.get(&flood) {
            Some(SourceState::Doubtful { reason }) => {
                reason.contains("there are more than 10000 Namespaces")
            }
            _ => false,
        })
        .await;
    assert!(is_current(&last));
    assert_eq!(last.namespaces.keys().filter(|(source, _)| *source == flood).count(), 10_000);
    assert_eq!(last.sources[&SourceName::new("away")], SourceState::Unread);
}
