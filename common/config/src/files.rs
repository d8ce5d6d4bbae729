//! Reads the files from the disk: the main one, then `conf.d/*.toml` beside it in name order.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use roadstead_model::{Location, Problem};

/// A configuration that is larger than this is a mistake (a log, a disk image): never read whole.
const FILE_MAX: u64 = 1 << 20;

/// The smallest configuration, shown where there is none.
const SMALLEST: &str = "\n\n    [[pool]]\n    name = \"lan\"\n    addresses = \
                        [\"192.0.2.10-192.0.2.50\", \"2001:db8:1::/120\"]\n";

/// A file and its text.
pub(crate) type Text = (PathBuf, String);

/// Every file that could be read, and what is wrong with the others.
pub(crate) fn read(main: &Path) -> (Vec<Text>, Vec<Problem>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    match text(main) {
        Ok(text) => texts.push((main.to_owned(), text)),
        Err(problem) => problems.push(problem),
    }
    match beside(main) {
        Ok(files) => {
            for file in files {
                match text(&file) {
                    Ok(text) => texts.push((file, text)),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        Err(problem) => problems.push(problem),
    }
    (texts, problems)
}

/// `conf.d/*.toml` beside the main file, in name order, without dotfiles.
fn beside(main: &Path) -> Result<Vec<PathBuf>, Problem> {
    let directory = main.with_file_name("conf.d");
    let wrong = |error: &io::Error| unreadable(&directory, error);
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(&error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| wrong(&error))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with('.') {
            files.push(directory.join(&*name));
        }
    }
    files.sort();
    Ok(files)
}

fn text(file: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|f| f.take(FILE_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => decoded(file, bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(file)),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn decoded(file: &Path, bytes: Vec<u8>) -> Result<String, Problem> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_MAX) {
        let message = format!("larger than {FILE_MAX} bytes: this is no configuration");
        return Err(Problem::error(Location::new(file, 0), message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = good.filter(|byte| **byte == b'\n').count().saturating_add(1);
        Problem::error(Location::new(file, line), "not UTF-8: save the file as UTF-8")
    })
}

fn missing(file: &Path) -> Problem {
    let message = format!("not there; the smallest configuration is one pool:{SMALLEST}");
    Problem::error(Location::new(file, 0), message)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::error(Location::new(path, 0), format!("cannot be read: {error}"))
}
