//! Small tables on the terminal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// Counts by row and column, as lines.
pub(super) fn counts(head: &str, rows: &[(String, BTreeMap<String, u64>)]) -> String {
    let columns: BTreeSet<&str> =
        rows.iter().flat_map(|(_, counts)| counts.keys().map(String::as_str)).collect();
    let width = rows.iter().map(|(name, _)| name.len()).chain([head.len()]).max().unwrap_or(0);
    let wide = |column: &str| column.len().max(8);
    let mut text = format!("    {head:width$}");
    for column in &columns {
        let _ = write!(text, "  {column:>8}");
    }
    for (name, counts) in rows {
        let _ = write!(text, "\n    {name:width$}");
        for column in &columns {
            let count = counts.get(*column).copied().unwrap_or(0);
            let _ = write!(text, "  {count:>0$}", wide(column));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_count_is_zero() {
        let row =
            |name: &str, node: &str| (name.to_owned(), BTreeMap::from([(node.to_owned(), 3)]));
        let text = counts("from", &[row("client", "n1"), row("near", "n2")]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "    from          n1        n2");
        assert_eq!(lines[2], "    near           0         3");
    }
}
