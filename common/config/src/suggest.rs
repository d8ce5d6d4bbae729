//! "Did you mean": the nearest known word by edit distance.

/// The known word nearest to `word`, if it is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded = word.to_lowercase().replace('-', "_");
    let reach = 1 + folded.chars().count().min(64) / 4;
    let near = known.iter().map(|k| (distance(&folded, &k.replace('-', "_"), reach), *k));
    near.filter(|(distance, _)| *distance <= reach).min().map(|(_, known)| known)
}

/// Levenshtein distance, or something above `reach` where the lengths alone exceed it.
fn distance(a: &str, b: &str, reach: usize) -> usize {
    let b: Vec<char> = b.chars().collect();
    let difference = a.chars().count().abs_diff(b.len());
    if difference > reach {
        return difference;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((above_left, above), to) in row.iter().zip(row.iter().skip(1)).zip(&b) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = above_left + usize::from(from != *to);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let known = ["addresses", "announce", "auto_assign"];
        assert_eq!(nearest("adresses", &known), Some("addresses"));
        assert_eq!(nearest("auto-assign", &known), Some("auto_assign"));
        assert_eq!(nearest("Anounce", &known), Some("announce"));
        assert_eq!(nearest("banana", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn distance_counts_single_edits() {
        for (a, b, edits) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b, 9), edits, "{a} {b}");
        }
    }
}
