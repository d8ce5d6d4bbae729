//! The components of Kubernetes for the tests: taken from `KUBEBUILDER_ASSETS`, or built from
//! `tests/kube`, once, as one program with five names.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::run::{root, target_dir, which};

/// What the tests start, by the names that the folder must hold.
const COMPONENTS: [&str; 5] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"];
/// The folder that envtest reads too.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// Where every test that needs them stands, in the words of `cargo test`'s filters.
pub(crate) const TESTS: &str = "kubernetes::";

/// Sees to it that the components are there. None: they cannot be had here, and why.
pub(crate) fn provide() -> Result<Option<String>> {
    if let Some(given) = env::var_os(ASSETS) {
        return complete(Path::new(&given)).map(|()| None);
    }
    match go() {
        Some(go) => Module::new(go)?.build().map(|()| None),
        None => Ok(Some(format!("go is not installed, and {ASSETS} names no folder with them"))),
    }
}

/// As [`provide`], for a verb that can do nothing without them.
pub(crate) fn require(verb: &str) -> Result<()> {
    match provide()? {
        Some(why) => bail!("`cargo xtask {verb}` cannot run: {why}"),
        None => Ok(()),
    }
}

/// On PATH, or where Go's own archive puts it.
fn go() -> Option<PathBuf> {
    let unpacked = PathBuf::from("/usr/local/go/bin/go");
    which("go").or_else(|| Some(unpacked).filter(|file| file.is_file()))
}

/// A folder that is named must hold them all: parts of two releases may not fit.
fn complete(dir: &Path) -> Result<()> {
    let missing = COMPONENTS.iter().find(|name| !dir.join(name).exists());
    match missing {
        Some(name) => bail!("{ASSETS} names {}, where {name} is missing", dir.display()),
        None => Ok(()),
    }
}

/// The Go module and the folder it is built into.
struct Module {
    go: PathBuf,
    source: PathBuf,
    to: PathBuf,
    /// Of Kubernetes, as `go.mod` asks for it: `1.36.3`.
    version: String,
}

impl Module {
    fn new(go: PathBuf) -> Result<Self> {
        let source = root().join("tests/kube");
        let text = fs::read_to_string(source.join("go.mod")).context("tests/kube/go.mod")?;
        Ok(Self { go, version: version(&text)?, to: target_dir().join("kube"), source })
    }

    fn build(&self) -> Result<()> {
        let stamp = self.stamp()?;
        let kept = self.to.join("stamp");
        if fs::read_to_string(&kept).is_ok_and(|kept| kept == stamp) && complete(&self.to).is_ok() {
            return Ok(());
        }
        fs::create_dir_all(&self.to)?;
        drop(fs::remove_file(&kept));
        self.link()?;
        COMPONENTS.iter().try_for_each(|name| self.give_name(name))?;
        fs::write(kept, stamp).context("the stamp of target/kube")
    }

    /// All that decides what comes out: the sources, the flags, the compiler.
    fn stamp(&self) -> Result<String> {
        let mut text = self.flags().join("\n");
        for name in ["go.mod", "go.sum", "main.go"] {
            let file = self.source.join(name);
            text += &fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        }
        let output = self.run_go(&["version"]).output().context("cannot run go")?;
        Ok(text + &String::from_utf8_lossy(&output.stdout))
    }

    fn link(&self) -> Result<()> {
        println!(
            "building Kubernetes {} for the tests, once: about 8 minutes on two cores from an \
             empty cache, 3 GB of it",
            self.version
        );
        let program = self.program().display().to_string();
        let flags = self.flags();
        let mut args = vec!["build", "-o", &program];
        args.extend(flags.iter().map(String::as_str));
        args.push(".");
        println!("$ go {}", args.join(" "));
        let status = self.run_go(&args).status().context("cannot run go")?;
        ensure!(status.success(), "go build in tests/kube ended with {status}");
        Ok(())
    }

    fn program(&self) -> PathBuf {
        self.to.join("control-plane")
    }

    /// Without a stamp, clients are told v0.0.0-master.
    fn flags(&self) -> Vec<String> {
        let mut parts = self.version.split('.');
        let (major, minor) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let stamps = [
            ("gitVersion", format!("v{}", self.version)),
            ("gitMajor", major.to_owned()),
            ("gitMinor", minor.to_owned()),
        ];
        let stamp = |(name, value)| format!(" -X k8s.io/component-base/version.{name}={value}");
        let stamps: String = stamps.into_iter().map(stamp).collect();
        let flags =
            ["-mod=readonly".to_owned(), "-trimpath".to_owned(), "-buildvcs=false".to_owned()];
        flags.into_iter().chain([format!("-ldflags=-s -w{stamps}")]).collect()
    }

    fn run_go(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.go);
        command.args(args).current_dir(&self.source).env("CGO_ENABLED", "0").env("GOWORK", "off");
        if env::var_os("GOCACHE").is_none() {
            command.env("GOCACHE", self.to.join("cache"));
        }
        command
    }

    fn give_name(&self, name: &str) -> Result<()> {
        let link = self.to.join(name);
        drop(fs::remove_file(&link));
        symlink("control-plane", &link).with_context(|| format!("cannot make {}", link.display()))
    }
}

/// The release that a `go.mod` requires.
fn version(go_mod: &str) -> Result<String> {
    let required = go_mod.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    required.map(str::to_owned).context("tests/kube/go.mod requires no k8s.io/kubernetes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_what_is_required() {
        let text = "require (\n\tk8s.io/kubectl v0.36.3\n\tk8s.io/kubernetes v1.36.3\n)\n";
        assert_eq!(version(text).unwrap(), "1.36.3");
        assert!(version("module x\n").is_err());
    }

    #[test]
    fn a_folder_that_lacks_a_component_is_refused_by_its_name() {
        let error = complete(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("/nowhere, where etcd is missing"), "{error}");
    }

    #[test]
    fn the_flags_stamp_the_release() {
        let (go, source, to) = (PathBuf::new(), PathBuf::new(), PathBuf::new());
        let flags = Module { go, source, to, version: "1.36.3".to_owned() }.flags().join(" ");
        assert!(flags.contains("gitVersion=v1.36.3 "), "{flags}");
        assert!(flags.contains("gitMajor=1 ") && flags.ends_with("gitMinor=36"), "{flags}");
    }
}
