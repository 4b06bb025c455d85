//! Where in a text a mistake is: the line it is in, with a caret under the place.

use std::fmt;

/// Stands for a character that would move the cursor or the terminal.
const HIDDEN: char = '\u{fffd}';

/// Two lines below what was said, each indented by four: the line of `source` with byte `at`
/// in it, and the caret. Whatever the text holds, no other line and no control character
/// comes out.
pub(super) struct Caret<'s> {
    pub(super) source: &'s str,
    pub(super) at: usize,
}

impl fmt::Display for Caret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.source.get(..self.at).unwrap_or(self.source);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.source.get(start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { HIDDEN } else { c })
            .collect();
        let column = before.get(start..).unwrap_or_default().chars().count();
        write!(f, "\n    {line}\n    {:column$}^", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_its_character_whatever_comes_before() {
        let shown = |source: &str, at| Caret { source, at }.to_string();
        assert_eq!(shown("tö-x", 4), "\n    tö-x\n       ^");
        assert_eq!(shown("a = 1\nand b\nc", 10), "\n    and b\n        ^");
        assert_eq!(
            shown("\u{1b}[2J\tx", 5),
            "\n    \u{fffd}[2J\u{fffd}x\n         ^"
        );
        assert_eq!(shown("x", 9), "\n    x\n     ^");
    }
}
