//! A user's words: what was meant by one, and how it may be printed.

/// `; did you mean X?` where a known word is near, else nothing.
pub(crate) fn hint(word: &str, known: impl IntoIterator<Item = &'static str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// The known word that a typo was probably meant to be.
pub(crate) fn nearest(
    word: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    if word.len() > 64 {
        return None;
    }
    let typed = word.to_ascii_lowercase();
    let near = |name: &'static str| (distance(&typed, &name.to_ascii_lowercase()), name);
    let (distance, name) = known.into_iter().map(near).min()?;
    (distance <= word.chars().count().div_ceil(4).min(3)).then_some(name)
}

/// A word of the user's as it may be printed: never longer than a line bears.
pub(crate) fn shown(word: &str) -> String {
    const LONGEST: usize = 80;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = word.chars().take(LONGEST).map(clean).collect();
    if word.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

/// Edits (insert, delete, replace, swap of neighbours) between two words: the restricted
/// Damerau-Levenshtein distance, by three rolling rows.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (row, from) in a.chars().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        for (column, to) in b.iter().enumerate() {
            let cell = cell(&above, &current, column, from == *to);
            let swapped = column > 0 && last == Some(*to) && b.get(column - 1) == Some(&from);
            let swap = before.get(column.wrapping_sub(1)).filter(|_| swapped);
            current.push(swap.map_or(cell, |cost| cell.min(cost.saturating_add(1))));
        }
        last = Some(from);
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(0)
}

/// The cheapest of insert, delete and replace.
fn cell(above: &[usize], current: &[usize], column: usize, same: bool) -> usize {
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
    let replace = at(above, column).saturating_add(usize::from(!same));
    let delete = at(above, column.saturating_add(1)).saturating_add(1);
    let insert = at(current, column).saturating_add(1);
    replace.min(delete).min(insert)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, wanted) in [
            ("", "", 0),
            ("port", "ports", 1),
            ("prots", "ports", 1),
            ("nodeport", "nodePort", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("abc", "", 3),
        ] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
        }
    }
}
