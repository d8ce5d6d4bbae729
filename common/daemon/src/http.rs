//! `/metrics`, `/healthz` and `/readyz` over TCP, for machines that watch.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::ready::Readiness;

/// Connections served at once; further ones wait in the listen queue.
const CONNECTIONS: usize = 32;
/// One request, from the connection to the last byte of the answer: nobody keeps a place for ever.
const CALL: Duration = Duration::from_secs(20);

/// The metrics listener of one daemon.
#[derive(Debug)]
pub struct Metrics {
    listener: TcpListener,
    registry: Arc<Registry>,
    readiness: Readiness,
}

impl Metrics {
    /// Binds the listener.
    ///
    /// # Errors
    /// When the address is taken or not the host's.
    pub async fn bind(
        address: SocketAddr,
        registry: Registry,
        readiness: Readiness,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen for metrics on {address}: {error}"))
        })?;
        Ok(Self { listener, registry: Arc::new(registry), readiness })
    }

    /// Serves for ever; dropping the future closes the listener and every connection.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a metrics connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (registry, readiness) = (self.registry.clone(), self.readiness.clone());
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = answer(&request, &registry, &readiness);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = timeout(CALL, connection).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    }
}

/// Serves where there is something to serve; never ends.
pub async fn serve(metrics: Option<Metrics>) {
    match metrics {
        Some(metrics) => metrics.serve().await,
        None => std::future::pending().await,
    }
}

fn answer(
    request: &Request<Incoming>,
    registry: &Registry,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => match readiness.waiting_for().as_slice() {
            [] => text(StatusCode::OK, "ok\n".into()),
            waiting => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waiting for {}\n", waiting.join(", ")),
            ),
        },
        "/metrics" => metrics(registry),
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n".into()),
    }
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    if encode(&mut body, registry).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n".into());
    }
    let mut response = text(StatusCode::OK, body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    );
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn ask(to: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(to).await.expect("connect");
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    #[tokio::test]
    async fn readiness_says_what_is_waited_for_and_health_does_not_ask() {
        let mut registry = Registry::with_prefix("roadstead");
        registry.register("things", "Things", Gauge::<i64>::default());
        let readiness = Readiness::default();
        let blocker = readiness.block("the first snapshot");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let metrics = Metrics::bind(any, registry, readiness).await.expect("bind");
        let to = metrics.listener.local_addr().expect("an address");
        let server = tokio::spawn(metrics.serve());
        let waiting = ask(to, "GET /readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
        assert!(waiting.ends_with("waiting for the first snapshot\n"), "{waiting}");
        assert!(ask(to, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        drop(blocker);
        assert!(ask(to, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(to, "GET /metrics").await.contains("\nroadstead_things 0\n"));
        assert!(ask(to, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask(to, "GET /").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }
}
