//! Layers: one file, or one variable of the environment, as a tree of values that each remember
//! their place; and their merging by the `config` crate.
//!
//! `config` merges but knows no lines. So `toml` parses each file first, and every value carries
//! its place as the `origin` that `config` keeps with a value through the merge.

use std::path::{Path, PathBuf};

use config::{ConfigError, Map, Value, ValueKind};
use roadstead_model::{Location, Problem};
use toml::de::{DeInteger, DeTable, DeValue, Error};

/// The `[[tables]]`: later files add to them, where every other key of a later file replaces.
pub(crate) const LISTS: [&str; 3] = ["source", "pool", "reservation"];

/// Sections that are tables.
pub(crate) const SECTIONS: [&str; 5] = ["paths", "group", "speaker", "router", "proxy"];

/// What a variable of the environment starts with.
const PREFIX: &str = "ROADSTEAD_";

/// The one variable that is no key: the daemons' log filter.
const LOG: &str = "ROADSTEAD_LOG";

/// Sections of sections, which an underscore alone does not tell from a key.
const SUBSECTIONS: [&str; 2] = ["SPEAKER_L2_", "ROUTER_HEALTH_"];

/// What separates section and key in the name of a variable.
const SEPARATOR: &str = "__";

/// No key lies deeper; a name with more parts is cut there, and refused as unknown.
const DEPTH_MAX: usize = 8;

/// Syntax errors told per file: what follows the first few is mostly their echo.
const SYNTAX_ERRORS_TOLD: usize = 5;

/// One file or one variable.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Top-level keys.
    pub(crate) table: Map<String, Value>,
    /// The whole of it.
    pub(crate) place: Location,
}

impl Layer {
    /// Parses one file.
    ///
    /// # Errors
    /// The syntax errors, each with its line.
    pub(crate) fn of_file(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let lines = Lines::new(file, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            Ok(Self { table: lines.table(table.get_ref()), place: lines.whole() })
        } else {
            Err(errors.iter().take(SYNTAX_ERRORS_TOLD).map(|error| lines.syntax(error)).collect())
        }
    }

    /// The layer of one variable `ROADSTEAD_SECTION__KEY`; `None` for every other variable.
    pub(crate) fn of_variable(name: &str, text: &str) -> Option<Self> {
        let path = name.strip_prefix(PREFIX).filter(|path| path.contains(SEPARATOR))?;
        let place = Location::new(PathBuf::from(format!("environment {name}")), 0);
        let leaf = variable_value(text, &place);
        let path = path.to_lowercase();
        let table =
            path.splitn(DEPTH_MAX, SEPARATOR).collect::<Vec<_>>().into_iter().rev().fold(leaf, {
                let place = &place;
                move |value, key| {
                    placed(place, ValueKind::Table(Map::from_iter([(key.to_owned(), value)])))
                }
            });
        match table.kind {
            ValueKind::Table(table) => Some(Self { table, place }),
            _ => None,
        }
    }
}

/// A variable that begins as ours do and is none: as much an error as an unknown key.
pub(crate) fn stray_variable(name: &str) -> Option<Problem> {
    let path = name.strip_prefix(PREFIX).filter(|path| !path.contains(SEPARATOR))?;
    if name == LOG {
        return None;
    }
    let hint = match with_separators(path) {
        Some(meant) => format!("did you mean {PREFIX}{meant}?"),
        None => format!(
            "write {PREFIX}SECTION__KEY, with two underscores ({PREFIX}ROUTER__LOG_FLOWS), or {LOG}"
        ),
    };
    let place = Location::new(PathBuf::from(format!("environment {name}")), 0);
    Some(Problem::error(place, format!("no such variable: {hint}")))
}

/// `SPEAKER_L2_PROBE` as `SPEAKER__L2__PROBE`; `None` where it begins with no section.
fn with_separators(path: &str) -> Option<String> {
    let sections = SECTIONS.map(|section| format!("{}_", section.to_uppercase()));
    let all = SUBSECTIONS.iter().copied().chain(sections.iter().map(String::as_str));
    let section = all.into_iter().find(|section| path.starts_with(section))?;
    let key = path.strip_prefix(section).filter(|key| !key.is_empty())?;
    Some(format!("{}{key}", section.replace('_', SEPARATOR)))
}

/// Merges layers, the later ones winning key by key; `[[tables]]` add up.
///
/// Only known top-level keys take part: an unknown one is an error of its own, and its text could
/// be taken for a path expression by `config`.
pub(crate) fn merge(layers: &[Layer]) -> Result<Map<String, Value>, ConfigError> {
    let mut lists: Map<String, Vec<Value>> = Map::new();
    let mut builder = config::Config::builder();
    for layer in layers {
        let mut layer = layer.clone();
        layer.table.retain(|key, _| SECTIONS.contains(&&**key) || LISTS.contains(&&**key));
        for key in LISTS {
            if let Some(ValueKind::Array(items)) = layer.table.get_mut(key).map(|v| &mut v.kind) {
                lists.entry(key.to_owned()).or_default().append(items);
                layer.table.remove(key);
            }
        }
        builder = builder.add_source(layer);
    }
    let ValueKind::Table(mut table) = builder.build()?.cache.kind else { return Ok(Map::new()) };
    for (key, items) in lists {
        // What is no array at all stays, to be told.
        table.entry(key).or_insert_with(|| Value::new(None, ValueKind::Array(items)));
    }
    Ok(table)
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.table.clone())
    }
}

/// The place that a value remembers; `None` where `config` has made the value itself (a table
/// that several layers write into).
pub(crate) fn place_of(value: &Value) -> Option<Location> {
    let (line, file) = value.origin()?.split_once(':')?;
    Some(Location::new(file, line.parse().ok()?))
}

fn placed(place: &Location, kind: ValueKind) -> Value {
    Value::new(Some(&format!("{}:{}", place.line, place.file.display())), kind)
}

/// The value of a variable: TOML where it is TOML (`true`, `5`, `["a", "b"]`), else plain text.
fn variable_value(text: &str, place: &Location) -> Value {
    let plain = || placed(place, ValueKind::String(text.to_owned()));
    match DeValue::parse(text) {
        Ok(value) if !value.get_ref().is_datetime() && !value.get_ref().is_table() => {
            converted(value.get_ref(), &|_| place.clone(), 0)
        }
        _ => plain(),
    }
}

/// Turns offsets of one text into lines.
struct Lines<'t> {
    file: &'t Path,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(file: &'t Path, text: &str) -> Self {
        let after_newline = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        Self { file, starts: std::iter::once(0).chain(after_newline).collect() }
    }

    fn whole(&self) -> Location {
        Location::new(self.file, 0)
    }

    fn at(&self, offset: usize) -> Location {
        Location::new(self.file, self.starts.partition_point(|start| *start <= offset))
    }

    fn syntax(&self, error: &Error) -> Problem {
        let place = error.span().map_or_else(|| self.whole(), |span| self.at(span.start));
        Problem::error(place, format!("not TOML: {}", error.message()))
    }

    fn table(&self, table: &DeTable<'_>) -> Map<String, Value> {
        entries(table, &|offset| self.at(offset))
    }
}

/// The entries of a table; each value stands at the line of its key.
fn entries(table: &DeTable<'_>, at: &dyn Fn(usize) -> Location) -> Map<String, Value> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        (key.get_ref().to_string(), converted(value.get_ref(), at, key.span().start))
    };
    table.iter().map(entry).collect()
}

fn converted(value: &DeValue<'_>, at: &dyn Fn(usize) -> Location, offset: usize) -> Value {
    let kind = match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(integer) => integer_kind(integer),
        DeValue::Float(float) => ValueKind::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
        DeValue::Datetime(_) => ValueKind::Nil,
        DeValue::Array(items) => ValueKind::Array(
            items.iter().map(|item| converted(item.get_ref(), at, item.span().start)).collect(),
        ),
        DeValue::Table(table) => ValueKind::Table(entries(table, at)),
    };
    placed(&at(offset), kind)
}

/// An integer too large for any key is kept as the largest there is: the range check names it.
fn integer_kind(integer: &DeInteger<'_>) -> ValueKind {
    ValueKind::I128(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
}
