//! `blacklist` and `whitelist`: the options that a part of a configuration may give.

use crate::config::finding::{Fault, shortened};

/// The lists that apply at the current position.
#[derive(Debug, Default)]
pub(crate) struct Permitted {
    /// The forbidden options.
    black: Option<Vec<String>>,
    /// The permitted options; all others are forbidden. As in uWSGI, `end-whitelist` must be in the list: a restricted
    /// file cannot lift the restriction.
    white: Option<Vec<String>>,
}

impl Permitted {
    /// Begins or ends a list. A new list replaces the previous list.
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

    /// The fault of an option that may not be given at the current position; `None` if the option is permitted.
    pub(crate) fn forbids(&self, name: &str) -> Option<Fault> {
        let listed = |list: &[String]| list.iter().any(|listed| listed == name);
        let fault = |list: &str| Fault::new(format!("{} is forbidden by {list}", shortened(name)));
        if self.black.as_deref().is_some_and(listed) {
            return Some(fault("blacklist").hint("remove it, here or from the blacklist"));
        }
        if self.white.as_deref().is_some_and(|list| !listed(list)) {
            return Some(fault("whitelist").hint("remove it, or add it to the whitelist"));
        }
        None
    }

    /// Whether a list applies.
    pub(crate) fn restricts(&self) -> bool {
        self.black.is_some() || self.white.is_some()
    }

    /// Removes the lists and returns them, to be restored later.
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
    fn the_last_blacklist_applies_until_it_ends() {
        let mut permitted = Permitted::default();
        permitted.apply("blacklist", "threads");
        permitted.apply("blacklist", "processes");
        assert!(permitted.forbids("processes").is_some() && permitted.forbids("threads").is_none());
        permitted.apply("end-blacklist", "");
        assert!(permitted.forbids("processes").is_none() && !permitted.restricts());
    }
}
