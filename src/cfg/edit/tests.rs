use proptest::prelude::*;

use super::*;
use crate::cfg::{Document, Environment, SourceFile, Version, interpret, read};

const TEXT: &str = "# ours\nglobal\n\tmaxconn 9\n\nbackend mobile # keep\n\tbalance  leastconn\n\tserver app1 10.0.0.1:80  weight 5 check # one\n\n\tserver app2 10.0.0.2:80 backup\n\n# of the next\nbackend other\n\tserver app1 10.0.0.9:80\n";

fn document(text: &str) -> Document {
    let environment = Environment::new([("W".to_owned(), "weight 3".to_owned())].into(), Version::new(2, 6));
    read(vec![SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() }], &environment)
}

fn after(text: &str, edits: &[Edit]) -> String {
    String::from_utf8(apply(text.as_bytes(), edits)).unwrap()
}

#[test]
fn one_setting_changes_and_nothing_else() {
    let document = document(TEXT);
    let set = |server: &str, setting: &[&str]| {
        after(TEXT, document.set_setting("mobile", server, setting).unwrap().as_slice())
    };
    assert_eq!(set("app1", &["weight", "7"]), TEXT.replace("weight 5", "weight 7"));
    assert_eq!(set("app1", &["cookie", "a b"]), TEXT.replace("check # one", "check cookie 'a b' # one"));
    assert_eq!((set("app1", &["weight", "5"]), set("app2", &["backup"])), (TEXT.to_owned(), TEXT.to_owned()));
    assert_eq!(set("app2", &["no-backup"]), TEXT.replace("80 backup", "80 backup no-backup"));
    let removed = document.remove_setting("mobile", "app1", "weight").unwrap();
    assert_eq!(after(TEXT, &removed), TEXT.replace("  weight 5 check", " check"));
}

#[test]
fn a_server_is_added_behind_the_last_one_and_removed_with_its_line() {
    let document = document(TEXT);
    let added = document.add_server("mobile", "app3", "10.0.0.3:80", &["check"]).unwrap();
    assert_eq!(
        after(TEXT, &[added]),
        TEXT.replace("80 backup\n", "80 backup\n\tserver app3 10.0.0.3:80 check\n")
    );
    let removed = document.remove_server("mobile", "app2").unwrap();
    assert_eq!(after(TEXT, &[removed]), TEXT.replace("\tserver app2 10.0.0.2:80 backup\n", ""));
    let twice = document.add_server("mobile", "app1", "10.0.0.3:80", &[]).unwrap_err();
    assert_eq!(twice.to_string(), "cannot add `server app1`: `mobile` already has it. Use another name");
}

#[test]
fn line_ends_are_followed_and_a_missing_one_is_added() {
    let text = "backend b\r\n  server a 10.0.0.1:80";
    let added = document(text).add_server("b", "c", "10.0.0.2:80", &[]).unwrap();
    assert_eq!(after(text, &[added]), "backend b\r\n  server a 10.0.0.1:80\r\n  server c 10.0.0.2:80\r\n");
    let empty = document("backend b\n").add_server("b", "c", "10.0.0.2:80", &[]).unwrap();
    assert_eq!(after("backend b\n", &[empty]), "backend b\n    server c 10.0.0.2:80\n");
}

#[test]
fn a_section_is_replaced_line_by_line() {
    let document = document(TEXT);
    let replaced = |new: &str| {
        after(TEXT, &document.replace_section("backend", "mobile", &super::tests::document(new)).unwrap())
    };
    let same = "backend mobile\n    balance leastconn\n    server app1 10.0.0.1:80 weight 5 check\n    server app2 10.0.0.2:80 backup\n";
    assert_eq!(replaced(same), TEXT);
    assert_eq!(
        replaced(&same.replace("weight 5", "weight 6")),
        TEXT.replace("app1 10.0.0.1:80  weight 5 check # one", "app1 10.0.0.1:80 weight 6 check")
    );
    let longer = same.replace("    server app2", "    retries 2\n    server app2");
    assert_eq!(replaced(&longer), TEXT.replace("# one\n", "# one\n\tretries 2\n"));
    assert_eq!(replaced("backend mobile\n"), TEXT.replace("\tbalance  leastconn\n\tserver app1 10.0.0.1:80  weight 5 check # one\n\n\tserver app2 10.0.0.2:80 backup\n", "\n"));
}

#[test]
fn a_section_is_added_at_the_end() {
    let added =
        |text: &str| after(text, document(text).add_section(0, b"backend new\n    retries 1\n").as_slice());
    assert_eq!(added("global"), "global\n\nbackend new\n    retries 1\n");
    assert_eq!(added("global\r\n\r\n"), "global\r\n\r\nbackend new\r\n    retries 1\r\n");
    assert_eq!(added(""), "backend new\n    retries 1\n");
}

#[test]
fn what_a_program_should_not_change_is_refused() {
    let text =
        "backend b\n.if 1\n server a 10.0.0.1:80 \"${W[*]}\"\n.endif\n server-template t 2 10.0.0.1:80\n";
    let document = document(text);
    assert_eq!(
        document.replace_section("backend", "b", &super::tests::document("backend b\n")),
        Err(EditError::Conditional { name: "b".into(), line: 2 })
    );
    assert_eq!(document.set_setting("b", "a", &["weight", "1"]), Err(EditError::Shared { line: 3 }));
    assert!(matches!(document.remove_server("b", "t1"), Err(EditError::NoServer { .. })));
    assert!(matches!(document.remove_server("c", "a"), Err(EditError::NoSection { .. })));
    assert!(matches!(document.set_setting("b", "a", &["cookie", ""]), Err(EditError::Unquotable { .. })));
}

proptest! {
    /// A changed weight is read back, and nothing else differs, whatever surrounds it.
    #[test]
    fn an_edit_is_read_back(
        before in "(#[ -~]{0,10}\n|\t?acl x src 10\\.0\\.0\\.1\n|\r?\n){0,4}",
        settings in prop::collection::vec(prop::sample::select(&["check", "weight 4", "backup", "inter 2s", "cookie 'a b'", "no-backup"][..]), 0..5),
        weight in 0u32..257,
    ) {
        let text = format!("backend b\n{before} server a 10.0.0.1:80 {} # end\n{before}", settings.join(" "));
        let before = interpret(&document(&text));
        let document = document(&text);
        let edit = document.set_setting("b", "a", &["weight", &weight.to_string()]).unwrap();
        let changed = interpret(&super::tests::document(&after(&text, edit.as_slice())));
        let mut expected = (*before.proxies[0].servers[0].settings).clone();
        expected.weight = weight;
        prop_assert_eq!(&*changed.proxies[0].servers[0].settings, &expected);
        if let Some(edit) = edit {
            prop_assert!(edit.span.start > text.find("server").unwrap() && edit.span.end < text.rfind("# end").unwrap());
        }
    }
}
