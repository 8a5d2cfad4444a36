use clap::CommandFactory;

use super::*;

#[test]
fn help_shows_no_address_of_the_environment() {
    let command = Cli::command();
    for name in ["socket", "master_socket", "docker"] {
        let arg = command.get_arguments().find(|arg| arg.get_id() == name).expect(name);
        assert!(arg.is_hide_env_values_set(), "{name}");
    }
}

#[test]
fn errors_hide_passwords() {
    for words in [
        &["deploy", "mobile", "--image", "https://deployer:hunter2@r.io/mobile:v1"][..],
        &["deploy", "mobile", "--probe", "http://admin:hunter2@{address}/"],
        &["status", "mobile", "--colour=deployer:hunter2@r.io"],
        &["stop", "mobile", "tcp://admin:hunter2@lb1:9999"],
    ] {
        let told = Cli::read([&["drainswap"][..], words].concat()).unwrap_err().to_string();
        assert!(!told.contains("hunter2") && told.contains("error: "), "{told}");
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}
