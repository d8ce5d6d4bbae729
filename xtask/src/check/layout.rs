//! Who may use whom, by `cargo metadata`: the rules of the layout as tables.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::Cargo;

/// Packages without I/O: nothing below may be in their whole tree of dependencies.
const PURE: &[&str] =
    &["roadstead-model", "roadstead-wire", "roadstead-speaker-core", "roadstead-router-core"];

/// I/O, clocks, random sources, the kernel.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "inotify",
    "jiff",
    "kube",
    "libbpf-rs",
    "libbpf-sys",
    "mio",
    "nix",
    "rand",
    "rtnetlink",
    "rustix",
    "smol",
    "socket2",
    "time",
    "tokio",
];

/// A dependency that only these packages may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("kube", &["roadstead-watch"]),
    ("k8s-openapi", &["roadstead-watch"]),
    ("libbpf-rs", &["roadstead-router-bpf"]),
    ("libbpf-sys", &["roadstead-router-bpf"]),
    ("libbpf-cargo", &["roadstead-router-bpf"]),
    ("config", &["roadstead-config"]),
    ("snow", &["roadstead-link"]),
];

/// Which of our packages each may use (build and normal dependencies).
const INTERNAL: &[(&str, &[&str])] = &[
    ("roadstead-model", &[]),
    ("roadstead-config", &["roadstead-model"]),
    ("roadstead-watch", &["roadstead-model"]),
    ("roadstead-daemon", &["roadstead-model", "roadstead-config"]),
    ("roadstead-link", &[]),
    ("roadstead-sys", &[]),
    ("roadstead-netlink", &[]),
    ("roadstead-wire", &["roadstead-model"]),
    ("roadstead-speaker-core", &["roadstead-model", "roadstead-wire"]),
    ("roadstead-router-core", &["roadstead-model"]),
    ("roadstead-router-bpf", &["roadstead-model", "roadstead-router-core"]),
    (
        "roadstead-speaker",
        &[
            "roadstead-model",
            "roadstead-config",
            "roadstead-watch",
            "roadstead-daemon",
            "roadstead-link",
            "roadstead-sys",
            "roadstead-netlink",
            "roadstead-wire",
            "roadstead-speaker-core",
        ],
    ),
    (
        "roadstead-router",
        &[
            "roadstead-model",
            "roadstead-config",
            "roadstead-watch",
            "roadstead-daemon",
            "roadstead-sys",
            "roadstead-netlink",
            "roadstead-router-core",
            "roadstead-router-bpf",
        ],
    ),
    (
        "roadstead-cli",
        &[
            "roadstead-model",
            "roadstead-config",
            "roadstead-watch",
            "roadstead-daemon",
            "roadstead-link",
            "roadstead-sys",
            "roadstead-netlink",
            // The allocator, pure as it is: `migrate` asks it what it would do.
            "roadstead-speaker-core",
        ],
    ),
    ("roadstead-lab", &[]),
    (
        "roadstead-bench",
        &["roadstead-lab", "roadstead-model", "roadstead-router-core", "roadstead-router-bpf"],
    ),
    ("roadstead-scenarios", &["roadstead-lab", "roadstead-model"]),
    ("xtask", &[]),
];

/// A workspace member with its direct dependencies by package name.
struct Member {
    name: String,
    direct: BTreeSet<String>,
    tree: BTreeSet<String>,
}

/// Every breach of the tables.
pub(crate) fn findings() -> Result<Vec<String>> {
    let text = Cargo::new(["metadata", "--format-version=1", "--locked"]).output()?;
    let members = members(&serde_json::from_str(&text).context("cargo metadata")?)?;
    Ok(members.iter().flat_map(breaches).collect())
}

fn breaches(member: &Member) -> Vec<String> {
    let name = member.name.as_str();
    let mut found = Vec::new();
    match INTERNAL.iter().find(|(package, _)| *package == name) {
        None => found.push(format!(
            "{name}: unknown to xtask/src/check/layout.rs: say there whom it may use"
        )),
        Some((_, allowed)) => {
            let ours = member.direct.iter().filter(|dep| INTERNAL.iter().any(|(p, _)| p == dep));
            let stray = ours.filter(|dep| !allowed.contains(&dep.as_str()));
            found.extend(stray.map(|dep| format!("{name} must not use {dep}")));
        }
    }
    for (dependency, only) in RESERVED {
        if member.direct.contains(*dependency) && !only.contains(&name) {
            found.push(format!("{name} must not use {dependency}: only {} may", only.join(", ")));
        }
    }
    if PURE.contains(&name) {
        let stray = IMPURE.iter().filter(|impure| member.tree.contains(**impure));
        found.extend(stray.map(|dep| format!("{name} is pure and must not pull in {dep}")));
    }
    found
}

fn members(metadata: &Value) -> Result<Vec<Member>> {
    let names = package_names(metadata)?;
    let edges = edges(metadata)?;
    let ids = metadata["workspace_members"].as_array().context("workspace_members")?;
    let member = |id: &str| {
        let name_of = |id: &String| names.get(id).cloned();
        let direct = edges.get(id).into_iter().flatten().filter_map(name_of).collect();
        let tree = reachable(id, &edges).iter().filter_map(name_of).collect();
        Some(Member { name: names.get(id)?.clone(), direct, tree })
    };
    Ok(ids.iter().filter_map(Value::as_str).filter_map(member).collect())
}

fn package_names(metadata: &Value) -> Result<BTreeMap<String, String>> {
    let packages = metadata["packages"].as_array().context("packages")?;
    let pair = |package: &Value| {
        Some((package["id"].as_str()?.to_owned(), package["name"].as_str()?.to_owned()))
    };
    Ok(packages.iter().filter_map(pair).collect())
}

/// Normal and build dependencies by package id; those of tests may be impure.
fn edges(metadata: &Value) -> Result<BTreeMap<String, Vec<String>>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("resolve.nodes")?;
    let used = |dep: &&Value| {
        let kinds = dep["dep_kinds"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
    };
    let node = |node: &Value| {
        let deps = node["deps"].as_array()?.iter().filter(used);
        let ids = deps.filter_map(|dep| dep["pkg"].as_str().map(str::to_owned)).collect();
        Some((node["id"].as_str()?.to_owned(), ids))
    };
    Ok(nodes.iter().filter_map(node).collect())
}

fn reachable(from: &str, edges: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from.to_owned()];
    while let Some(id) = todo.pop() {
        for next in edges.get(&id).into_iter().flatten() {
            if seen.insert(next.clone()) {
                todo.push(next.clone());
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, direct: &[&str], tree: &[&str]) -> Member {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Member { name: name.to_owned(), direct: set(direct), tree: set(tree) }
    }

    #[test]
    fn every_kind_of_breach_is_found() {
        let fine = member("roadstead-speaker", &["roadstead-wire", "tokio"], &["tokio"]);
        assert_eq!(breaches(&fine), Vec::<String>::new());
        assert_eq!(breaches(&member("roadstead-speaker", &["roadstead-router"], &[])).len(), 1);
        assert_eq!(breaches(&member("roadstead-router", &["kube"], &["kube"])).len(), 1);
        assert_eq!(breaches(&member("roadstead-wire", &[], &["tokio"])).len(), 1);
        assert_eq!(breaches(&member("roadstead-new", &[], &[])).len(), 1);
    }
}
