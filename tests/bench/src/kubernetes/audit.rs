//! What the daemons asked of the API server, by its audit log: its metrics
//! (`apiserver_request_total`) tell verbs and resources, and not who asked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use roadstead_lab::{edge::DaemonName, kube::Identity};
use serde_json::Value;

/// The log, as long as the API server runs.
#[derive(Debug)]
pub(crate) struct Audit {
    policy: PathBuf,
    log: PathBuf,
}

/// Requests of each daemon by what was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(BTreeMap<String, BTreeMap<&'static str, u64>>);

impl Audit {
    /// Writes the policy: one line for each request of a daemon, none for others.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let users = DaemonName::ALL.map(user_of);
        let policy = format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
             - {{ level: Metadata, users: {users:?} }}\n- {{ level: None }}\n"
        );
        let audit = Self { policy: dir.join("audit.yaml"), log: dir.join("audit.log") };
        fs::write(&audit.policy, policy).context("cannot write the audit policy")?;
        Ok(audit)
    }

    /// Flags of kube-apiserver.
    pub(crate) fn flags(&self) -> [String; 2] {
        let (policy, log) = (self.policy.display(), self.log.display());
        [format!("--audit-policy-file={policy}"), format!("--audit-log-path={log}")]
    }

    /// How many requests there were so far.
    pub(crate) fn mark(&self) -> Result<usize> {
        Ok(self.read()?.lines().count())
    }

    /// Those that came after a mark.
    pub(crate) fn since(&self, mark: usize) -> Result<Requests> {
        let mut requests = Requests::default();
        for line in self.read()?.lines().skip(mark) {
            requests.add(&serde_json::from_str(line).context("a line of the audit log")?);
        }
        Ok(requests)
    }

    fn read(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("cannot read the audit log")
    }
}

impl Requests {
    /// Watches are told when they begin and when they end: their beginning counts.
    fn add(&mut self, event: &Value) {
        let is_watch = event["verb"] == "watch";
        let counted = if is_watch { "ResponseStarted" } else { "ResponseComplete" };
        let user = event["user"]["username"].as_str().unwrap_or_default();
        let daemon = DaemonName::ALL.into_iter().find(|daemon| user_of(*daemon) == user);
        if let Some(daemon) = daemon.filter(|_| event["stage"] == counted) {
            *self.0.entry(what(event)).or_default().entry(daemon.as_str()).or_default() += 1;
        }
    }

    /// (what, requests of the speaker, requests of the router).
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.0.iter().map(|(what, by)| {
            let of = |daemon: DaemonName| by.get(daemon.as_str()).copied().unwrap_or(0);
            (what.as_str(), of(DaemonName::Speaker), of(DaemonName::Router))
        })
    }

    /// All of both.
    pub(crate) fn total(&self) -> u64 {
        self.rows().map(|(_, speaker, router)| speaker + router).sum()
    }

    /// Lists, streamed ones too.
    pub(crate) fn lists(&self) -> u64 {
        let lists = self.rows().filter(|(what, ..)| what.starts_with("list"));
        lists.map(|(_, speaker, router)| speaker + router).sum()
    }
}

/// Whose account a daemon has.
fn user_of(daemon: DaemonName) -> &'static str {
    match daemon {
        DaemonName::Speaker => Identity::Speaker.user(),
        DaemonName::Router => Identity::Router.user(),
    }
}

/// `patch services/status`, `list nodes`. A watch that begins with a list is a list; one that asks
/// for a single object wants the list's version, after a watch that has ended early.
fn what(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let (mut verb, resource) = (text(&event["verb"]), text(&object["resource"]));
    let asks = |query: &str| text(&event["requestURI"]).split(['?', '&']).any(|it| it == query);
    if verb == "watch" && asks("sendInitialEvents=true") {
        verb = "list, then watch".to_owned();
    }
    if verb == "list" && asks("limit=1") {
        verb = "version of".to_owned();
    }
    match object["subresource"].as_str() {
        Some(subresource) => format!("{verb} {resource}/{subresource}"),
        None => format!("{verb} {resource}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, stage: &str, query: &str) -> Value {
        json!({
            "verb": verb, "stage": stage,
            "requestURI": format!("/api/v1/services?{query}"),
            "user": {"username": user_of(DaemonName::Speaker)},
            "objectRef": {"resource": "services"},
        })
    }

    #[test]
    fn a_watch_counts_once_and_a_streamed_list_is_a_list() {
        let mut requests = Requests::default();
        requests.add(&event("watch", "ResponseStarted", "sendInitialEvents=true"));
        requests.add(&event("watch", "ResponseComplete", "sendInitialEvents=true"));
        requests.add(&event("watch", "ResponseStarted", "resourceVersion=7"));
        requests.add(&event("list", "ResponseComplete", "limit=250"));
        requests.add(&event("list", "ResponseComplete", "limit=1"));
        assert_eq!((requests.total(), requests.lists()), (4, 2));
        let rows: Vec<_> = requests.rows().collect();
        assert_eq!(rows[1], ("list, then watch services", 1, 0));
    }

    #[test]
    fn another_user_does_not_count() {
        let mut requests = Requests::default();
        let mut event = event("list", "ResponseComplete", "");
        event["user"]["username"] = json!("system:kube-proxy");
        requests.add(&event);
        assert_eq!(requests.total(), 0);
    }
}
