//! What the documents name as proof: every test and every file in `docs/features.md` and
//! `docs/conformance.md` exists, and no scenario is left unnamed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{extension, shown};
use crate::run::root;

/// The documents that name proofs.
const DOCUMENTS: &[&str] = &["docs/features.md", "docs/conformance.md"];

/// What the documents write for short.
const SHORT: &[(&str, &str)] =
    &[("scenarios/", "tests/scenarios/tests/"), ("l2/", "speaker/core/src/l2/tests/")];

/// The files of the repository with their text, where that is Rust.
type Files = BTreeMap<String, String>;

/// Every proof that is not there, and every scenario that nobody names.
pub(crate) fn findings(files: &[PathBuf]) -> Result<Vec<String>> {
    let files = files.iter().map(|file| read(file)).collect::<Result<Files>>()?;
    let mut found = Vec::new();
    let mut all = String::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).context(*document)?;
        let missing = missing(&text, &files).into_iter();
        found.extend(missing.map(|(line, what)| format!("{document}:{line}: {what}")));
        all.push_str(&text);
    }
    found.extend(unnamed(&all, &files));
    Ok(found)
}

fn read(file: &Path) -> Result<(String, String)> {
    let text = match extension(file) {
        "rs" => fs::read_to_string(file).with_context(|| shown(file))?,
        _ => String::new(),
    };
    Ok((shown(file), text))
}

/// What a document names and nobody has, by line.
fn missing(document: &str, files: &Files) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in document.lines().enumerate() {
        let named = line.split('`').skip(1).step_by(2).filter(|name| is_proof(name));
        found.extend(named.filter_map(|name| Some((number + 1, problem(name, files)?))));
    }
    found
}

/// A path or a test, as against a command, a field, a URL or a pattern for the reader.
fn is_proof(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    let is_domain = first.trim_start_matches('.').contains('.') && name.contains('/');
    let is_path = name.contains('/') && !name.starts_with('/') && !is_domain;
    let is_file =
        [".rs", ".h"].iter().any(|ending| name.ends_with(ending)) || name.contains(".rs::");
    (is_path || is_file) && !name.contains([' ', '…', '='])
}

/// What is wrong with a proof.
fn problem(name: &str, files: &Files) -> Option<String> {
    let (path, test) = match name.split_once("::") {
        Some((path, test)) => (path, Some(test)),
        None => (name, None),
    };
    let mut there = files.iter().filter(|(file, _)| is_at(file, path)).peekable();
    // Hidden files are none of those that are checked.
    if there.peek().is_none() && !root().join(path).exists() {
        return Some(format!("`{name}`: there is no such file or folder"));
    }
    let test = test?;
    let known = there.any(|(_, text)| has_test(text, test));
    (!known).then(|| format!("`{name}`: there is no such test"))
}

/// Whether a file is the one, the module or below the folder that a path names, which may be cut
/// short at its beginning.
fn is_at(file: &str, path: &str) -> bool {
    let short = SHORT.iter().find_map(|(short, long)| Some((path.strip_prefix(short)?, long)));
    let path = short.map_or_else(|| path.to_owned(), |(rest, long)| format!("{long}{rest}"));
    let (file, path) = (format!("/{file}"), format!("/{path}"));
    file.ends_with(&path)
        || file.ends_with(&format!("{path}.rs"))
        || file.contains(&format!("{path}/"))
}

fn has_test(text: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.contains(&function));
    let above = at.and_then(|at| lines.get(..at)).unwrap_or_default().iter().rev();
    let mut attributes =
        above.map(|line| line.trim()).take_while(|line| line.starts_with(['#', '/']));
    attributes.any(|line| line.starts_with("#[") && line.contains("test"))
}

/// Scenarios that no document names: whoever looks for what is proved does not find them.
fn unnamed(documents: &str, files: &Files) -> Vec<String> {
    let named = |name: &str| {
        let short = format!("`scenarios/{name}");
        documents.match_indices(&short).any(|(at, _)| {
            documents.get(at + short.len()..).is_some_and(|rest| rest.starts_with(['`', ':', '/']))
        })
    };
    let scenario = |(file, text): (&String, &String)| {
        let name = file.strip_prefix("tests/scenarios/tests/")?.strip_suffix(".rs")?;
        let folders = name.match_indices('/').filter_map(|(end, _)| name.get(..end));
        let told = folders.chain([name]).any(named);
        (text.contains("#[test]") && !told)
            .then(|| format!("{file}: no document of proofs names `scenarios/{name}`"))
    };
    files.iter().filter_map(scenario).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let nat = "/// Both ways.\n#[test]\nfn there_and_back() {}\n\nfn helper() {}\n";
        let files = [
            ("tests/scenarios/tests/nat.rs", nat),
            ("tests/scenarios/tests/explain/steps.rs", "#[test]\nfn none() {}"),
            ("router/core/src/plan/tests.rs", "#[tokio::test]\nasync fn plans() {}"),
            ("router/bpf/c/snat.h", ""),
        ];
        files.map(|(file, text)| (file.to_owned(), text.to_owned())).into()
    }

    fn told(document: &str) -> Vec<String> {
        missing(document, &files())
            .into_iter()
            .map(|(line, what)| format!("{line}: {what}"))
            .collect()
    }

    #[test]
    fn what_is_there_is_found_however_it_is_written() {
        let document = "| NAT | `scenarios/nat`, `scenarios/nat::there_and_back`, `snat.h` |\n\
            `plan/tests.rs::plans` `router/core/src/plan` `scenarios/explain`\n\
            `cargo xtask soak`, `/healthz`, `packets/…`, `example.org/no/file`, `Answer::expires`, `a = \"b/c\"`\n";
        assert_eq!(told(document), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_there_is_told_by_its_line() {
        let document =
            "\n`scenarios/nut`\n`scenarios/nat::there` `scenarios/nat::helper`\n`reverse.h`";
        let expected = [
            "2: `scenarios/nut`: there is no such file or folder",
            "3: `scenarios/nat::there`: there is no such test",
            "3: `scenarios/nat::helper`: there is no such test",
            "4: `reverse.h`: there is no such file or folder",
        ];
        assert_eq!(told(document), expected);
    }

    #[test]
    fn a_scenario_that_nobody_names_is_told() {
        let told = unnamed("`scenarios/nat` and `scenarios/explain/steps::none`", &files());
        assert_eq!(told, Vec::<String>::new());
        assert_eq!(
            unnamed("`scenarios/nat`, `scenarios/explain`", &files()),
            told,
            "by its folder"
        );
        let told = unnamed("`scenarios/natural`, `scenarios/explain/steps`", &files());
        assert_eq!(
            told,
            ["tests/scenarios/tests/nat.rs: no document of proofs names `scenarios/nat`"]
        );
    }
}
