//! What a fresh Debian or Ubuntu lacks, by package, and how to tell.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::run::{is_root, which};

/// A package and the command or file that shows it is there.
struct Package {
    name: &'static str,
    shown_by: &'static str,
}

const fn package(name: &'static str, shown_by: &'static str) -> Package {
    Package { name, shown_by }
}

/// To compile the workspace: the BPF programs, and libbpf with its two libraries.
const BUILD: &[Package] = &[
    package("gcc", "cc"),
    package("libc6-dev", "/usr/include/stdio.h"),
    package("make", "make"),
    package("clang", "clang"),
    package("llvm", "llvm-strip"),
    package("libelf-dev", "/usr/include/libelf.h"),
    package("zlib1g-dev", "/usr/include/zlib.h"),
    package("pkg-config", "pkg-config"),
];

/// To build networks in namespaces and look at them.
const LAB: &[Package] = &[
    package("iproute2", "ip"),
    package("tcpdump", "tcpdump"),
    package("iputils-ping", "ping"),
    package("util-linux", "nsenter"),
    package("curl", "curl"),
];

/// What the tests use besides.
const TESTS: &[Package] = &[
    package("nftables", "nft"),
    package("iptables", "iptables-save"),
    package("ethtool", "ethtool"),
    package("systemd", "systemd-analyze"),
];

/// The peers of the benchmarks.
const PEERS: &[Package] = &[
    package("haproxy", "haproxy"),
    package("nginx-light", "nginx"),
    package("libnginx-mod-stream", "/usr/lib/nginx/modules/ngx_stream_module.so"),
    package("iperf3", "iperf3"),
    package("wrk", "wrk"),
];

/// What a verb needs.
pub(crate) struct Needs(&'static [&'static [Package]]);

impl Needs {
    pub(crate) const CHECK: Self = Self(&[BUILD, &[package("clang-format", "clang-format")]]);
    pub(crate) const TEST: Self = Self(&[BUILD, LAB, TESTS]);
    pub(crate) const DEMO: Self = Self(&[BUILD, LAB]);
    pub(crate) const BENCH: Self = Self(&[BUILD, LAB, TESTS, PEERS]);
    pub(crate) const FUZZ: Self = Self(&[BUILD, &[package("g++", "c++")]]);

    fn missing(&self) -> Vec<&'static str> {
        let all = self.0.iter().flat_map(|group| group.iter());
        all.filter(|package| !is_there(package.shown_by)).map(|package| package.name).collect()
    }
}

fn is_there(shown_by: &str) -> bool {
    if shown_by.starts_with('/') { Path::new(shown_by).exists() } else { which(shown_by).is_some() }
}

/// Installs what is missing, says so first.
pub(crate) fn provide(needs: Needs, refuse: bool) -> Result<()> {
    let missing = needs.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    ensure!(!refuse, "missing packages: {list} (install them, or leave --no-install away)");
    if which("apt-get").is_none() {
        bail!("missing, and there is no apt-get here: install what Debian calls {list}");
    }
    ensure!(is_root(), "missing packages: run as root, or `apt-get install {list}` first");
    println!("installing what is missing with apt-get: {list}");
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(&missing);
    apt(&args)?;
    let still = needs.missing();
    ensure!(still.is_empty(), "apt-get was content, yet there is no sign of: {}", still.join(" "));
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get {} ended with {status}", args.join(" "));
    Ok(())
}
