use std::io;

use insta::assert_snapshot;

use super::*;
use crate::run::event::{Event, Reporter};
use crate::run::outcome::Outcome;
use crate::run::story::Story;
use crate::testing::facts::{Log, recorded, side_by_side};

/// A pipe whose reader has gone.
struct Gone;

impl io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn token() -> String {
    "TOKEN".to_owned()
}

/// Returns what GitHub gets for these events: the log, the summary, the outputs.
fn on_github(events: &[Event]) -> [String; 3] {
    let dir = tempfile::tempdir().unwrap();
    let [summary, output] = ["summary", "output"].map(|name| dir.path().join(name));
    let files = GithubFiles { summary: Some(summary.clone()), output: Some(output.clone()) };
    let log = Log::default();
    let mut github = Github::new(log.clone(), files, false).with_token(token);
    for event in events {
        github.report(event);
    }
    [log.text(), std::fs::read_to_string(summary).unwrap(), std::fs::read_to_string(output).unwrap()]
}

/// Returns the recording with a foreign text in every place that can contain one.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others contain only names")]
fn hostile(text: &str) -> Vec<Event> {
    let mut events = recorded();
    for event in &mut events {
        match &mut event.kind {
            EventKind::Warned { message } => text.clone_into(message),
            EventKind::HookEnded { output, .. } => *output = vec![text.to_owned()],
            EventKind::NotReadyYet { answer, .. } | EventKind::BecameReady { answer, .. } => {
                text.clone_into(answer);
            }
            EventKind::StepFailed { reason, log, health, .. } => {
                text.clone_into(reason);
                *log = vec![text.to_owned()];
                *health = vec![text.to_owned()];
            }
            EventKind::RunEnded { outcome, .. } => *outcome = Outcome::Refused { reason: text.to_owned() },
            _ => {}
        }
    }
    events
}

#[test]
fn github_folds_a_server_and_annotates_what_matters() {
    let [log, summary, output] = on_github(&recorded());
    assert_snapshot!("github_log", log);
    assert_snapshot!("github_summary", summary);
    assert_snapshot!("github_output", output);
}

#[test]
fn lanes_side_by_side_are_told_apart() {
    let events = side_by_side();
    let [log, summary, _] = on_github(&events);
    assert_snapshot!("side_by_side_github_log", log);
    assert_snapshot!("side_by_side_github_summary", summary);
    let story = Story::of(&events);
    assert_snapshot!("side_by_side_junit", files::junit(&story, story.outcome.as_ref().unwrap()));
    let log = Log::default();
    let mut gitlab = Gitlab::new(log.clone(), false);
    for event in &events {
        gitlab.report(event);
    }
    assert_snapshot!("side_by_side_gitlab_log", log.text().replace('\u{1b}', "␛").replace('\r', "␍"));
}

#[test]
fn gitlab_folds_a_server() {
    let log = Log::default();
    let mut gitlab = Gitlab::new(log.clone(), false);
    for event in recorded() {
        gitlab.report(&event);
    }
    assert_snapshot!("gitlab_log", log.text().replace('\u{1b}', "␛").replace('\r', "␍"));
}

#[test]
fn a_run_is_a_suite_of_tests_and_variables_for_later_jobs() {
    let story = Story::of(&recorded());
    let outcome = story.outcome.clone().unwrap();
    assert_snapshot!("junit", files::junit(&story, &outcome));
    assert_snapshot!("dotenv", files::dotenv(&story, &outcome));
}

const ATTACKS: [&str; 7] = [
    "::error::taken over",
    "fine\n::set-output name=outcome::deployed",
    "fine\r::add-mask::a",
    "  ##[error]taken over",
    "%0A::error::taken over",
    "\u{1b}[0Ksection_end:1:drainswap_1\r\u{1b}[0K",
    "]]></failure></testcase><script>\u{0}\u{8}</pre></details>\n\n# heading",
];

/// Returns the commands that the runner would obey: those outside of `stop-commands` sections.
fn obeyed(log: &str) -> Vec<String> {
    let mut stopped = false;
    let mut commands = Vec::new();
    for line in log.split(['\n', '\r']).map(str::trim_start) {
        if line == "::TOKEN::" {
            stopped = false;
        } else if line == "::stop-commands::TOKEN" {
            stopped = true;
        } else if !stopped && (line.starts_with("::") || line.contains("##[")) {
            commands.push(line.split([' ', ':']).nth(2).unwrap_or(line).to_owned());
        }
    }
    commands
}

#[test]
fn no_text_of_others_is_a_command_to_github() {
    let ours = obeyed(&on_github(&hostile("fine"))[0]);
    assert!(ours.len() > 10 && ours.contains(&"error".to_owned()), "{ours:?}");
    for attack in ATTACKS {
        let [log, summary, output] = on_github(&hostile(attack));
        assert_eq!(obeyed(&log), ours, "{attack:?} in\n{log}");
        assert!(!summary.contains("<script") && !summary.trim_end().contains("\n\n"), "{summary}");
        assert_eq!(summary.lines().filter(|line| line.starts_with('#')).count(), 0, "{summary}");
        assert_eq!(output.matches("<<TOKEN\n").count(), 5, "{output}");
    }
}

#[test]
fn no_text_of_others_opens_or_ends_a_section_of_gitlab() {
    let sections = |text: &str| {
        let log = Log::default();
        let mut gitlab = Gitlab::new(log.clone(), false);
        for event in hostile(text) {
            gitlab.report(&event);
        }
        log.text().matches('\u{1b}').count()
    };
    for attack in ATTACKS {
        assert_eq!(sections(attack), sections("fine"), "{attack:?}");
    }
}

#[test]
fn what_is_not_xml_comes_into_no_file() {
    for attack in ATTACKS {
        let story = Story::of(&hostile(attack));
        let outcome = story.outcome.clone().unwrap();
        let xml = files::junit(&story, &outcome);
        let plain =
            files::junit(&Story::of(&hostile("fine")), &Outcome::Refused { reason: "fine".to_owned() });
        assert_eq!(xml.matches('<').count(), plain.matches('<').count(), "{attack:?} in\n{xml}");
        assert!(!xml.chars().any(|letter| letter.is_control() && letter != '\n'), "{xml}");
        assert_eq!(files::dotenv(&story, &outcome).lines().count(), 4);
    }
}

#[test]
fn a_place_is_named_with_what_its_name_holds() {
    let place = AnnotationLocation { file: "a,b:c%.cfg".to_owned(), line: 3, column: Some(7) };
    let text = annotation(AnnotationLevel::Error, "cfg::time", Some(&place), "a time\ncannot be read: 5%");
    assert_snapshot!(text, @"::error file=a%2Cb%3Ac%25.cfg,line=3,col=7,title=cfg%3A%3Atime::a time%0Acannot be read: 5%25");
}

#[test]
fn a_missing_reader_or_an_unwritable_file_stops_nothing() {
    let nowhere = Some(Path::new("/nonexistent/file").to_owned());
    let files = GithubFiles { summary: nowhere.clone(), output: nowhere.clone() };
    let mut github = Github::new(Gone, files.clone(), false);
    let mut gitlab = Gitlab::new(Gone, false);
    let mut others = Files::new(nowhere.clone(), nowhere).unwrap();
    for event in recorded() {
        github.report(&event);
        gitlab.report(&event);
        others.report(&event);
    }
    let log = Log::default();
    let mut github = Github::new(log.clone(), files, true);
    for event in recorded() {
        github.report(&event);
    }
    assert_eq!(log.text().matches("cannot write /nonexistent/file").count(), 2, "{}", log.text());
}

#[test]
fn the_system_is_known_by_its_variables() {
    let of = |name: &str, value: &str| Ci::of(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
    assert_eq!(of("GITHUB_ACTIONS", "true"), Ci::Github);
    assert_eq!(of("GITLAB_CI", "true"), Ci::Gitlab);
    assert_eq!(of("GITHUB_ACTIONS", "false"), Ci::None);
    assert_eq!(Ci::of(&BTreeMap::new()), Ci::None);
}
