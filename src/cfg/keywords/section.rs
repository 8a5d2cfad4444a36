//! Keywords that start a section.

use super::super::version::Version;

/// The name that may follow a section's keyword.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    Nameless,
    /// The name may be missing.
    Optional,
    Required,
}

/// Keyword, naming, the first branch that has it, and the first that no longer has it.
type Row = (&'static str, Naming, (u16, u16), (u16, u16));

const EVER: (u16, u16) = (2, 2);
const STILL: (u16, u16) = (u16::MAX, 0);

/// The sections of 2.2 to 3.5.
const SECTIONS: &[Row] = &[
    ("global", Naming::Nameless, EVER, STILL),
    ("defaults", Naming::Optional, EVER, STILL),
    ("frontend", Naming::Required, EVER, STILL),
    ("backend", Naming::Required, EVER, STILL),
    ("listen", Naming::Required, EVER, STILL),
    ("userlist", Naming::Required, EVER, STILL),
    ("peers", Naming::Required, EVER, STILL),
    ("mailers", Naming::Required, EVER, STILL),
    ("resolvers", Naming::Required, EVER, STILL),
    ("cache", Naming::Required, EVER, STILL),
    ("http-errors", Naming::Required, EVER, STILL),
    ("ring", Naming::Required, EVER, STILL),
    ("fcgi-app", Naming::Required, EVER, STILL),
    ("namespace_list", Naming::Nameless, EVER, STILL),
    ("program", Naming::Required, EVER, (3, 3)),
    ("log-forward", Naming::Required, (2, 3), STILL),
    ("crt-store", Naming::Optional, (3, 0), STILL),
    ("log-profile", Naming::Required, (3, 1), STILL),
    ("traces", Naming::Nameless, (3, 1), STILL),
    ("acme", Naming::Required, (3, 2), STILL),
    ("healthcheck", Naming::Required, (3, 4), STILL),
];

/// Returns what follows this section's keyword, or `None` if this version has no such section.
#[must_use]
pub fn naming(word: &[u8], version: Version) -> Option<Naming> {
    let has = |(_, _, from, until): &&Row| {
        (version.major, version.minor) >= *from && (version.major, version.minor) < *until
    };
    // Nearly every line of a file gets here, and nearly none starts a section, so the first letter decides
    // quickly.
    let first = word.first().filter(|first| INITIALS[usize::from(**first)])?;
    let is_it = |row: &&Row| row.0.as_bytes()[0] == *first && row.0.as_bytes() == word;
    SECTIONS.iter().filter(is_it).find(has).map(|row| row.1)
}

/// The first letters of all section keywords.
const INITIALS: [bool; 256] = {
    let mut initials = [false; 256];
    let mut row = 0;
    while row < SECTIONS.len() {
        initials[SECTIONS[row].0.as_bytes()[0] as usize] = true;
        row += 1;
    }
    initials
};

/// Returns all section keywords.
pub fn words() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|row| row.0)
}
