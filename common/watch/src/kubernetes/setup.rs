//! What an operator has done once for a cluster: the manifests applied, and a kubeconfig made for
//! each daemon with a token of its own ServiceAccount.
//!
//! It is asked with an operator's own kubeconfig, and so reads that as kubectl does (contexts, client
//! certificates, programs for credentials), unlike the daemons' own.

use std::{future::Future, path::Path, path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use kube::{
    Client, Config,
    client::Body,
    config::{Cluster, KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::{
        Request as Builder,
        params::{Patch, PatchParams},
    },
};
use roadstead_model::config::Daemon;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::api::{
    access::{self, AccessError},
    failure::Failure,
    token::{self, Bound},
};

/// Where the ServiceAccounts are.
pub const NAMESPACE: &str = "roadstead-system";
/// Who has written the objects, for the API server.
const MANAGER: &str = "roadstead-kubeconfig";
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The shortest life of a token that the API server grants (TokenRequest).
pub const SHORTEST: Duration = Duration::from_secs(600);

/// What to set up, and by whose rights.
#[derive(Clone, Debug)]
pub struct Order {
    /// The operator's kubeconfig; that of kubectl (`KUBECONFIG`, `~/.kube/config`) without.
    pub kubeconfig: Option<PathBuf>,
    /// The context of it; the current one without.
    pub context: Option<String>,
    /// Where the daemons reach the API server; where the operator does without.
    pub server: Option<String>,
    /// The life that is asked for the tokens, at least [`SHORTEST`].
    pub lasts: Duration,
    /// Objects to apply, as YAML; several documents in a text.
    pub manifests: Vec<String>,
    /// Whom to make a kubeconfig for.
    pub daemons: Vec<Daemon>,
}

/// A kubeconfig for one daemon.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose.
    pub daemon: Daemon,
    /// The file's text.
    pub kubeconfig: String,
    /// The life of its token: the server may grant less than was asked for.
    pub lasts: Duration,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// `Kind NAME` of each object that was applied.
    pub applied: Vec<String>,
    /// In the order of the daemons.
    pub credentials: Vec<Credentials>,
    /// Where the daemons will ask.
    pub server: String,
}

/// Why a cluster was not set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The operator's kubeconfig.
    #[error("no kubeconfig that can be used: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// A file that it names.
    #[error(transparent)]
    File(#[from] AccessError),
    /// It is not verified whom the daemons would talk to.
    #[error("the API server is not verified: {0}")]
    Unverified(&'static str),
    /// The client cannot be made.
    #[error("the credentials of the kubeconfig cannot be used: {0}")]
    Client(#[source] Box<kube::Error>),
    /// A manifest is none.
    #[error("a manifest is no object that can be applied: {0}")]
    Manifest(String),
    /// The API server refuses or fails.
    #[error("{what}: {source}")]
    Api {
        /// What was asked for.
        what: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Applies the manifests by server-side apply, in their order, and has a token made for each daemon.
/// May be done again at any time: new tokens are made, old ones are good until they run out.
///
/// # Errors
/// At the first step that fails; those before are done, and doing it again is safe.
pub async fn set_up(order: &Order) -> Result<Done, SetupError> {
    let operator = Operator::of(order).await?;
    let mut applied = Vec::new();
    for object in objects(&order.manifests)? {
        applied.push(operator.apply(&object).await?);
    }
    let mut credentials = Vec::new();
    for daemon in &order.daemons {
        credentials.push(operator.admit(*daemon, order.lasts).await?);
    }
    Ok(Done { applied, credentials, server: operator.server })
}

/// Speaks for the operator.
struct Operator {
    client: Client,
    /// Where daemons ask, and whom they trust.
    server: String,
    authority: Option<String>,
    name: Option<String>,
}

impl Operator {
    async fn of(order: &Order) -> Result<Self, SetupError> {
        let kubeconfig = match &order.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)?,
            None => Kubeconfig::read()?,
        };
        let cluster = cluster(&kubeconfig, order.context.as_deref());
        let authority = cluster.map(trusted).transpose()?.flatten();
        let name = cluster.and_then(|cluster| cluster.tls_server_name.clone());
        let own = cluster.and_then(|cluster| cluster.server.clone()).unwrap_or_default();
        let server = order.server.clone().unwrap_or(own);
        let context = order.context.clone();
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let client = Client::try_from(config);
        let client = client.map_err(|error| SetupError::Client(Box::new(error)))?;
        Ok(Self { client, server, authority, name })
    }

    async fn apply(&self, object: &Value) -> Result<String, SetupError> {
        let Applied { path, kind, name } = Applied::of(object)?;
        let what = format!("{kind} {name}");
        let parameters = PatchParams::apply(MANAGER).force();
        let request = Builder::new(path).patch(name, &parameters, &Patch::Apply(object));
        let request = request.map_err(|error| SetupError::Manifest(error.to_string()))?;
        self.answer(&what, request.map(Body::from)).await?;
        Ok(what)
    }

    async fn admit(&self, daemon: Daemon, lasts: Duration) -> Result<Credentials, SetupError> {
        let account = account(daemon);
        let what = format!("a token for the ServiceAccount {NAMESPACE}/{account}");
        let failed = |source: Failure| SetupError::Api {
            what: what.clone(),
            source: source.to_string().into(),
        };
        let request = token::request(NAMESPACE, &account, lasts).map_err(failed)?;
        let answer = self.answer(&what, request).await?;
        let token = token::granted(answer.as_bytes()).map_err(failed)?;
        let granted = Bound::read(&token).map_or(lasts, |bound| bound.life());
        Ok(Credentials { daemon, kubeconfig: self.kubeconfig(daemon, &token), lasts: granted })
    }

    async fn answer(&self, what: &str, request: Request<Body>) -> Result<String, SetupError> {
        let failed = |source| SetupError::Api { what: what.to_owned(), source };
        within(async {
            let answer = self.client.send(request).await?;
            let is_success = answer.status().is_success();
            let code = answer.status().as_u16();
            let body = answer.into_body().collect_bytes().await?;
            let text = String::from_utf8_lossy(&body).into_owned();
            if is_success { Ok(text) } else { Err(refusal(code, &text).into()) }
        })
        .await
        .map_err(failed)
    }

    /// All of it inline, so that the file can be moved.
    fn kubeconfig(&self, daemon: Daemon, token: &str) -> String {
        let mut cluster = json!({"server": self.server});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] = json!(authority);
        }
        if let Some(name) = &self.name {
            cluster["tls-server-name"] = json!(name);
        }
        let user = account(daemon);
        let file = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": user, "context": {"cluster": "cluster", "user": user}}],
            "current-context": user,
        });
        format!("{file:#}\n")
    }
}

/// The name of a daemon's ServiceAccount, as the manifests have it.
fn account(daemon: Daemon) -> String {
    format!("roadstead-{}", daemon.as_str())
}

async fn within<T>(
    work: impl Future<Output = Result<T, Box<dyn std::error::Error + Send + Sync>>>,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let silent = format!("no answer within {} s", PATIENCE.as_secs());
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(silent.into()))
}

fn refusal(code: u16, text: &str) -> String {
    let status: Value = serde_json::from_str(text).unwrap_or_default();
    let message = status["message"].as_str().unwrap_or("without a reason");
    format!("the API server answers {code}: {message}")
}

fn cluster<'k>(kubeconfig: &'k Kubeconfig, context: Option<&str>) -> Option<&'k Cluster> {
    let wanted = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|it| it.name == wanted)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|it| it.name == context.cluster)?;
    cluster.cluster.as_ref()
}

/// The authority that daemons are to trust, as a kubeconfig has it; that of their host without.
fn trusted(cluster: &Cluster) -> Result<Option<String>, SetupError> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(SetupError::Unverified(
            "insecure-skip-tls-verify is set; name the cluster's certificate-authority instead",
        ));
    }
    if let Some(data) = &cluster.certificate_authority_data {
        return Ok(Some(data.clone()));
    }
    let file = cluster.certificate_authority.as_ref().map(Path::new);
    Ok(file.map(access::read).transpose()?.map(|pem| STANDARD.encode(pem)))
}

fn objects(manifests: &[String]) -> Result<Vec<Value>, SetupError> {
    let mut objects = Vec::new();
    for text in manifests {
        let read = serde_saphyr::from_multiple::<Value>(text);
        objects.extend(read.map_err(|error| SetupError::Manifest(error.to_string()))?);
    }
    Ok(objects)
}

/// Where an object is applied.
struct Applied<'o> {
    /// Of the kind, in its namespace.
    path: String,
    kind: &'o str,
    name: &'o str,
}

impl<'o> Applied<'o> {
    /// By the rules of API paths; every kind that the manifests have makes its plural by an `s`.
    fn of(object: &'o Value) -> Result<Self, SetupError> {
        let text = |value: &'o Value, what: &str| {
            let missing = || SetupError::Manifest(format!("it has no {what}"));
            value.as_str().ok_or_else(missing)
        };
        let version = text(&object["apiVersion"], "apiVersion")?;
        let kind = text(&object["kind"], "kind")?;
        let name = text(&object["metadata"]["name"], "metadata.name")?;
        let root = if version.contains('/') { "/apis" } else { "/api" };
        let namespace = object["metadata"]["namespace"].as_str();
        let inside = namespace.map(|it| format!("/namespaces/{it}")).unwrap_or_default();
        let path = format!("{root}/{version}{inside}/{}s", kind.to_ascii_lowercase());
        Ok(Self { path, kind, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_applied_where_the_api_has_it() {
        let path = |text: &str| {
            let object = serde_json::from_str(text).expect("JSON");
            Applied::of(&object).map(|it| format!("{} {}", it.path, it.name)).ok()
        };
        assert_eq!(
            path(r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}"#),
            Some("/api/v1/namespaces a".to_owned())
        );
        assert_eq!(
            path(
                r#"{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": "l", "namespace": "a"}}"#
            ),
            Some("/apis/coordination.k8s.io/v1/namespaces/a/leases l".to_owned())
        );
        assert_eq!(path(r#"{"apiVersion": "v1", "kind": "Namespace"}"#), None);
    }

    #[test]
    fn whom_daemons_trust_is_never_nobody_by_an_operators_habit() {
        let insecure = Cluster { insecure_skip_tls_verify: Some(true), ..Cluster::default() };
        assert!(matches!(trusted(&insecure), Err(SetupError::Unverified(_))));
        let data = Some("UEVN".to_owned());
        let inline = Cluster { certificate_authority_data: data.clone(), ..Cluster::default() };
        assert_eq!(trusted(&inline).expect("trusted"), data);
        assert_eq!(trusted(&Cluster::default()).expect("trusted"), None);
    }
}
