//! The codes of all problems. They appear in reports, so their meaning never changes.

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)*

        /// Every code with its meaning, in the order of this file.
        pub const ALL: &[(&str, &str)] = &[$(($name, $meaning)),*];
    };
}

codes! {
    UNMATCHED_QUOTE = "cfg::unmatched-quote", "A quote is opened and never closed on its line.";
    UNMATCHED_BRACE = "cfg::unmatched-brace", "`${` has no matching `}`, or contains something that this version does not support.";
    VARIABLE_NAME = "cfg::variable-name", "`$` inside double quotes is not followed by a valid variable name.";
    HEXADECIMAL = "cfg::hexadecimal", "`\\x` is not followed by two hexadecimal digits.";
    WORD_EXPANSION = "cfg::word-expansion", "`${NAME[` is not followed by `*]}`.";
    TOO_MANY_WORDS = "cfg::too-many-words", "A line has more than 64 words.";
    TOO_LONG = "cfg::too-long", "The variables of a line expand to more bytes than drainswap accepts.";
    EMPTY_WORD = "cfg::empty-word", "An empty word ends the line: `HAProxy` ignores the rest, and from 3.3 on it rejects the line.";
    STRAY_NUL = "cfg::stray-nul", "A line contains a NUL byte.";
    STRAY_CARRIAGE_RETURN = "cfg::stray-carriage-return", "A carriage return in the middle of a line ends it: `HAProxy` ignores the rest.";
    MISSING_LINE_FEED = "cfg::missing-line-feed", "The last line does not end with a line feed; the file may have been cut off.";
    SCOPE = "cfg::scope", "A line starts with `[` but is not a scope.";
    LONE_DIRECTIVE = "cfg::lone-directive", "`.elif`, `.else` or `.endif` appears where no `.if` is open, or after `.else`.";
    OPEN_BLOCK = "cfg::open-block", "An `.if` is not closed before its file ends.";
    DEEP_NESTING = "cfg::deep-nesting", "Too many `.if` blocks are nested.";
    CONDITION = "cfg::condition", "The condition of `.if` or `.elif` cannot be parsed.";
    UNDECIDED_CONDITION = "cfg::undecided-condition", "A predicate cannot be decided from the file and the environment; drainswap treats it as false.";
    UNKNOWN_DIRECTIVE = "cfg::unknown-directive", "A word starts with `.` but is not a directive.";
    DIRECTIVE_ARGUMENT = "cfg::directive-argument", "A directive has too few or too many arguments.";
    ALERT = "cfg::alert", "The configuration itself stops here with `.alert`.";
    CONFIGURED_WARNING = "cfg::warning", "The configuration itself warns with `.warning`.";
    OUT_OF_SECTION = "cfg::out-of-section", "A line comes before the first section of its file.";
    MODIFIER = "cfg::modifier", "`no` or `default` precedes a keyword that accepts neither.";
    SECTION_NAME = "cfg::section-name", "A section has no name, or its name contains an invalid character.";
    SECTION_ARGUMENT = "cfg::section-argument", "An unexpected word follows a section's name.";
    DUPLICATE_SECTION = "cfg::duplicate-section", "Two sections of the same kind have the same name.";
    AMBIGUOUS_DEFAULTS = "cfg::ambiguous-defaults", "`from` names a `defaults` section that is defined more than once.";
    UNKNOWN_DEFAULTS = "cfg::unknown-defaults", "`from` names a `defaults` section that is not defined before this line.";
    UNKNOWN_KEYWORD = "cfg::unknown-keyword", "A keyword of a section is misspelled.";
    REMOVED_KEYWORD = "cfg::removed-keyword", "This version of `HAProxy` no longer supports the line.";
    UNKNOWN_OPTION = "cfg::unknown-option", "The word after `option` is misspelled.";
    UNKNOWN_MODE = "cfg::unknown-mode", "`mode` names a mode that this version does not have.";
    UNKNOWN_BALANCE = "cfg::unknown-balance", "`balance` names an unknown algorithm.";
    MISPLACED_KEYWORD = "cfg::misplaced-keyword", "A keyword is not allowed in `defaults`.";
    MISPLACED_SERVER = "cfg::misplaced-server", "A `server` line is in a section that cannot have servers.";
    SERVER_ARGUMENT = "cfg::server-argument", "A `server` line is missing its name or its address.";
    SERVER_NAME = "cfg::server-name", "A server's name contains an invalid character.";
    DUPLICATE_SERVER = "cfg::duplicate-server", "Two servers of one backend have the same name.";
    SERVER_ADDRESS = "cfg::server-address", "A server's address is invalid.";
    SERVER_KEYWORD = "cfg::server-keyword", "A server setting is unknown.";
    SERVER_VALUE = "cfg::server-value", "A server setting has no value, or a value that it does not accept.";
    NOT_A_NUMBER = "cfg::not-a-number", "A setting expects a number; `HAProxy` silently reads only the digits that the word starts with.";
    NOT_IN_DEFAULT_SERVER = "cfg::not-in-default-server", "A setting is not allowed in `default-server`; `HAProxy` ignores it there.";
    SERVER_RANGE = "cfg::server-range", "`server-template` has an invalid number or range.";
    UNKNOWN_SERVER = "cfg::unknown-server", "`track` or `use-server` names a server that does not exist.";
    UNKNOWN_BACKEND = "cfg::unknown-backend", "`use_backend` or `default_backend` names a backend that does not exist.";
    TRACK = "cfg::track", "`track` names a server that is not checked.";
    TIME = "cfg::time", "A time is invalid.";
    TIME_TAIL = "cfg::time-tail", "Something follows the unit of a time, as in `1m30s`; `HAProxy` ignores it.";
    UNUSED_CHECK = "cfg::unused-check", "`http-check` lines without `option httpchk` have no effect.";
    CHECK_WITHOUT_REQUEST = "cfg::check-without-request", "A section's own `http-check` lines replace the inherited ones, and no request is left.";
    ENVIRONMENT = "cfg::environment", "`setenv` or `presetenv` is missing its name or its value.";
    CHECK = "cfg::check", "A health check line is invalid.";
    SOCKET_ADDRESS = "cfg::socket-address", "The address of a `stats socket` is invalid.";
    SOCKET_LEVEL = "cfg::socket-level", "The level of a `stats socket` is not user, operator or admin.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_used_once() {
        let codes: std::collections::BTreeSet<_> = ALL.iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), ALL.len());
        assert!(ALL.iter().all(|(code, meaning)| code.starts_with("cfg::") && meaning.ends_with('.')));
    }
}
