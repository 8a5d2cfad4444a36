//! The meaning of text without quotes, as Compose's YAML parser reads it.

/// Returns the boolean that Compose reads where it expects one.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// Returns the integer that YAML reads: `8080`, `0o644`, `0644`, `0x1f`, `1_000`.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        Some(octal) if octal.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    let is_plain = digits.bytes().all(|it| it.is_ascii_alphanumeric());
    is_plain.then(|| i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()).flatten()
}

/// Returns whether Compose would change a text without quotes: `1.10` to `1.1`, `0123` to `83`, `True` to `true`.
pub(super) fn is_rewritten(text: &str) -> bool {
    if ["True", "TRUE", "False", "FALSE"].contains(&text) {
        return true;
    }
    if text.chars().all(|it| it.is_ascii_digit()) && !text.is_empty() {
        return text.parse::<u64>().map_or(true, |number| number.to_string() != text);
    }
    if let Some(number) = parse_integer(text) {
        return number.to_string() != text;
    }
    if !is_fraction(text) {
        return false;
    }
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    // Compose writes small numbers with an exponent.
    number.to_string() != text || number.abs() < 1e-4
}

/// Returns whether YAML reads a floating-point number: `1.5`, `.5`, `1e3`, `.inf`.
fn is_fraction(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&text) {
        return true;
    }
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let are_digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    let is_empty = (whole.is_empty() && part.is_empty()) || exponent.is_empty();
    !is_empty && are_digits(whole) && are_digits(part) && are_digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_are_read_as_in_yaml() {
        for (text, number) in [
            ("8080", 8080),
            ("-1", -1),
            ("+1", 1),
            ("0", 0),
            ("0o17", 15),
            ("017", 15),
            ("0x1f", 31),
            ("1_000", 1000),
        ] {
            assert_eq!(parse_integer(text), Some(number), "{text}");
        }
        for text in ["", "-", "x", "1.0", "08", "--1", "0x", "0x-1", "0o+1", "99999999999999999999", "é"] {
            assert_eq!(parse_integer(text), None, "{text}");
        }
        assert_eq!(
            [parse_bool("yes"), parse_bool("False"), parse_bool("maybe")],
            [Some(true), Some(false), None]
        );
    }

    #[test]
    fn texts_that_compose_would_change_are_detected() {
        for text in
            ["1.10", "1.0", ".5", "0123", "0x10", "1_000", "+1", "1e3", "0.00001", "True", ".inf", "1."]
        {
            assert!(is_rewritten(text), "{text}");
        }
        for text in [
            "1.1",
            "0.5",
            "-2.25",
            "123",
            "0",
            "true",
            "yes",
            "1.2.3",
            "10.0.0.1",
            "v1",
            "",
            "-",
            ".",
            "08",
            "e3",
            "18446744073709551615",
        ] {
            assert_eq!(is_rewritten(text), text == "08", "{text}");
        }
    }
}
