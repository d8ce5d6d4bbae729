//! docs/benchmarks.md: what is measured goes between two marks, what people wrote stays.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    machine::root,
    report::{Section, goals},
};

/// Which of the parts that are measured by a run of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Beside the peers.
    Peers,
    /// Outside of a cluster.
    Kubernetes,
}

impl Part {
    fn begin(self) -> &'static str {
        match self {
            Self::Peers => "<!-- measured by `cargo xtask bench --write` -->",
            Self::Kubernetes => "<!-- measured by `cargo xtask bench --kubernetes --write` -->",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Peers => "Goals",
            Self::Kubernetes => "Goals, over a cluster",
        }
    }
}

const END: &str = "<!-- end of what was measured -->";

/// Replaces what was measured before.
pub(crate) fn write(part: Part, machine: &str, sections: &[Section]) -> Result<()> {
    let path = Path::new(root()).join("docs/benchmarks.md");
    let name = path.display().to_string();
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    let begin = part.begin();
    let new = replaced(&old, begin, &body(part, machine, sections))
        .with_context(|| format!("{name} lacks the line `{begin}` or `{END}` after it"))?;
    fs::write(&path, new).with_context(|| format!("cannot write {name}"))?;
    println!("\nwritten to {name}");
    Ok(())
}

fn body(part: Part, machine: &str, sections: &[Section]) -> String {
    let mut text = format!("## {}\n\n{machine}\n\n{}", part.title(), goals(sections));
    for section in sections {
        text.push_str(&format!("\n{section}"));
    }
    text
}

fn replaced(old: &str, begin: &str, body: &str) -> Option<String> {
    let (before, rest) = old.split_once(begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n\n{body}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let (one, two) = (Part::Peers.begin(), Part::Kubernetes.begin());
        let rest = format!("after\n{two}\nkept\n{END}\n");
        let old = format!("before\n{one}\nold\n{END}\n{rest}");
        let new = replaced(&old, one, "new\n").expect("both marks are there");
        assert_eq!(new, format!("before\n{one}\n\nnew\n\n{END}\n{rest}"));
        let last = replaced(&new, two, "newer\n").expect("the other marks are there");
        assert_eq!(last.matches("new\n").count(), 1);
        assert!(!last.contains("kept"));
        assert_eq!(replaced("no marks", one, "new"), None);
    }
}
