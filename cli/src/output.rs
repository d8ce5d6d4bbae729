//! Where a verb writes to: two streams, and whether a person looks at them.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::exit::Exit;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs; stable.
    Json,
    /// As JSON, in YAML.
    Yaml,
}

/// The two streams of this process, or two buffers.
pub(crate) struct Output {
    out: Box<dyn Write>,
    complaints: Box<dyn Write>,
    /// Standard output is a terminal: colour and lines are welcome.
    pub(crate) terminal: bool,
}

impl Output {
    /// Standard output and standard error. `NO_COLOR` is heeded (no-color.org).
    pub(crate) fn of_process() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            complaints: Box::new(io::stderr()),
            terminal: io::stdout().is_terminal() && !plain,
        }
    }

    /// Prints a text with a line end. A reader that goes away (`| head`) is no error.
    pub(crate) fn print(&mut self, text: &str) {
        drop(writeln!(self.out, "{}", text.trim_end_matches('\n')));
    }

    /// Says what went wrong, on standard error.
    pub(crate) fn complain(&mut self, text: &str) {
        self.flush();
        drop(writeln!(self.complaints, "roadstead: {text}"));
    }

    /// Prints a value for programs; `None` where the format is for people.
    pub(crate) fn value<T: serde::Serialize>(&mut self, format: Format, value: &T) -> Option<Exit> {
        // JSON goes out as it is made: a status of thousands of Services is hundreds of megabytes.
        let written = match format {
            Format::Text => return None,
            Format::Json => match serde_json::to_writer(&mut self.out, value) {
                // A reader that goes away.
                Err(error) if error.is_io() => Ok(String::new()),
                written => written.map(|()| String::new()).map_err(|error| error.to_string()),
            },
            Format::Yaml => serde_saphyr::to_string(value).map_err(|error| error.to_string()),
        };
        match written {
            Ok(rest) => {
                self.print(&rest);
                Some(Exit::Fine)
            }
            Err(error) => {
                self.complain(&format!("the answer cannot be written: {error}"));
                Some(Exit::Problem)
            }
        }
    }

    /// Writes out what is buffered.
    pub(crate) fn flush(&mut self) {
        drop(self.out.flush());
    }
}

/// What a verb printed, for tests.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    out: std::rc::Rc<std::cell::RefCell<Vec<u8>>>,
}

#[cfg(test)]
impl Buffers {
    /// An output that writes here; complaints go nowhere.
    pub(crate) fn output(&self) -> Output {
        Output { out: Box::new(self.clone()), complaints: Box::new(io::sink()), terminal: false }
    }

    /// The text so far.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8(self.out.borrow().clone()).expect("text")
    }
}

#[cfg(test)]
impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
