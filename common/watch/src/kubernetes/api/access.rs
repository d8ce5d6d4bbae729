//! The kubeconfig and the files that it names → a client.
//!
//! A token that was renewed (`renewal`) is spoken with in the place of the kubeconfig's own, as long
//! as it is one of the same ServiceAccount and lasts longer.
//!
//! # What is taken
//! The current context, with a token, a token's file or a client certificate. TLS is always
//! verified, by the certificate authority that is named or by those of the host; without TLS only
//! this host is talked to (`kubectl proxy`). Programs that make credentials are not run, and no
//! proxy is used: both are refused by name.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
    config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig},
};
use secrecy::ExposeSecret;
use tower::{ServiceBuilder, ServiceExt};

use super::token::Bound;
use crate::{kubernetes::kept::Kept, requests::Counter};

/// Largest kubeconfig, token or certificate in bytes.
const MAX_FILE: u64 = 1 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that nobody answers is found dead after about 25 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long a connection without a request is kept.
const POOLED: Duration = Duration::from_secs(20);

/// How an API server is reached.
#[derive(Clone)]
pub(in crate::kubernetes) struct Access {
    /// Speaks for us.
    pub(in crate::kubernetes) client: Client,
    /// For people: `https://192.0.2.1:6443`.
    pub(in crate::kubernetes) server: Arc<str>,
    /// The token that it says, where that runs out.
    pub(in crate::kubernetes) token: Option<Bound>,
    /// Where requests are counted, if anywhere.
    pub(in crate::kubernetes) requests: Option<Counter>,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no kubeconfig, or names what is not in it.
    #[error("no kubeconfig that can be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// It asks for something that is not done.
    #[error("{0}")]
    Refused(&'static str),
    /// The credentials or certificates in it are wrong.
    #[error("its credentials cannot be used: {0}")]
    Credentials(#[source] Box<kube::Error>),
}

/// Whether a kubeconfig can be used, without a word to the API server. Blocks while files are read;
/// a thread of its own has the runtime that a client wants, whatever runs on the caller's.
///
/// # Errors
/// With what is wrong.
pub fn check(kubeconfig: &Path) -> Result<(), AccessError> {
    let unreadable = |source| AccessError::File { path: kubeconfig.to_path_buf(), source };
    let read = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(unreadable)?;
        runtime.block_on(async { Material::read(kubeconfig, None)?.access().await.map(|_| ()) })
    };
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, read).map_err(unreadable)?;
        reader.join().unwrap_or(Err(AccessError::Refused("reading it has failed")))
    })
}

/// A client, where the one in use was made of something else.
pub(in crate::kubernetes) async fn fresh(
    kubeconfig: &Path,
    kept: Option<&Kept>,
    hasher: &RandomState,
    used: Option<u64>,
) -> Result<Option<(Access, u64)>, AccessError> {
    let material = Material::read(kubeconfig, kept)?;
    let fingerprint = material.fingerprint(hasher);
    if used == Some(fingerprint) {
        return Ok(None);
    }
    Ok(Some((material.access().await?, fingerprint)))
}

/// A kubeconfig reduced to its current context, and everything that it names.
struct Material {
    kubeconfig: Kubeconfig,
    contents: Vec<Vec<u8>>,
    token: Option<Bound>,
}

impl Material {
    /// Reads everything; whatever is wrong with one context is not looked for in others.
    fn read(path: &Path, kept: Option<&Kept>) -> Result<Self, AccessError> {
        let mut contents = vec![read(path)?];
        let mut token = None;
        let mut kubeconfig = Kubeconfig::read_from(path)?;
        if let Some(cluster) = current_cluster(&kubeconfig) {
            check_cluster(cluster)?;
            contents.extend(named(&cluster.certificate_authority)?);
        }
        if let Some(user) = current_user(&mut kubeconfig) {
            check_user(user)?;
            contents.extend(named(&user.client_certificate)?);
            contents.extend(named(&user.client_key)?);
            if let (None, Some(token)) = (&user.token, named(&user.token_file)?) {
                // kube reads the file once a minute and takes its final newline for a part of it.
                let text = String::from_utf8_lossy(&token).trim().to_owned();
                user.token = Some(text.into());
                user.token_file = None;
                contents.push(token);
            }
            token = user.token.as_ref().and_then(|it| Bound::read(it.expose_secret()));
            if let Some((text, renewed)) = token.as_ref().and_then(|own| later(own, kept?)) {
                user.token = Some(text.clone().into());
                token = Some(renewed);
                contents.push(text.into_bytes());
            }
        }
        Ok(Self { kubeconfig, contents, token })
    }

    fn fingerprint(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(&self.contents)
    }

    async fn access(self) -> Result<Access, AccessError> {
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(self.kubeconfig, &options).await?;
        // That of the environment: one in the kubeconfig is refused.
        config.proxy_url = None;
        if config.cluster_url.scheme() != Some(&Scheme::HTTPS) && !is_this_host(&config.cluster_url)
        {
            return Err(AccessError::Refused(
                "its server is not asked over TLS; write https://, or an address of this host",
            ));
        }
        let client = client(&config).map_err(|error| AccessError::Credentials(Box::new(error)))?;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').into();
        Ok(Access { client, server, token: self.token, requests: None })
    }
}

/// The token that was renewed, where it is to be said instead of `own`. One that cannot be read is
/// as good as none: it will be made again.
fn later(own: &Bound, kept: &Kept) -> Option<(String, Bound)> {
    let text = String::from_utf8(read(&kept.token()).ok()?).ok()?.trim().to_owned();
    let renewed = Bound::read(&text)?;
    renewed.follows(own).then_some((text, renewed))
}

fn client(config: &Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let connection = legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOLED)
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .build::<_, Body>(connector);
    // As kube builds it, without its own log of each failure and its own retries.
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .service(connection.map_err(tower::BoxError::from));
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn current_cluster(kubeconfig: &Kubeconfig) -> Option<&Cluster> {
    let name = &current_context(kubeconfig)?.cluster;
    kubeconfig.clusters.iter().find(|it| it.name == *name)?.cluster.as_ref()
}

fn current_user(kubeconfig: &mut Kubeconfig) -> Option<&mut AuthInfo> {
    let name = current_context(kubeconfig)?.user.clone()?;
    kubeconfig.auth_infos.iter_mut().find(|it| it.name == name)?.auth_info.as_mut()
}

fn current_context(kubeconfig: &Kubeconfig) -> Option<&kube::config::Context> {
    let name = kubeconfig.current_context.as_ref()?;
    kubeconfig.contexts.iter().find(|it| it.name == *name)?.context.as_ref()
}

fn check_cluster(cluster: &Cluster) -> Result<(), AccessError> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(AccessError::Refused(
            "insecure-skip-tls-verify is refused; name the cluster's certificate-authority",
        ));
    }
    if cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
        return Err(AccessError::Refused("proxy-url is not served; the API is asked directly"));
    }
    Ok(())
}

fn check_user(user: &AuthInfo) -> Result<(), AccessError> {
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Err(AccessError::Refused(
            "no program is run for credentials (exec, auth-provider); name a token, a tokenFile or a client-certificate",
        ));
    }
    Ok(())
}

/// Whether a server without TLS is this host.
fn is_this_host(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn named(path: &Option<String>) -> Result<Option<Vec<u8>>, AccessError> {
    path.as_ref().map(|path| read(Path::new(path))).transpose()
}

pub(in crate::kubernetes) fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let unreadable = |source| AccessError::File { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        let too_big = format!("it has more than {MAX_FILE} bytes");
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, too_big)));
    }
    Ok(bytes)
}
