//! What a client is told to reach an API server: its address, whom to trust, what to say.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

/// A kubeconfig with one cluster, one user and one context.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// `https://ADDRESS:PORT`.
    pub server: String,
    /// PEM of the authority that must have signed the server's certificate.
    pub authority: String,
    /// The bearer token.
    pub token: String,
}

impl Kubeconfig {
    /// The text, as JSON (which is YAML): all of it inline, so that it can be moved.
    pub fn text(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {
                "server": self.server,
                "certificate-authority-data": STANDARD.encode(&self.authority),
            }}],
            "users": [{"name": "lab", "user": {"token": self.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        })
        .to_string()
    }

    /// Writes it, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.text())
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
