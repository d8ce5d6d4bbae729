//! Tokens that run out, and what is told of those that cannot be renewed.

use std::time::SystemTime;

use super::*;
use crate::kubernetes::api::token::tests::made;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    since.as_secs()
}

/// A server that asks for this token, and a daemon whose kubeconfig has it.
async fn speaking(token: &str) -> (Api, Lab) {
    let api = Api::start().await;
    api.change(|world| world.token = Some(token.to_owned()));
    let lab = Lab::with(&[], |directory| {
        write_kubeconfig(directory, &api.address.to_string(), token);
    });
    (api, lab)
}

#[tokio::test]
async fn a_token_is_renewed_at_half_of_its_life_and_the_watch_goes_on() {
    let half = made("a", now() - 400, now() + 300);
    let fresh = made("a", now(), now() + 700);
    let (api, mut lab) = speaking(&half).await;
    api.change(|world| world.grant = Some(fresh.clone()));
    lab.until_current().await;
    let kept = lab.directory.path().join("state/clusters/home/token");
    let renewed = async {
        while fs::read_to_string(&kept).ok().as_ref() != Some(&fresh) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(BOUND, renewed).await.expect("kept");
    // The old one opens nothing any more.
    turn(&api);
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    lab.until_service("web").await;
    let asked = api.change(|world| world.asked.clone());
    let requests = asked.iter().filter(|it| it.ends_with("/serviceaccounts/me/token?")).count();
    assert_eq!(requests, 1, "{asked:?}");
}

#[tokio::test]
async fn a_renewed_token_is_said_after_a_restart() {
    let (own, renewed) = (made("a", now() - 10, now() + 700), made("a", now(), now() + 900));
    let (api, mut lab) = speaking(&own).await;
    lab.until_current().await;
    fs::create_dir_all(lab.directory.path().join("state/clusters/home")).expect("created");
    fs::write(lab.directory.path().join("state/clusters/home/token"), &renewed).expect("written");
    api.change(|world| world.token = Some(renewed));
    turn(&api);
    lab.restart();
    lab.until_current().await;
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_told_before_it_runs_out() {
    let late = made("a", now() - 900, now() + 100);
    let (_api, mut lab) = speaking(&late).await;
    let told = lab.until("told", |it| is_current(it) && !it.problems.is_empty()).await;
    let text = told.problems[0].to_string();
    assert!(text.starts_with("cluster home: the token of ns/me is not renewed: "), "{text}");
    assert!(text.contains("answers 403: serviceaccounts \"me\" is forbidden"), "{text}");
    assert!(text.ends_with("`roadstead kubeconfig` gives the roles that are needed"), "{text}");
}

#[tokio::test]
async fn a_token_that_is_far_from_its_end_is_left_alone() {
    let (api, mut lab) = speaking(&made("a", now(), now() + 1_000)).await;
    lab.until_current().await;
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    lab.until_service("web").await;
    assert!(!api.change(|world| world.asked.iter().any(|it| it.contains("/token"))));
}

#[tokio::test]
async fn a_token_that_has_run_out_is_told_with_what_to_do_and_nothing_is_lost() {
    let (api, mut lab) = speaking(&made("a", now() - 10, now() + 700)).await;
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    lab.until_service("web").await;
    api.change(|world| world.token = Some("another".to_owned()));
    turn(&api);
    let told = lab.until_doubt("`roadstead kubeconfig` makes new ones").await;
    assert_eq!(names(&told), ["web"]);
    let new = made("a", now(), now() + 7_000);
    api.change(|world| world.token = Some(new.clone()));
    replace(lab.directory.path(), "token", &new);
    lab.until_current().await;
}

/// All watches end.
fn turn(api: &Api) {
    api.change(api::World::end_watches);
}
