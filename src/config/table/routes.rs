//! The rules of `route`, `final-route` and their variants, in the order of the configuration.

use crate::routing::{Action, RoutingSettings, Rule, When};

use super::options::Config;

impl Config {
    /// The rules of all route options.
    pub(crate) fn routes(&self) -> RoutingSettings {
        RoutingSettings {
            request: self.in_order(&self.request_rules()),
            last: self.in_order(&self.final_rules()),
        }
    }

    /// The options of rules that run before a request is answered, each with its rules.
    fn request_rules(&self) -> [(&str, &[Rule]); 12] {
        [
            ("route", self.route()),
            ("route-host", self.route_host()),
            ("route-uri", self.route_uri()),
            ("route-qs", self.route_qs()),
            ("route-remote-addr", self.route_remote_addr()),
            ("route-remote-user", self.route_remote_user()),
            ("route-user-agent", self.route_user_agent()),
            ("route-referer", self.route_referer()),
            ("route-if", self.route_if()),
            ("route-if-not", self.route_if_not()),
            ("route-run", self.route_run()),
            ("route-label", self.route_label()),
        ]
    }

    /// The options of rules that run after a request is answered, each with its rules.
    fn final_rules(&self) -> [(&str, &[Rule]); 13] {
        [
            ("final-route", self.final_route()),
            ("final-route-status", self.final_route_status()),
            ("final-route-host", self.final_route_host()),
            ("final-route-uri", self.final_route_uri()),
            ("final-route-qs", self.final_route_qs()),
            ("final-route-remote-addr", self.final_route_remote_addr()),
            ("final-route-remote-user", self.final_route_remote_user()),
            ("final-route-user-agent", self.final_route_user_agent()),
            ("final-route-referer", self.final_route_referer()),
            ("final-route-if", self.final_route_if()),
            ("final-route-if-not", self.final_route_if_not()),
            ("final-route-run", self.final_route_run()),
            ("final-route-label", self.final_route_label()),
        ]
    }

    /// Merges the rules of several options in the order of the configuration. `lists` has the rules of each option.
    fn in_order(&self, lists: &[(&str, &[Rule])]) -> Vec<Rule> {
        let mut lists: Vec<_> = lists
            .iter()
            .map(|(name, rules)| (*name, rules.iter()))
            .collect();
        let names = self.entries().iter().map(|(name, ..)| name);
        let rules = names.filter_map(|name| {
            let (_, rules) = lists.iter_mut().find(|(list, _)| list == name)?;
            rules.next().cloned()
        });
        rules.collect()
    }

    /// The first label of a `goto` that no rule of its kind defines.
    pub(crate) fn unknown_route_label(&self) -> Option<String> {
        unknown_label(&self.request_rules()).or_else(|| unknown_label(&self.final_rules()))
    }
}

fn unknown_label(lists: &[(&str, &[Rule])]) -> Option<String> {
    let rules = || lists.iter().flat_map(|(_, rules)| rules.iter());
    let is_defined = |label: &String| {
        let mut targets = rules().map(|rule| &rule.when);
        targets.any(|when| matches!(when, When::Label(name) if name == label))
    };
    rules().find_map(|rule| match &rule.action {
        Action::Goto(label) if !is_defined(label) => Some(label.clone()),
        _ => None,
    })
}
