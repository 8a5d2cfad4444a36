//! The templates for files about a run, and their common escaping.

use std::io::Write;

use serde::Serialize;
use tera::{Context, Tera};

use crate::model::sanitize;

/// A template for a file about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// GitHub's step summary. It is HTML without empty lines, which Markdown passes through unchanged.
    StepSummary,
    /// A test report for tools that read JUnit XML.
    Junit,
    /// A page about a run.
    Report,
}

impl Template {
    const ALL: [Self; 3] = [Self::StepSummary, Self::Junit, Self::Report];

    fn name(self) -> &'static str {
        match self {
            Self::StepSummary => "step_summary.md.tera",
            Self::Junit => "junit.xml.tera",
            Self::Report => "report.html.tera",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::StepSummary => include_str!("../../templates/step_summary.md.tera"),
            Self::Junit => include_str!("../../templates/junit.xml.tera"),
            Self::Report => include_str!("../../templates/report.html.tera"),
        }
    }

    /// Fills the template, and escapes every value for HTML and XML.
    pub fn fill(self, values: &impl Serialize) -> tera::TeraResult<String> {
        let mut tera = Tera::new();
        // Only the templates named here are escaped; the engine's default list does not include `.tera`.
        tera.autoescape_on(Self::ALL.map(Self::name).to_vec());
        tera.set_escape_fn(escape);
        tera.add_raw_template(self.name(), self.text())?;
        tera.render(self.name(), &Context::from_serialize(values)?)
    }
}

/// Escapes a text for HTML, XML and a line of Markdown. A line feed is kept, but does not end a block.
fn escape(text: &str, out: &mut dyn Write) -> std::io::Result<()> {
    for letter in text.chars() {
        match letter {
            '&' => out.write_all(b"&amp;")?,
            '<' => out.write_all(b"&lt;")?,
            '>' => out.write_all(b"&gt;")?,
            '"' => out.write_all(b"&quot;")?,
            '\'' => out.write_all(b"&#39;")?,
            '\n' => out.write_all(b"&#10;")?,
            '\t' => out.write_all(b"&#9;")?,
            // XML cannot represent most of these characters, and a page should show text in its stored order.
            letter if sanitize::is_unsafe(letter) || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.write_all("\u{fffd}".as_bytes())?;
            }
            letter => write!(out, "{letter}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_leaves_its_place() {
        let mut out = Vec::new();
        escape("</pre><script>alert('\"&')</script>\n\t\r\0\u{1b}[31m é", &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @"&lt;/pre&gt;&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;&#10;&#9;\u{fffd}\u{fffd}\u{fffd}[31m é");
    }
}
