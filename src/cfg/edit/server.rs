//! Edits of single servers: changes one setting, adds or removes one line.

use std::ops::Range;

use super::super::document::{Document, Ending, Line};
use super::super::keywords;
use super::super::syntax::Word;
use super::section::{FoundSection, find};
use super::{Edit, EditError, full_span, line_end, written};

/// A setting on a line: the range of its keyword and values among the words.
struct Setting {
    words: Range<usize>,
}

impl Document {
    /// Sets a setting of a server: `["weight", "10"]`, `["backup"]`. Returns no edit if the server already
    /// has it.
    ///
    /// # Errors
    /// Fails if there is no such line, or if the words cannot be written.
    pub fn set_setting(
        &self,
        backend: &str,
        server: &str,
        setting: &[&str],
    ) -> Result<Option<Edit>, EditError> {
        let (found, line) = self.server_line(backend, server)?;
        let Some((keyword, values)) = setting.split_first() else { return Ok(None) };
        let opposite = opposite(keyword);
        let words: Vec<Word<'_>> = line.words().collect();
        let last = settings(&words)?
            .into_iter()
            .rfind(|at| words[at.words.start].is(keyword) || words[at.words.start].is(&opposite));
        let file = found.index;
        let added = || {
            let end = words.last().map_or(line.span().end, |word| word.span.end);
            Ok(Some(Edit { file, span: end..end, text: format!(" {}", written(setting)?).into_bytes() }))
        };
        // The last one wins, so after its opposite the setting must be written once more.
        let Some(at) = last.filter(|at| words[at.words.start].is(keyword)) else { return added() };
        let old = &words[at.words.start + 1..at.words.end];
        if old.iter().map(|word| word.bytes).eq(values.iter().map(|value| value.as_bytes())) {
            return Ok(None);
        }
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return added() };
        unshared(&words, at.words.clone(), line)?;
        let text = written(values)?.into_bytes();
        Ok(Some(Edit { file, span: first.span.start..last.span.end, text }))
    }

    /// Removes every occurrence of a setting of a server.
    ///
    /// # Errors
    /// Fails if there is no such line, or if a variable expands to several of its words.
    pub fn remove_setting(&self, backend: &str, server: &str, keyword: &str) -> Result<Vec<Edit>, EditError> {
        let (found, line) = self.server_line(backend, server)?;
        let words: Vec<Word<'_>> = line.words().collect();
        let mut edits = Vec::new();
        for at in settings(&words)?.into_iter().filter(|at| words[at.words.start].is(keyword)) {
            unshared(&words, at.words.clone(), line)?;
            let span = words[at.words.start - 1].span.end..words[at.words.end - 1].span.end;
            edits.push(Edit { file: found.index, span, text: Vec::new() });
        }
        Ok(edits)
    }

    /// Adds a server after the last one of its section.
    ///
    /// # Errors
    /// Fails if there is no such section, if the name is taken, or if the words cannot be written.
    pub fn add_server(
        &self,
        backend: &str,
        server: &str,
        address: &str,
        settings: &[&str],
    ) -> Result<Edit, EditError> {
        let found = self.section_with_servers(backend)?;
        if self.server_line(backend, server).is_ok() {
            return Err(EditError::ServerExists { backend: backend.to_owned(), server: server.to_owned() });
        }
        let is_server = |line: &&Line<'_>| line.word(0).is_some_and(|word| word.is("server"));
        let before = found.lines.iter().rfind(is_server).or(found.lines.last()).copied();
        let (end, indentation) = (line_end(found.file), found.indentation());
        let words: Vec<&str> =
            ["server", server, address].into_iter().chain(settings.iter().copied()).collect();
        let line = [indentation, written(&words)?.as_bytes(), end].concat();
        let at = before.map_or(0, |line| full_span(line).end);
        let unended = before.is_some_and(|line| line.ending() == Ending::None);
        let text = if unended { [end, &line].concat() } else { line };
        Ok(Edit { file: found.index, span: at..at, text })
    }

    /// Removes a server together with its line.
    ///
    /// # Errors
    /// Fails if there is no such line.
    pub fn remove_server(&self, backend: &str, server: &str) -> Result<Edit, EditError> {
        let (found, line) = self.server_line(backend, server)?;
        Ok(Edit { file: found.index, span: full_span(line), text: Vec::new() })
    }

    fn section_with_servers(&self, backend: &str) -> Result<FoundSection<'_>, EditError> {
        find(self, "backend", backend).or_else(|error| find(self, "listen", backend).map_err(|_| error))
    }

    fn server_line(&self, backend: &str, server: &str) -> Result<(FoundSection<'_>, Line<'_>), EditError> {
        let found = self.section_with_servers(backend)?;
        let is_it = |line: &Line<'_>| {
            let is = |index, text| line.word(index).is_some_and(|word: Word<'_>| word.is(text));
            line.is_active() && is(0, "server") && is(1, server)
        };
        let line = found.lines.iter().copied().find(is_it);
        let missing = || EditError::NoServer { backend: backend.to_owned(), server: server.to_owned() };
        line.ok_or_else(missing).map(|line| (found, line))
    }
}

/// Returns the settings of a line, each with its values.
fn settings(words: &[Word<'_>]) -> Result<Vec<Setting>, EditError> {
    let mut all = Vec::new();
    let mut at = 3;
    while let Some(word) = words.get(at) {
        let keyword =
            keywords::server(&word.text()).ok_or_else(|| EditError::NoSetting(word.text().into_owned()))?;
        let end = at + 1 + keyword.arity.values(&words[at + 1..], Word::is);
        all.push(Setting { words: at..end });
        at = end;
    }
    Ok(all)
}

fn opposite(keyword: &str) -> String {
    match keyword {
        "disabled" => "enabled".to_owned(),
        "enabled" => "disabled".to_owned(),
        _ => keyword.strip_prefix("no-").map_or_else(|| format!("no-{keyword}"), str::to_owned),
    }
}

/// Checks that no changed word shares its place with another one: all words of one `"${NAME[*]}"` have the
/// same place.
fn unshared(words: &[Word<'_>], changed: Range<usize>, line: Line<'_>) -> Result<(), EditError> {
    let shared = words.windows(2).enumerate().any(|(index, pair)| {
        let touches = changed.contains(&index) || changed.contains(&(index + 1));
        touches && pair[0].span.start == pair[1].span.start
    });
    if shared { Err(EditError::Shared { line: line.number() }) } else { Ok(()) }
}
