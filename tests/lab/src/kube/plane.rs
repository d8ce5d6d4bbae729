//! The control plane of one host: etcd, kube-apiserver with TLS and RBAC, the controllers.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::Pid;

use crate::{
    host::Host,
    kube::{
        api::Api,
        assets::component,
        authority::{Authority, TokenKeys},
        cluster::Flags,
        https::{Get, Reply},
        identity::Identity,
        kubeconfig::Kubeconfig,
        kubectl::Kubectl,
    },
    process::{Process, Program},
    topology::{Lab, Topology},
    wait::eventually,
};

/// Name of the host that [`add_to`] adds.
pub const HOST: &str = "plane";
/// Name of the host that [`add_second`] adds.
pub const SECOND: &str = "plane2";
/// The port of the API server.
pub const PORT: u16 = 6443;
/// Where ClusterIPs come from; never on a wire, so of the block for benchmarks (RFC 2544).
const CLUSTER_IPS: &str = "198.19.0.0/16,2001:db8:96::/112";
const ETCD: &str = "http://127.0.0.1:2379";
/// For one step of the start; an API server alone takes 2 to 3 s on two idle cores.
const READY: Duration = Duration::from_secs(60);

/// Adds the host of the control plane to a topology, on the segment `back` of
/// [`crate::presets::routed`].
pub fn add_to(topology: &mut Topology) {
    let _ = topology.host(HOST).leg("back", ["203.0.113.10/24", "2001:db8:3::10/64"]);
}

/// Adds the host of a second control plane, for two clusters in one lab: [`Plane::start_on`].
pub fn add_second(topology: &mut Topology) {
    let _ = topology.host(SECOND).leg("back", ["203.0.113.11/24", "2001:db8:3::11/64"]);
}

/// A running control plane; dropped, its processes are killed: their state goes with them.
#[derive(Debug)]
pub struct Plane {
    host: Host,
    dir: PathBuf,
    authority: Authority,
    controllers: Option<Process>,
    api: Option<Process>,
    etcd: Option<Process>,
    logs: PathBuf,
    flags: Flags,
}

impl Plane {
    /// Starts it on the host [`HOST`] of a lab and waits until the API is ready. The
    /// controllers come up meanwhile: [`Self::wait_for_controllers`].
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, Flags::default())
    }

    /// The same with further flags.
    pub fn start_with(lab: &Lab, flags: Flags) -> Result<Self> {
        Self::begin(lab, HOST, flags)
    }

    /// Starts it on another host of the lab.
    pub fn start_on(lab: &Lab, host: &str) -> Result<Self> {
        Self::begin(lab, host, Flags::default())
    }

    fn begin(lab: &Lab, host: &str, flags: Flags) -> Result<Self> {
        let dir = lab.dir().join(format!("kubernetes-{host}"));
        let logs = if host == HOST { lab.logs() } else { lab.logs().join(host) };
        for dir in [&dir, &logs] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let (host, authority) = (lab.host(host)?.clone(), Authority::new("lab authority")?);
        let (controllers, api, etcd) = (None, None, None);
        let mut plane = Self { host, dir, authority, controllers, api, etcd, logs, flags };
        plane.write_files()?;
        plane.start_etcd()?;
        plane.start_api()?;
        plane.start_controllers()?;
        Ok(plane)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The flags that it was started with.
    pub(crate) fn flags(&self) -> &Flags {
        &self.flags
    }

    /// The address of the API server.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.host.v4()?.into(), PORT))
    }

    /// The authority whose certificates clients trust.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What a client is told that says this token.
    pub fn kubeconfig(&self, token: &str) -> Result<Kubeconfig> {
        let (server, token) = (format!("https://{}", self.address()?), token.to_owned());
        Ok(Kubeconfig { server, authority: self.authority.pem(), token })
    }

    /// kubectl as the test itself, which may do everything.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.kubectl_with(&Identity::Admin.token())
    }

    /// kubectl with any token.
    pub fn kubectl_with(&self, token: &str) -> Result<Kubectl> {
        let home = self.dir.join(format!("home-{token}"));
        fs::create_dir_all(&home)?;
        let kubeconfig = home.join("kubeconfig");
        self.kubeconfig(token)?.write(&kubeconfig)?;
        Kubectl::new(&self.host, kubeconfig, home)
    }

    /// One question to the API, asked from a host with a token or without.
    pub fn ask(&self, from: &Host, path: &str, token: Option<&str>) -> Result<Reply> {
        Get { to: self.address()?, path, token, trust: Some(self.authority.der()) }.ask(from)
    }

    /// Many requests at once, as the test itself, which may do everything.
    pub fn api(&self) -> Result<Api> {
        let (to, trust) = (self.address()?, self.authority.der().clone());
        Ok(Api::new(&self.host, to, trust, Identity::Admin.token()))
    }

    /// Waits until the controllers work: namespaces get their ServiceAccount.
    pub fn wait_for_controllers(&mut self) -> Result<()> {
        let path = "/api/v1/namespaces/default/serviceaccounts/default";
        self.wait_for(path, |plane| &mut plane.controllers)
    }

    /// The API server dies without a word; etcd and what it holds stay.
    pub fn kill_api(&mut self) -> Result<()> {
        self.api.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Starts the API server, and waits until it is ready.
    pub fn start_api(&mut self) -> Result<()> {
        let program = self.program("kube-apiserver")?.args(self.api_flags()?);
        self.api = Some(program.start(self.host.namespace())?);
        self.wait_for("/readyz", |plane| &mut plane.api)
    }

    /// Makes a backup of the store, as it is with nobody writing: the API server is away meanwhile.
    pub fn back_up(&mut self) -> Result<()> {
        self.with_store_at_rest(copy)
    }

    /// Puts the last backup in the place of the store, and starts all of it again: history goes on
    /// from there, by the same numbers for other things.
    pub fn restore(&mut self) -> Result<()> {
        self.with_store_at_rest(|store, backup| {
            fs::remove_dir_all(store)?;
            copy(backup, store)
        })
    }

    fn with_store_at_rest(&mut self, work: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        self.kill_api()?;
        self.etcd.take().map_or(Ok(()), |mut process| process.kill())?;
        let store = self.dir.join("etcd");
        work(&store, &store.with_extension("backup"))?;
        self.start_etcd()?;
        self.start_api()
    }

    fn start_etcd(&mut self) -> Result<()> {
        let program = self
            .program("etcd")?
            .arg(format!("--data-dir={}", self.path("etcd")))
            .args([
                format!("--listen-client-urls={ETCD}"),
                format!("--advertise-client-urls={ETCD}"),
            ])
            .args(["--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync"]);
        let etcd = self.etcd.insert(program.start(self.host.namespace())?);
        etcd.wait_for_text("ready to serve client requests", READY)
    }

    fn start_controllers(&mut self) -> Result<()> {
        let kubeconfig = self.dir.join("controllers.kubeconfig");
        self.kubeconfig(&Identity::ControllerManager.token())?.write(&kubeconfig)?;
        let program = self
            .program("kube-controller-manager")?
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--root-ca-file={}", self.path("ca.crt")))
            .args(["--leader-elect=false", "--use-service-account-credentials", "--secure-port=0"])
            // Nodes without a kubelet send no heartbeats, and would be NotReady after a while.
            .arg("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller")
            .args(self.flags.controllers.clone());
        self.controllers = Some(program.start(self.host.namespace())?);
        Ok(())
    }

    fn api_flags(&self) -> Result<Vec<String>> {
        let path = |flag: &str, name: &str| format!("--{flag}={}", self.path(name));
        let mut flags = vec![
            format!("--etcd-servers={ETCD}"),
            format!("--secure-port={PORT}"),
            format!("--advertise-address={}", self.host.v4()?),
            format!("--service-cluster-ip-range={CLUSTER_IPS}"),
            path("tls-cert-file", "server.crt"),
            path("tls-private-key-file", "server.key"),
            path("token-auth-file", "tokens.csv"),
            path("service-account-key-file", "tokens.pub"),
            path("service-account-signing-key-file", "tokens.key"),
        ];
        let rest = [
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            // Who would give a Pod its token, and lift a taint, is the kubelet's and a scheduler's.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        ];
        flags.extend(rest.map(str::to_owned));
        flags.extend(self.flags.api.clone());
        Ok(flags)
    }

    fn write_files(&self) -> Result<()> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let addresses: Vec<IpAddr> = self.host.addresses().chain([local]).collect();
        let server = self.authority.server(&["kubernetes.default.svc"], &addresses)?;
        let keys = TokenKeys::new()?;
        let files = [
            ("ca.crt", self.authority.pem()),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("tokens.key", keys.private),
            ("tokens.pub", keys.public),
            ("tokens.csv", Identity::token_file()),
        ];
        for (name, text) in files {
            fs::write(self.dir.join(name), text).with_context(|| format!("cannot write {name}"))?;
        }
        Ok(())
    }

    /// Waits until the API answers 200; fails at once when the process ends that is waited for.
    fn wait_for(&mut self, path: &str, who: fn(&mut Self) -> &mut Option<Process>) -> Result<()> {
        let token = Identity::Admin.token();
        eventually(&format!("200 from {path}"), READY, || {
            if let Some(process) = who(self)
                && let Some(status) = process.exited()?
            {
                return Ok(Err(anyhow!("{status}; it said: {}", process.stderr())));
            }
            match self.ask(&self.host, path, Some(&token))? {
                Reply { status: 200, .. } => Ok(Ok(())),
                Reply { status, body } => bail!("{status}: {body}"),
            }
        })?
        .with_context(|| format!("waiting for {path}"))
    }

    fn program(&self, name: &str) -> Result<Program> {
        Ok(Program::new(name, component(name)?, &self.logs))
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Process ids of what runs: the controllers, the API server, etcd.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let processes = [&self.controllers, &self.api, &self.etcd];
        processes.into_iter().flatten().map(Process::pid).collect()
    }

    /// A directory of its own, removed with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// A directory with all that it holds.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &into)?;
        } else {
            fs::copy(entry.path(), into)?;
        }
    }
    Ok(())
}

impl Drop for Plane {
    fn drop(&mut self) {
        let processes = [&mut self.controllers, &mut self.api, &mut self.etcd];
        for process in processes.into_iter().flatten() {
            drop(process.kill());
        }
    }
}
