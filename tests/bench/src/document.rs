//! docs/benchmarks.md: what is measured goes between two marks, what people wrote stays.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    machine::root,
    report::{Section, goals},
};

const BEGIN: &str = "<!-- measured by `cargo xtask bench --write` -->";
const END: &str = "<!-- end of what was measured -->";

/// Replaces what was measured before.
pub(crate) fn write(machine: &str, sections: &[Section]) -> Result<()> {
    let path = Path::new(root()).join("docs/benchmarks.md");
    let name = path.display().to_string();
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    let new = replaced(&old, &body(machine, sections))
        .with_context(|| format!("{name} lacks the line `{BEGIN}` or `{END}` after it"))?;
    fs::write(&path, new).with_context(|| format!("cannot write {name}"))?;
    println!("\nwritten to {name}");
    Ok(())
}

fn body(machine: &str, sections: &[Section]) -> String {
    let mut text = format!("## Goals\n\n{machine}\n\n{}", goals(sections));
    for section in sections {
        text.push_str(&format!("\n{section}"));
    }
    text
}

fn replaced(old: &str, body: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{body}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let old = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&old, "new\n").expect("both marks are there");
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
