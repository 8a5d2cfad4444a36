//! A fast path for words that mean what is written. Nearly all words do, so they need no parser.

use super::{MAX_WORDS, PackedWords, is_blank};

/// The role of a byte outside of quotes.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Class {
    Plain,
    Blank,
    /// A quote, an escape, a comment, or a byte that may end the line early.
    Special,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let (mut at, blanks, special) = (0, b" \t\x0b\x0c", b"#\"'\\\r\n\0");
    while at < blanks.len() {
        classes[blanks[at] as usize] = Class::Blank;
        at += 1;
    }
    at = 0;
    while at < special.len() {
        classes[special[at] as usize] = Class::Special;
        at += 1;
    }
    classes
};

/// Takes plain words from the start of the line. Returns where it stops: at the end of the line, at a comment, or
/// at the start of a word that is not plain or exceeds the limit.
pub(super) fn split(line: &[u8], offset: usize, words: &mut PackedWords) -> usize {
    let most = words.len() + MAX_WORDS;
    let mut at = 0;
    loop {
        // A carriage return is a blank among blanks. It ends the line only at the end of a word.
        at += line[at..].iter().take_while(|byte| is_blank(**byte)).count();
        let start = at;
        at += line[at..].iter().take_while(|byte| CLASSES[usize::from(**byte)] == Class::Plain).count();
        let comment = line.get(at) == Some(&b'#');
        let plain = at == line.len() || comment || CLASSES[usize::from(line[at])] == Class::Blank;
        if !plain || (at > start && words.len() == most) {
            return start;
        }
        if at > start {
            words.push_plain(offset + start..offset + at);
        }
        if at == line.len() || comment {
            return at;
        }
    }
}
