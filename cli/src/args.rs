//! The command line.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use roadstead_model::local::{FLOWS_LIMIT, FLOWS_MOST};
use roadstead_watch::kubernetes::setup::SHORTEST;

use crate::{explain::Target, output::Format};

/// The operator's side of Roadstead, a load balancer for bare-metal Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "roadstead",
    version,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 fine, 1 a problem was found, 2 wrong usage, 3 a daemon did not \
                  answer."
)]
pub(crate) struct Arguments {
    /// The configuration file; conf.d beside it is read too.
    #[arg(long, global = true, value_name = "FILE", default_value = roadstead_config::MAIN_FILE)]
    pub(crate) config: PathBuf,

    /// Where the daemons' sockets are, instead of `paths.runtime` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) runtime: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print every problem of the configuration and the manifests as `file:line: message`.
    Check {
        /// Files (.toml, .yaml, .yml, .json) and directories of manifests; without any, the
        /// configuration and the directories that it names.
        paths: Vec<PathBuf>,
    },
    /// Services, their addresses, where they are announced, their backends.
    Status {
        /// How to print it.
        #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Follow one Service from object to wire; name the step that holds it back and what to do.
    #[command(after_help = "As root it also finds out whether this host's own firewall is in the \
        way: where probes\nfail it connects to a few nodes and watches the leg meanwhile, and where \
        the Service is\nannounced it sends one packet to the leg's own MAC address.")]
    Explain {
        /// [SOURCE/]NAMESPACE/NAME of a Service, or ADDRESS[:PORT].
        #[arg(value_name = "SERVICE|ADDRESS")]
        target: Target,
        /// Also say whether the source ranges let this client in, and a local firewall its answers out.
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        from: Option<IpAddr>,
        /// How to print it.
        #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Connections in the table: which client stands behind a SNAT port, and on which node.
    #[command(after_help = "Terms of a filter, all of which must match:\n  \
        192.0.2.7  192.0.2.0/24  192.0.2.7:443  :443   on any side\n  \
        client=…  vip=…  snat=…  node=…                 on one side; node=NAME too\n  \
        tcp  udp\n\n\
        As JSON: {\"flows\": [{\"protocol\", \"client\": {\"address\", \"port\"}, \"vip\", \"snat\",\n\
        \"node\": {\"name\", \"address\", \"port\"}, \"state\", \"idleSeconds\"}], \"truncated\"}\n\n\
        Who was that?  roadstead flows snat=192.0.2.2:40000 -o json | jq -r '.flows[].client.address'")]
    Flows {
        /// Which ones; every one without it.
        filter: Vec<String>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = FLOWS_LIMIT, value_parser = limit,
              allow_negative_numbers = true)]
        limit: usize,
        /// How to print it.
        #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Take a node, or this whole edge host, out of service without breaking connections.
    #[command(override_usage = "roadstead drain node [SOURCE/]NAME\n       \
                                roadstead drain self [--until-reboot]")]
    Drain {
        /// What to drain.
        #[command(subcommand)]
        what: DrainWhat,
    },
    /// Take a drain back; without more, that of this host.
    #[command(override_usage = "roadstead undrain [self]\n       \
                                roadstead undrain node [SOURCE/]NAME")]
    Undrain {
        /// What to bring back.
        #[command(subcommand)]
        what: Option<DrainWhat>,
    },
    /// Give the daemons their rights on a cluster, and write a kubeconfig for each.
    ///
    /// Applies a namespace, a ServiceAccount and the least roles for each daemon, and writes
    /// NAME.speaker.kubeconfig and NAME.router.kubeconfig, each for its daemon's user only. Needs an
    /// administrator's kubeconfig, once: the daemons renew their own tokens. Safe to do again.
    Kubeconfig(KubeconfigArguments),
    /// Say what would change if Roadstead took the place of another load balancer.
    Migrate {
        /// Whose place.
        #[command(subcommand)]
        from: MigrateFrom,
    },
    /// Print a new key for a group of edge hosts: the same file on each of them.
    #[command(after_help = "umask 077; roadstead group-key > /etc/roadstead/group.key\n\
        chgrp roadstead /etc/roadstead/group.key; chmod 0640 /etc/roadstead/group.key")]
    GroupKey,
    /// Give up the addresses that a reservation by annotation keeps and that nobody holds.
    Release {
        /// [SOURCE/]NAMESPACE/NAME of the reservation, as `status` lists it.
        #[arg(value_name = "RESERVATION", value_parser = reservation)]
        reservation: String,
    },
    /// Believe a source that is in doubt (it suddenly says much less than before).
    Confirm,
    /// The version of this program and of the daemons.
    Version,
}

/// Whose place is taken.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum MigrateFrom {
    /// MetalLB, object by object and address by address. Only looks; writes nothing.
    #[command(after_help = "Exit status: 0 no address would change, 1 one would, or the \
        configuration is at fault.\nFor files:  kubectl get ipaddresspools,l2advertisements,\
        bgpadvertisements,bgppeers,bfdprofiles,communities,\n            \
        services,nodes,namespaces -A -o yaml > all.yaml")]
    Metallb(MetalLbArguments),
}

/// Where MetalLB is looked at.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct MetalLbArguments {
    /// The cluster's kubeconfig; that of kubectl without.
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The namespace that MetalLB is installed in.
    #[arg(long, value_name = "NAME", default_value = roadstead_model::metallb::NAMESPACE)]
    pub(crate) namespace: String,
    /// Files and directories of what kubectl printed, instead of a cluster.
    pub(crate) paths: Vec<PathBuf>,
    /// How to print it.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// What to set up in a cluster, and by whose rights.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct KubeconfigArguments {
    /// An administrator's kubeconfig; that of kubectl without.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Its context; the current one without.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The name of the [[source]], with which the files' names begin.
    #[arg(long, default_value = "home", value_parser = source_name)]
    pub(crate) name: String,
    /// Where this host reaches the API server, if not where the administrator does:
    /// https://ADDRESS:6443.
    #[arg(long, value_name = "URL", value_parser = server)]
    pub(crate) server: Option<String>,
    /// The directory of the files.
    #[arg(long, value_name = "DIR", default_value = "/etc/roadstead")]
    pub(crate) out: PathBuf,
    /// How long a token lasts: a host that was off for half of it needs no new one. At least 10m;
    /// the server may grant less.
    #[arg(long, value_name = "TIME", default_value = "168h", value_parser = life)]
    pub(crate) duration: Duration,
    /// Only print the manifests, for `kubectl apply -f -`.
    #[arg(long)]
    pub(crate) print: bool,
}

/// What to drain or to bring back.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum DrainWhat {
    /// A node: drained, it gets no new connections; established ones stay until
    /// `router.drain_deadline`.
    Node {
        /// NAME, or SOURCE/NAME where several sources have it.
        #[arg(value_parser = node_name)]
        name: String,
    },
    /// This edge host: drained, it announces nothing.
    #[command(name = "self")]
    Host {
        /// Only the order that the next boot forgets, as the unit gives it at shutdown.
        #[arg(long)]
        until_reboot: bool,
    },
}

/// As the configuration wants it: it is a part of file names.
fn source_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = !text.is_empty() && text.len() <= 63 && text.chars().all(fits);
    let wrong = "write the name of a source: a-z, 0-9 and -, at most 63 of them";
    if is_name { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

fn server(text: &str) -> Result<String, String> {
    let wrong = || "write it with its scheme, for instance https://192.0.2.1:6443".to_owned();
    text.starts_with("https://").then(|| text.trim_end_matches('/').to_owned()).ok_or_else(wrong)
}

/// `10m` or more, `24h`, `7d`.
fn life(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no life of a token: write 10m or more, 24h or 7d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let life = seconds.map(Duration::from_secs).filter(|life| *life >= SHORTEST);
    life.ok_or_else(wrong)
}

fn limit(text: &str) -> Result<usize, String> {
    let wrong = || format!("write how many flows at most, a number from 1 to {FLOWS_MOST}");
    text.parse().ok().filter(|limit| (1..=FLOWS_MOST).contains(limit)).ok_or_else(wrong)
}

fn address(text: &str) -> Result<IpAddr, String> {
    let wrong = |_| "write an address, for instance 192.0.2.7 or 2001:db8::7".to_owned();
    text.parse().map_err(wrong)
}

/// Whether there is such a node the router knows; what cannot be a name is told here.
fn node_name(text: &str) -> Result<String, String> {
    let is_name = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    let parts = text.split('/');
    if parts.clone().count() <= 2 && parts.clone().all(is_name) {
        return Ok(text.to_owned());
    }
    Err("write the name of a node, or SOURCE/NAME".to_owned())
}

/// Whether there is such a reservation the speaker knows.
fn reservation(text: &str) -> Result<String, String> {
    let is_name = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    let parts = text.split('/');
    if (2..=3).contains(&parts.clone().count()) && parts.clone().all(is_name) {
        return Ok(text.to_owned());
    }
    Err("write NAMESPACE/NAME of a reservation, or SOURCE/NAMESPACE/NAME".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_verbs_of_the_contract_are_read() {
        for line in [
            "roadstead check",
            "roadstead check --config /x.toml a.yaml dir",
            "roadstead status -o json --config /x.toml",
            "roadstead status -o yaml --runtime /run/x",
            "roadstead explain default/web",
            "roadstead explain home/default/web --from 198.51.100.7",
            "roadstead explain 192.0.2.10:80",
            "roadstead explain 2001:db8::1",
            "roadstead flows",
            "roadstead flows client=198.51.100.7 tcp -o json",
            "roadstead drain node n1",
            "roadstead drain self --until-reboot",
            "roadstead undrain self --until-reboot",
            "roadstead undrain",
            "roadstead undrain node home/n1",
            "roadstead confirm",
            "roadstead kubeconfig",
            "roadstead kubeconfig --print",
            "roadstead kubeconfig --kubeconfig /a --context c --name home --out /x --duration 10m",
            "roadstead kubeconfig --server https://192.0.2.1:6443 --duration 30d",
            "roadstead migrate metallb",
            "roadstead migrate metallb --kubeconfig /k --namespace lb -o json",
            "roadstead migrate metallb a.yaml dir",
            "roadstead group-key",
            "roadstead version",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_two() {
        for line in [
            "roadstead",
            "roadstead top",
            "roadstead drain",
            "roadstead drain node",
            "roadstead explain web",
            "roadstead status -o xml",
            "roadstead confirm now",
            "roadstead check -o json",
            "roadstead kubeconfig --duration 9m",
            "roadstead kubeconfig --duration week",
            "roadstead kubeconfig --name ../etc",
            "roadstead kubeconfig --server 192.0.2.1",
            "roadstead undrain n1",
            "roadstead migrate",
            "roadstead migrate metallb --kubeconfig /k a.yaml",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_told_with_what_would_be_right() {
        for (line, right) in [
            ("roadstead flows --limit many", "'many' for '--limit <N>': write how many flows"),
            ("roadstead flows --limit 0", "a number from 1"),
            ("roadstead flows --limit -5", "a number from 1"),
            ("roadstead flows --limit 100001", "a number from 1 to 100000"),
            ("roadstead explain web", "'web' for '<SERVICE|ADDRESS>': write NAMESPACE/NAME"),
            ("roadstead explain default/web --from nobody", "for instance 192.0.2.7"),
            ("roadstead release front", "write NAMESPACE/NAME of a reservation"),
            ("roadstead release a/b/c/d", "write NAMESPACE/NAME of a reservation"),
            ("roadstead drain node ", "write the name of a node, or SOURCE/NAME"),
            ("roadstead drain node a/b/c", "write the name of a node, or SOURCE/NAME"),
            ("roadstead drain n1", "roadstead drain node [SOURCE/]NAME"),
            ("roadstead undrain n1", "roadstead undrain node [SOURCE/]NAME"),
            ("roadstead status -o xml", "text, json, yaml"),
            ("roadstead stat", "a similar subcommand exists: 'status'"),
        ] {
            let error = parse(line).expect_err(line);
            let text = error.render().to_string();
            assert!(text.contains(right), "no `{right}` in {text}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn help_is_no_error_and_names_no_verb_to_come() {
        let help = parse("roadstead --help").expect_err("help");
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
        let text = help.to_string();
        assert!(text.contains("explain") && text.contains("Exit status"), "{text}");
        assert!(text.contains("migrate") && !text.contains("top "), "{text}");
    }
}
