//! What a daemon may do in a cluster, and how it is told: by `roadstead kubeconfig`, as users do it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    kube::{identity::Identity, plane::Plane},
    process::built,
};

/// The kubeconfigs of the daemons for one cluster, each with a token of its own ServiceAccount.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The source's name.
    pub source: String,
    /// The speaker's file.
    pub speaker: PathBuf,
    /// The router's file.
    pub router: PathBuf,
}

impl Admitted {
    /// The `[[source]]` of the configuration.
    pub fn toml(&self) -> String {
        let Self { source, speaker, router } = self;
        format!(
            "[[source]]\nname = \"{source}\"\nkubeconfig = {{ speaker = \"{}\", router = \"{}\" }}\n\n",
            speaker.display(),
            router.display()
        )
    }
}

/// How the daemons are admitted.
#[derive(Clone, Debug)]
pub struct Admission<'a> {
    /// The source's name.
    pub source: &'a str,
    /// Where the files go.
    pub dir: &'a Path,
    /// Where the daemons ask, if not the API server itself: `https://ADDRESS:PORT`.
    pub server: Option<String>,
    /// How long the tokens last, as the verb takes it.
    pub lasts: &'a str,
}

impl<'a> Admission<'a> {
    /// With tokens for a day, to ask the API server itself.
    pub fn new(source: &'a str, dir: &'a Path) -> Self {
        Self { source, dir, server: None, lasts: "24h" }
    }

    /// Through something that stands between.
    #[must_use]
    pub fn through(mut self, server: String) -> Self {
        self.server = Some(server);
        self
    }

    /// Applies the manifests and writes the files: `roadstead kubeconfig` by the administrator.
    pub fn run(&self, plane: &Plane) -> Result<Admitted> {
        fs::create_dir_all(self.dir)?;
        let admin = plane.dir().join("admin.kubeconfig");
        plane.kubeconfig(&Identity::Admin.token())?.write(&admin)?;
        let mut line = vec![
            built("roadstead")?.display().to_string(),
            "kubeconfig".to_owned(),
            format!("--kubeconfig={}", admin.display()),
            format!("--name={}", self.source),
            format!("--out={}", self.dir.display()),
            format!("--duration={}", self.lasts),
        ];
        line.extend(self.server.iter().map(|server| format!("--server={server}")));
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let output = plane.host().output(&line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "roadstead kubeconfig: {said}");
        let file = |daemon: &str| self.dir.join(format!("{}.{daemon}.kubeconfig", self.source));
        let (speaker, router) = (file("speaker"), file("router"));
        for file in [&speaker, &router] {
            fs::metadata(file).with_context(|| format!("no {}", file.display()))?;
        }
        Ok(Admitted { source: self.source.to_owned(), speaker, router })
    }
}
