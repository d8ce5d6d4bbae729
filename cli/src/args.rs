//! The command line.

use std::{net::IpAddr, path::PathBuf};

use clap::{Parser, Subcommand};
use roadstead_model::local::{FLOWS_LIMIT, FLOWS_MOST};

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
    /// Believe a source that is in doubt (it suddenly says much less than before).
    Confirm,
    /// The version of this program and of the daemons.
    Version,
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
            "roadstead undrain n1",
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
        assert!(!text.contains("migrate") && !text.contains("top "), "{text}");
    }
}
