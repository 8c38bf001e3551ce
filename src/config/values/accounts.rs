//! Reads users and groups from /etc/passwd and /etc/group, for hints and magic variables only. The code that drops
//! privileges uses the system's lookup.

use std::fs;

/// A user whose file permissions are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    /// The primary group and the supplementary groups.
    pub(crate) gids: Vec<u32>,
}

impl Account {
    /// The user with this name or number.
    pub(crate) fn find(user: &str) -> Option<Account> {
        let fields = record("/etc/passwd", user)?;
        let (name, uid, gid) = (
            fields.first()?.clone(),
            fields.get(2)?.parse().ok()?,
            fields.get(3)?.parse().ok()?,
        );
        let mut gids = vec![gid];
        for line in lines("/etc/group") {
            if line
                .get(3)
                .is_some_and(|members| members.split(',').any(|member| member == name))
            {
                gids.extend(line.get(2).and_then(|gid| gid.parse::<u32>().ok()));
            }
        }
        Some(Account { name, uid, gids })
    }

    /// Whether the user has a permission (4 read, 2 write, 1 search) on a file with this owner, group and mode.
    pub(crate) fn may(&self, permission: u32, uid: u32, gid: u32, mode: u32) -> bool {
        let shift = if self.uid == uid {
            6
        } else if self.gids.contains(&gid) {
            3
        } else {
            0
        };
        self.uid == 0 || (mode >> shift) & permission == permission
    }
}

/// The number of a group that is given by name or number.
pub(crate) fn gid_of(group: &str) -> Option<u32> {
    group
        .parse()
        .ok()
        .or_else(|| record("/etc/group", group)?.get(2)?.parse().ok())
}

/// The name of the user or group `number` in `file`, which is /etc/passwd or /etc/group. If the file has no such name,
/// the number itself.
pub(crate) fn name_of(file: &str, number: u32) -> String {
    let number = number.to_string();
    let found = lines(file)
        .into_iter()
        .find(|fields| fields.get(2) == Some(&number));
    found
        .and_then(|fields| fields.into_iter().next())
        .unwrap_or(number)
}

fn record(file: &str, key: &str) -> Option<Vec<String>> {
    lines(file).into_iter().find(|fields| {
        fields.first().is_some_and(|name| name == key)
            || fields.get(2).is_some_and(|number| number == key)
    })
}

fn lines(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| line.split(':').map(str::to_owned).collect())
        .collect()
}

/// The user of nginx's workers; `None` if nginx is not installed or its configuration names no known user.
pub(crate) fn nginx() -> Option<Account> {
    let text = fs::read_to_string("/etc/nginx/nginx.conf").ok()?;
    let user = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("user ")?.trim().strip_suffix(';'));
    Account::find(user?.split_whitespace().next()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_right_of_the_owner_the_group_or_the_others_counts() {
        let user = Account {
            name: "u".into(),
            uid: 5,
            gids: vec![7, 8],
        };
        assert!(user.may(2, 5, 1, 0o200));
        assert!(!user.may(2, 5, 7, 0o066));
        assert!(user.may(2, 1, 8, 0o020));
        assert!(!user.may(2, 1, 8, 0o702));
        assert!(user.may(1, 1, 1, 0o001));
    }

    #[test]
    fn root_is_known_by_name_and_number() {
        assert_eq!(Account::find("root"), Account::find("0"));
        assert_eq!(gid_of("33"), Some(33));
        assert_eq!(name_of("/etc/passwd", 0), "root");
    }
}
