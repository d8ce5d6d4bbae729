//! Files over files, the environment over all, and the disk.

use std::{fs, path::PathBuf, time::Duration};

use roadstead_model::{
    Problem,
    config::{Daemon, Kubeconfig, NodeProbe, Probe, Sharing, SourceKind},
};

use super::{load_text, shown};
use crate::{Loaded, load, load_from};

fn layered(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let files = files.iter().map(|(file, text)| (PathBuf::from(file), (*text).to_owned()));
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_from(files.collect(), variables)
}

#[test]
fn the_table_of_defaults_in_the_documentation_is_what_an_empty_file_means() {
    let rows = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
    let mut written = String::new();
    for row in rows {
        let (key, rest) = row.split_once("` | ").expect("two columns");
        let default = rest.trim_end_matches(" |");
        let elsewhere = ["pool.", "source.", "group."].iter().any(|table| key.starts_with(table));
        if let (false, Some(default)) = (elsewhere, default.strip_prefix('`')) {
            written.push_str(&format!("{key} = {}\n", default.trim_end_matches('`')));
        }
    }
    assert!(written.lines().count() > 20, "the table was found:\n{written}");
    let pool = "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.1\"]\n";
    let spelled_pool = "auto_assign = true\npriority = 0\nreserved = []\nnamespaces = []\n\
                        avoid_buggy_ips = false\nannounce = [\"l2\"]\nsharing = \"key\"\n\
                        host_addresses = false\n";
    let source = "[[source]]\nname = \"local\"\ndirectory = \"/etc/roadstead/manifests\"\n";
    let empty = load_text(pool).expect("used").config;
    let spelled = format!("{written}{source}{pool}{spelled_pool}");
    assert_eq!(load_text(&spelled).expect("used").config, empty);
}

#[test]
fn a_later_file_wins_key_by_key_and_tables_add_up() {
    let main = "[speaker]\nclass_only = true\n[speaker.l2]\nprobe = \"off\"\nrefresh = \"10s\"\n\
                [[pool]]\nname = \"a\"\naddresses = [\"192.0.2.1\"]\n";
    let later = "[speaker.l2]\nprobe = \"rfc5227\"\n\
                 [[pool]]\nname = \"b\"\naddresses = [\"192.0.2.2\"]\nsharing = \"off\"\n";
    let third = "[[pool]]\nname = \"c\"\naddresses = [\"192.0.2.3\"]\n";
    let loaded = layered(&[("main", main), ("b", later), ("c", third)], &[]).expect("used");
    let speaker = &loaded.config.speaker;
    assert!(speaker.class_only);
    assert_eq!((speaker.l2.probe, speaker.l2.refresh), (Probe::Rfc5227, Duration::from_secs(10)));
    let pools: Vec<_> =
        loaded.config.pools.iter().map(|pool| (&*pool.name, pool.sharing)).collect();
    assert_eq!(pools, [("a", Sharing::Key), ("b", Sharing::Off), ("c", Sharing::Key)]);
    assert_eq!(loaded.files, ["main", "b", "c"].map(PathBuf::from));
}

#[test]
fn rules_hold_over_files_and_name_both() {
    let pool = "[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.0/28\"]\n";
    let other = "\n[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.8\"]\n";
    let problems = layered(&[("main", pool), ("conf.d/x", other)], &[]).expect_err("refused");
    assert_eq!(
        shown(&problems),
        [
            "conf.d/x:3: pool \"a\" is written twice: first at main:2",
            "conf.d/x:4: pool \"a\": 192.0.2.8 overlaps 192.0.2.0-192.0.2.15 of the same pool \
             (main:3); an address belongs to one pool, once",
        ]
    );
}

#[test]
fn two_halves_that_fit_only_together_are_used() {
    let pool = "[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.1\"]\n";
    let slow = format!("{pool}[router.health]\ntimeout = \"5s\"\n");
    let loaded = layered(&[("a", &slow), ("b", "[router.health]\ninterval = \"9s\"\n")], &[]);
    assert_eq!(loaded.expect("used").config.router.health.timeout, Duration::from_secs(5));
}

#[test]
fn a_value_that_a_later_file_replaces_must_be_right_all_the_same() {
    let files = [("a", "[speaker]\nclass_only = 1\n"), ("b", "[speaker]\nclass_only = true\n")];
    let problems = layered(&files, &[]).expect_err("refused");
    assert_eq!(shown(&problems), ["a:2: `speaker.class_only` is a number, not true or false"]);
}

#[test]
fn the_environment_wins() {
    let main = "[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.1\"]\n[router]\nflows = 2048\n";
    let variables = [
        ("ROADSTEAD_ROUTER__FLOWS", "4096"),
        ("ROADSTEAD_SPEAKER__CLASS_ONLY", "true"),
        ("ROADSTEAD_SPEAKER__METRICS", "off"),
        ("ROADSTEAD_SPEAKER__INTERFACES", "eth0, eth1"),
        ("ROADSTEAD_ROUTER__NODES_ALLOWED", "[\"192.0.2.0/24\"]"),
        ("ROADSTEAD_ROUTER__HEALTH__PROBE", "kube-proxy"),
        ("ROADSTEAD_ROUTER__SNAT_PORTS", "40000-41000"),
        ("ROADSTEAD_LOG", "debug"),
        ("HOME", "/root"),
    ];
    let config = layered(&[("main", main)], &variables).expect("used").config;
    assert_eq!(config.router.flows, Some(4096));
    assert!(config.speaker.class_only);
    assert_eq!(config.speaker.metrics, None);
    assert_eq!(config.speaker.interfaces.expect("set"), ["eth0".into(), "eth1".into()]);
    assert_eq!(config.router.nodes_allowed.len(), 1);
    assert_eq!(config.router.health.node_probe, NodeProbe::KubeProxy { port: 10_256 });
    assert_eq!(config.router.snat_ports, (40_000, 41_000));
}

#[test]
fn a_wrong_variable_is_named() {
    let variables = [
        ("ROADSTEAD_SPEAKER__L2__PROB", "off"),
        ("ROADSTEAD_ROUTER__FLOWS", "many"),
        ("ROADSTEAD_POOL__NAME", "lan"),
    ];
    let problems = layered(&[("main", "")], &variables).expect_err("refused");
    assert_eq!(
        shown(&problems),
        [
            "environment ROADSTEAD_POOL__NAME: `pool` is a table, not a list: write [[pool]]",
            "environment ROADSTEAD_ROUTER__FLOWS: `router.flows` is a string, not a whole number",
            "environment ROADSTEAD_SPEAKER__L2__PROB: `speaker.l2.prob` is unknown: did you mean \
             `probe`?",
        ]
    );
}

#[test]
fn a_variable_that_is_none_of_ours_is_named() {
    let main = "[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.1\"]\n";
    let variables = [
        ("ROADSTEAD_FLOWS", "4096"),
        ("ROADSTEAD_LOGS", "debug"),
        ("ROADSTEAD_ROUTER_", ""),
        ("ROADSTEAD_ROUTER_HEALTH_FALL", "2"),
        ("ROADSTEAD_SPEAKER_METRICS", "off"),
        ("ROADSTEAD", "1"),
        ("ROADSTEAD_LOG", "debug"),
    ];
    let problems = layered(&[("main", main)], &variables).expect_err("refused");
    let general = "no such variable: write ROADSTEAD_SECTION__KEY, with two underscores \
                   (ROADSTEAD_ROUTER__LOG_FLOWS), or ROADSTEAD_LOG";
    assert_eq!(
        shown(&problems),
        [
            format!("environment ROADSTEAD_FLOWS: {general}"),
            format!("environment ROADSTEAD_LOGS: {general}"),
            format!("environment ROADSTEAD_ROUTER_: {general}"),
            "environment ROADSTEAD_ROUTER_HEALTH_FALL: no such variable: did you mean \
             ROADSTEAD_ROUTER__HEALTH__FALL?"
                .to_owned(),
            "environment ROADSTEAD_SPEAKER_METRICS: no such variable: did you mean \
             ROADSTEAD_SPEAKER__METRICS?"
                .to_owned(),
        ]
    );
}

#[test]
fn a_refusal_tells_errors_from_warnings() {
    let main = "[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.81/28\", \"192.0.2.300\"]\n";
    let refused = crate::Refused(layered(&[("main", main)], &[]).expect_err("refused"));
    let text = refused.to_string();
    assert!(text.contains("\nmain:3: warning: `addresses` of pool \"a\": taken as"), "{text}");
    assert!(text.contains("\nmain:3: `addresses` of pool \"a\": `192.0.2.300`"), "{text}");
}

#[test]
fn the_directory_beside_the_main_file_is_read_in_name_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = directory.path().join("roadstead.toml");
    let conf = directory.path().join("conf.d");
    fs::create_dir(&conf).expect("created");
    fs::write(&main, "[[pool]]\nname = \"a\"\naddresses = [\"192.0.2.1\"]\n").expect("written");
    fs::write(conf.join("20-b.toml"), "router.flows = 2048\n").expect("written");
    fs::write(conf.join("10-a.toml"), "router.flows = 4096\n").expect("written");
    for ignored in [".hidden.toml", "20-b.toml~", "notes.txt"] {
        fs::write(conf.join(ignored), "not TOML").expect("written");
    }
    let loaded = load(&main).expect("used");
    assert_eq!(loaded.config.router.flows, Some(2048));
    assert_eq!(loaded.files, [main, conf.join("10-a.toml"), conf.join("20-b.toml")]);
    assert!(matches!(&loaded.config.sources[0].kind, SourceKind::Directory(path)
        if path.ends_with("manifests")));
}

#[test]
fn a_cluster_has_one_kubeconfig_or_one_for_each_daemon() {
    let cluster = |line: &str| {
        let text = format!("[[source]]\nname = \"home\"\nkubeconfig = {line}\n");
        let config = load_text(&text).expect("used").config;
        match &config.sources[0].kind {
            SourceKind::Cluster(kubeconfig) => kubeconfig.clone(),
            SourceKind::Directory(_) => panic!("a cluster"),
        }
    };
    let of = |kubeconfig: &Kubeconfig, daemon| {
        kubeconfig.of(daemon).map(|path| path.display().to_string())
    };
    let one = cluster("\"/k\"");
    for daemon in [Daemon::Speaker, Daemon::Router, Daemon::Proxy] {
        assert_eq!(of(&one, daemon).as_deref(), Some("/k"));
    }
    let each = cluster("{ speaker = \"/s\", router = \"/r\" }");
    assert_eq!(of(&each, Daemon::Speaker).as_deref(), Some("/s"));
    assert_eq!(of(&each, Daemon::Router).as_deref(), Some("/r"));
    assert_eq!(of(&each, Daemon::Proxy), None);
}

#[test]
fn a_missing_main_file_shows_the_smallest_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = directory.path().join("roadstead.toml");
    let problems = load(&main).expect_err("refused");
    let text = shown(&problems).join("\n");
    let smallest = text.split_once("is one pool:").expect("shown").1;
    assert!(load_text(smallest).expect("used").warnings.is_empty());
    assert!(text.starts_with(&format!("{}: not there;", main.display())));
}

#[test]
fn files_that_are_no_text_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = directory.path().join("roadstead.toml");
    fs::write(&main, b"# one\n\n\xff\n").expect("written");
    let problems = load(&main).expect_err("refused");
    let expected = format!("{}:3: not UTF-8: save the file as UTF-8", main.display());
    assert_eq!(shown(&problems), [expected]);

    fs::write(&main, vec![b'#'; (1 << 20) + 1]).expect("written");
    let problems = load(&main).expect_err("refused");
    assert!(problems[0].message.starts_with("larger than 1048576 bytes"), "{problems:?}");

    fs::remove_file(&main).expect("removed");
    fs::create_dir(&main).expect("created");
    let problems = load(&main).expect_err("refused");
    assert!(problems[0].message.starts_with("cannot be read: "), "{problems:?}");
}

#[test]
fn the_paths_of_a_file_that_is_refused_are_known() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = directory.path().join("roadstead.toml");
    let text = "[paths]\nruntime = \"/run/elsewhere\"\n[[pool]]\nname = \"lan\"\n\
                addresses = [\"192.0.2.300\"]\n";
    fs::write(&main, text).expect("written");
    assert!(load(&main).is_err());
    let paths = crate::paths_of(&main);
    assert_eq!(paths.runtime, PathBuf::from("/run/elsewhere"));
    assert_eq!(paths.state, PathBuf::from("/var/lib/roadstead"));
    fs::write(&main, "[paths\n").expect("written");
    assert_eq!(crate::paths_of(&main).runtime, PathBuf::from("/run/roadstead"));
}
