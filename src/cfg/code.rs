//! The names of all problems: they appear in reports, so they never change their meaning.

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)*

        /// Every code with what it means, in the order of this file.
        pub const ALL: &[(&str, &str)] = &[$(($name, $meaning)),*];
    };
}

codes! {
    UNMATCHED_QUOTE = "cfg::unmatched-quote", "A quote is opened and never closed on its line.";
    UNMATCHED_BRACE = "cfg::unmatched-brace", "`${` without its `}`, or with something in it that this version does not know.";
    VARIABLE_NAME = "cfg::variable-name", "`$` inside double quotes is followed by what is no variable's name.";
    HEXADECIMAL = "cfg::hexadecimal", "`\\x` is not followed by two hexadecimal digits.";
    WORD_EXPANSION = "cfg::word-expansion", "`${NAME[` is not followed by `*]}`.";
    TOO_MANY_WORDS = "cfg::too-many-words", "A line holds more than 64 words.";
    TOO_LONG = "cfg::too-long", "The variables of a line give more bytes than any line needs.";
    EMPTY_WORD = "cfg::empty-word", "An empty word ends the line: what follows it is not read, and from 3.3 on the line is refused.";
    STRAY_NUL = "cfg::stray-nul", "A line holds a NUL byte.";
    STRAY_CARRIAGE_RETURN = "cfg::stray-carriage-return", "A carriage return in the middle of a line ends it: what follows is not read.";
    MISSING_LINE_FEED = "cfg::missing-line-feed", "The last line does not end with a line feed; the file may have been cut off.";
    SCOPE = "cfg::scope", "A line that starts with `[` is no scope.";
    LONE_DIRECTIVE = "cfg::lone-directive", "`.elif`, `.else` or `.endif` stands where no `.if` is open, or after `.else`.";
    OPEN_BLOCK = "cfg::open-block", "An `.if` is not closed before its file ends.";
    DEEP_NESTING = "cfg::deep-nesting", "Too many `.if` inside each other.";
    CONDITION = "cfg::condition", "The condition of `.if` or `.elif` cannot be read.";
    UNDECIDED_CONDITION = "cfg::undecided-condition", "A predicate cannot be decided from the file and the environment; it is taken as false.";
    UNKNOWN_DIRECTIVE = "cfg::unknown-directive", "A word that starts with `.` is no directive.";
    DIRECTIVE_ARGUMENT = "cfg::directive-argument", "A directive has too few or too many arguments.";
    ALERT = "cfg::alert", "The configuration itself stops here with `.alert`.";
    CONFIGURED_WARNING = "cfg::warning", "The configuration itself warns with `.warning`.";
    OUT_OF_SECTION = "cfg::out-of-section", "A line stands before the first section of its file.";
    MODIFIER = "cfg::modifier", "`no` or `default` stands before a keyword that takes neither.";
    SECTION_NAME = "cfg::section-name", "A section has no name, or one with bytes that names do not hold.";
    SECTION_ARGUMENT = "cfg::section-argument", "Something follows a section's name that does not belong there.";
    DUPLICATE_SECTION = "cfg::duplicate-section", "Two sections of the same kind have the same name.";
    AMBIGUOUS_DEFAULTS = "cfg::ambiguous-defaults", "`from` names a `defaults` section of which there are two.";
    UNKNOWN_DEFAULTS = "cfg::unknown-defaults", "`from` names a `defaults` section that was not seen before.";
    UNKNOWN_KEYWORD = "cfg::unknown-keyword", "A keyword of a section is misspelled.";
    REMOVED_KEYWORD = "cfg::removed-keyword", "A line is one that this version of `HAProxy` no longer has.";
    UNKNOWN_OPTION = "cfg::unknown-option", "The word after `option` is misspelled.";
    UNKNOWN_MODE = "cfg::unknown-mode", "`mode` is followed by what is no mode of this version.";
    UNKNOWN_BALANCE = "cfg::unknown-balance", "`balance` is followed by what is no algorithm.";
    MISPLACED_KEYWORD = "cfg::misplaced-keyword", "A keyword stands in `defaults` and does not belong there.";
    MISPLACED_SERVER = "cfg::misplaced-server", "A `server` line stands in a section that holds no servers.";
    SERVER_ARGUMENT = "cfg::server-argument", "A `server` line lacks its name or its address.";
    SERVER_NAME = "cfg::server-name", "A server's name holds bytes that names do not hold.";
    DUPLICATE_SERVER = "cfg::duplicate-server", "Two servers of one backend have the same name.";
    SERVER_ADDRESS = "cfg::server-address", "A server's address cannot be read.";
    SERVER_KEYWORD = "cfg::server-keyword", "A setting of a server is unknown.";
    SERVER_VALUE = "cfg::server-value", "A setting of a server lacks its value, or has one that it does not take.";
    NOT_A_NUMBER = "cfg::not-a-number", "A setting wants a number; `HAProxy` silently reads what it can of the word.";
    NOT_IN_DEFAULT_SERVER = "cfg::not-in-default-server", "A setting does not belong into `default-server`; `HAProxy` ignores it there.";
    SERVER_RANGE = "cfg::server-range", "`server-template` has a number or a range that cannot be read.";
    UNKNOWN_SERVER = "cfg::unknown-server", "`track` or `use-server` names a server that does not exist.";
    UNKNOWN_BACKEND = "cfg::unknown-backend", "`use_backend` or `default_backend` names a backend that does not exist.";
    TRACK = "cfg::track", "`track` names a server that is not checked.";
    TIME = "cfg::time", "A time cannot be read.";
    TIME_TAIL = "cfg::time-tail", "Something follows the unit of a time, as in `1m30s`; `HAProxy` does not read it.";
    UNUSED_CHECK = "cfg::unused-check", "`http-check` lines without `option httpchk` do nothing.";
    CHECK_WITHOUT_REQUEST = "cfg::check-without-request", "A section's own `http-check` lines replace the inherited ones, and no request is left.";
    ENVIRONMENT = "cfg::environment", "`setenv` or `presetenv` lacks its name or its value.";
    CHECK = "cfg::check", "A health check's line cannot be read.";
    SOCKET_ADDRESS = "cfg::socket-address", "The address of a `stats socket` cannot be read.";
    SOCKET_LEVEL = "cfg::socket-level", "The level of a `stats socket` is none of user, operator and admin.";
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
