//! Sparing the log: what anybody on the segment can cause is told, but not without end.

use std::time::{Duration, Instant};

/// Lines within [`SPAN`].
const LINES: u32 = 20;
const SPAN: Duration = Duration::from_secs(10);

/// Counts the lines of a span.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    began: Option<Instant>,
    lines: u32,
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Tell,
    /// Say that more of them follow, which are not told.
    TellOfMore,
    Spare,
}

impl Sparing {
    /// One more line.
    pub(crate) fn line(&mut self, now: Instant) -> Line {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= SPAN) {
            *self = Self { began: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            ..=LINES => Line::Tell,
            more if more == LINES + 1 => Line::TellOfMore,
            _ => Line::Spare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_lines_then_one_that_says_so_and_again_in_the_next_span() {
        let mut sparing = Sparing::default();
        let now = Instant::now();
        let mut lines = |at| {
            let said: Vec<Line> = (0..100).map(|_| sparing.line(at)).collect();
            [Line::Tell, Line::TellOfMore, Line::Spare]
                .map(|kind| said.iter().filter(|line| **line == kind).count())
        };
        assert_eq!(lines(now), [20, 1, 79]);
        assert_eq!(lines(now + SPAN / 2), [0, 0, 100]);
        assert_eq!(lines(now + SPAN), [20, 1, 79]);
    }
}
