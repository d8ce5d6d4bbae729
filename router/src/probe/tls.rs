//! TLS towards a node, whoever it is.
//!
//! Nothing of the certificate is verified: a node behind its NodePort has no name that a certificate
//! could be for, and clients verify the Service's own when they connect. The probe sends no secret
//! and trusts no answer: somebody on the way who could forge this answer could forge one over TCP
//! just as well.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(connector);

/// The handshake on a connection to `address`, with `host` as SNI where it is a name.
///
/// # Errors
/// When there is no TLS at the other end.
pub(super) async fn handshake(
    stream: TcpStream,
    host: Option<&str>,
    address: IpAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let name = host.and_then(|host| ServerName::try_from(host.to_owned()).ok());
    CONNECTOR.connect(name.unwrap_or_else(|| address.into()), stream).await
}

fn connector() -> TlsConnector {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A probe is a connection of its own; nothing is remembered of it.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Accepts every certificate. See the module's head.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
