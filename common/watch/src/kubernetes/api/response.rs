//! Answers of the API server: their status, their bytes within bounds, and how long they may take.

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::timeout;

use super::{access::Access, failure::Failure, status};

/// Largest event of a watch in bytes. etcd takes objects of 1.5 MiB, of which every byte may be six in
/// JSON (`<` is written as `\u003c`): a tenant's object must never end the watch of all others.
pub(in crate::kubernetes) const MAX_EVENT: usize = 12 << 20;
/// Largest page of a list in bytes; where one is larger, fewer objects are asked for at once.
pub(in crate::kubernetes) const MAX_PAGE: usize = 16 << 20;

/// Most bytes that are read of an answer that is no success.
const MAX_STATUS: usize = 64 << 10;
/// Longest text of the server's that is told.
const MAX_TOLD: usize = 300;

/// Sends a request and waits for the beginning of an answer that is a success.
///
/// # Errors
/// When there is none in time, or it is none.
pub(in crate::kubernetes) async fn send(
    access: &Access,
    request: Request<Body>,
    patience: Duration,
) -> Result<Body, Failure> {
    let verb = verb(&request);
    let answer = timeout(patience, access.client.send(request)).await;
    if let Some(requests) = &access.requests {
        let code = answer.as_ref().ok().and_then(|answer| answer.as_ref().ok());
        requests.count(verb, code.map_or(0, |answer| answer.status().as_u16()));
    }
    let answer = answer.map_err(|_| silent(patience))?.map_err(|error| match error {
        // Its own words would only say that a service failed.
        kube::Error::Service(cause) => unreachable(cause.as_ref()),
        other => unreachable(&other),
    })?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let code = answer.status().as_u16();
    let asked = retry_after(answer.headers());
    let said = whole(answer.into_body(), MAX_STATUS, patience).await.unwrap_or_default();
    let status = status::read(&said);
    let retry_after = asked.or(status.retry_after());
    Err(Failure::Refused { code, message: told(&status.message), retry_after })
}

/// What a request asks for, in a word.
fn verb(request: &Request<Body>) -> &'static str {
    let is_apply = |value: &HeaderValue| value.as_bytes().starts_with(b"application/apply-patch");
    match *request.method() {
        Method::POST => "create",
        Method::PATCH if request.headers().get(CONTENT_TYPE).is_some_and(is_apply) => "apply",
        Method::PATCH => "patch",
        _ if request.uri().query().is_some_and(|query| query.contains("watch=true")) => "watch",
        _ => "list",
    }
}

/// A whole answer.
///
/// # Errors
/// When it ends early, stays silent for too long, or is larger than `most`.
pub(in crate::kubernetes) async fn whole(
    mut body: Body,
    most: usize,
    patience: Duration,
) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunk(&mut body, patience).await? {
        if bytes.len().saturating_add(chunk.len()) > most {
            return Err(Failure::TooBig(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The lines of an answer that goes on.
#[derive(Debug)]
pub(in crate::kubernetes) struct Lines {
    body: Body,
    bytes: BytesMut,
    /// So many of them hold no end of a line.
    searched: usize,
}

impl Lines {
    pub(in crate::kubernetes) fn new(body: Body) -> Self {
        Self { body, bytes: BytesMut::new(), searched: 0 }
    }

    /// The next line that is not empty; none at the end. Cancelling it loses nothing.
    ///
    /// # Errors
    /// When the connection breaks, in a line or elsewhere, stays silent for too long, or a line is
    /// longer than `most`.
    pub(in crate::kubernetes) async fn next(
        &mut self,
        most: usize,
        patience: Duration,
    ) -> Result<Option<Bytes>, Failure> {
        loop {
            while let Some(line) = self.buffered() {
                if line.len() > most {
                    return Err(Failure::TooBig(most));
                }
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.bytes.len() > most {
                return Err(Failure::TooBig(most));
            }
            match chunk(&mut self.body, patience).await? {
                Some(chunk) => self.bytes.extend_from_slice(&chunk),
                None if self.bytes.trim_ascii().is_empty() => return Ok(None),
                None => return Err(Failure::Broken("an event is cut off".to_owned())),
            }
        }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let length = self.searched.saturating_add(found).saturating_add(1);
        self.searched = 0;
        Some(self.bytes.split_to(length).freeze())
    }
}

async fn chunk(body: &mut Body, patience: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        let frame = timeout(patience, body.frame()).await.map_err(|_| silent(patience))?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Anything else is trailers, which say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(unreachable(&error)),
        }
    }
}

fn silent(patience: Duration) -> Failure {
    Failure::Unreachable(format!("no answer within {} s", patience.as_secs_f32()))
}

/// An error with all of its causes, each once.
fn unreachable(error: &(dyn Error + 'static)) -> Failure {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.iter().any(|word| word.contains(&text)) {
            words.push(text);
        }
        cause = error.source();
    }
    Failure::Unreachable(told(&words.join(": ")))
}

fn told(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_TOLD).map(clean).collect()
}

/// `Retry-After` in seconds, the form that the API uses.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
