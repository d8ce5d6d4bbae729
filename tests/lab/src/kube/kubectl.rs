//! Our kubectl, run beside the API server as one user.

use std::{path::PathBuf, process::Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{host::Host, kube::assets::component};

/// kubectl with a kubeconfig of its own; nothing of the user's home is read or written.
#[derive(Clone, Debug)]
pub struct Kubectl {
    host: Host,
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    /// On a host that reaches the server of the kubeconfig; `home` takes its caches.
    pub fn new(host: &Host, kubeconfig: PathBuf, home: PathBuf) -> Result<Self> {
        Ok(Self { host: host.clone(), program: component("kubectl")?, kubeconfig, home })
    }

    /// How to run it by hand, on a host that reaches the server.
    pub fn command_line(&self) -> String {
        format!("{} --kubeconfig={}", self.program.display(), self.kubeconfig.display())
    }

    /// Runs it, whatever its status.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        let line = self.line(args);
        self.host.output(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs it and wants success; returns its standard output.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", args.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it with a text on its standard input, and wants success.
    pub fn feed(&self, args: &[&str], input: &str) -> Result<String> {
        let line = self.line(args);
        self.host.feed(&line.iter().map(String::as_str).collect::<Vec<_>>(), input)
    }

    /// Creates or changes objects, written as YAML or JSON.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.feed(&["apply", "-f", "-"], manifests).map(drop)
    }

    /// Creates or changes an object, then writes the status that it holds, as the component would
    /// that owns it (the kubelet, for Nodes and Pods).
    ///
    /// By a merge patch: server-side apply knows one address per type of a Node's status.
    pub fn apply_with_status(&self, object: &Value) -> Result<()> {
        let text = object.to_string();
        self.apply(&text)?;
        let status = json!({"status": object["status"]}).to_string();
        let patch = ["patch", "--subresource=status", "--type=merge", "-f", "-", "-p", &status];
        self.feed(&patch, &text).map(drop)
    }

    /// Deletes objects (`service/web`, `pod/web-1`) and waits until they are gone, at most 30 s.
    /// By force: no kubelet says that a pod has ended.
    pub fn delete(&self, objects: &[&str]) -> Result<()> {
        let how = ["delete", "--grace-period=0", "--force", "--timeout=30s"];
        self.run(&[&how, objects].concat()).map(drop)
    }

    /// `get … -o json`.
    pub fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], args].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl get said: {text}"))
    }

    /// Waits until a condition of `kubectl wait` holds, at most 30 s: (`pod/web`, `delete`).
    pub fn wait_for(&self, object: &str, condition: &str) -> Result<()> {
        let condition = format!("--for={condition}");
        self.run(&["wait", object, &condition, "--timeout=30s"]).map(drop)
    }

    fn line(&self, args: &[&str]) -> Vec<String> {
        let set = |name: &str, path: &PathBuf| format!("{name}={}", path.display());
        let mut line = vec!["env".to_owned(), "-u".to_owned(), "KUBECACHEDIR".to_owned()];
        line.extend([set("HOME", &self.home), set("KUBECONFIG", &self.kubeconfig)]);
        line.extend(["KUBERC=off".to_owned(), self.program.display().to_string()]);
        line.extend(args.iter().map(|arg| (*arg).to_owned()));
        line
    }
}
