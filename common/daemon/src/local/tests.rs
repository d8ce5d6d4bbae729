use std::sync::Arc;

use roadstead_model::local::{Assignments, Done, DrainRequest, DrainTarget};

use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use super::{Answer, Call, Client, ClientError, Server};
use crate::publish::{LONG_POLL, Published, Seen, published};

async fn handle(call: Call, assignments: Published<Assignments>) -> Answer {
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/v1/assignments") => Answer::json(assignments.after(call.after()).await.as_ref()),
        ("POST", "/v1/drain") => match call.order::<DrainRequest>() {
            Ok(request) => Answer::json(&Done { message: format!("{:?}", request.target) }),
            Err(refusal) => refusal,
        },
        _ => Answer::unknown(&call),
    }
}

#[tokio::test]
async fn a_long_poll_answers_when_the_generation_changes() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("speaker/local.sock");
    let (publisher, assignments) = published(Assignments { generation: 7, ..Default::default() });
    let server = Server::bind(&socket).unwrap();
    let serving = tokio::spawn(server.serve(move |call| handle(call, assignments.clone())));
    let client = Arc::new(Client::new(&socket));

    let now: Assignments = client.get("/v1/assignments").await.unwrap();
    assert_eq!(now.generation, 7);

    let poll = {
        let client = client.clone();
        tokio::spawn(async move { client.get::<Assignments>("/v1/assignments?after=7").await })
    };
    publisher.publish(Assignments { generation: 8, ..Default::default() });
    assert_eq!(poll.await.unwrap().unwrap().generation, 8);
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn the_same_number_of_another_run_is_news() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("local.sock");
    let of_run = |run| Assignments { run, generation: 7, ..Default::default() };
    let (publisher, assignments) = published(of_run(1));
    let server = Server::bind(&socket).unwrap();
    let serving = tokio::spawn(server.serve(move |call| handle(call, assignments.clone())));
    let client = Client::new(&socket);

    let seen = Seen::of(&of_run(1));
    let path = format!("/v1/assignments?{seen}");
    let begun = tokio::time::Instant::now();
    let same: Assignments = client.get(&path).await.unwrap();
    assert_eq!((same.run, begun.elapsed() >= LONG_POLL), (1, true));
    publisher.publish(of_run(2));
    let begun = tokio::time::Instant::now();
    let other: Assignments = client.get(&path).await.unwrap();
    assert_eq!((other.run, begun.elapsed() >= LONG_POLL), (2, false));
    let whichever = Seen { run: None, ..seen };
    let begun = tokio::time::Instant::now();
    let _: Assignments = client.get(&format!("/v1/assignments?{whichever}")).await.unwrap();
    assert!(begun.elapsed() >= LONG_POLL, "who does not know of runs goes by the number");
    serving.abort();
}

#[tokio::test]
async fn orders_are_carried_out_and_nonsense_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("local.sock");
    let (_publisher, assignments) = published(Assignments::default());
    let server = Server::bind(&socket).unwrap();
    let serving = tokio::spawn(server.serve(move |call| handle(call, assignments.clone())));
    let client = Client::new(&socket);

    let done: Done = client
        .post("/v1/drain", &DrainRequest { target: DrainTarget::Host, until_reboot: false })
        .await
        .unwrap();
    assert_eq!(done.message, "Host");
    let error = client.post::<_, Done>("/v1/drain", &"banana").await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(why) if why.contains("not understood")));
    let error = client.get::<Done>("/v1/banana").await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(why) if why.contains("/v1/banana")));
    serving.abort();
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_missing_daemon_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("local.sock");
    drop(Server::bind(&socket).unwrap());
    assert!(socket.exists());
    let error = Client::new(&socket).get::<Done>("/v1/status").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    Server::bind(&socket).unwrap();
}

#[tokio::test(start_paused = true)]
async fn clients_that_never_finish_keep_nobody_out_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("local.sock");
    let (_publisher, assignments) = published(Assignments { generation: 7, ..Default::default() });
    let server = Server::bind(&socket).unwrap();
    let serving = tokio::spawn(server.serve(move |call| handle(call, assignments.clone())));
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let half = b"POST /v1/drain HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
        stream.write_all(half).await.unwrap();
        slow.push(stream);
    }
    let client = Client::new(&socket);
    let first = client.get::<Assignments>("/v1/assignments").await;
    let second = client.get::<Assignments>("/v1/assignments").await;
    assert!(first.is_ok() || second.is_ok(), "{first:?}, {second:?}");
    serving.abort();
}

#[tokio::test]
async fn a_socket_that_is_served_is_left_to_its_daemon_and_one_left_behind_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("local.sock");
    let first = Server::bind(&socket).unwrap();
    let refused = Server::bind(&socket).unwrap_err();
    let why = crate::words::chain(&refused);
    assert!(why.contains("another copy of this daemon serves there"), "{why}");
    drop(first);
    Server::bind(&socket).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_somebody_removed_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/local.sock");
    let server = Server::bind(&socket).unwrap();
    let (_publisher, assignments) = published(Assignments { generation: 7, ..Default::default() });
    let serving = tokio::spawn(server.serve(move |call| handle(call, assignments.clone())));
    std::fs::remove_dir_all(directory.path().join("run")).unwrap();
    let client = Client::new(&socket);
    let answer = loop {
        match client.get::<Assignments>("/v1/assignments").await {
            // The clock stands still but for this.
            Err(ClientError::Unreachable { .. }) => {
                tokio::time::advance(std::time::Duration::from_secs(1)).await;
            }
            answer => break answer,
        }
    };
    assert_eq!(answer.unwrap().generation, 7);
    serving.abort();
}

#[tokio::test]
async fn an_answer_above_its_bound_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("local.sock");
    let server = Server::bind(&socket).unwrap();
    let (_publisher, assignments) = published(Assignments::default());
    let serving = tokio::spawn(server.serve(move |call| handle(call, assignments.clone())));
    let client = Client::new(&socket).at_most(10);
    let answer = client.get::<Assignments>("/v1/assignments").await;
    assert!(matches!(answer, Err(ClientError::Broken { .. })), "{answer:?}");
    serving.abort();
}
