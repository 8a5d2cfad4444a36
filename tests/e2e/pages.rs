//! The HTML report of a run in a real browser.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::ends_with;
use crate::support::{Load, Mix, Stage, finish, program};

/// A text that would take over the page if it were not escaped.
const ATTACK: &str =
    "</pre><script>document.title='owned'</script><img src=x onerror=\\\"document.title='owned'\\\">";

/// The names in the fixture that the attack replaces.
const NAMES: [&str; 4] = ["shop-mobile-app", "mobile-app", "shop:v", "ssh://app2"];

/// Returns a fixture with the attack as its names.
fn with_hostile_names(text: &str) -> String {
    NAMES
        .iter()
        .fold(text.to_owned(), |text, name| text.replace(&format!("\"{name}"), &format!("\"{ATTACK}{name}")))
}

/// Opens a page in the browser and returns its elements after all scripts have run, and the browser's messages.
async fn browse(page: &Path) -> (String, String) {
    browse_with(page, &[]).await
}

/// Opens a page like [`browse`], with additional browser options.
async fn browse_with(page: &Path, options: &[&str]) -> (String, String) {
    let profile = tempfile::tempdir().expect("a directory");
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]);
    browser.args(options).arg(format!("--user-data-dir={}", profile.path().display()));
    browser.arg(format!("file://{}", page.display()));
    browser.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = finish(browser.spawn().expect("start chromium")).await.exits(0);
    let complaints = ended.stderr.lines().filter(|line| line.contains("CONSOLE"));
    (ended.stdout, complaints.collect::<Vec<_>>().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_page_with_hostile_names_runs_no_script_and_loads_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let read = |path: &str| fs::read_to_string(fixtures.join(path)).expect(path);
    let backend = dir.path().join("state/mobile");
    fs::create_dir_all(&backend).expect("a state directory");
    let journal = with_hostile_names(&read("journal/version-1.jsonl"));
    fs::write(backend.join("20261126T143747.970Z.jsonl"), journal).expect("a journal");
    let events = with_hostile_names(&read("events/version-1.jsonl"));
    let events: Vec<String> =
        ["starting", "connection refused", "tests pass", "the container exited with code 1"]
            .iter()
            .fold(events, |events, text| events.replace(text, ATTACK))
            .lines()
            .map(str::to_owned)
            .collect();
    fs::write(backend.join("20261126T143747.970Z.events.jsonl"), events.join("\n")).expect("events");
    let page = dir.path().join("page.html");
    let mut report = Command::new(program());
    report.args(["report", "20261126T143747.970Z", "--file"]).arg(&page).arg("--state-dir");
    report.arg(dir.path().join("state"));
    report.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(report.spawn().expect("start drainswap"))
        .await
        .exits(0)
        .says(&["the page of run 20261126T143747.970Z"]);

    let (dom, complaints) = browse(&page).await;
    assert_eq!(complaints, "");
    assert!(dom.contains("<title>Deploy of mobile · 20261126T143747.970Z</title>"), "{dom}");
    assert!(dom.contains("&lt;script&gt;document.title='owned'"), "the attack is shown as text: {dom}");
    // The page does not contain the engine's name, which only occurs during pulls.
    for name in &NAMES[..3] {
        assert!(dom.contains(&format!("&gt;{name}")), "{name} is not on the page: {dom}");
    }
    fits_a_phone_by_day_and_by_night(&page).await;

    // The browser would have reported an attack: it does with the unescaped attack on the same page.
    let open = fs::read_to_string(&page).expect("the page").replace("</h1>", &ATTACK.replace('\\', ""));
    fs::write(&page, open.replace("default-src 'none'", "script-src 'unsafe-inline'")).expect("a page");
    assert!(browse(&page).await.0.contains("<title>owned</title>"));
    fs::write(&page, open).expect("a page");
    assert!(
        !browse(&page).await.1.is_empty(),
        "the page's policy stops an unescaped script, and the browser reports it"
    );
}

/// Checks that the page fits the width of a phone with all details open, and follows the reader's colour scheme.
async fn fits_a_phone_by_day_and_by_night(page: &Path) {
    // The browser's windows cannot be as narrow as a phone, but a frame can.
    let frame = r#"<iframe src="page.html" width="360" height="800" style="border: 0" onload="
        const page = this.contentWindow, all = page.document;
        all.querySelectorAll('details').forEach(it => it.open = true);
        document.title = [page.innerWidth, all.documentElement.scrollWidth <= page.innerWidth,
            page.getComputedStyle(all.body).backgroundColor].join(' ')"></iframe>"#;
    let phone = page.with_file_name("phone.html");
    fs::write(&phone, frame).expect("a frame");
    for (scheme, colour) in [("1", "rgb(255, 255, 255)"), ("0", "rgb(20, 24, 29)")] {
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let (dom, complaints) = browse_with(&phone, &["--allow-file-access-from-files", &scheme]).await;
        assert_eq!(complaints, "");
        assert!(dom.contains(&format!("<title>360 true {colour}</title>")), "{dom}");
    }
}

#[tokio::test]
#[ignore = "needs real parts: make test"]
async fn an_unwritable_page_is_a_usage_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let backend = dir.path().join("state/mobile");
    fs::create_dir_all(&backend).expect("a state directory");
    let journal = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/journal/version-1.jsonl");
    fs::copy(journal, backend.join("20261126T143747.970Z.jsonl")).expect("a journal");
    let mut report = Command::new(program());
    report.args(["report", "--file", "/proc/nowhere/page.html", "--state-dir"]).arg(dir.path().join("state"));
    report.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(report.spawn().expect("start drainswap"))
        .await
        .exits(2)
        .says(&["cannot write /proc/nowhere/page.html: ", "Name another file"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_page_shows_requests_by_version() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "3000")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    let page = stage.drainswap(&["report"]).await.exits(0).stdout;
    for text in ["mobile/app1</b>", "mobile/app1b</b>", "class=\"booting\"", "v1 (", "v2 (", "requests/s"] {
        assert!(page.contains(text), "the page lacks {text}:\n{page}");
    }
    ends_with("v2", stage).await;
}
