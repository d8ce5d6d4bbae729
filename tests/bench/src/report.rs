//! Results as Markdown that can also be read on a terminal.

use std::fmt;

/// One subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// How it was measured.
    pub(crate) method: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) goals: Vec<Goal>,
}

/// A table with a caption.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(caption: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { caption: caption.into(), head, rows: Vec::new() }
    }

    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        (0..self.head.len()).map(|column| width(column).unwrap_or(0)).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.caption.is_empty() {
            writeln!(f, "{}\n", self.caption)?;
        }
        let widths = self.widths();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (cell, width) in cells.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")
        };
        line(f, &self.head)?;
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        line(f, &rule)?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

/// A number that was promised.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    what: String,
    goal: String,
    result: String,
    met: bool,
}

impl Goal {
    /// `result` must reach `bound`.
    pub(crate) fn at_least(what: impl Into<String>, bound: f64, result: f64, unit: &str) -> Self {
        Self::new(what, format!("≥ {bound}{unit}"), result, unit, result >= bound)
    }

    /// `result` must not exceed `bound`.
    pub(crate) fn at_most(what: impl Into<String>, bound: f64, result: f64, unit: &str) -> Self {
        Self::new(what, format!("≤ {bound}{unit}"), result, unit, result <= bound)
    }

    fn new(what: impl Into<String>, goal: String, result: f64, unit: &str, met: bool) -> Self {
        let digits = if result.abs() < 10.0 { 2 } else { usize::from(result.abs() < 100.0) };
        Self { what: what.into(), goal, result: format!("{result:.digits$}{unit}"), met }
    }
}

/// Every goal beside its result.
pub(crate) fn goals(sections: &[Section]) -> Table {
    let mut table = Table::new("", &["Goal", "Wanted", "Measured", ""]);
    for goal in sections.iter().flat_map(|section| &section.goals) {
        let verdict = if goal.met { "met" } else { "**missed**" };
        table.row([goal.what.as_str(), &goal.goal, &goal.result, verdict]);
    }
    table
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}", self.title, self.method)?;
        self.tables.iter().try_for_each(|table| write!(f, "\n{table}"))
    }
}
