//! What a client is told to reach an API server: its address, whom to trust, what to say.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

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

    /// Writes it whole, by rename, readable by its owner only: tests that share a cluster write
    /// and read the same one at once.
    pub fn write(&self, path: &Path) -> Result<()> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let whole = path.with_extension(format!("{number}.new"));
        fs::write(&whole, self.text())
            .and_then(|()| fs::set_permissions(&whole, fs::Permissions::from_mode(0o600)))
            .and_then(|()| fs::rename(&whole, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
