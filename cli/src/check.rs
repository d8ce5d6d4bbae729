//! `roadstead check`: every problem of the configuration and the manifests, without the daemons.

mod wishes;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use roadstead_model::{
    Location, Problem, SourceName,
    config::{Config, Kubeconfig, SourceKind},
    metallb::effective,
    problem::Severity,
};
use roadstead_watch::{SourceView, kubernetes};

use crate::{
    exit::Exit,
    local_files,
    output::Output,
    render::{counted, printable},
};

/// What manifests are read as where no configuration names their source.
const NAMELESS: &str = "local";

/// Checks what is named, or the configuration and what it names.
pub(crate) fn run(config: &Path, paths: &[PathBuf], out: &mut Output) -> Exit {
    let mut findings = Findings::default();
    if paths.is_empty() {
        findings.check_installation(config);
    }
    for path in paths {
        findings.check_path(path);
    }
    findings.print(out)
}

/// What was checked, and what is wrong with it.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Problem>,
    files: usize,
    services: usize,
    nodes: usize,
}

impl Findings {
    /// The configuration, and the directories and kubeconfigs that it names.
    fn check_installation(&mut self, main: &Path) {
        let Some(config) = self.check_configuration(main) else { return };
        for source in &config.sources {
            let metallb = source.metallb.as_ref();
            match &source.kind {
                SourceKind::Directory(directory) => {
                    if let Some(view) = self.check_manifests(&source.name, directory, metallb) {
                        let config = self.with_pools(&config, &source.name, &view, directory);
                        self.problems.extend(wishes::vain(&config, &view, directory));
                    }
                }
                SourceKind::Cluster(kubeconfig) => self.check_kubeconfigs(kubeconfig),
            }
        }
    }

    /// The configuration with the pools that MetalLB's objects of a directory say.
    fn with_pools(
        &mut self,
        config: &Config,
        source: &SourceName,
        view: &SourceView,
        directory: &Path,
    ) -> Config {
        let objects = view.metallb.iter().map(|objects| (source, &**objects));
        match effective(&config.pools, objects) {
            Ok(pools) => Config { pools, ..config.clone() },
            Err(overlap) => {
                let place = Location::new(directory, 0);
                self.problems.push(Problem::error(place, overlap.to_string()));
                config.clone()
            }
        }
    }

    /// What can be said of a cluster without asking it.
    fn check_kubeconfigs(&mut self, kubeconfig: &Kubeconfig) {
        for file in kubeconfig.files() {
            if let Err(error) = kubernetes::check(file) {
                self.problems.push(Problem::error(Location::new(file, 0), error.to_string()));
            }
        }
    }

    fn check_path(&mut self, path: &Path) {
        if is_configuration(path) {
            self.check_configuration(path);
        } else {
            self.problems.extend(not_the_configuration(path));
            self.check_manifests(&SourceName::new(NAMELESS), path, None);
        }
    }

    fn check_configuration(&mut self, main: &Path) -> Option<Config> {
        match roadstead_config::load(main) {
            Ok(loaded) => {
                self.files = self.files.saturating_add(loaded.files.len());
                self.problems.extend(loaded.warnings);
                Some(loaded.config)
            }
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn check_manifests(
        &mut self,
        source: &SourceName,
        path: &Path,
        metallb: Option<&Arc<str>>,
    ) -> Option<SourceView> {
        match local_files::view(source, path, metallb) {
            Ok(view) => {
                self.services = self.services.saturating_add(view.services.len());
                self.nodes = self.nodes.saturating_add(view.nodes.len());
                self.problems.extend(view.problems.iter().cloned());
                Some(view)
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The problems to standard output, the count to standard error.
    fn print(mut self, out: &mut Output) -> Exit {
        self.problems.sort();
        self.problems.dedup();
        for problem in &self.problems {
            out.print(&line(problem));
        }
        let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        out.complain(&format!(
            "checked {}, {}, {}: {}, {}",
            counted(self.files, "configuration file", "configuration files"),
            counted(self.services, "Service", "Services"),
            counted(self.nodes, "Node", "Nodes"),
            counted(errors, "error", "errors"),
            counted(warnings, "warning", "warnings"),
        ));
        if errors == 0 { Exit::Fine } else { Exit::Problem }
    }
}

/// A directory is read for manifests; who names the one of the configuration means that.
fn not_the_configuration(path: &Path) -> Option<Problem> {
    let files = path.read_dir().ok()?.flatten().map(|entry| entry.path());
    let first = files.filter(|file| is_configuration(file)).min()?;
    let message = "not read: a configuration is named by its file, a directory is for manifests";
    Some(Problem::warning(Location::new(first, 0), message))
}

fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml")
}

/// `file:line: message`; what is no error says so.
fn line(problem: &Problem) -> String {
    problem.labelled().split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::output::Buffers;

    struct World {
        directory: tempfile::TempDir,
    }

    impl World {
        /// A directory with a configuration that names `manifests` in it.
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            fs::create_dir(directory.path().join("manifests")).expect("created");
            let world = Self { directory };
            world.write(
                "roadstead.toml",
                &format!(
                    "[[source]]\nname = \"a\"\ndirectory = \"{}\"\n\
                     [[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10\"]\n",
                    world.path("manifests").display()
                ),
            );
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).expect("written");
        }

        fn check(&self, paths: &[&str]) -> (Exit, String) {
            let buffers = Buffers::default();
            let paths: Vec<PathBuf> = paths.iter().map(|name| self.path(name)).collect();
            let exit = run(&self.path("roadstead.toml"), &paths, &mut buffers.output());
            let at = format!("{}/", self.directory.path().display());
            (exit, buffers.printed().replace(&at, ""))
        }
    }

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
        spec:\n  type: LoadBalancer\n  ports: [{port: 80, nodePort: 30080}]\n";

    #[test]
    fn a_good_installation_is_fine_and_silent() {
        let world = World::new();
        world.write("manifests/web.yaml", SERVICE);
        assert_eq!(world.check(&[]), (Exit::Fine, String::new()));
    }

    #[test]
    fn problems_of_configuration_and_manifests_are_lines() {
        let world = World::new();
        world.write("manifests/bad.yaml", "kind: [\n");
        let (exit, text) = world.check(&[]);
        assert_eq!(exit, Exit::Problem);
        assert!(text.starts_with("manifests/bad.yaml:"), "{text}");

        world.write("roadstead.toml", "[speker]\n");
        let expected = "roadstead.toml:1: `speker` is unknown: did you mean `speaker`?\n";
        assert_eq!(world.check(&[]), (Exit::Problem, expected.to_owned()));
    }

    #[test]
    fn the_kubeconfig_of_a_cluster_is_checked_without_a_word_to_the_cluster() {
        let world = World::new();
        let file = world.path("home.kubeconfig");
        world.write(
            "roadstead.toml",
            &format!(
                "[[source]]\nname = \"home\"\nkubeconfig = \"{}\"\n\
                 [[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10\"]\n",
                file.display()
            ),
        );
        let (exit, text) = world.check(&[]);
        assert_eq!(exit, Exit::Problem);
        assert!(text.starts_with("home.kubeconfig: home.kubeconfig cannot be read: "), "{text}");

        let kubeconfig = |cluster: &str| {
            format!(
                "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
                 clusters: [{{name: c, cluster: {cluster}}}], users: [{{name: u, user: {{token: t}}}}]}}"
            )
        };
        world.write(
            "home.kubeconfig",
            &kubeconfig("{server: \"https://192.0.2.1:6443\", insecure-skip-tls-verify: true}"),
        );
        let expected = "home.kubeconfig: insecure-skip-tls-verify is refused; name the cluster's \
                        certificate-authority\n";
        assert_eq!(world.check(&[]), (Exit::Problem, expected.to_owned()));

        world.write("home.kubeconfig", &kubeconfig("{server: \"http://127.0.0.1:8001\"}"));
        assert_eq!(world.check(&[]), (Exit::Fine, String::new()));
    }

    #[test]
    fn wishes_that_no_pool_can_grant_are_told() {
        let world = World::new();
        let asking = |annotation: &str| {
            SERVICE.replace("{name: web,", &format!("{{annotations: {{{annotation}}}, name: web,"))
        };
        world.write("manifests/a.yaml", &asking("roadstead.io/pool: lann"));
        let expected = "manifests: warning: Service default/web asks for the pool `lann`, which is not \
                        there: write one of `lan`\n";
        assert_eq!(world.check(&[]), (Exit::Fine, expected.to_owned()));
        world.write("manifests/a.yaml", &asking("roadstead.io/addresses: 192.0.2.99"));
        let expected = "manifests: warning: Service default/web asks for 192.0.2.99, which lies in no \
                        pool: ask for another, or add it to a pool\n";
        assert_eq!(world.check(&[]), (Exit::Fine, expected.to_owned()));
        let granted = "roadstead.io/pool: lan, roadstead.io/addresses: 192.0.2.10";
        world.write("manifests/a.yaml", &asking(granted));
        assert_eq!(world.check(&[]), (Exit::Fine, String::new()));
        let others = asking("roadstead.io/pool: lann").replace(
            "type: LoadBalancer",
            "type: LoadBalancer\n  loadBalancerClass: example.com/x",
        );
        world.write("manifests/a.yaml", &others);
        assert_eq!(world.check(&[]), (Exit::Fine, String::new()));
    }

    #[test]
    fn pools_of_metallbs_objects_are_checked_with_those_of_the_configuration() {
        let world = World::new();
        let toml = fs::read_to_string(world.path("roadstead.toml")).expect("readable");
        world.write("roadstead.toml", &toml.replace("[[pool]]", "metallb = true\n[[pool]]"));
        let pool = |addresses: &str| {
            format!(
                "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
                 metadata: {{name: more, namespace: metallb-system}}\nspec: {{addresses: [{addresses}]}}\n"
            )
        };
        let asking = SERVICE
            .replace("{name: web,", "{annotations: {metallb.io/address-pool: more}, name: web,");
        world.write("manifests/web.yaml", &asking);
        world.write("manifests/pool.yaml", &pool("198.51.100.0/28"));
        assert_eq!(world.check(&[]), (Exit::Fine, String::new()));
        world.write("manifests/pool.yaml", &pool("192.0.2.10/32"));
        let (exit, text) = world.check(&[]);
        assert_eq!(exit, Exit::Problem);
        assert!(
            text.contains("pool `a/more`: 192.0.2.10 overlaps 192.0.2.10 of pool `lan`"),
            "{text}"
        );
    }

    #[test]
    fn named_paths_are_checked_and_nothing_else() {
        let world = World::new();
        world.write("good.yaml", SERVICE);
        world.write("bad.toml", "pool = 1\n");
        assert_eq!(world.check(&["good.yaml"]), (Exit::Fine, String::new()));
        let expected = "bad.toml:1: `pool` is a number, not a list: write [[pool]]\n";
        assert_eq!(world.check(&["good.yaml", "bad.toml"]), (Exit::Problem, expected.to_owned()));
    }

    #[test]
    fn the_directory_of_the_configuration_is_not_taken_for_checked() {
        let (exit, text) = World::new().check(&[""]);
        assert_eq!(exit, Exit::Fine);
        let expected = "roadstead.toml: warning: not read: a configuration is named by its file, a \
                        directory is for manifests\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error() {
        let (exit, text) = World::new().check(&["nowhere"]);
        assert_eq!(exit, Exit::Problem);
        assert!(text.starts_with("nowhere: cannot be read: "), "{text}");
    }

    /// The samples that the package installs are right as they stand.
    #[test]
    fn the_samples_are_fine_and_silent() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc");
        let paths = ["roadstead.toml", "homelab.toml", "manifests"].map(|name| samples.join(name));
        let mut findings = Findings::default();
        paths.iter().for_each(|path| findings.check_path(path));
        assert_eq!((findings.files, findings.services, findings.nodes), (2, 2, 2));
        assert_eq!(findings.problems, []);
    }

    #[test]
    fn the_sample_alerts_are_yaml_and_each_says_what_it_is_about() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/alerts.rules.yml");
        let text = fs::read_to_string(file).expect("readable");
        let rules: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let rules = rules["groups"][0]["rules"].as_array().expect("rules");
        assert!(rules.len() >= 8);
        for rule in rules {
            let expression = rule["expr"].as_str().expect("an expression");
            assert!(expression.contains("roadstead"), "{rule}");
            assert!(rule["alert"].as_str().is_some_and(|name| name.starts_with("Roadstead")));
            assert!(rule["labels"]["severity"].is_string(), "{rule}");
            assert!(rule["annotations"]["summary"].is_string(), "{rule}");
        }
    }

    #[test]
    fn warnings_and_notices_say_so_and_are_fine() {
        let world = World::new();
        world.write("warn.toml", "[proxy]\n");
        let (exit, text) = world.check(&["warn.toml"]);
        assert_eq!(exit, Exit::Fine);
        assert_eq!(
            text,
            "warn.toml: warning: no [[pool]]: no Service gets an address\n\
             warn.toml:1: notice: [proxy] is passed over: the L7 front is not served yet\n"
        );
    }
}
