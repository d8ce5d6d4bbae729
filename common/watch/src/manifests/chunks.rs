//! A text → pieces that can be read one by one: its documents, where they can be told apart
//! without parsing.
//!
//! A line that begins with `---` and goes on with a blank or ends there starts a document wherever
//! it stands (YAML 1.2.2 §9.1.2: it is forbidden within any scalar). A text with anything that
//! makes it less simple than that stays in one piece: directives, `...`, lone carriage returns,
//! and what may be an anchor, whose copies are counted for the whole file.

/// Most pieces; a text with more documents stays whole, and exceeds the parser's budget.
const MAX_CHUNKS: usize = 20_000;

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'t> {
    pub(super) text: &'t str,
    /// How many lines stand before it.
    pub(super) lines_before: usize,
}

/// The pieces in their order, without those that hold nothing but blanks and comments.
pub(super) fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let whole = vec![Chunk { text, lines_before: 0 }];
    if !is_simple(text) {
        return whole;
    }
    let mut chunks = Vec::new();
    let mut rest = Chunk { text, lines_before: 0 };
    while let Some((at, lines)) = next_marker(rest.text) {
        let (first, after) = rest.text.split_at(at);
        chunks.push(Chunk { text: first, ..rest });
        rest = Chunk { text: after, lines_before: rest.lines_before.saturating_add(lines) };
    }
    chunks.push(rest);
    chunks.retain(|chunk| !is_silent(chunk.text));
    if chunks.is_empty() || chunks.len() > MAX_CHUNKS { whole } else { chunks }
}

/// Where the next document starts that is not at the beginning, and after how many lines.
fn next_marker(text: &str) -> Option<(usize, usize)> {
    let mut at = 0_usize;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number > 0 && is_marker(line, "---") {
            return Some((at, number));
        }
        at = at.saturating_add(line.len());
    }
    None
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']))
}

fn is_silent(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

fn is_simple(text: &str) -> bool {
    let strange = |line: &str| line.starts_with('%') || is_marker(line, "...");
    let mut lines = text.split_inclusive('\n');
    !lines.any(|line| strange(line) || has_lone_return(line) || may_hold_anchor(line))
}

fn has_lone_return(line: &str) -> bool {
    line.strip_suffix("\r\n").unwrap_or(line).contains('\r')
}

/// Whether an `&` stands where an anchor may begin, and not within a word as in a URL.
fn may_hold_anchor(line: &str) -> bool {
    let mut before = None;
    for byte in line.bytes() {
        if byte == b'&' && !before.is_some_and(|b: u8| b.is_ascii_alphanumeric()) {
            return true;
        }
        before = Some(byte);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(&str, usize)> {
        chunks(text).into_iter().map(|chunk| (chunk.text, chunk.lines_before)).collect()
    }

    #[test]
    fn documents_are_told_apart_and_know_their_line() {
        assert_eq!(split("a: 1\n"), [("a: 1\n", 0)]);
        assert_eq!(
            split("# first\n---\na: 1\n--- # second\nb: 2\n---\r\nc: 3\n---"),
            [("---\na: 1\n", 1), ("--- # second\nb: 2\n", 3), ("---\r\nc: 3\n", 5), ("---", 7)]
        );
        assert_eq!(split("---\n---\n"), [("---\n", 0), ("---\n", 1)]);
        assert_eq!(split("# nothing\n"), [("# nothing\n", 0)]);
    }

    #[test]
    fn what_only_looks_like_a_marker_is_none() {
        for text in ["a: |\n  ---\n  x\n", "a: 1\n---b: 2\n", "a: 1\n ---\n"] {
            assert_eq!(split(text), [(text, 0)]);
        }
    }

    #[test]
    fn a_text_that_is_not_simple_stays_whole() {
        let two = "a: 1\n---\nb: 2\n";
        assert_eq!(split(two).len(), 2);
        for odd in ["%YAML 1.2\n", "...\n", "c: &x 1\n", "c: [&x 1]\n", "c: 1\rd: 2\n"] {
            let text = format!("{two}{odd}");
            assert_eq!(split(&text), [(text.as_str(), 0)]);
        }
        assert_eq!(split(&format!("{two}u: http://h/?a=1&b=2\n")).len(), 2);
    }
}
