//! Every verb over sockets on which the daemons' side answers with values.

use std::sync::{Arc, Mutex};

use clap::Parser;
use roadstead_daemon::local::{Answer, Call, Server};
use roadstead_model::local::{Done, DrainRequest, RouterStatus, SpeakerStatus};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    args::Arguments,
    exit::Exit,
    fixtures::{fails, flows, router, speaker},
    output::Buffers,
    run,
};

/// Two sockets that answer; every call is noted.
struct Host {
    directory: tempfile::TempDir,
    calls: Arc<Mutex<Vec<String>>>,
    serving: Vec<JoinHandle<()>>,
}

impl Host {
    /// Nobody answers.
    fn silent() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory, calls: Arc::default(), serving: Vec::new() }
    }

    /// Both answer.
    fn new(speaker: SpeakerStatus, router: RouterStatus) -> Self {
        let mut host = Self::silent();
        host.serve("speaker", move |call| answer(call, &speaker));
        host.serve("router", move |call| answer(call, &router));
        host
    }

    fn serve(&mut self, daemon: &str, handle: impl Fn(&Call) -> Answer + Send + Sync + 'static) {
        let socket = self.directory.path().join(daemon).join("local.sock");
        let server = Server::bind(&socket).expect("bound");
        let (calls, daemon) = (self.calls.clone(), daemon.to_owned());
        self.serving.push(tokio::spawn(server.serve(move |call| {
            let told = format!("{daemon} {} {}?{}", call.method, call.path, call.query);
            calls.lock().expect("whole").push(told);
            let answer = handle(&call);
            async move { answer }
        })));
    }

    async fn run(&self, line: &str) -> (Exit, String) {
        let runtime = self.directory.path().display().to_string();
        let config = format!("{runtime}/none.toml");
        let mut words = vec!["roadstead", "--runtime", &runtime, "--config", &config];
        words.extend(line.split(' '));
        let arguments = Arguments::try_parse_from(words).expect("a right line");
        let buffers = Buffers::default();
        let exit = run(&arguments, &mut buffers.output()).await;
        (exit, buffers.printed())
    }

    fn last_call(&self) -> String {
        self.calls.lock().expect("whole").last().cloned().unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// A status by GET, the order itself by POST; nodes other than `n1` are refused.
fn answer(call: &Call, status: &impl serde::Serialize) -> Answer {
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/v1/status") => Answer::json(status),
        ("GET", "/v1/flows") => Answer::json(&flows()),
        ("POST", "/v1/confirm") => Answer::json(&Done { message: "confirmed".into() }),
        ("POST", _) => match call.order::<DrainRequest>() {
            Ok(order) if format!("{order:?}").contains("n9") => {
                Answer::bad_request("there is no node `n9`")
            }
            Ok(order) => Answer::json(&Done { message: format!("{} {order:?}", call.path) }),
            Err(refusal) => refusal,
        },
        _ => Answer::unknown(call),
    }
}

#[tokio::test]
async fn status_and_explain_end_by_what_they_find() {
    let well = Host::new(speaker(), router());
    let (exit, text) = well.run("status").await;
    assert_eq!(exit, Exit::Fine, "{text}");
    assert!(text.contains("default/web"), "{text}");
    let (exit, text) = well.run("explain default/web").await;
    assert_eq!(exit, Exit::Fine, "{text}");
    let (exit, text) = well.run("explain 192.0.2.10:80 -o json").await;
    assert_eq!(exit, Exit::Fine, "{text}");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json[0]["service"], "local/default/web");
    assert_eq!(json[0]["heldBy"], Value::Null);
    assert_eq!(json[0]["steps"][0]["verdict"], "passed");

    let mut ill = speaker();
    ill.services[0].conditions[1] = fails("Announced", "NoLeg", "it fits no leg");
    let ill = Host::new(ill, router());
    assert_eq!(ill.run("status").await.0, Exit::Problem);
    let (exit, text) = ill.run("explain default/web").await;
    assert_eq!(exit, Exit::Problem);
    assert!(text.contains("Held back by: announced"), "{text}");
    let (exit, text) = ill.run("explain 192.0.2.99").await;
    assert_eq!(exit, Exit::Problem);
    assert_eq!(text, "192.0.2.99 is held by no Service\n");
    let (exit, text) = ill.run("explain 192.0.2.99 -o json").await;
    assert_eq!((exit, &*text), (Exit::Problem, "[]\n"));
}

#[tokio::test]
async fn orders_reach_their_daemon() {
    let host = Host::new(speaker(), router());
    for (line, call) in [
        ("drain node n1", "router POST /v1/drain?"),
        ("undrain node n1", "router POST /v1/undrain?"),
        ("drain self", "speaker POST /v1/drain?"),
        ("undrain self --until-reboot", "speaker POST /v1/undrain?"),
        ("undrain", "speaker POST /v1/undrain?"),
    ] {
        assert_eq!(host.run(line).await.0, Exit::Fine, "{line}");
        assert_eq!(host.last_call(), call, "{line}");
    }
    let both = (Exit::Fine, "speaker: confirmed\nrouter: confirmed\n".to_owned());
    assert_eq!(host.run("confirm").await, both);
    assert_eq!(Host::silent().run("confirm").await.0, Exit::Silent);
    let (_, text) = host.run("drain self --until-reboot").await;
    assert!(text.contains("Host") && text.contains("until_reboot: true"), "{text}");
    assert_eq!(host.run("drain node n9").await, (Exit::Problem, String::new()));
}

#[tokio::test]
async fn flows_are_asked_for_by_the_filter() {
    let host = Host::new(speaker(), router());
    let (exit, text) = host.run("flows client=198.51.100.7 node=n1 --limit 9 -o json").await;
    assert_eq!(exit, Exit::Fine, "{text}");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["flows"][0]["client"]["address"], "203.0.113.7");
    assert_eq!(json["flows"][0]["node"]["name"], "n1");
    let expected = "router GET /v1/flows?filter=client=198.51.100.7,node=198.51.100.5&limit=9";
    assert_eq!(host.last_call(), expected);
    assert_eq!(host.run("flows banana").await.0, Exit::Usage);
}

#[tokio::test]
async fn silence_ends_with_its_own_status() {
    let host = Host::silent();
    for line in ["status", "explain default/web", "flows", "flows node=n1", "drain self", "confirm"]
    {
        assert_eq!(host.run(line).await.0, Exit::Silent, "{line}");
    }
    assert_eq!(host.run("status").await.1, "", "nothing is known, nothing is printed");
    assert_eq!(host.run("flows banana").await.0, Exit::Usage, "wrong whoever answers");
    let (exit, text) = host.run("version").await;
    assert_eq!((exit, text), (Exit::Fine, format!("roadstead {}\n", roadstead_daemon::VERSION)));

    let mut half = Host::silent();
    half.serve("speaker", |call| answer(call, &speaker()));
    let (exit, text) = half.run("status").await;
    assert_eq!(exit, Exit::Silent);
    assert!(text.contains("default/web"), "what is known is shown:\n{text}");
}

/// What is an object with which keys; lists by their first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            Value::Object(object.iter().map(|(key, value)| (key.clone(), shape(value))).collect())
        }
        Value::Array(values) => Value::Array(values.first().map(shape).into_iter().collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Null,
    }
}

#[tokio::test]
async fn the_document_of_the_json_shows_what_is_printed() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let document = std::fs::read_to_string(file).expect("readable");
    let host = Host::new(speaker(), router());
    for verb in ["status", "explain default/web", "flows"] {
        let (_, printed) = host.run(&format!("{verb} -o json")).await;
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        let heading = format!("\n## {}\n", verb.split(' ').next().unwrap_or_default());
        let (_, section) = document.split_once(&heading).expect("a section");
        let (_, example) = section.split_once("```json\n").expect("an example");
        let (example, _) = example.split_once("```").expect("its end");
        let example: Value = serde_json::from_str(example).expect("JSON");
        assert_eq!(shape(&example), shape(&printed), "{verb}");
    }
    let (_, printed) = host.run("explain default/web -o json").await;
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let steps = printed[0]["steps"].as_array().expect("steps");
    let names: Vec<String> =
        steps.iter().map(|s| s["step"].to_string().replace('"', "`")).collect();
    assert!(document.contains(&format!("in their order: {}. ", names.join(", "))), "{names:?}");
}
