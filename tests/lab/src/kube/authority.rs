//! The certificates of one control plane: an authority made for it, and what that signed.

use std::net::IpAddr;

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Columns of base64 in a PEM file (RFC 7468 section 2).
const COLUMNS: usize = 64;

/// A certificate authority of one test. Its key never leaves the process.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

impl Authority {
    /// A fresh one under a name of its own.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's certificate as PEM: what a client is given to trust.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.certificate.der())
    }

    /// The authority's certificate as DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// A certificate for a server with these names and addresses.
    pub fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Signed> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Signed { certificate: pem("CERTIFICATE", certificate.der()), key: key_pem(&key) })
    }
}

/// What ServiceAccount tokens are signed and verified with, both halves as PEM.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    /// PKCS #8.
    pub private: String,
    /// SubjectPublicKeyInfo.
    pub public: String,
}

impl TokenKeys {
    /// A fresh pair.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let public = pem("PUBLIC KEY", &key.subject_public_key_info());
        Ok(Self { private: key_pem(&key), public })
    }
}

fn key_pem(key: &KeyPair) -> String {
    pem("PRIVATE KEY", &key.serialize_der())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = vec![format!("-----BEGIN {label}-----")];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(COLUMNS));
        lines.push(line.to_owned());
        rest = after;
    }
    lines.push(format!("-----END {label}-----\n"));
    lines.join("\n")
}
