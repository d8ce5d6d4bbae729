//! Requests to the API server, over a few connections at once: for thousands of objects, where a
//! kubectl for each would take minutes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
    vec,
};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::{host::Host, kube::https::connector};

/// Connections at once.
const CONNECTIONS: usize = 16;
/// How long a single request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of the API server as one user.
#[derive(Clone, Debug)]
pub struct Api {
    from: Host,
    to: SocketAddr,
    trust: CertificateDer<'static>,
    token: String,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    kind: &'static str,
    body: Option<Value>,
}

impl Request {
    /// Reads what is at a path.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// Creates an object in the collection at a path.
    pub fn create(path: &str, object: Value) -> Self {
        Self::new(Method::POST, path, Some(object))
    }

    /// Changes an object by a merge patch (RFC 7396).
    pub fn merge(path: &str, patch: Value) -> Self {
        let kind = "application/merge-patch+json";
        Self { kind, ..Self::new(Method::PATCH, path, Some(patch)) }
    }

    /// Deletes an object at once, with no grace for what it stands for.
    pub fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path, Some(json!({"gracePeriodSeconds": 0})))
    }

    fn new(method: Method, path: &str, body: Option<Value>) -> Self {
        Self { method, path: path.to_owned(), kind: "application/json", body }
    }
}

/// An answer that the server was content with.
#[derive(Clone, Debug)]
pub struct Answered {
    /// When the request was sent, on a connection that was there.
    pub sent: Instant,
    /// The body.
    pub body: Value,
}

impl Api {
    pub(crate) fn new(
        from: &Host,
        to: SocketAddr,
        trust: CertificateDer<'static>,
        token: String,
    ) -> Self {
        Self { from: from.clone(), to, trust, token }
    }

    /// One request; an answer above 299 is an error.
    pub fn send(&self, request: Request) -> Result<Answered> {
        self.within(async { self.connect().await?.ask(request).await })
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Result<Value> {
        Ok(self.send(Request::get(path))?.body)
    }

    /// All of them, in no order; the first that is refused ends it.
    pub fn send_all(&self, requests: Vec<Request>) -> Result<()> {
        let connections = CONNECTIONS.min(requests.len());
        let queue = Arc::new(Mutex::new(requests.into_iter()));
        self.within(async {
            let mut workers = JoinSet::new();
            for _ in 0..connections {
                workers.spawn(work(self.connect().await?, Arc::clone(&queue)));
            }
            while let Some(ended) = workers.join_next().await {
                ended??;
            }
            Ok(())
        })
    }

    fn within<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.from.namespace().enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work)
        })
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.to).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.to))?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.to.ip().into());
        let stream = connector(&self.trust)?.connect(name, stream).await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the connection, whose user is told.
        tokio::spawn(async { drop(driver.await) });
        Ok(Connection { sender, host: self.to.to_string(), token: self.token.clone() })
    }
}

async fn work(mut connection: Connection, queue: Arc<Mutex<vec::IntoIter<Request>>>) -> Result<()> {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(request) = next() {
        connection.ask(request).await?;
    }
    Ok(())
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

impl Connection {
    async fn ask(&mut self, request: Request) -> Result<Answered> {
        let Request { method, path, kind, body } = request;
        let what = format!("{method} {path}");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))?;
        let answered = timeout(PATIENCE, self.exchange(request)).await;
        answered.map_err(|_| anyhow!("no answer within {PATIENCE:?}"))?.with_context(|| what)
    }

    async fn exchange(&mut self, request: http::Request<Full<Bytes>>) -> Result<Answered> {
        let sent = Instant::now();
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "{status}: {text}");
        // Some answers (`/metrics`) are no JSON: they are handed on as a text.
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(text.into()));
        Ok(Answered { sent, body })
    }
}
