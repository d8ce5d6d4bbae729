//! Reads unit files of systemd (systemd.syntax(7)) as far as the lab obeys them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

/// A unit file: its assignments in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    assignments: Vec<(String, String, String)>,
}

impl Unit {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the unit {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut unit = Self::default();
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                continue;
            }
            let (key, value) =
                line.split_once('=').ok_or_else(|| anyhow!("`{line}` is no assignment"))?;
            ensure!(!line.ends_with('\\'), "`{line}` goes on in the next line: not supported");
            unit.assignments.push((section.clone(), key.trim().into(), value.trim().into()));
        }
        Ok(unit)
    }

    /// Every value of a key, in order; what an empty assignment took back is left out.
    pub fn values(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        let of_key = self.assignments.iter().filter(|(s, k, _)| s == section && k == key);
        for (_, _, value) in of_key {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.as_str());
            }
        }
        values
    }

    /// The words of every value of a key.
    pub fn words(&self, section: &str, key: &str) -> Vec<&str> {
        self.values(section, key).into_iter().flat_map(str::split_whitespace).collect()
    }

    /// The last value of a key.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).pop()
    }

    /// Whether a key is there at all, be it empty.
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.assignments.iter().any(|(s, k, _)| s == section && k == key)
    }

    /// Whether a switch is on.
    pub fn on(&self, section: &str, key: &str) -> bool {
        matches!(self.last(section, key), Some("yes" | "true" | "on" | "1"))
    }

    /// Every assignment: section, key, value.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.assignments.iter().map(|(s, k, v)| (s.as_str(), k.as_str(), v.as_str()))
    }

    /// The system calls that its lines of `SystemCallFilter=` leave (systemd.exec(5)): the first
    /// line says whether the list allows, `~` takes away, `@default` is always there.
    pub fn allowed_calls(&self, groups: &CallGroups) -> Result<BTreeSet<String>> {
        let lines = self.values("Service", "SystemCallFilter");
        let first = lines.first().ok_or_else(|| anyhow!("there is no SystemCallFilter="))?;
        ensure!(!first.starts_with('~'), "SystemCallFilter= must begin with what it allows");
        let mut allowed = groups.expand("@default")?;
        for line in lines {
            let (removes, words) = match line.strip_prefix('~') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            for word in words.split_whitespace() {
                let calls = groups.expand(word)?;
                if removes {
                    allowed.retain(|call| !calls.contains(call));
                } else {
                    allowed.extend(calls);
                }
            }
        }
        Ok(allowed)
    }
}

/// systemd's groups of system calls, as `systemd-analyze syscall-filter` prints them.
#[derive(Clone, Debug, Default)]
pub struct CallGroups(BTreeMap<String, Vec<String>>);

impl CallGroups {
    /// Asks systemd of this machine.
    pub fn of_systemd() -> Result<Self> {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(["--no-pager", "syscall-filter"]).output();
        let output = output.context("cannot run systemd-analyze (Debian package systemd)")?;
        ensure!(output.status.success(), "systemd-analyze ended with {}", output.status);
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// A group's name stands at the beginning of a line, its members are indented.
    fn parse(text: &str) -> Self {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = String::new();
        for line in text.lines() {
            let word = line.trim();
            if word.is_empty() || word.starts_with('#') {
                continue;
            }
            if line.starts_with(char::is_whitespace) {
                groups.entry(name.clone()).or_default().push(word.to_owned());
            } else {
                word.clone_into(&mut name);
            }
        }
        Self(groups)
    }

    /// The system calls behind a word: itself, or those of a group and of the groups in it.
    pub fn expand(&self, word: &str) -> Result<BTreeSet<String>> {
        let mut calls = BTreeSet::new();
        let mut waiting = vec![word.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(word) = waiting.pop() {
            if !seen.insert(word.clone()) {
                continue;
            }
            if !word.starts_with('@') {
                calls.insert(word);
                continue;
            }
            match self.0.get(&word) {
                Some(members) => waiting.extend(members.iter().cloned()),
                None => bail!("systemd knows no group {word}"),
            }
        }
        Ok(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "# a comment\n[Service]\nUser=someone\nSystemCallFilter=@io extra\n\
                        SystemCallFilter=~@bad write\nSystemCallFilter=bpf\n\
                        CapabilityBoundingSet=CAP_A\nCapabilityBoundingSet=\n";
    const GROUPS: &str = "@default\n    # always\n    exit\n\n@io\n    @more\n    read\n    bpf\n\n\
                          @more\n    write\n    bad\n\n@bad\n    bad\n    bpf\n";

    #[test]
    fn an_empty_assignment_takes_back_what_was_said() -> Result<()> {
        let unit = Unit::parse(UNIT)?;
        assert_eq!(unit.last("Service", "User"), Some("someone"));
        assert!(unit.words("Service", "CapabilityBoundingSet").is_empty());
        assert!(unit.has("Service", "CapabilityBoundingSet"));
        assert!(!unit.has("Service", "Group"));
        Ok(())
    }

    #[test]
    fn a_filter_is_read_line_by_line() -> Result<()> {
        let allowed = Unit::parse(UNIT)?.allowed_calls(&CallGroups::parse(GROUPS))?;
        assert_eq!(allowed.into_iter().collect::<Vec<_>>(), ["bpf", "exit", "extra", "read"]);
        Ok(())
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        assert!(Unit::parse("[Service]\nUser\n").is_err());
        let unit = Unit::parse("[Service]\nSystemCallFilter=@none\n").expect("it parses");
        assert!(unit.allowed_calls(&CallGroups::parse(GROUPS)).is_err());
    }
}
