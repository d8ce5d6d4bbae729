//! One request → the real server's answer, or what is said in its place.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, time::sleep};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::{
    Fault,
    body::{Pieces, Pump},
};
use crate::kube::https::connector;

/// The path under which Services are listed.
const SERVICES: &str = "/api/v1/services";

/// The real server; a connection of its own for each request.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    to: SocketAddr,
    trust: CertificateDer<'static>,
}

impl Upstream {
    pub(super) fn new(to: SocketAddr, trust: &CertificateDer<'static>) -> Self {
        Self { to, trust: trust.clone() }
    }

    /// Answers as the API server would that has this fault. An error cuts the connection.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        faults: watch::Receiver<Fault>,
    ) -> Result<Response<Pieces>> {
        let fault = faults.borrow().clone();
        match fault {
            Fault::HalfOpen => return std::future::pending().await,
            Fault::Refuses(status, after) => return refusal(status, after),
            Fault::EmptyServices if is_resumed(&request) => return refusal(410, None),
            Fault::Late(span) => sleep(span).await,
            Fault::None | Fault::Truncates | Fault::EmptyServices => {}
        }
        let empties = fault == Fault::EmptyServices && is_of_services(&request);
        let is_watch = is_watch(&request);
        let answer = self.ask(request).await?;
        if empties && !is_watch {
            return emptied(answer).await;
        }
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        Ok(Response::from_parts(parts, Pump::new(faults, empties).start(body)))
    }

    async fn ask(&self, request: Request<Incoming>) -> Result<Response<Incoming>> {
        let (parts, body) = request.into_parts();
        let body = Full::new(body.collect().await?.to_bytes());
        let stream = TcpStream::connect(self.to).await.context("the API server")?;
        let name = ServerName::IpAddress(self.to.ip().into());
        let stream = connector(&self.trust)?.connect(name, stream).await?;
        let (mut sender, driver) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        // It ends with the answer.
        tokio::spawn(async { drop(driver.await) });
        Ok(sender.send_request(Request::from_parts(parts, body)).await?)
    }
}

fn is_of_services(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET && request.uri().path() == SERVICES
}

fn asks_for(request: &Request<Incoming>, word: &str) -> bool {
    request.uri().query().unwrap_or_default().split('&').any(|pair| pair.starts_with(word))
}

fn is_watch(request: &Request<Incoming>) -> bool {
    asks_for(request, "watch=")
}

/// A watch of Services that goes on from where another has ended.
fn is_resumed(request: &Request<Incoming>) -> bool {
    is_of_services(request) && is_watch(request) && !asks_for(request, "sendInitialEvents=")
}

fn refusal(status: u16, after: Option<u64>) -> Result<Response<Pieces>> {
    let text = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
        "message": "the lab says so", "reason": "Lab"});
    let mut answer = Response::builder().status(StatusCode::from_u16(status)?);
    if let Some(seconds) = after {
        answer = answer.header(header::RETRY_AFTER, seconds);
    }
    let answer = answer.header(header::CONTENT_TYPE, "application/json");
    Ok(answer.body(Pieces::of(text.to_string().into()))?)
}

async fn emptied(answer: Response<Incoming>) -> Result<Response<Pieces>> {
    let body = answer.into_body().collect().await?.to_bytes();
    let mut list: Value = serde_json::from_slice(&body)?;
    list["items"] = json!([]);
    let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Ok(answer.body(Pieces::of(list.to_string().into()))?)
}
