//! Comparison of the words of every line with `haproxy -dC`.

use drainswap::cfg::{Document, Line, Version};

use crate::Skipped;
use crate::binary::Binary;
use crate::corpus::Sample;

/// The first branch in which `-dC` prints the words.
pub const SINCE: Version = Version::new(2, 7);

/// The first branch that reads and prints the files twice.
const TWICE_SINCE: Version = Version::new(3, 1);

pub fn compare(binary: &Binary, sample: &Sample, document: &Document) -> Result<usize, Skipped> {
    let sets_variables = sample.bytes.windows(6).any(|part| part == b"setenv" || part == b"tsetenv");
    if sets_variables {
        return Err(Skipped::Because("`-dC` does not obey setenv".to_owned()));
    }
    let output = binary.run(&["-dC"], sample);
    let theirs = dump(&output.stdout, binary.version >= TWICE_SINCE);
    let ours: Vec<Vec<u8>> =
        document.files[0].lines().filter(|line| !is_scope(*line)).flat_map(dumped).collect();
    if !output.status.success() && theirs.len() < ours.len() {
        return Err(Skipped::Because("HAProxy stops in its middle".to_owned()));
    }
    for (number, (ours, theirs)) in (1..).zip(ours.iter().zip(&theirs)) {
        if ours != theirs {
            let (ours, theirs) = (String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
            return Err(Skipped::Differs(format!("line {number}\n  here    {ours:?}\n  HAProxy {theirs:?}")));
        }
    }
    if ours.len() != theirs.len() {
        return Err(Skipped::Differs(format!("{} lines, and {} of HAProxy", ours.len(), theirs.len())));
    }
    Ok(ours.len())
}

/// Returns the lines of a dump without indentation and trailing spaces, because an empty word only shows as a space.
fn dump(text: &[u8], twice: bool) -> Vec<Vec<u8>> {
    let Some(text) = text.strip_suffix(b"\n").filter(|text| !text.is_empty()) else { return Vec::new() };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let start = if twice { lines.len() / 2 } else { 0 };
    lines[start..].iter().map(|line| without_end(line.strip_prefix(b"\t").unwrap_or(line))).collect()
}

fn without_end(line: &[u8]) -> Vec<u8> {
    let end = line.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    line[..end].to_vec()
}

/// Returns whether a line is a scope such as `[name]`, which the dump omits.
fn is_scope(line: Line<'_>) -> bool {
    line.bytes().trim_ascii_start().starts_with(b"[")
}

/// Formats a line like the dump: each word with a trailing space. A word with a line feed makes two lines.
fn dumped(line: Line<'_>) -> Vec<Vec<u8>> {
    let words: Vec<u8> = line.words().flat_map(|word| word.bytes.iter().copied().chain([b' '])).collect();
    words.split(|byte| *byte == b'\n').map(without_end).collect()
}

/// A pseudo-random generator that is the same in each run.
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }
}

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }
}

/// Returns random lines, one per file, because HAProxy stops reading at a line that it cannot split.
pub fn random_lines() -> Vec<Sample> {
    let pieces: &[&str] = &[
        "a",
        "b1",
        " ",
        "\t",
        "\"",
        "'",
        "\\",
        "#",
        "$",
        "${HOST}",
        "\"$HOST\"",
        "\"${NOPE}\"",
        "\"${NOPE-x y}\"",
        "\\x41",
        "\\n",
        "\\ ",
        "\\\"",
        "\\'",
        "{",
        "}",
        "[",
        "]",
        "é",
        "\x0b",
        ";",
        "\"a b\"",
        "'c d'",
        "\\#",
        "\\\\",
        "\"\\$\"",
    ];
    let mut random = Random::default();
    let mut samples = Vec::new();
    for index in 0..150 {
        let text: String = (0..random.below(12)).map(|_| pieces[random.below(pieces.len())]).collect();
        let name = format!("random line {index}: {text:?}");
        samples.push(Sample::new(name, format!("global\n\n x {text}\n").into_bytes()));
    }
    samples
}
