//! The serving side of the local socket.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    future::Future,
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
    unistd::{Uid, geteuid},
};
use roadstead_model::local::Refusal;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    publish::{LONG_POLL, Seen},
    words::chain,
};

/// Largest request body.
const BODY: usize = 64 * 1024;
/// Connections served at once; further ones wait in the listen queue.
const CONNECTIONS: usize = 64;
/// Of those, connections of one user other than root: nobody keeps the daemons from each other.
const CONNECTIONS_OF_ONE_USER: usize = 16;
/// One call, from the connection to the last byte of the answer: a long poll and a slow reader.
const CALL: Duration = Duration::from_secs(LONG_POLL.as_secs() + 30);

/// One request.
#[derive(Debug)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, as written.
    pub query: String,
    body: Bytes,
    privileged: bool,
}

impl Call {
    /// The first value of a query key.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name == key).then_some(value)
        })
    }

    /// The `after=N&run=R` of a long poll.
    pub fn after(&self) -> Option<Seen> {
        let generation = self.parameter("after")?.parse().ok()?;
        let run = self.parameter("run").and_then(|run| run.parse().ok());
        Some(Seen { generation, run })
    }

    /// The body, for requests that change something.
    ///
    /// # Errors
    /// A refusal, when the caller may not change anything or the body is not understood.
    pub fn order<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        self.check_privilege()?;
        serde_json::from_slice(&self.body).map_err(|error| {
            Answer::refuse(StatusCode::BAD_REQUEST, format!("the body is not understood: {error}"))
        })
    }

    /// Refuses callers that are neither root nor the daemon's own user.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_privilege(&self) -> Result<(), Answer> {
        if self.privileged {
            return Ok(());
        }
        let error = "only root and the daemon's own user may change anything; try sudo";
        Err(Answer::refuse(StatusCode::FORBIDDEN, error))
    }
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// `200` with a value.
    pub fn json<T: Serialize>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: StatusCode::OK, body: body.into() },
            Err(error) => Self::refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// A refusal that says what would be right.
    pub fn refuse(status: StatusCode, error: impl Into<String>) -> Self {
        let body = serde_json::to_vec(&Refusal { error: error.into() }).unwrap_or_default();
        Self { status, body: body.into() }
    }

    /// `400`: the request is understood and cannot be carried out.
    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::refuse(StatusCode::BAD_REQUEST, error)
    }

    /// `503`: not now.
    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::refuse(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// `404`.
    pub fn unknown(call: &Call) -> Self {
        Self::refuse(
            StatusCode::NOT_FOUND,
            format!("no such request: {} {}", call.method, call.path),
        )
    }
}

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the local socket {}", path.display())]
pub struct ServerError {
    path: PathBuf,
    source: io::Error,
}

/// How often the server looks whether its socket can still be found.
const LOOK: Duration = Duration::from_secs(5);

/// A bound local socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode of the socket.
    place: (u64, u64),
}

impl Server {
    /// Binds the socket, in place of one that a killed daemon left behind. The caller holds the
    /// daemon's [`crate::lock::DirectoryLock`]; a copy with another state directory may serve
    /// there all the same.
    ///
    /// # Errors
    /// When the directory or the socket cannot be made, or somebody serves there.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let opened = open(path).and_then(|listener| Ok((listener, place(path)?)));
        let (listener, place) =
            opened.map_err(|source| ServerError { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), listener, place })
    }

    /// Somebody who empties the runtime directory would else make the daemon deaf until a restart.
    fn look(&mut self) {
        if place(&self.path).is_ok_and(|place| place == self.place) {
            return;
        }
        match Self::bind(&self.path) {
            Ok(server) => {
                tracing::warn!(socket = %self.path.display(), "the local socket was gone and is made again");
                *self = server;
            }
            Err(error) => tracing::warn!(error = chain(&error), "the local socket is gone"),
        }
    }

    /// Answers every call by `handle`, for ever. Dropping the future closes every connection; a
    /// call that was being answered is cut off, and its client asks again.
    pub async fn serve<F, R>(mut self, handle: F)
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let handle = Arc::new(handle);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut users = Users::default();
        let mut connections = JoinSet::new();
        let mut look = interval(LOOK);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = look.tick() => {
                    self.look();
                    continue;
                }
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: waiting is all that can be done.
                    tracing::warn!(%error, "a local connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(share) = users.admit(&stream) else { continue };
            let handle = handle.clone();
            connections.spawn(async move {
                let _ = timeout(CALL, connection(stream, handle)).await;
                drop((place, share));
            });
            while connections.try_join_next().is_some() {}
        }
    }
}

/// How many more connections each user may have.
#[derive(Default)]
struct Users(HashMap<u32, Arc<Semaphore>>);

impl Users {
    /// The connection's share of what its user may have; none where all of it is in use.
    fn admit(&mut self, stream: &UnixStream) -> Option<OwnedSemaphorePermit> {
        let uid = stream.peer_cred().ok()?.uid();
        let most = if Uid::from_raw(uid).is_root() { CONNECTIONS } else { CONNECTIONS_OF_ONE_USER };
        let shares = self.0.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(most)));
        shares.clone().try_acquire_owned().ok()
    }
}

fn open(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            if is_served(path) {
                let why = "another copy of this daemon serves there";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
            }
            fs::remove_file(path)?;
        }
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "not a socket")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn place(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|socket| (socket.dev(), socket.ino()))
}

/// Whether somebody listens, also where the queue of those who wait is full.
fn is_served(path: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None);
    let connected = socket.and_then(|socket| connect(socket.as_raw_fd(), &UnixAddr::new(path)?));
    matches!(connected, Ok(()) | Err(Errno::EAGAIN))
}

async fn connection<F, R>(stream: UnixStream, handle: Arc<F>)
where
    F: Fn(Call) -> R + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let privileged = stream.peer_cred().is_ok_and(|peer| {
        let uid = Uid::from_raw(peer.uid());
        uid.is_root() || uid == geteuid()
    });
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move {
            let answer = match read(request, privileged).await {
                Ok(call) => handle(call).await,
                Err(refusal) => refusal,
            };
            Ok::<_, Infallible>(response(answer))
        }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn read(request: Request<Incoming>, privileged: bool) -> Result<Call, Answer> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await.map_err(|_| {
        Answer::refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("the body exceeds {BODY} bytes"))
    })?;
    Ok(Call {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: body.to_bytes(),
        privileged,
    })
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
