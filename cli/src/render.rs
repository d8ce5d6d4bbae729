//! Tables and colour, on a terminal only; elsewhere aligned columns without lines.

use comfy_table::presets;
use roadstead_model::local::BackendState;

/// Ends a colour (ECMA-48 SGR 0).
const RESET: &str = "\u{1b}[0m";

/// What a colour means: red for what fails, yellow for what is in doubt, green for what is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// As the terminal writes.
    Plain,
    /// Well.
    Green,
    /// In doubt.
    Yellow,
    /// Fails.
    Red,
}

impl Colour {
    /// The colour of a backend's state.
    pub(crate) fn of(state: BackendState) -> Self {
        match state {
            BackendState::Healthy => Self::Green,
            BackendState::SlowStart | BackendState::Draining | BackendState::Unknown => {
                Self::Yellow
            }
            BackendState::Unhealthy => Self::Red,
        }
    }

    /// All of one length, so that columns stay aligned.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "\u{1b}[39m",
            Self::Green => "\u{1b}[32m",
            Self::Yellow => "\u{1b}[33m",
            Self::Red => "\u{1b}[31m",
        }
    }
}

/// A text in a colour, on a terminal.
pub(crate) fn painted(text: &str, colour: Colour, terminal: bool) -> String {
    if terminal { format!("{}{text}{RESET}", colour.code()) } else { text.to_owned() }
}

/// A table whose last column carries the colour of its row.
pub(crate) struct Table {
    table: comfy_table::Table,
    terminal: bool,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(terminal: bool, header: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(if terminal { presets::UTF8_BORDERS_ONLY } else { presets::NOTHING });
        let header: Vec<String> = header.iter().map(ToString::to_string).collect();
        table.set_header(coloured(Colour::Plain, &header, terminal));
        Self { table, terminal }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, colour: Colour, cells: &[String]) {
        self.table.add_row(coloured(colour, cells, self.terminal));
    }

    /// The text, without blanks at the ends of lines.
    pub(crate) fn shown(&self) -> String {
        let text = self.table.to_string();
        let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
        lines.collect()
    }
}

fn coloured(colour: Colour, cells: &[String], terminal: bool) -> Vec<String> {
    let mut cells: Vec<String> = cells.iter().map(|cell| printable(cell)).collect();
    if let Some(last) = cells.last_mut() {
        *last = painted(last, colour, terminal);
    }
    cells
}

/// Texts come from objects that tenants write: no control character reaches the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The word of the contract for a state.
pub(crate) fn state_word(state: BackendState) -> &'static str {
    match state {
        BackendState::Healthy => "healthy",
        BackendState::Unhealthy => "unhealthy",
        BackendState::Draining => "draining",
        BackendState::SlowStart => "slow-start",
        BackendState::Unknown => "unknown",
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn counted(count: usize, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {several}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(terminal: bool) -> String {
        let mut table = Table::new(terminal, &["NAME", "STATE"]);
        table.row(Colour::Green, &["web".into(), "serving".into()]);
        table.row(Colour::Red, &["a-longer-name".into(), "not \u{1b}[5mserving".into()]);
        table.shown()
    }

    #[test]
    fn away_from_a_terminal_there_are_columns_and_nothing_else() {
        let expected = " NAME           STATE\n web            serving\n \
                        a-longer-name  not \u{fffd}[5mserving\n";
        assert_eq!(table(false), expected);
    }

    #[test]
    fn on_a_terminal_colours_keep_the_columns_aligned() {
        let text = table(true);
        assert!(text.contains("\u{1b}[32mserving\u{1b}[0m"), "{text:?}");
        assert!(text.contains("\u{1b}[31mnot \u{fffd}[5mserving\u{1b}[0m"), "{text:?}");
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        let rows = lengths.get(1..lengths.len() - 1).expect("rows within the frame");
        assert!(rows.len() >= 3, "{text}");
    }

    #[test]
    fn every_state_has_the_word_of_the_json() {
        for state in [
            BackendState::Healthy,
            BackendState::Unhealthy,
            BackendState::Draining,
            BackendState::SlowStart,
            BackendState::Unknown,
        ] {
            let json = serde_json::to_value(state).expect("a word");
            assert_eq!(json, state_word(state));
        }
    }
}
