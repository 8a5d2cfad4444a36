use proptest::prelude::*;

use super::tables::ServerStat;
use super::*;
use crate::observation::{AdminBits, AdminState, Operational};

/// An answer recorded from one version and one command line.
macro_rules! recorded {
    ($version:literal, $name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/runtime/", $version, "/", $name, ".txt"))
    };
}

fn refusal(reply: &str) -> ReplyError {
    ReplyError::Refused { reply: reply.to_owned() }
}

fn read_all(text: &str) -> (ProcessInfo, Vec<StateRow>, Stat) {
    let mut replies = Replies::new(text);
    let all = (replies.info().unwrap(), replies.servers_state().unwrap(), replies.stat().unwrap());
    assert_eq!(replies.rest, "");
    all
}

#[test]
fn every_version_gives_the_same_result() {
    for (version, text) in [
        ("2.6.12-1+deb12u4", recorded!("2.6", "look_all")),
        ("3.0.11-1+deb13u4", recorded!("3.0", "look_all")),
        ("3.2.26-1", recorded!("3.2", "look_all")),
    ] {
        let (process, rows, stat) = read_all(text);
        assert_eq!((process.version.as_str(), process.stopping), (version, false));
        let row = |name: &str| rows.iter().find(|row| row.id.to_string() == name).unwrap();
        let stat_of = |name: &str| &stat.servers[&row(name).key];

        let app1 = row("mobile/app1");
        assert_eq!(app1.address, Some("127.0.0.1:20001".parse().unwrap()));
        assert_eq!((app1.admin, app1.operational, app1.weight), (AdminBits(8), Operational::Running, 1));
        assert_eq!(
            (stat_of("mobile/app1").status.as_str(), stat_of("mobile/app1").check.as_str()),
            ("DRAIN", "L7OK")
        );

        assert_eq!(row("odd/unix1").address, None);
        assert_eq!(row("odd/client-port").address, None);
        assert_eq!(row("odd/six").address, Some("[::1]:20003".parse().unwrap()));
        assert_eq!((row("odd/unresolved").address, row("odd/unresolved").admin), (None, AdminBits(32)));
        assert_eq!(stat_of("odd/unresolved").status, "MAINT (resolution)");
        assert_eq!(row("odd/off").admin.state(), AdminState::Maint);
        assert_eq!(row("odd/light").weight, 0);
        assert!(row("odd/follower").admin.is_inherited());

        assert_eq!((stat_of("full/one").sessions, stat_of("full/one").sessions_total), (1, 1));
        assert_eq!(stat.queued["full"], 2);
        assert_eq!(stat.queued["empty"], 0);
        // A disabled backend is in only one of the tables.
        assert!(!stat.servers.contains_key(&row("switched-off/s").key));
    }
}

#[test]
fn the_answers_to_one_line_are_read_in_turn() {
    let mut replies = Replies::new(recorded!("2.6", "look_mobile_odd"));
    assert!(replies.info().is_ok());
    for servers in [2, 7] {
        assert_eq!(replies.servers_state().unwrap().len(), servers);
        assert_eq!(replies.stat().unwrap().servers.len(), servers);
    }
    assert_eq!(replies.rest, "");
}

#[test]
fn a_frontend_of_the_same_name_hides_a_backend_s_counts() {
    for text in [recorded!("2.6", "look_same"), recorded!("3.0", "look_same"), recorded!("3.2", "look_same")]
    {
        let (_, rows, stat) = read_all(text);
        assert_eq!((rows.len(), stat), (1, Stat::default()));
    }
}

#[test]
fn a_change_and_its_read_back() {
    assert_eq!(Replies::new(recorded!("2.6", "set_ok")).set_server(), Ok(()));
    let mut replies = Replies::new(recorded!("2.6", "set_and_read"));
    assert_eq!(replies.set_server(), Ok(()));
    assert_eq!(replies.servers_state().unwrap()[0].admin, AdminBits(8));
}

#[test]
fn refusals_are_words() {
    for (text, reply) in [
        (recorded!("2.6", "set_no_backend"), "No such backend."),
        (recorded!("2.6", "set_no_server"), "No such server."),
        (recorded!("2.6", "set_denied"), "Permission denied"),
        (recorded!("2.6", "set_disabled"), "Proxy is disabled."),
        (recorded!("2.6", "set_bad_state"), "'set server <srv> state' expects 'ready', 'drain' and 'maint'."),
        (
            recorded!("2.6", "unknown"),
            "Unknown command, but maybe one of the following ones is a better match:",
        ),
        (recorded!("3.0", "set_denied"), "Permission denied"),
        (recorded!("3.0", "set_disabled"), "Proxy is disabled."),
        (recorded!("3.2", "set_no_backend"), "No such backend."),
        (recorded!("3.2", "set_no_server"), "No such server."),
        (recorded!("3.2", "set_denied"), "Permission denied"),
        (recorded!("3.2", "set_disabled"), "Proxy is disabled."),
    ] {
        assert_eq!(Replies::new(text).set_server(), Err(refusal(reply)));
    }
    let mut replies = Replies::new(recorded!("2.6", "look_nope"));
    assert!(replies.info().is_ok());
    assert_eq!(replies.servers_state(), Err(refusal("Can't find backend.")));
    assert_eq!(replies.stat(), Err(refusal("No such proxy.")));
}

#[test]
fn levels() {
    assert_eq!(Replies::new(recorded!("2.6", "level_admin")).level(), Ok("admin"));
    assert_eq!(Replies::new(recorded!("2.6", "level_operator")).level(), Ok("operator"));
    assert_eq!(Replies::new(recorded!("3.0", "level_user")).level(), Ok("user"));
    let strange = Replies::new("Unknown command.\nhelp\n\n").level();
    assert_eq!(strange, Err(refusal("Unknown command.")));
}

#[test]
fn quoted_fields_hold_anything() {
    let text = "# pxname,svname,qcur,scur,slim,stot,status,check_status,type,iid,sid,last_chk,\n\
        b,s,0,3,,9,UP,* L7OK,2,4,1,\"a \"\"b\"\",\n\nc\",\nb,BACKEND,7,3,200,9,UP,,1,4,0,,\n\n";
    let mut replies = Replies::new(text);
    let stat = replies.stat().unwrap();
    let server =
        ServerStat { status: "UP".into(), check: "L7OK".into(), sessions: 3, sessions_total: 9, limit: None };
    assert_eq!(
        stat,
        Stat { servers: [((4, 1), server)].into(), queued: [("b".into(), 7)].into(), ..Stat::default() }
    );
    assert_eq!(replies.rest, "");
    let unpublished =
        Replies::new(&text.replace("b,BACKEND,7,3,200,9,UP,", "b,BACKEND,7,3,200,9,UP (UNPUB),")).stat();
    assert_eq!(unpublished.unwrap().unpublished, ["b".to_owned()].into());
}

#[test]
fn errors_name_the_missing_or_wrong_field() {
    let header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_check_state srv_agent_state srv_port\n";
    let read = |rows: &str| Replies::new(&format!("{header}{rows}")).servers_state();
    assert_eq!(read("1 b 1 s 10.0.0.1 2 0 1 1 0 0 80\n"), Err(ReplyError::CutShort));
    assert_eq!(read("1 b 1 s\n\n"), Err(ReplyError::Missing { name: "srv_port" }));
    assert_eq!(
        Replies::new(
            "# pxname,type,iid,sid,qcur,status,check_status,scur,stot,slim,\nb,1,4,0,4294967296,,,,,,\n\n"
        )
        .stat(),
        Err(ReplyError::BadValue { name: "qcur", value: "4294967296".to_owned() }),
        "more than HAProxy can count"
    );
    let bad = |name, value: &str| Err(ReplyError::BadValue { name, value: value.to_owned() });
    assert_eq!(read("1 b 1 s 10.0.0.1 9 0 1 1 0 0 80\n\n"), bad("srv_op_state", "9"));
    assert_eq!(read("1 b 1 s 10.0.0.1 2 0x8 1 1 0 0 80\n\n"), bad("srv_admin_state", "0x8"));
    assert_eq!(read("1 b 1 s here 2 0 1 1 0 0 80\n\n"), bad("srv_addr", "here"));
    assert_eq!(
        Replies::new("1\n# be_id be_name\n\n").servers_state(),
        Err(ReplyError::Missing { name: "srv_id" })
    );
    assert_eq!(
        Replies::new("Name: HAProxy\nVersion: 2\n\n").info(),
        Err(ReplyError::Missing { name: "Pid" })
    );
    assert_eq!(Replies::new("").set_server(), Err(ReplyError::CutShort));
}

proptest! {
    /// Tries every truncation, and every change of one byte, of a real answer.
    #[test]
    fn nothing_panics_on_damage(cut in 0..8000_usize, at in 0..8000_usize, byte in any::<u8>()) {
        let mut bytes = recorded!("2.6", "look_mobile_odd").as_bytes().to_vec();
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        bytes.truncate(cut);
        read_anything(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn nothing_panics_on_any_text(text in "(1\n# |# |Name: |[\"a-z ,0-9\n\u{0}é-])*") {
        read_anything(&text);
    }
}

fn read_anything(text: &str) {
    let mut replies = Replies::new(text);
    let _ = replies.info();
    for _ in 0..2 {
        let _ = replies.servers_state();
        let _ = replies.stat();
    }
    let _ = Replies::new(text).sessions();
    let _ = Replies::new(text).set_server();
    let _ = Replies::new(text).level();
    let _ = Replies::new(text).stat();
}

#[test]
fn sessions_of_every_version_have_a_server_and_a_kind() {
    // As printed by 2.2, 2.6, 3.0 and 3.2: a response in progress, a waiting request, a tunnel, and the asking
    // connection.
    for (line, kind) in [
        (
            "0x561a0c554dc0: proto=tcpv4 src=127.0.0.1:35098 fe=f be=mobile srv=app1 ts=00 age=1s calls=3 rate=1 cpu=0 \
             lat=0 rq[f=49c40080h,i=0,an=8000h,rx=,wx=,ax=] rp[f=80040000h,i=0,an=4000000h,rx=58s,wx=,ax=] \
             s0=[8,10008h,fd=13,ex=] s1=[8,200118h,fd=14,ex=] exp=3s",
            SessionKind::Answering,
        ),
        (
            "0x557650487760: proto=tcpv4 src=127.0.0.1:37052 fe=f be=mobile srv=app1 ts=00 epoch=0 age=2s calls=3 rate=0 \
             cpu=0 lat=0 rq[f=c40080h,i=0,an=8000h,rx=,wx=,ax=] rp[f=80400000h,i=0,an=1400000h,rx=58s,wx=,ax=] \
             scf=[8,80h,fd=13] scb=[8,11h,fd=14] exp=3s rc=0 c_exp=",
            SessionKind::Waiting,
        ),
        (
            "0x7f9aa38a0000: proto=tcpv4 src=127.0.0.1:35896 fe=f be=mobile srv=app1 ts=00 epoch=0 age=1s calls=3 rate=0 \
             cpu=0 lat=0 rq[f=848000h,i=0,an=00h,ax=] rp[f=80048101h,i=0,an=00h,ax=] \
             scf=[8,482h,fd=16,rex=,wex=] scb=[8,1011h,fd=17,rex=58s,wex=] exp=3s rc=0 c_exp=",
            SessionKind::Tunnel,
        ),
    ] {
        let own = "0x7f3cb4f0d000: proto=sockpair src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 rq[f=c48202h,i=0,an=00h] \
                   rp[f=80008002h,i=0,an=00h] exp=10s";
        let answer = format!("{line}\n{own}\n\n");
        let id = line.split(':').next().unwrap_or_default().to_owned();
        let session =
            Session { id, worker: None, server: ServerId::new("mobile", "app1"), address: None, kind };
        assert_eq!(Replies::new(&answer).sessions(), Ok(vec![session]));
    }
    assert_eq!(Replies::new("Permission denied\n\n").sessions(), Err(refusal("Permission denied")));
    assert_eq!(
        Replies::new("0x1: be=b srv=s rq[an=0h]\n\n").sessions(),
        Err(ReplyError::Missing { name: "rp" })
    );
}
