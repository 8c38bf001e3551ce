//! `blacklist` and `whitelist`: which options may be given from here on.

use crate::config::finding::{Fault, shortened};

/// The lists that hold where the reading has come to.
#[derive(Debug, Default)]
pub(crate) struct Permitted {
    /// These may not be given.
    black: Option<Vec<String>>,
    /// Only these may be given, the end of the list included, as in uWSGI: who is watched cannot end the watch.
    white: Option<Vec<String>>,
}

impl Permitted {
    /// Begins or ends a list; a new list takes the place of the one before.
    pub(crate) fn apply(&mut self, directive: &str, names: &str) {
        let names = names.split_whitespace().map(str::to_owned).collect();
        match directive {
            "blacklist" => self.black = Some(names),
            "end-blacklist" => self.black = None,
            "whitelist" => self.white = Some(names),
            "end-whitelist" => self.white = None,
            _ => {}
        }
    }

    /// What is wrong with giving this option here.
    pub(crate) fn forbids(&self, name: &str) -> Option<Fault> {
        let listed = |list: &[String]| list.iter().any(|listed| listed == name);
        let fault = |list: &str| Fault::new(format!("{} is forbidden by {list}", shortened(name)));
        if self.black.as_deref().is_some_and(listed) {
            return Some(fault("blacklist").hint("take it out, here or from the blacklist"));
        }
        if self.white.as_deref().is_some_and(|list| !listed(list)) {
            return Some(fault("whitelist").hint("take it out, or add it to the whitelist"));
        }
        None
    }

    /// Whether some list holds.
    pub(crate) fn restricts(&self) -> bool {
        self.black.is_some() || self.white.is_some()
    }

    /// Without any list, until the returned lists are put back.
    pub(crate) fn suspend(&mut self) -> Permitted {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whitelist_forbids_everything_else_its_own_end_included() {
        let mut permitted = Permitted::default();
        assert_eq!(permitted.forbids("threads"), None);
        permitted.apply("whitelist", "threads  processes");
        assert_eq!(permitted.forbids("processes"), None);
        assert!(permitted.forbids("end-whitelist").is_some() && permitted.restricts());
    }

    #[test]
    fn the_last_blacklist_counts_until_it_ends() {
        let mut permitted = Permitted::default();
        permitted.apply("blacklist", "threads");
        permitted.apply("blacklist", "processes");
        assert!(permitted.forbids("processes").is_some() && permitted.forbids("threads").is_none());
        permitted.apply("end-blacklist", "");
        assert!(permitted.forbids("processes").is_none() && !permitted.restricts());
    }
}
