//! Links in Markdown that point into the repository.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{extension, shown};

/// Every link to a file that is not there.
pub(crate) fn findings(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| extension(file) == "md") {
        let text = fs::read_to_string(file).with_context(|| shown(file))?;
        let dir = file.parent().context("a file has a directory")?;
        for (line, target) in targets(&text) {
            if !dir.join(target).exists() {
                found.push(format!("{}:{line}: no such file: {target}", shown(file)));
            }
        }
    }
    Ok(found)
}

/// Local targets of `[text](target)` with their line, anchors cut off.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(number, line)| {
        let after = line.split("](").skip(1);
        let paths = after.filter_map(|rest| rest.split([')', '#', ' ']).next());
        let local = paths.filter(|path| {
            !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")
        });
        local.map(move |path| (number + 1, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_targets_are_looked_at() {
        let text = "[a](docs/a.md#part) and [b](https://example.org/x)\n[c](#here) [d](../d)\n";
        assert_eq!(targets(text).collect::<Vec<_>>(), [(1, "docs/a.md"), (2, "../d")]);
    }
}
