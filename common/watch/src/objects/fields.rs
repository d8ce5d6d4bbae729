//! Reading an object field by field: every wrong field is told with its line, not only the first.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use roadstead_model::{Location, Problem, problem::Severity};

use super::{
    origin::Origin,
    tree::{Entry, Node, Value},
    words::{hint, shown},
};

/// Most errors of one object that are told, and most of everything else. An object of ten thousand
/// typos must not cost ten thousand sentences.
const MAX_TOLD: usize = 50;
/// Most warnings that stay with an object.
const MAX_WARNINGS: usize = 20;

/// What is found wrong in one object while it is read.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    file: &'a Arc<PathBuf>,
    /// `Service default/web`: begins every message.
    subject: String,
    origin: Origin,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    errors: usize,
    others: usize,
}

impl<'a> Report<'a> {
    /// An empty report about `subject`, which stands in `file`.
    pub(crate) fn new(file: &'a Arc<PathBuf>, subject: String, origin: Origin) -> Self {
        Self {
            file,
            subject,
            origin,
            problems: Vec::new(),
            warnings: Vec::new(),
            errors: 0,
            others: 0,
        }
    }

    /// Where the object was written down.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Refuses the object.
    pub(crate) fn error(&mut self, line: usize, message: impl AsRef<str>) {
        self.errors = self.errors.saturating_add(1);
        if self.errors <= MAX_TOLD {
            self.tell(Severity::Error, line, message.as_ref());
        }
    }

    /// The object is used without the part that is wrong.
    pub(crate) fn warning(&mut self, line: usize, message: impl AsRef<str>) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(message.as_ref().to_owned());
        }
        self.other(Severity::Warning, line, message.as_ref());
    }

    /// Worth telling, costs nothing.
    pub(crate) fn notice(&mut self, line: usize, message: impl AsRef<str>) {
        self.other(Severity::Notice, line, message.as_ref());
    }

    /// Whether more warnings would not be told.
    pub(crate) fn is_full(&self) -> bool {
        self.others >= MAX_TOLD
    }

    /// A report about a part of the object that cannot refuse it.
    pub(crate) fn aside(&self) -> Self {
        Self::new(self.file, self.subject.clone(), self.origin)
    }

    /// Takes over what was told aside, as notices.
    pub(crate) fn take_notices(&mut self, aside: Self) {
        let notice = |problem: Problem| Problem { severity: Severity::Notice, ..problem };
        self.problems.extend(aside.problems.into_iter().map(notice));
        self.others = self.others.saturating_add(aside.errors).saturating_add(aside.others);
    }

    /// Whether an error was told.
    pub(crate) fn is_refused(&self) -> bool {
        self.errors > 0
    }

    /// The warnings so far, without file and line, so that an object that only moved stays equal.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Everything that was told.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn other(&mut self, severity: Severity, line: usize, message: &str) {
        self.others = self.others.saturating_add(1);
        if self.others <= MAX_TOLD {
            self.tell(severity, line, message);
        }
    }

    fn tell(&mut self, severity: Severity, line: usize, message: &str) {
        let location = Location { file: Arc::clone(self.file), line };
        let message = format!("{}: {message}", self.subject);
        self.problems.push(Problem { location, severity, message });
    }
}

/// A mapping and the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'n, 't> {
    entries: &'n [Entry<'t>],
    /// Empty for the object itself, else `spec.ports[0].`.
    path: String,
    /// The line of the key that leads here, or where the object or element begins.
    pub(crate) line: usize,
}

/// One field that is there.
#[derive(Clone, Debug)]
pub(crate) struct Field<'n, 't> {
    /// `spec.ports[0].port`.
    pub(crate) path: String,
    /// The line of the key, or of the element of a list.
    pub(crate) line: usize,
    value: &'n Value<'t>,
}

/// The `annotations` of an object, where it has any.
pub(crate) type Annotations<'a, 'n, 't> = Option<&'a Fields<'n, 't>>;

impl<'n, 't> Fields<'n, 't> {
    /// The fields of an object.
    pub(crate) fn new(entries: &'n [Entry<'t>], line: usize) -> Self {
        Self { entries, path: String::new(), line }
    }

    /// The field `name`; none where it is absent or null, which the API treats alike.
    pub(crate) fn field(&self, name: &str) -> Option<Field<'n, 't>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        let value = &entry.node.value;
        let path = format!("{}{name}", self.path);
        (*value != Value::Null).then_some(Field { path, line: entry.line, value })
    }

    /// The mapping `name`, where it is there.
    pub(crate) fn map(&self, name: &str, report: &mut Report<'_>) -> Option<Self> {
        self.field(name)?.map(report)
    }

    /// The text `name`, where it is there.
    pub(crate) fn text(&self, name: &str, report: &mut Report<'_>) -> Option<&'n str> {
        self.field(name)?.text(report)
    }

    /// The boolean `name`, where it is there.
    pub(crate) fn boolean(&self, name: &str, report: &mut Report<'_>) -> Option<bool> {
        self.field(name)?.boolean(report)
    }

    /// The elements of the list `name`; none where it is absent.
    pub(crate) fn list(&self, name: &str, report: &mut Report<'_>) -> Vec<Field<'n, 't>> {
        self.field(name).map(|field| field.list(report)).unwrap_or_default()
    }

    /// The mappings of the list `name`.
    pub(crate) fn maps(&self, name: &str, report: &mut Report<'_>) -> Vec<Self> {
        self.list(name, report).into_iter().filter_map(|item| item.map(report)).collect()
    }

    /// Keys and values, in the order of the file.
    pub(crate) fn entries(&self) -> &'n [Entry<'t>] {
        self.entries
    }

    /// `spec.ports[0].port` for `port`.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }
}

impl<'n, 't> Field<'n, 't> {
    /// The value as text.
    pub(crate) fn text(&self, report: &mut Report<'_>) -> Option<&'n str> {
        match self.value {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
                let is = self.value.described();
                self.wrong(report, &format!("{is} where text is wanted; write it in quotes"));
                None
            }
            _ => self.mismatch(report, "text"),
        }
    }

    /// The value as a boolean.
    pub(crate) fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.mismatch(report, "true or false"),
        }
    }

    /// The value as a whole number.
    pub(crate) fn integer(&self, report: &mut Report<'_>) -> Option<i64> {
        match self.value {
            Value::Integer(number) => Some(*number),
            Value::Text(_) => self.mismatch(report, "a number without quotes"),
            _ => self.mismatch(report, "a whole number"),
        }
    }

    /// The value as a port of TCP or UDP: 1 to 65535.
    pub(crate) fn port(&self, report: &mut Report<'_>) -> Option<u16> {
        let number = self.integer(report)?;
        match u16::try_from(number) {
            Ok(port) if port != 0 => Some(port),
            _ => {
                self.wrong(report, &format!("{number} is not a port; 1 to 65535 is"));
                None
            }
        }
    }

    /// The value as a port where 0 says the same as nothing.
    pub(crate) fn port_or_zero(&self, report: &mut Report<'_>) -> Option<u16> {
        if *self.value == Value::Integer(0) { None } else { self.port(report) }
    }

    /// The value as an address.
    pub(crate) fn address(&self, report: &mut Report<'_>) -> Option<IpAddr> {
        let text = self.text(report)?;
        match parse_address(text) {
            Ok(address) => Some(address),
            Err(wrong) => {
                self.wrong(report, &wrong);
                None
            }
        }
    }

    /// The value as one of a closed set of words.
    pub(crate) fn choice<T: Copy>(
        &self,
        report: &mut Report<'_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(report)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let hint = hint(text, words.iter().copied());
        let list = words.join(", ");
        self.wrong(report, &format!("`{}` is none of {list}{hint}", shown(text)));
        None
    }

    /// The value as a mapping.
    pub(crate) fn map(&self, report: &mut Report<'_>) -> Option<Fields<'n, 't>> {
        match self.value {
            Value::Map(entries) => {
                Some(Fields { entries, path: format!("{}.", self.path), line: self.line })
            }
            _ => self.mismatch(report, "a mapping"),
        }
    }

    /// The elements of the value as a list.
    pub(crate) fn list(&self, report: &mut Report<'_>) -> Vec<Self> {
        let Value::List(items) = self.value else {
            return self.mismatch(report, "a list").unwrap_or_default();
        };
        let item = |(index, node): (usize, &'n Node<'t>)| Self {
            path: format!("{}[{index}]", self.path),
            line: node.line,
            value: &node.value,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// Whether the value is text, whatever it says.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.value, Value::Text(_))
    }

    /// Tells that the value is wrong, in the object's report.
    pub(crate) fn wrong(&self, report: &mut Report<'_>, what: &str) {
        report.error(self.line, format!("{}: {what}", self.path));
    }

    fn mismatch<T>(&self, report: &mut Report<'_>, wanted: &str) -> Option<T> {
        let is = self.value.described();
        self.wrong(report, &format!("{is} where {wanted} is wanted"));
        None
    }
}

/// An address in its usual text form, without a zone. An IPv4 address in IPv6's clothes
/// (`::ffff:192.0.2.1`) is refused, since one address must have one form.
///
/// # Errors
/// With a sentence that names the text and what would be right.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!("`{}` is not an address; 192.0.2.10 or 2001:db8::10 would be", shown(text))
    })?;
    match address.to_canonical() {
        canonical if canonical != address => Err(format!("`{text}` is to be written {canonical}")),
        _ => Ok(address),
    }
}
