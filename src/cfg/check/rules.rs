//! Lines of a section that define its check, and how `HAProxy` combines them.
//!
//! Confirmed by the requests that `HAProxy` 2.6 sends: `option httpchk` and the first `http-check send` form one
//! request, in which the later line wins word by word. A section with its own check lines inherits no rules from
//! its `defaults`.

use std::borrow::Cow;

use super::super::code;
use super::super::diagnostic::Diagnostic;
use super::super::version::Version;
use super::connect::connect;
use super::send::Request;
use super::{CheckConnect, CheckRequest, CheckStep, Expect, HealthCheck, HttpCheck};

/// The kind of check that the last `option …chk` selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    None,
    Tcp,
    Http,
    Other(String),
}

/// A line that is a step of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Connect(CheckConnect),
    Send {
        request: Request,
        /// Whether only `option httpchk` has set the request so far.
        from_option: bool,
    },
    Expect(Expect),
}

/// The check lines so far, which sections inherit from `defaults`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword of the section, present or not")]
pub(in crate::cfg) struct CheckRules {
    kind: Kind,
    rules: Vec<Rule>,
    /// Whether the rules come from `defaults`: the section's own first line replaces them.
    inherited: bool,
    /// Whether there are `tcp-check` lines.
    has_tcp_rules: bool,
    send_state: bool,
    disable_on_404: bool,
}

impl CheckRules {
    /// Returns these rules as a section inherits them.
    pub fn inherit(&self) -> Self {
        Self { inherited: true, ..self.clone() }
    }

    /// Applies `option httpchk …`, `option tcp-check` and other check options. The last one wins.
    pub fn choose(
        &mut self,
        option: &str,
        arguments: &[Cow<'_, str>],
        version: Version,
    ) -> Result<(), String> {
        self.kind = match option {
            "httpchk" => Kind::Http,
            "tcp-check" => Kind::Tcp,
            other => Kind::Other(other.to_owned()),
        };
        if self.kind == Kind::Http {
            self.own();
            let request = Request::from_option(arguments, version);
            self.add_option(request.clone().unwrap_or_default());
            return request.map(drop);
        }
        Ok(())
    }

    /// Applies an `http-check` line, given the words after the keyword.
    pub fn add(&mut self, words: &[Cow<'_, str>]) -> Result<(), String> {
        let Some((verb, arguments)) = words.split_first() else {
            return Err("`http-check` is missing its action: send, expect, connect, …".to_owned());
        };
        match &**verb {
            "send" => {
                let request = Request::from_send(arguments)?;
                self.own();
                self.add_send(request)
            }
            "expect" => {
                let expect = Expect::parse(arguments)?;
                self.own();
                self.rules.push(Rule::Expect(expect));
                Ok(())
            }
            "connect" => {
                self.own();
                self.add_connect(connect(arguments))
            }
            "send-state" => {
                self.send_state = true;
                Ok(())
            }
            "disable-on-404" => {
                self.disable_on_404 = true;
                Ok(())
            }
            "comment" => Ok(()),
            // Variables only affect log-format expressions, which stay unevaluated.
            _ if verb.starts_with("set-var") || verb.starts_with("unset-var") => Ok(()),
            _ => Err(format!(
                "unknown action `{verb}` in `http-check`: expected send, expect, connect, send-state, disable-on-404, set-var or unset-var"
            )),
        }
    }

    /// Applies a `tcp-check` line, whatever its words.
    pub fn add_tcp(&mut self) {
        self.has_tcp_rules = true;
    }

    /// Drops inherited rules: a section with its own line inherits none.
    fn own(&mut self) {
        if std::mem::take(&mut self.inherited) {
            self.rules.clear();
        }
    }

    fn add_option(&mut self, option: Request) {
        let first = usize::from(matches!(self.rules.first(), Some(Rule::Connect(_))));
        match self.rules.get_mut(first) {
            Some(Rule::Send { request, from_option: true }) => *request = option,
            Some(Rule::Send { request, from_option: false }) => *request = request.overlaid(&option),
            Some(Rule::Connect(_) | Rule::Expect(_)) | None => {
                self.rules.insert(first, Rule::Send { request: option, from_option: true });
            }
        }
    }

    fn add_send(&mut self, send: Request) -> Result<(), String> {
        match self.rules.last_mut() {
            Some(Rule::Send { request, from_option: from_option @ true }) => {
                *request = request.overlaid(&send);
                *from_option = false;
            }
            None | Some(Rule::Connect(_)) => {
                self.rules.push(Rule::Send { request: send, from_option: false });
            }
            Some(Rule::Send { .. } | Rule::Expect(_)) => {
                return Err("`http-check send` needs an `http-check connect` before it, or must come first"
                    .to_owned());
            }
        }
        Ok(())
    }

    fn add_connect(&mut self, connect: CheckConnect) -> Result<(), String> {
        match self.rules.as_slice() {
            [Rule::Send { from_option: true, .. }] => self.rules.insert(0, Rule::Connect(connect)),
            [] | [Rule::Connect(_), ..] => self.rules.push(Rule::Connect(connect)),
            [Rule::Send { .. } | Rule::Expect(_), ..] => {
                return Err("a check with `http-check connect` must start with one".to_owned());
            }
        }
        Ok(())
    }

    /// Returns a warning about the rules as a whole.
    pub fn lint(&self) -> Option<Diagnostic> {
        let is_option = |rule: &Rule| matches!(rule, Rule::Send { from_option: true, .. });
        if self.inherited || self.rules.iter().all(is_option) {
            return None;
        }
        let sends = self.rules.iter().any(|rule| matches!(rule, Rule::Send { .. }));
        if self.kind != Kind::Http {
            let message = "the `http-check` lines of this section have no effect without `option httpchk`";
            Some(Diagnostic::warning(code::UNUSED_CHECK, message))
        } else if !sends {
            let message = "the health check of this section sends no request";
            let help = "its own `http-check` lines replace those of `defaults`: repeat `option httpchk` here";
            Some(Diagnostic::warning(code::CHECK_WITHOUT_REQUEST, message).help(help))
        } else {
            None
        }
    }

    /// Returns the resulting check.
    pub fn build(&self) -> HealthCheck {
        match &self.kind {
            Kind::None => HealthCheck::None,
            Kind::Tcp => HealthCheck::TcpCheck { has_rules: self.has_tcp_rules },
            Kind::Http => HealthCheck::Http(self.http()),
            Kind::Other(option) => HealthCheck::Other(option.clone()),
        }
    }

    fn http(&self) -> HttpCheck {
        let (send_state, disable_on_404) = (self.send_state, self.disable_on_404);
        let mut request = None;
        let mut expect = Vec::new();
        let mut sequence = Vec::new();
        for rule in &self.rules {
            sequence.push(match rule {
                Rule::Connect(connect) => CheckStep::Connect(connect.clone()),
                Rule::Send { request: said, .. } => {
                    let said = said.clone().completed();
                    request.get_or_insert_with(|| said.clone());
                    CheckStep::Send(said)
                }
                Rule::Expect(said) => {
                    expect.push(said.clone());
                    CheckStep::Expect(said.clone())
                }
            });
        }
        if !sequence.iter().any(|step| matches!(step, CheckStep::Connect(_))) {
            sequence.clear();
        }
        let CheckRequest { method, uri, is_computed, version, headers, body } = request.unwrap_or_default();
        HttpCheck {
            method,
            uri,
            is_computed,
            version,
            headers,
            body,
            expect,
            send_state,
            disable_on_404,
            sequence,
        }
    }
}
