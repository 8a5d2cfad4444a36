//! A demonstration with real parts: four containers are replaced behind a real HAProxy during 300 requests per second
//! and long streams. A deploy of a broken image and a rollback follow.
#![allow(clippy::print_stdout, reason = "a demonstration prints to the terminal")]

mod support;

use std::process::ExitCode;
use std::time::Duration;

use support::{Load, Mix, Report, Stage};

#[tokio::main]
async fn main() -> ExitCode {
    heading("starting a registry, four containers with v1 and an HAProxy");
    let stage = Stage::origin().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "1500")]).await;
    let broken = stage.image("v3", &[("VERSION", "v3"), ("FAIL", "exit")]).await;

    let load = Load::start(stage.frontend(), Mix::full().with_streams(Duration::from_secs(2), 10));
    load.answered(300).await;
    let commands: [(&[&str], u8); 6] = [
        (&["status"], 0),
        (&["plan", "mobile", "--image", &v2], 0),
        (&["deploy", "mobile", "--image", &v2], 0),
        (&["deploy", "mobile", "--image", &broken], 10),
        (&["rollback", "mobile"], 0),
        (&["status"], 0),
    ];
    let mut went_as_told = true;
    for (arguments, code) in commands {
        went_as_told &= tell(&stage, arguments).await == Some(code.into());
    }
    load.answered(300).await;

    heading("the clients' view");
    let report = load.stop().await;
    println!("{report}");
    stage.close().await;
    if went_as_told { verdict(&report) } else { ExitCode::FAILURE }
}

/// Runs a command on the terminal, prints its exit code and returns it.
async fn tell(stage: &Stage, arguments: &[&str]) -> Option<i32> {
    heading(&format!("$ drainswap {}", arguments.join(" ")));
    let mut command = stage.command(arguments);
    let status = command.env_remove("NO_COLOR").status().await.expect("start drainswap");
    println!("exit code {}", status.code().unwrap_or(-1));
    status.code()
}

fn heading(text: &str) {
    println!("\n=== {text}\n");
}

fn verdict(report: &Report) -> ExitCode {
    let (_, cut) = report.streams();
    if report.failed() == 0 && cut == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
