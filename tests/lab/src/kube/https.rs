//! Single questions over HTTP, with the server's certificate verified where there is one.
//!
//! HTTP/1.0 on purpose: the answer is whole when the server closes, and never in chunks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

use crate::host::Host;

/// How long a single question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// A question: `GET path`, with a bearer token where one is given.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// Whom to ask.
    pub to: SocketAddr,
    /// The path with its query.
    pub path: &'a str,
    /// The bearer token.
    pub token: Option<&'a str>,
    /// The authority (DER) that must have signed the certificate; plain HTTP without.
    pub trust: Option<&'a CertificateDer<'static>>,
}

impl Get<'_> {
    /// Asks from inside a host.
    pub fn ask(&self, from: &Host) -> Result<Reply> {
        from.namespace().enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let answer = runtime.block_on(async { timeout(PATIENCE, self.converse()).await });
            answer.with_context(|| format!("{} does not answer {}", self.to, self.path))?
        })
    }

    async fn converse(&self) -> Result<Reply> {
        let stream = TcpStream::connect(self.to).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.to))?;
        let Some(trust) = self.trust else { return self.exchange(stream).await };
        let name = ServerName::IpAddress(self.to.ip().into());
        let stream = connector(trust)?.connect(name, stream).await;
        self.exchange(stream.with_context(|| format!("no TLS with {}", self.to))?).await
    }

    async fn exchange(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Reply> {
        let token = self.token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let head =
            format!("GET {} HTTP/1.0\r\n{}\r\n", self.path, token.as_deref().unwrap_or_default());
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer))
    }
}

pub(super) fn connector(trust: &CertificateDer<'static>) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(trust.clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn parse(answer: &str) -> Result<Reply> {
    let unreadable = || anyhow!("not an answer: `{answer}`");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unreadable)?;
    let status = head.split(' ').nth(1).ok_or_else(unreadable)?;
    Ok(Reply { status: status.parse()?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() -> Result<()> {
        let reply = parse("HTTP/1.0 401 Unauthorized\r\nA: b\r\n\r\nno\r\n")?;
        assert_eq!(reply, Reply { status: 401, body: "no\r\n".to_owned() });
        assert!(parse("").is_err());
        Ok(())
    }
}
