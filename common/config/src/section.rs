//! Reads one table key by key: each value is taken out by name and type, everything wrong is
//! noted with its place, and what is left in the end is unknown.

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive, time::Duration};

use config::{Map, Value, ValueKind};
use roadstead_model::{Location, Problem};

use crate::{layer::place_of, parse, suggest::nearest};

/// Where problems are collected.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Adds an error.
    pub(crate) fn error(&self, place: &Location, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem::error(place.clone(), message));
    }

    /// Adds a warning.
    pub(crate) fn warning(&self, place: &Location, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem::warning(place.clone(), message));
    }

    /// Adds a notice.
    pub(crate) fn notice(&self, place: &Location, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem::notice(place.clone(), message));
    }

    /// All of them.
    pub(crate) fn into_inner(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    /// The value.
    pub(crate) value: T,
    /// Its file and line.
    pub(crate) place: Location,
    /// Of a list: how many items were written, the wrong ones included.
    pub(crate) written: usize,
}

impl<T> Placed<T> {
    fn new(value: T, place: Location) -> Self {
        Self { value, place, written: 1 }
    }
}

/// The integers of a table by name.
pub(crate) type Numbers<T> = Placed<Vec<(String, Placed<T>)>>;

/// One table on its way from TOML to checked types.
#[derive(Debug)]
pub(crate) struct Section<'p> {
    /// How its keys are called in messages.
    label: Label,
    table: Map<String, Value>,
    /// Where its header stands.
    pub(crate) place: Location,
    known: Vec<&'static str>,
    problems: &'p Problems,
}

/// How the keys of a section are called in messages.
#[derive(Debug)]
enum Label {
    /// `router.health.interval`.
    Path(String),
    /// `addresses of pool "lan"`.
    Item(String),
}

impl<'p> Section<'p> {
    /// The top level of a file.
    pub(crate) fn top(table: Map<String, Value>, place: Location, problems: &'p Problems) -> Self {
        Self { label: Label::Path(String::new()), table, place, known: Vec::new(), problems }
    }

    /// Calls the section `title` from here on (an entry of `[[tables]]` whose name is known).
    pub(crate) fn rename(&mut self, title: String) {
        self.label = Label::Item(title);
    }

    /// What messages call the section itself.
    pub(crate) fn title(&self) -> &str {
        match &self.label {
            Label::Path(title) | Label::Item(title) => title,
        }
    }

    /// Notes an error about the section or one of its keys.
    pub(crate) fn error(&self, place: &Location, message: impl Into<String>) {
        self.problems.error(place, message);
    }

    /// Notes a warning about the section or one of its keys.
    pub(crate) fn warning(&self, place: &Location, message: impl Into<String>) {
        self.problems.warning(place, message);
    }

    /// The sub-table `key`, empty where it is not there.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'p> {
        let label = self.path_of(key);
        let entry = self.take(key);
        let place = entry.as_ref().map_or_else(|| self.place.clone(), |e| e.place.clone());
        let table = match entry.map(|e| e.value) {
            Some(ValueKind::Table(table)) => table,
            Some(other) => {
                let found = kind_name(&other);
                self.error(&place, format!("`{label}` is {found}, not a table: write [{label}]"));
                Map::new()
            }
            None => Map::new(),
        };
        let label = Label::Path(label);
        Section { label, table, place, known: Vec::new(), problems: self.problems }
    }

    /// The entries of `[[key]]`.
    pub(crate) fn items(&mut self, key: &'static str) -> Vec<Section<'p>> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let ValueKind::Array(items) = entry.value else {
            let found = kind_name(&entry.value);
            self.error(&entry.place, format!("`{key}` is {found}, not a list: write [[{key}]]"));
            return Vec::new();
        };
        items.into_iter().filter_map(|item| self.item(key, &entry.place, item)).collect()
    }

    fn item(&self, key: &'static str, list: &Location, item: Value) -> Option<Section<'p>> {
        let place = place_of(&item).unwrap_or_else(|| list.clone());
        let ValueKind::Table(table) = item.kind else {
            let found = kind_name(&item.kind);
            self.error(&place, format!("`{key}` holds {found}: write [[{key}]]"));
            return None;
        };
        let label = Label::Item(key.to_owned());
        Some(Section { label, table, place, known: Vec::new(), problems: self.problems })
    }

    /// `true` or `false`.
    pub(crate) fn truth(&mut self, key: &'static str, default: bool) -> bool {
        let Some(entry) = self.take(key) else { return default };
        match entry.value {
            ValueKind::Boolean(truth) => truth,
            other => {
                self.wrong_kind(key, &entry.place, &other, "true or false");
                default
            }
        }
    }

    /// An integer of `range`.
    pub(crate) fn number<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Placed<T>>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let entry = self.take(key)?;
        let ValueKind::I128(number) = entry.value else {
            self.wrong_kind(key, &entry.place, &entry.value, "a whole number");
            return None;
        };
        match T::try_from(number) {
            Ok(value) if range.contains(&value) => Some(Placed::new(value, entry.place)),
            _ => {
                let (low, high) = range.into_inner();
                let name = self.name_of(key);
                let message = format!("{name} is {number}, outside {low} to {high}");
                self.error(&entry.place, message);
                None
            }
        }
    }

    /// A text that `parse` understands.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        self.parsed_as(key, "a string", parse)
    }

    /// A text that `parse` understands; `wanted` is what it is called.
    fn parsed_as<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let entry = self.take(key)?;
        let ValueKind::String(text) = entry.value else {
            self.wrong_kind(key, &entry.place, &entry.value, wanted);
            return None;
        };
        self.note(key, parse(&text), entry.place)
    }

    /// A duration of `range`.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Placed<Duration>> {
        self.parsed_as(key, "a duration: write \"250ms\", \"10s\", \"5m\" or \"1h\"", |text| {
            parse::duration_within(text, &range)
        })
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Placed<T>> {
        self.parsed(key, |text| one_of(text, choices))
    }

    /// A list of texts that `parse` understands, one by one; what is wrong is left out.
    ///
    /// From the environment also one text with commas.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Placed<Vec<Placed<T>>>> {
        let entry = self.take(key)?;
        let items = match entry.value {
            ValueKind::Array(items) => items,
            ValueKind::String(text) if entry.place.line == 0 => by_commas(&text),
            other => {
                self.wrong_kind(key, &entry.place, &other, "a list of strings");
                return None;
            }
        };
        let written = items.len();
        let items = items.into_iter().filter_map(|item| {
            let place = place_of(&item).unwrap_or_else(|| entry.place.clone());
            let ValueKind::String(text) = item.kind else {
                self.wrong_kind(key, &place, &item.kind, "a list of strings");
                return None;
            };
            self.note(key, parse(&text), place)
        });
        let value = items.collect();
        Some(Placed { value, place: entry.place, written })
    }

    /// A list of a few words.
    pub(crate) fn choices<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Placed<Vec<Placed<T>>>> {
        self.list(key, |text| one_of(text, choices))
    }

    /// A table of integers of `range`, each with its place.
    pub(crate) fn numbers<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Numbers<T>>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let entry = self.take(key)?;
        let ValueKind::Table(table) = entry.value else {
            self.wrong_kind(key, &entry.place, &entry.value, "a table of whole numbers");
            return None;
        };
        let numbers = table.into_iter().filter_map(|(name, value)| {
            let place = place_of(&value).unwrap_or_else(|| entry.place.clone());
            let ValueKind::I128(number) = value.kind else {
                self.wrong_kind(key, &place, &value.kind, "a table of whole numbers");
                return None;
            };
            let parsed = T::try_from(number).ok().filter(|number| range.contains(number));
            let (low, high) = (range.start(), range.end());
            let outside = || format!("`{name}` is {number}, outside {low} to {high}");
            let number = self.note(key, parsed.ok_or_else(outside), place)?;
            Some((name, number))
        });
        Some(Placed { value: numbers.collect(), place: entry.place, written: 1 })
    }

    /// A key that is known and not served.
    pub(crate) fn refuse(&mut self, key: &'static str, why: &str) {
        if let Some(entry) = self.take(key) {
            self.error(&entry.place, format!("{}: {why}", self.name_of(key)));
        }
    }

    /// A section that is accepted and passed over.
    pub(crate) fn pass_over(&mut self, key: &'static str, why: &str) {
        if let Some(entry) = self.take(key) {
            self.problems
                .notice(&entry.place, format!("[{}] is passed over: {why}", self.path_of(key)));
        }
    }

    /// Whether a key is written, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A key that may be there and is not read: told to whoever mistypes it.
    pub(crate) fn know(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Whether a key is written as a table.
    pub(crate) fn has_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| matches!(value.kind, ValueKind::Table(_)))
    }

    /// A key that must be there: an error where it is not written.
    pub(crate) fn require<T>(&self, key: &str, value: Option<T>, example: &str) -> Option<T> {
        if value.is_none() && !self.has(key) {
            let title = self.title();
            self.error(&self.place, format!("{title} has no `{key}`: add {key} = {example}"));
        }
        value
    }

    /// Everything left is unknown.
    pub(crate) fn finish(self) {
        for (key, value) in &self.table {
            if self.known.contains(&&**key) {
                continue;
            }
            let place = place_of(value).unwrap_or_else(|| self.place.clone());
            let hint = nearest(key, &self.known)
                .map(|known| format!(": did you mean `{known}`?"))
                .unwrap_or_default();
            self.error(&place, format!("{} is unknown{hint}", self.name_of(key)));
        }
    }

    /// A value as it is written, for keys that have several forms.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Placed<ValueKind>> {
        self.known.push(key);
        let value = self.table.get_mut(key)?;
        let kind = std::mem::replace(&mut value.kind, ValueKind::Nil);
        let place = place_of(value).unwrap_or_else(|| self.place.clone());
        Some(Placed::new(kind, place))
    }

    /// Tells what `parse` said of a key.
    pub(crate) fn note<T>(
        &self,
        key: &str,
        parsed: Result<T, String>,
        place: Location,
    ) -> Option<Placed<T>> {
        match parsed {
            Ok(value) => Some(Placed::new(value, place)),
            Err(why) => {
                self.error(&place, format!("{}: {why}", self.name_of(key)));
                None
            }
        }
    }

    /// Tells that a value has another form than is wanted.
    pub(crate) fn wrong_kind(&self, key: &str, place: &Location, found: &ValueKind, wanted: &str) {
        let found = kind_name(found);
        self.error(place, format!("{} is {found}, not {wanted}", self.name_of(key)));
    }

    fn path_of(&self, key: &str) -> String {
        match &self.label {
            Label::Path(path) if path.is_empty() => key.to_owned(),
            Label::Path(path) => format!("{path}.{key}"),
            Label::Item(title) => format!("{key} of {title}"),
        }
    }

    fn name_of(&self, key: &str) -> String {
        match &self.label {
            Label::Path(_) => format!("`{}`", self.path_of(key)),
            Label::Item(title) => format!("`{key}` of {title}"),
        }
    }
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let hint = nearest(text, &words)
        .map(|word| format!("did you mean \"{word}\"?"))
        .unwrap_or_else(|| format!("one of \"{}\"", words.join("\", \"")));
    Err(format!("\"{text}\" is no choice: {hint}"))
}

fn by_commas(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::new(None, ValueKind::String(item.to_owned()))).collect()
}

fn kind_name(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "a date",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a number"
        }
        ValueKind::Float(_) => "a fraction",
        ValueKind::String(_) => "a string",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
    }
}
