//! Checks of the ownership of files. drainswap often runs as root, and its settings and journals decide which
//! commands it runs and which containers it replaces: no other user may write to them.

mod entry;

use std::collections::BTreeSet;
use std::fmt;

pub use entry::Entry;

/// The users and the group that may own and write the files of drainswap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user that drainswap runs as.
    pub uid: u32,
    /// The user that called sudo. Applies only if drainswap runs as root.
    pub sudo: Option<u32>,
    /// The users that `--trust-owner` names.
    pub trusted: BTreeSet<u32>,
    /// The group that `state_group` names.
    pub group: Option<u32>,
}

/// The users and groups of `/etc/passwd` and `/etc/group`, without those of a directory service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// The reason why drainswap does not trust an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustFault {
    /// Another user owns it.
    Owner,
    /// The users of a group may write it.
    Group,
    /// Every user may write it.
    Everyone,
}

impl Caller {
    fn trusts(&self, uid: u32) -> bool {
        let called_sudo = self.uid == 0 && self.sudo == Some(uid);
        uid == 0 || uid == self.uid || called_sudo || self.trusted.contains(&uid)
    }

    /// Returns every trusted user.
    fn users(&self) -> impl Iterator<Item = u32> {
        let sudo = self.sudo.filter(|_| self.uid == 0);
        [0, self.uid].into_iter().chain(sudo).chain(self.trusted.iter().copied())
    }
}

impl Accounts {
    /// Reads the text of both files. Skips lines that it cannot parse.
    #[must_use]
    pub fn read(passwd: &str, group: &str) -> Self {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = |line| match &fields(line)[..] {
            [name, _, uid, gid, ..] => {
                Some(User { name: name.clone(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        };
        let group_of = |line| match &fields(line)[..] {
            [name, _, gid, members] => {
                let members = members.split(',').filter(|it| !it.is_empty()).map(str::to_owned);
                Some(Group { name: name.clone(), gid: gid.parse().ok()?, members: members.collect() })
            }
            _ => None,
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    /// Returns the user with this name or number.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<u32> {
        let known = self.users.iter().find(|user| user.name == name).map(|user| user.uid);
        known.or_else(|| name.parse().ok())
    }

    /// Returns the group with this name or number.
    #[must_use]
    pub fn gid(&self, name: &str) -> Option<u32> {
        let known = self.groups.iter().find(|group| group.name == name).map(|group| group.gid);
        known.or_else(|| name.parse().ok())
    }

    /// Returns the user's name, or the number if the name is unknown.
    #[must_use]
    pub fn user(&self, uid: u32) -> String {
        let known = self.users.iter().find(|user| user.uid == uid);
        known.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// Returns the group's name, or the number if the name is unknown.
    #[must_use]
    pub fn group(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|group| group.gid == gid);
        known.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }

    /// Returns whether a group has no member other than this user. Debian and other systems give each user such a
    /// group, with a umask that lets the group write.
    ///
    /// The group must be the user's primary group, or have the user's number if these files do not list the user.
    fn is_private(&self, gid: u32, uid: u32) -> bool {
        let user = self.users.iter().find(|user| user.uid == uid);
        let is_primary = user.map_or(gid == uid, |user| user.gid == gid);
        let is_alone = self.users.iter().all(|other| other.gid != gid || other.uid == uid);
        let mut groups = self.groups.iter().filter(|group| group.gid == gid);
        let is_own = groups.all(|group| {
            let is_named_so = user.is_none_or(|user| user.name == group.name || user.uid == gid);
            is_named_so && group.members.iter().all(|member| user.is_some_and(|user| user.name == *member))
        });
        is_primary && is_alone && is_own
    }
}

/// Returns the reasons not to trust an entry. There are none if no other user may write it.
#[must_use]
pub fn faults(entry: Entry, caller: &Caller, accounts: &Accounts) -> Vec<TrustFault> {
    let is_fine = || {
        let is_named = caller.group == Some(entry.gid);
        entry.gid == 0 || is_named || caller.users().any(|uid| accounts.is_private(entry.gid, uid))
    };
    let mut faults = Vec::new();
    if !caller.trusts(entry.uid) {
        faults.push(TrustFault::Owner);
    }
    if entry.is_writable_by_group() && !is_fine() {
        faults.push(TrustFault::Group);
    }
    if entry.is_writable_by_everyone() {
        faults.push(TrustFault::Everyone);
    }
    faults
}

/// A file or directory that drainswap must be able to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Locks and journals.
    StateDirectory,
    /// `drainswap.toml`.
    Settings,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StateDirectory => "the state directory",
            Self::Settings => "the settings file",
        })
    }
}

/// A file or directory that drainswap cannot trust, with the commands that fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot trust {thing} {path}: {}. Run `{}`{}", .reasons.join(", and "), .commands.join(" && "), .otherwise.concat())]
pub struct Untrusted {
    pub thing: Thing,
    pub path: String,
    pub reasons: Vec<String>,
    /// The exact commands that fix it.
    pub commands: Vec<String>,
    /// Alternatives to these commands.
    pub otherwise: Vec<String>,
}

impl Untrusted {
    /// Returns the faults of an entry and of the directories above it, each of which comes with its path, quoted
    /// for a shell. Returns `None` if there are none.
    #[must_use]
    pub fn of(
        thing: Thing,
        path: &str,
        (quoted, entry): (&str, Entry),
        above: &[(String, Entry)],
        (caller, accounts): (&Caller, &Accounts),
    ) -> Option<Self> {
        let faults = faults(entry, caller, accounts);
        let (mut reasons, mut commands, mut otherwise) = (Vec::new(), Vec::new(), Vec::new());
        let mut bits = String::new();
        for fault in faults {
            match fault {
                TrustFault::Owner => {
                    let owner = accounts.user(entry.uid);
                    reasons.push(format!("it belongs to {owner}"));
                    commands.push(format!("chown {} {quoted}", accounts.user(caller.uid)));
                    otherwise.push(format!(", or accept that owner with --trust-owner {owner}"));
                }
                TrustFault::Group => {
                    let group = accounts.group(entry.gid);
                    reasons.push(format!("the group {group} can write it"));
                    bits.push('g');
                    if thing == Thing::StateDirectory {
                        otherwise.push(format!(
                            ", or accept that group with `state_group = \"{group}\"` in drainswap.toml"
                        ));
                    }
                }
                TrustFault::Everyone => {
                    reasons.push("everyone can write it".to_owned());
                    bits.push('o');
                }
            }
        }
        if !bits.is_empty() {
            commands.push(format!("chmod {bits}-w {quoted}"));
        }
        for (directory, _) in above.iter().filter(|(_, entry)| entry.lets_everyone_replace()) {
            reasons.push(format!("everyone can replace it in {directory}"));
            commands.push(format!("chmod o-w {directory}"));
        }
        let found = Self { thing, path: path.to_owned(), reasons, commands, otherwise };
        (!found.reasons.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n\
                          bob:x:1001:1001::/home/bob:/bin/sh\ncarol:x:1002:100::/home/carol:/bin/sh\n\
                          dave:x:1003:100::/home/dave:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\nalice:x:1000:\nbob:x:1001:carol\nusers:x:100:\ndeploy:x:2000:alice,bob\n";

    fn accounts() -> Accounts {
        Accounts::read(PASSWD, GROUP)
    }

    fn caller(uid: u32) -> Caller {
        Caller { uid, ..Caller::default() }
    }

    fn entry(uid: u32, gid: u32, mode: u32) -> Entry {
        Entry { uid, gid, mode }
    }

    #[test]
    fn only_trusted_users_may_own_and_write() {
        use TrustFault::{Everyone, Group, Owner};
        let root = caller(0);
        let sudo = Caller { sudo: Some(1000), ..caller(0) };
        let trusting = Caller { trusted: BTreeSet::from([1001]), ..caller(0) };
        let deploy = Caller { group: Some(2000), ..caller(0) };
        let pretends = Caller { sudo: Some(1001), ..caller(1000) };
        let unknown = caller(4711);
        let table: &[(&Caller, Entry, &[TrustFault])] = &[
            // The owner.
            (&root, entry(0, 0, 0o700), &[]),
            (&root, entry(1000, 1000, 0o700), &[Owner]),
            (&sudo, entry(1000, 1000, 0o700), &[]),
            (&sudo, entry(1001, 1001, 0o700), &[Owner]),
            (&trusting, entry(1001, 0, 0o700), &[]),
            (&caller(1000), entry(1000, 1000, 0o755), &[]),
            (&caller(1000), entry(0, 0, 0o644), &[]),
            (&caller(1000), entry(1001, 1001, 0o700), &[Owner]),
            // SUDO_UID comes from the environment: users other than root can set it to any value.
            (&pretends, entry(1001, 1001, 0o700), &[Owner]),
            // The group.
            (&root, entry(0, 0, 0o775), &[]),
            (&root, entry(0, 2000, 0o755), &[]),
            (&root, entry(0, 2000, 0o775), &[Group]),
            (&deploy, entry(0, 2000, 0o2775), &[]),
            (&deploy, entry(0, 100, 0o775), &[Group]),
            (&sudo, entry(1000, 1000, 0o775), &[]),
            (&sudo, entry(0, 1000, 0o775), &[]),
            (&caller(1000), entry(1000, 1000, 0o664), &[]),
            // Carol is in Bob's group, and shares her own with Dave.
            (&caller(1001), entry(1001, 1001, 0o775), &[Group]),
            (&caller(1002), entry(1002, 100, 0o775), &[Group]),
            // The private group of an untrusted user.
            (&root, entry(1000, 1000, 0o775), &[Owner, Group]),
            // A user that the files do not list, from a directory service or in a container.
            (&unknown, entry(4711, 4711, 0o775), &[]),
            (&unknown, entry(4711, 4712, 0o775), &[Group]),
            (&unknown, entry(4711, 100, 0o775), &[Group]),
            // Everyone.
            (&root, entry(0, 0, 0o777), &[Everyone]),
            (&root, entry(0, 0, 0o1777), &[Everyone]),
            (&root, entry(0, 0, 0o666), &[Everyone]),
            (&trusting, entry(1001, 1001, 0o777), &[Group, Everyone]),
            (&root, entry(1001, 2000, 0o777), &[Owner, Group, Everyone]),
        ];
        for (caller, entry, expected) in table {
            assert_eq!(faults(*entry, caller, &accounts()), *expected, "{caller:?} {entry:?}");
        }
    }

    fn told(thing: Thing, uid: u32, mode: u32, above: u32) -> Option<String> {
        let above = [("/srv".to_owned(), entry(0, 0, above))];
        let caller = (&caller(0), &accounts());
        Untrusted::of(thing, "/srv/a b", ("'/srv/a b'", entry(uid, 2000, mode)), &above, caller)
            .map(|it| it.to_string())
    }

    #[test]
    fn what_is_said_has_the_literal_commands() {
        assert_eq!(told(Thing::Settings, 0, 0o644, 0o755), None);
        insta::assert_snapshot!(told(Thing::Settings, 0, 0o666, 0o755).unwrap(), @"cannot trust the settings file /srv/a b: the group deploy can write it, and everyone can write it. Run `chmod go-w '/srv/a b'`");
        insta::assert_snapshot!(told(Thing::StateDirectory, 1001, 0o770, 0o755).unwrap(), @r#"cannot trust the state directory /srv/a b: it belongs to bob, and the group deploy can write it. Run `chown root '/srv/a b' && chmod g-w '/srv/a b'`, or accept that owner with --trust-owner bob, or accept that group with `state_group = "deploy"` in drainswap.toml"#);
        insta::assert_snapshot!(told(Thing::StateDirectory, 0, 0o700, 0o777).unwrap(), @"cannot trust the state directory /srv/a b: everyone can replace it in /srv. Run `chmod o-w /srv`");
        assert_eq!(told(Thing::StateDirectory, 0, 0o700, 0o1777), None, "in /tmp each has their own");
    }

    #[test]
    fn users_and_groups_are_known_by_name_and_number() {
        let accounts = accounts();
        assert_eq!(
            (accounts.uid("bob"), accounts.uid("77"), accounts.uid("nobody-here")),
            (Some(1001), Some(77), None)
        );
        assert_eq!((accounts.gid("deploy"), accounts.gid("x")), (Some(2000), None));
        assert_eq!((accounts.user(1001), accounts.group(9)), ("bob".to_owned(), "9".to_owned()));
    }
}
