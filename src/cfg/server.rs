//! Settings of `server`, `default-server` and `server-template` lines.

mod known;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::address::Address;
use super::code;
use super::diagnostic::Diagnostic;
use super::environment::Environment;
use super::keywords::{self, Arity, SERVER, ServerKeyword};
use super::model::ServerSettings;
use super::time;
pub(super) use known::KnownSettings;

/// The most servers that one `server-template` may create here.
const MAX_TEMPLATE: u32 = 65_536;

/// The settings of a server, without its name and address. `default-server` lines change a copy from which later
/// servers start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    server: ServerSettings,
    /// Whether `send-proxy` is set. Version 2 of the protocol has its own keywords, with their own `no-` forms.
    proxy_v1: bool,
    proxy_v2: bool,
}

/// The kind of line that contains the settings.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum LineKind {
    Server,
    DefaultServer,
}

impl Settings {
    /// Returns the settings in their final form.
    pub fn finish(self) -> ServerSettings {
        ServerSettings { send_proxy: self.proxy_v1 || self.proxy_v2, ..self.server }
    }

    /// Reads the settings from word `first` on. Each finding comes with the index of its word.
    pub fn read(
        &mut self,
        words: &[Cow<'_, str>],
        first: usize,
        line: LineKind,
        environment: &Environment,
    ) -> Vec<(usize, Diagnostic)> {
        let mut findings = Vec::new();
        let mut at = first;
        while let Some(word) = words.get(at) {
            let Some(keyword) = keywords::server(word) else {
                findings.push((at, unknown(word)));
                // The next words may be values of this one: a finding for each of them would hide the cause.
                return findings;
            };
            let rest = &words[at + 1..];
            let values = &rest[..keyword.arity.values(rest, |word, keyword| word == keyword)];
            for word in std::iter::once(word).chain(values) {
                self.server.written.0.push_str(word);
                self.server.written.0.push('\n');
            }
            let value = values.first().map(|value| &**value);
            let refused = refused(keyword, word, value, line, environment)
                .or_else(|| self.set(word, value, environment).err());
            if let Some(finding) = refused {
                let points_at_value = finding.points_at_value && !values.is_empty();
                findings.push((at + usize::from(points_at_value), finding.finding));
            }
            at += 1 + values.len();
        }
        findings
    }

    fn set(
        &mut self,
        word: &str,
        value: Option<&str>,
        environment: &Environment,
    ) -> Result<(), RefusedSetting> {
        if self.set_flag(word) {
            return Ok(());
        }
        let server = &mut self.server;
        let text = || value.map(str::to_owned).ok_or_else(|| missing(word));
        if let Some(setting) = text_setting(server, word) {
            *setting = Some(text()?);
            return Ok(());
        }
        match word {
            "crt" => server.has_client_certificate = true,
            "init-addr" => server.init_addr = value.map(str::to_owned),
            "resolvers" => server.has_resolvers = value.is_some(),
            "weight" => {
                let (weight, doubt) = number(word, value, 0..=256)?;
                server.weight = weight;
                return doubt;
            }
            "maxconn" => {
                let (limit, doubt) = loose_number(word, value, u32::MAX);
                server.maxconn = (limit > 0).then_some(limit);
                return doubt;
            }
            "rise" => return put(&mut server.rise, number(word, value, 1..=u32::MAX)?),
            "fall" => return put(&mut server.fall, number(word, value, 1..=u32::MAX)?),
            "port" => {
                let (port, doubt) = loose_number(word, value, u16::MAX.into());
                server.check_port = u16::try_from(port).ok().filter(|port| *port > 0);
                return doubt;
            }
            "inter" => return put(&mut server.inter, positive_time(word, &text()?)?),
            "fastinter" => return put(&mut server.fastinter, positive_time(word, &text()?)?),
            "downinter" => return put(&mut server.downinter, positive_time(word, &text()?)?),
            "slowstart" => return put(&mut server.slowstart, any_time(word, &text()?)?),
            "agent-inter" => return positive_time(word, &text()?)?.1,
            "pool-purge-delay" | "idle-ping" => return any_time(word, &text()?)?.1,
            "addr" => {
                let address = text()?;
                let parsed = Address::parse(&address, environment);
                let refuse = |error| bad_value(code::SERVER_ADDRESS, format!("`addr {address}`: {error}"));
                server.check_address = Some(parsed.map_err(refuse)?);
            }
            "verify" | "init-state" | "observe" | "on-marked-down" | "on-marked-up" => {
                choose(server, word, &text()?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Turns a setting without a value on or off. Returns whether the keyword is such a setting.
    fn set_flag(&mut self, word: &str) -> bool {
        let server = &mut self.server;
        match word {
            "backup" => server.backup = true,
            "no-backup" => server.backup = false,
            "check" => server.check = true,
            "no-check" => server.check = false,
            "agent-check" => server.agent_check = true,
            "no-agent-check" => server.agent_check = false,
            "disabled" => server.disabled = true,
            "enabled" => server.disabled = false,
            "ssl" => server.ssl = true,
            "no-ssl" => server.ssl = false,
            "check-ssl" => server.check_ssl = Some(true),
            "no-check-ssl" => server.check_ssl = Some(false),
            "check-send-proxy" => server.check_send_proxy = true,
            "no-check-send-proxy" => server.check_send_proxy = false,
            "send-proxy" => self.proxy_v1 = true,
            "no-send-proxy" => self.proxy_v1 = false,
            "send-proxy-v2" | "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => self.proxy_v2 = true,
            "no-send-proxy-v2" | "no-send-proxy-v2-ssl" | "no-send-proxy-v2-ssl-cn" => self.proxy_v2 = false,
            _ => return false,
        }
        true
    }
}

/// Returns the setting that takes the keyword's value as it is.
fn text_setting<'a>(server: &'a mut ServerSettings, word: &str) -> Option<&'a mut Option<String>> {
    Some(match word {
        "cookie" => &mut server.cookie,
        "track" => &mut server.track,
        "proto" => &mut server.proto,
        "alpn" => &mut server.alpn,
        "check-sni" => &mut server.check_sni,
        "check-alpn" => &mut server.check_alpn,
        "check-proto" => &mut server.check_proto,
        "namespace" => &mut server.namespace,
        "socks4" => &mut server.socks4,
        "healthcheck" => &mut server.healthcheck,
        "agent-addr" => &mut server.agent_place[0],
        "agent-port" => &mut server.agent_place[1],
        _ => return None,
    })
}

/// Applies a setting that takes one of a few words.
fn choose(server: &mut ServerSettings, word: &str, value: &str) -> Result<(), RefusedSetting> {
    match word {
        "verify" => server.verify = Some(one_of(word, value, &["none", "required"])? == "required"),
        "init-state" => {
            let known = ["up", "down", "fully-up", "fully-down"];
            server.init_state = Some(one_of(word, value, &known)?.to_owned());
        }
        "on-marked-down" => {
            one_of(word, value, &["shutdown-sessions"])?;
            server.cuts_sessions_when_down = true;
        }
        "on-marked-up" => {
            one_of(word, value, &["shutdown-backup-sessions"])?;
            server.cuts_backup_sessions_when_up = true;
        }
        "observe" => drop(one_of(word, value, &["none", "layer4", "layer7"])?),
        _ => {}
    }
    Ok(())
}

/// A finding about a setting, which points at its value or at its keyword.
struct RefusedSetting {
    finding: Diagnostic,
    points_at_value: bool,
}

fn bad_value(code: &'static str, message: String) -> RefusedSetting {
    RefusedSetting { finding: Diagnostic::error(code, message).label("this value"), points_at_value: true }
}

fn missing(word: &str) -> RefusedSetting {
    let finding = Diagnostic::error(code::SERVER_VALUE, format!("`{word}` is missing its value"));
    RefusedSetting { finding, points_at_value: false }
}

fn unknown(word: &str) -> Diagnostic {
    let nearest = keywords::nearest(word, SERVER.iter().map(|keyword| keyword.word));
    let finding = Diagnostic::error(code::SERVER_KEYWORD, format!("unknown server setting `{word}`"));
    if time::is_unit(word) {
        return finding.help(time::ONE_WORD);
    }
    finding.label("unknown").suggest(nearest)
}

/// The settings with a value that may be missing at the end of a line: `HAProxy` accepts that.
const NEEDS_NO_VALUE: &[&str] =
    &["weight", "maxconn", "minconn", "maxqueue", "init-addr", "resolve-opts", "set-proxy-v2-tlv-fmt"];

/// Returns a finding if the setting is not allowed on this line in this form.
fn refused(
    keyword: &ServerKeyword,
    word: &str,
    value: Option<&str>,
    line: LineKind,
    environment: &Environment,
) -> Option<RefusedSetting> {
    let takes_a_value = matches!(keyword.arity, Arity::One | Arity::Source);
    let finding = if keyword.arity == Arity::InsideSource {
        Diagnostic::error(code::SERVER_KEYWORD, format!("`{word}` is only allowed after `source ADDRESS`"))
    } else if keyword.absent_in.is_some_and(|absent| environment.version <= absent) {
        let message = format!("HAProxy {} does not know the setting `{word}`", environment.version);
        Diagnostic::error(code::SERVER_KEYWORD, message).help("to read the file as another version, use --as")
    } else if line == LineKind::DefaultServer && !keyword.in_default_server {
        let message = format!("`{word}` has no effect in `default-server`");
        Diagnostic::warning(code::NOT_IN_DEFAULT_SERVER, message)
    } else if takes_a_value && value.is_none() && !NEEDS_NO_VALUE.contains(&keyword.word) {
        return Some(missing(word));
    } else {
        return None;
    };
    Some(RefusedSetting { finding, points_at_value: false })
}

/// A value, with a warning if the value is doubtful.
type Read<T> = (T, Result<(), RefusedSetting>);

/// Stores a value, and returns the warning about it.
fn put<T>(place: &mut Option<T>, (value, doubt): Read<T>) -> Result<(), RefusedSetting> {
    *place = Some(value);
    doubt
}

/// Reads a number in a range, like C's `atol()`: the digits at the start count, and a word without any is 0.
fn number(word: &str, text: Option<&str>, range: RangeInclusive<u32>) -> Result<Read<u32>, RefusedSetting> {
    let shown = text.unwrap_or_default();
    let digits = shown.bytes().take_while(u8::is_ascii_digit).count();
    let read = if digits == 0 && !shown.starts_with('-') { Ok(0) } else { shown[..digits].parse() };
    let Some(read) = read.ok().filter(|number| range.contains(number)) else {
        let (low, high) = (range.start(), range.end());
        let limits = if *high == u32::MAX { format!("at least {low}") } else { format!("{low} to {high}") };
        let setting = format!("{word} {shown}");
        let message = format!("invalid `{}`: expected {limits}", setting.trim_end());
        return Err(bad_value(code::SERVER_VALUE, message));
    };
    let doubt = if digits > 0 && digits == shown.len() { Ok(()) } else { Err(doubtful(word, text, read)) };
    Ok((read, doubt))
}

/// Reads a number whose range `HAProxy` does not check either. A number out of range is 0 here.
fn loose_number(word: &str, text: Option<&str>, high: u32) -> Read<u32> {
    number(word, text, 0..=high).unwrap_or_else(|_| (0, Err(doubtful(word, text, 0))))
}

fn doubtful(word: &str, text: Option<&str>, read: u32) -> RefusedSetting {
    let message = match text {
        Some(text) => format!("`{word}` expects a number; `{text}` counts as {read}"),
        None => format!("`{word}` expects a number; without one it is {read}"),
    };
    RefusedSetting { finding: Diagnostic::warning(code::NOT_A_NUMBER, message), points_at_value: true }
}

fn any_time(word: &str, text: &str) -> Result<Read<Duration>, RefusedSetting> {
    let read = time::read(text)
        .map_err(|error| bad_value(code::TIME, format!("invalid `{word} {text}`: {error}")))?;
    let doubt = read.doubt(word, text).map(|finding| RefusedSetting { finding, points_at_value: true });
    Ok((read.length, doubt.map_or(Ok(()), Err)))
}

fn positive_time(word: &str, text: &str) -> Result<Read<Duration>, RefusedSetting> {
    let (time, doubt) = any_time(word, text)?;
    if time.is_zero() {
        return Err(bad_value(code::TIME, format!("`{word}` cannot be 0")));
    }
    Ok((time, doubt))
}

fn one_of<'t>(word: &str, text: &'t str, known: &[&str]) -> Result<&'t str, RefusedSetting> {
    if known.contains(&text) {
        return Ok(text);
    }
    let message = format!("invalid `{word} {text}`: expected {}", known.join(" or "));
    Err(bad_value(code::SERVER_VALUE, message))
}

/// Returns the numbers of a `server-template`: `3` is 1 to 3, `2-4` is 2 to 4.
pub(super) fn template_numbers(text: &str) -> Option<RangeInclusive<u32>> {
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (low.parse().ok()?, high.parse().ok()?),
        None => (1, text.parse().ok()?),
    };
    (low >= 1 && low <= high && high - low < MAX_TEMPLATE).then_some(low..=high)
}
