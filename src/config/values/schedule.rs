//! Commands that run on a schedule: the values of `cron`, `unique-cron` and `cron2`.

use std::time::Duration;

use crate::config::finding::{Fault, shortened};

use super::keyed::{name_of_command, pairs, unknown_key};
use super::number::seconds;
use super::setting::{Parsed, Value};
use super::text::{non_empty, switch};

/// The schedule of a command. Each field is a value, -1 for any value, or -N for the multiples of N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The minute, 0 to 59.
    pub(crate) minute: i32,
    /// The hour, 0 to 23.
    pub(crate) hour: i32,
    /// The day of the month, 1 to 31.
    pub(crate) day: i32,
    /// The month, 1 to 12.
    pub(crate) month: i32,
    /// The day of the week, 0 (Sunday) to 6; 7 is read as 0.
    pub(crate) week: i32,
}

/// A command and its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// The name in log messages.
    pub(crate) name: String,
    /// The command; `/bin/sh -c` runs it.
    pub(crate) command: String,
    /// The times at which the command runs.
    pub(crate) schedule: Schedule,
    /// Whether a run is skipped while an earlier run of the command is still active.
    pub(crate) unique: bool,
    /// The timeout of a run. `None` is the value of `cron-harakiri`; zero is no timeout.
    pub(crate) harakiri: Option<Duration>,
}

impl Schedule {
    /// The schedule of a command that runs every minute.
    pub(crate) const ALWAYS: Schedule = Schedule {
        minute: -1,
        hour: -1,
        day: -1,
        month: -1,
        week: -1,
    };
}

const KEYS: &[&str] = &[
    "minute", "hour", "day", "month", "week", "unique", "harakiri", "name",
];

/// The result of setting a field.
enum Set {
    /// The schedule has no field of this name.
    Unknown,
    /// The value is in the range of the field.
    Valid,
    /// The value is outside of the range of the field. The remark explains the effect of the value.
    Doubtful(Fault),
}

impl Schedule {
    /// The field with this name, its minimum and its maximum.
    fn field(&mut self, name: &str) -> Option<(&mut i32, i32, i32)> {
        match name {
            "minute" => Some((&mut self.minute, 0, 59)),
            "hour" => Some((&mut self.hour, 0, 23)),
            "day" => Some((&mut self.day, 1, 31)),
            "month" => Some((&mut self.month, 1, 12)),
            "week" => Some((&mut self.week, 0, 7)),
            _ => None,
        }
    }

    /// Sets the field with this name. As in uWSGI, a number outside of the range is set too.
    fn set(&mut self, name: &str, text: &str) -> Result<Set, Fault> {
        let Some((field, lowest, highest)) = self.field(name) else {
            return Ok(Set::Unknown);
        };
        let Ok(value) = text.parse::<i32>() else {
            let fault = Fault::new(format!("the {name} {} is not a number", shortened(text)));
            return Err(fault.hint("write -1 for any value, -5 for every fifth value"));
        };
        *field = if name == "week" && value == 7 {
            0
        } else {
            value
        };
        if (lowest..=highest).contains(&value) || (-highest..0).contains(&value) {
            return Ok(Set::Valid);
        }
        // in uWSGI, -N matches the multiples of N; if N is above the maximum of the field, 0 is the only multiple
        let fault = Fault::new(match (value, lowest) {
            (..0, 0) => format!("the {name} {value} is the {name} 0, as in uWSGI"),
            _ => format!("there is no {name} {value}, so the command never runs, as in uWSGI"),
        });
        Ok(Set::Doubtful(fault.hint(format!(
            "write {lowest} to {highest}, -1 for any value, or -5 for every fifth value"
        ))))
    }

    /// The schedule for a name such as `@daily`, as in crontab(5); `None` for an unknown name.
    fn named(name: &str) -> Option<Schedule> {
        let [minute, hour, day, month, week] = match name {
            "@hourly" => [0, -1, -1, -1, -1],
            "@daily" | "@midnight" => [0, 0, -1, -1, -1],
            "@weekly" => [0, 0, -1, -1, 0],
            "@monthly" => [0, 0, 1, -1, -1],
            "@yearly" | "@annually" => [0, 0, 1, 1, -1],
            _ => return None,
        };
        Some(Schedule {
            minute,
            hour,
            day,
            month,
            week,
        })
    }
}

impl Task {
    fn new(schedule: Schedule, command: &str) -> Parsed<Task> {
        let (command, remark) = non_empty(command.trim())?;
        let task = Task {
            name: format!("cron {}", name_of_command(&command)),
            command,
            schedule,
            unique: false,
            harakiri: None,
        };
        Ok((task, remark))
    }

    /// Parses `minute hour day month week command`, or `@daily command`.
    fn by_fields(text: &str) -> Parsed<Task> {
        if text.starts_with('@') {
            let (name, command) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let schedule = Schedule::named(name).ok_or_else(|| {
                Fault::new(format!("unknown schedule {}", shortened(name)))
                    .hint("write @hourly, @daily, @weekly, @monthly or @yearly; to run a command at the start use exec-as-user")
            })?;
            return Task::new(schedule, command);
        }
        let mut schedule = Schedule::ALWAYS;
        let mut doubt = None;
        let mut rest = text;
        for name in ["minute", "hour", "day", "month", "week"] {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if word.is_empty() {
                return Err(
                    Fault::new("the value has fewer than five fields and a command")
                        .hint("write minute hour day month week command, with -1 for any value"),
                );
            }
            if let Set::Doubtful(remark) = schedule.set(name, word)? {
                doubt.get_or_insert(remark);
            }
            rest = after.trim_start();
        }
        let (task, remark) = Task::new(schedule, rest)?;
        Ok((task, doubt.or(remark)))
    }

    /// Parses `key=value,... command`. The keys are optional.
    fn by_keys(text: &str) -> Parsed<Task> {
        let (first, after) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let has_keys = first
            .split_once('=')
            .is_some_and(|(key, _)| KEYS.contains(&key) || key == "legion");
        if !has_keys {
            return Task::new(Schedule::ALWAYS, text);
        }
        let mut schedule = Schedule::ALWAYS;
        let (mut unique, mut harakiri, mut named, mut doubt) = (false, None, None, None);
        for (key, value) in pairs(first)? {
            match key.as_str() {
                "unique" => unique = switch(&value).map_err(|fault| fault.of(&key, &value))?.0,
                "harakiri" => {
                    harakiri = Some(seconds(&value).map_err(|fault| fault.of(&key, &value))?.0);
                }
                "name" => named = Some(value),
                "legion" => {
                    return Err(Fault::new(
                        "clusters of instances (legions) are not supported",
                    ));
                }
                field => match schedule.set(field, &value)? {
                    Set::Valid => {}
                    Set::Doubtful(remark) => doubt = Some(remark),
                    Set::Unknown => return Err(unknown_key(field, KEYS)),
                },
            }
        }
        let (task, remark) = Task::new(schedule, after)?;
        let name = named.unwrap_or_else(|| task.name.clone());
        Ok((
            Task {
                name,
                unique,
                harakiri,
                ..task
            },
            doubt.or(remark),
        ))
    }
}

/// Declares an option type whose values are tasks.
macro_rules! task {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = Task;
            type Ref<'a> = &'a Task;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<Task> {
                ($parse)(text)
            }

            fn get(stored: &Task) -> &Task {
                stored
            }
        }
    };
}

task!(
    /// A schedule of five fields, and a command.
    Cron, "MINUTE HOUR DAY MONTH WEEK COMMAND", Task::by_fields
);
task!(
    /// A schedule of five fields, and a command whose runs do not overlap.
    UniqueCron, "MINUTE HOUR DAY MONTH WEEK COMMAND", |text| {
        let (task, remark) = Task::by_fields(text)?;
        Ok((Task { unique: true, ..task }, remark))
    }
);
task!(
    /// A schedule of five fields, and a URL that curl requests.
    CurlCron, "MINUTE HOUR DAY MONTH WEEK URL", |text| {
        let (task, remark) = Task::by_fields(text)?;
        let url = task.command.trim();
        if url.contains(['\'', '\0']) || url.contains(char::is_whitespace) {
            return Err(Fault::new("the URL contains a blank or a quote").hint("encode it, as %20 and %27"));
        }
        let command = format!("exec curl -fsS -o /dev/null '{url}'");
        Ok((Task { name: "cron curl".to_owned(), command, ..task }, remark))
    }
);
task!(
    /// A command whose schedule is given by keys.
    Cron2, "KEY=VALUE,... COMMAND", Task::by_keys
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fields(task: &Task) -> [i32; 5] {
        let it = task.schedule;
        [it.minute, it.hour, it.day, it.month, it.week]
    }

    #[test]
    fn the_url_of_a_curl_cron_is_one_word_of_its_command() {
        let (task, _) = CurlCron::parse("-1 -1 -1 -1 -1 http://127.0.0.1/a?b&c").unwrap();
        assert!(task.command.ends_with(" 'http://127.0.0.1/a?b&c'"));
        assert!(CurlCron::parse("-1 -1 -1 -1 -1 http://a/'$(id)'").is_err());
    }

    #[test]
    fn five_fields_and_a_command() {
        let (task, _) = Cron::parse("59  2 -1 -3 7 /usr/bin/backup --all  now").unwrap();
        assert_eq!(fields(&task), [59, 2, -1, -3, 0]);
        assert_eq!(task.command, "/usr/bin/backup --all  now");
        assert_eq!(task.name, "cron backup");
        assert!(!task.unique && UniqueCron::parse("0 0 1 1 0 x").unwrap().0.unique);
    }

    #[test]
    fn forms_with_a_name() {
        for (text, expected) in [
            ("@hourly x", [0, -1, -1, -1, -1]),
            ("@midnight x", [0, 0, -1, -1, -1]),
            ("@weekly x", [0, 0, -1, -1, 0]),
            ("@monthly x", [0, 0, 1, -1, -1]),
            ("@annually x", [0, 0, 1, 1, -1]),
        ] {
            assert_eq!(fields(&Cron::parse(text).unwrap().0), expected, "{text}");
        }
        assert!(
            Cron::parse("@reboot x")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("exec-as-user")
        );
    }

    #[test]
    fn keys_may_be_missing() {
        let (task, _) = Cron2::parse("minute=-2,unique=1,harakiri=5 sleep 130").unwrap();
        assert_eq!(fields(&task), [-2, -1, -1, -1, -1]);
        assert!(task.unique && task.harakiri == Some(Duration::from_secs(5)));
        let (task, _) = Cron2::parse("LANG=C my command").unwrap();
        assert_eq!(
            (task.command.as_str(), fields(&task)),
            ("LANG=C my command", [-1; 5])
        );
    }

    #[test]
    fn a_value_outside_of_its_field_gets_a_remark() {
        for (text, part) in [
            ("60 0 -1 -1 -1 x", "no minute 60, so the command never runs"),
            ("0 24 -1 -1 -1 x", "no hour 24"),
            ("0 0 0 -1 -1 x", "no day 0"),
            ("0 0 -1 13 -1 x", "no month 13"),
            ("0 0 -1 -1 8 x", "no week 8"),
            ("-1440 -1 -1 -1 -1 x", "the minute -1440 is the minute 0"),
        ] {
            let remark = Cron::parse(text).unwrap().1.unwrap();
            assert!(remark.what.contains(part), "{text}: {}", remark.what);
        }
        let (task, remark) = Cron2::parse("minute=-1440 cmd").unwrap();
        assert_eq!(task.schedule.minute, -1440);
        assert!(remark.unwrap().what.contains("the minute 0"));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (text, part) in [
            ("*/5 * * * * x", "*/5 is not a number"),
            ("0 0 -1 -1", "fewer than five fields"),
            ("0 0 -1 -1 -1", "the value is empty"),
        ] {
            let fault = Cron::parse(text).unwrap_err();
            assert!(fault.what.contains(part), "{text}: {}", fault.what);
        }
        for (text, part) in [
            ("minute=1,legion=x cmd", "clusters"),
            ("minute=1,weak=2 cmd", "unknown key weak"),
        ] {
            let fault = Cron2::parse(text).unwrap_err();
            assert!(fault.what.contains(part), "{text}: {}", fault.what);
        }
    }
}
