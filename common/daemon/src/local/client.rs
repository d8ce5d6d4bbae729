//! The asking side of the local socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use roadstead_model::local::Refusal;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use crate::publish::LONG_POLL;

/// Largest answer where nothing else is said: the flows that may be asked for are about 16 MB, a status
/// of 5,000 Services on 500 nodes is below 8 MB.
const BODY: usize = 64 * 1024 * 1024;
/// How long an answer may take: a long poll and a little.
const PATIENCE: Duration = Duration::from_secs(LONG_POLL.as_secs() + 5);

/// Asks one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    most: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon answers on {}: is it running?", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection broke, or the answer took too long.
    #[error("the daemon on {} did not finish its answer: {why}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The daemon refuses.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// A client of the daemon that listens on `socket`. Connects with each call.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), most: BODY }
    }

    /// This client with another bound on an answer, in bytes: a larger one is an error (S7).
    pub fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The socket asked.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When nobody answers, the answer is cut off, or it is a refusal.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// When nobody answers, the answer is cut off, or it is a refusal.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(&error))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let exchange = self.exchange(method, path, body);
        let (status, body) =
            timeout(PATIENCE, exchange).await.map_err(|_| self.broken(&"it took too long"))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.broken(&error));
        }
        let refusal = serde_json::from_slice::<Refusal>(&body)
            .map_or_else(|_| format!("the daemon answers {status}"), |refusal| refusal.error);
        Err(ClientError::Refused(refusal))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.most).collect().await;
            Ok::<_, hyper::Error>((status, body))
        };
        tokio::pin!(connection);
        tokio::pin!(answer);
        // The connection future drives the socket. It ends when the peer closes, and then `answer`
        // still has the outcome to give.
        let outcome = tokio::select! {
            outcome = &mut answer => outcome,
            _ = &mut connection => answer.await,
        };
        let (status, body) = outcome.map_err(|error| self.broken(&error))?;
        let body = body.map_err(|error| self.broken(&error))?;
        Ok((status, body.to_bytes()))
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), why: why.to_string() }
    }
}
