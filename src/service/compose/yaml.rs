//! Parsing of YAML to a tree with resolved anchors, aliases and merge keys. Scalars keep their text as written.
//!
//! An alias shares the node that it refers to. The size of the tree with all aliases expanded is limited, so that a
//! small file cannot become a big one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

/// The maximum nesting depth of lists and mappings.
const DEEPEST: usize = 64;

/// The maximum size of a file with all aliases expanded: its bytes plus one for each value.
const HEAVIEST: usize = 8 << 20;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Scalar(Rc<Scalar>),
    List(Rc<Vec<Node>>),
    Map(Rc<Map>),
}

/// A mapping with resolved merge keys.
pub(super) type Map = BTreeMap<String, Node>;

/// A scalar, whose text may represent another type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub text: String,
    /// Whether the scalar has no quotes, and so may be a number, a boolean or null.
    pub is_plain: bool,
}

impl Node {
    /// Returns the mapping, if the node is one.
    pub(super) fn map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    /// Returns whether the node is null.
    pub(super) fn is_null(&self) -> bool {
        match self {
            Self::Scalar(it) => it.is_plain && ["", "~", "null", "Null", "NULL"].contains(&it.text.as_str()),
            Self::List(_) | Self::Map(_) => false,
        }
    }
}

/// The error for a text that cannot be parsed, with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    /// The line number, from 1.
    pub line: usize,
    pub problem: YamlProblem,
}

/// A problem of a YAML text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlProblem {
    /// A syntax error, with the parser's message, which repeats nothing of the text.
    #[error("invalid YAML: {0}")]
    Syntax(String),
    #[error("expected one document, but a second one starts here: remove it")]
    Documents,
    #[error("a list or a mapping cannot be a key: use a string")]
    Key,
    #[error("duplicate key `{}`: remove one", .0.escape_debug())]
    Twice(String),
    #[error("unsupported tag `{}`: remove it", .0.escape_debug())]
    Tag(String),
    #[error("an alias refers to a node that contains it: write the value out")]
    Endless,
    #[error("invalid `<<`: expected a mapping or a list of mappings")]
    Merge,
    #[error("lists and mappings are nested more than {DEEPEST} levels deep: simplify them")]
    Deep,
    #[error("the file is too big with its aliases expanded: use fewer aliases")]
    Heavy,
}

/// Parses a text. A text without any value is an empty mapping.
pub(super) fn read(text: &str) -> Result<Node, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            problem: YamlProblem::Syntax(error.info().to_owned()),
        })?;
        let line = span.start.line();
        builder.take(event).map_err(|problem| YamlError { line, problem })?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::Map(Rc::default())))
}

/// A complete node.
#[derive(Clone)]
struct Built {
    node: Node,
    weight: usize,
    depth: usize,
}

/// An incomplete list or mapping.
struct Open {
    anchor: usize,
    weight: usize,
    depth: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map { entries: Map, merged: Vec<Node>, key: Option<Key> },
}

enum Key {
    Text(String),
    Merge,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Built>,
    documents: usize,
    weight: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), YamlProblem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.documents > 0 => Err(YamlProblem::Documents),
            Event::DocumentStart(_) => {
                self.documents += 1;
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                collection(tag.as_deref(), "seq")?;
                self.open(anchor, Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                collection(tag.as_deref(), "map")?;
                self.open(anchor, Kind::Map { entries: Map::new(), merged: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(open),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let built = self.anchors.get(&anchor).cloned().ok_or(YamlProblem::Endless)?;
                self.weigh(built.weight)?;
                self.place(built)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = is_plain(style, tag.as_deref())?;
                let weight = text.len() + 1;
                self.weigh(weight)?;
                let node = Node::Scalar(Rc::new(Scalar { text: text.into_owned(), is_plain }));
                self.finish(anchor, Built { node, weight, depth: 0 })
            }
        }
    }

    fn weigh(&mut self, weight: usize) -> Result<(), YamlProblem> {
        self.weight += weight;
        if self.weight > HEAVIEST { Err(YamlProblem::Heavy) } else { Ok(()) }
    }

    fn open(&mut self, anchor: usize, kind: Kind) -> Result<(), YamlProblem> {
        self.weigh(1)?;
        if self.open.len() >= DEEPEST {
            return Err(YamlProblem::Deep);
        }
        self.open.push(Open { anchor, weight: 1, depth: 1, kind });
        Ok(())
    }

    fn close(&mut self, open: Open) -> Result<(), YamlProblem> {
        let node = match open.kind {
            Kind::List(items) => Node::List(Rc::new(items)),
            Kind::Map { entries, merged, .. } => Node::Map(Rc::new(merge(entries, &merged))),
        };
        self.finish(open.anchor, Built { node, weight: open.weight, depth: open.depth })
    }

    fn finish(&mut self, anchor: usize, built: Built) -> Result<(), YamlProblem> {
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        self.place(built)
    }

    /// Adds a node to the innermost open list or mapping, as an entry, a key or a value.
    fn place(&mut self, built: Built) -> Result<(), YamlProblem> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        open.weight += built.weight;
        open.depth = open.depth.max(built.depth + 1);
        if open.depth > DEEPEST {
            return Err(YamlProblem::Deep);
        }
        match &mut open.kind {
            Kind::List(items) => items.push(built.node),
            Kind::Map { entries, merged, key } => match key.take() {
                None => *key = Some(as_key(&built.node)?),
                Some(Key::Merge) => merged.extend(mappings(built.node)?),
                Some(Key::Text(text)) if entries.contains_key(&text) => return Err(YamlProblem::Twice(text)),
                Some(Key::Text(text)) => {
                    entries.insert(text, built.node);
                }
            },
        }
        Ok(())
    }
}

fn as_key(node: &Node) -> Result<Key, YamlProblem> {
    match node {
        Node::Scalar(it) if it.is_plain && it.text == "<<" => Ok(Key::Merge),
        Node::Scalar(it) => Ok(Key::Text(it.text.clone())),
        Node::List(_) | Node::Map(_) => Err(YamlProblem::Key),
    }
}

/// Returns the mappings after `<<`.
fn mappings(node: Node) -> Result<Vec<Node>, YamlProblem> {
    let named = match node {
        Node::List(items) => items.to_vec(),
        Node::Map(_) | Node::Scalar(_) => vec![node],
    };
    if named.iter().all(|it| it.map().is_some()) { Ok(named) } else { Err(YamlProblem::Merge) }
}

/// Merges mappings into the entries. The mapping's own keys take precedence, and then earlier mappings.
fn merge(mut entries: Map, merged: &[Node]) -> Map {
    for (key, node) in merged.iter().filter_map(Node::map).flatten() {
        if !entries.contains_key(key) {
            entries.insert(key.clone(), node.clone());
        }
    }
    entries
}

fn collection(tag: Option<&Tag>, kind: &str) -> Result<(), YamlProblem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() || tag.suffix != kind => {
            Err(YamlProblem::Tag(tag.to_string()))
        }
        _ => Ok(()),
    }
}

fn is_plain(style: ScalarStyle, tag: Option<&Tag>) -> Result<bool, YamlProblem> {
    match tag {
        None => Ok(style == ScalarStyle::Plain),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(false),
        Some(tag) => Err(YamlProblem::Tag(tag.to_string())),
    }
}
