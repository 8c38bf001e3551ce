//! Alarms: messages about the instance that are sent to a command, the log or a web service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::config::{Action, Alarm, AlarmEngine, Config};
use crate::log;
use crate::master::hooks::{Hook, Runner};
use crate::master::shell::command::CommandContext;
use crate::master::shell::output::Outputs;
use crate::net::BoundSocket;
use crate::sys::backlog;
use crate::sys::process::{End, Exit};
use crate::sys::signal::Signal;

/// Interval between two checks of the accept queues.
const QUEUE_INTERVAL: Duration = Duration::from_secs(1);
/// Time limit of a queue of alarm commands. The commands run one after another, and the limit starts when the first is
/// queued.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of queued alarm commands.
const MAX_WAITING: usize = 32;
/// Maximum number of recent messages that are remembered, so that a repeated message raises no alarm.
const MAX_REMEMBERED: usize = 64;
/// Maximum size of a message in bytes. It is uWSGI's default of `alarm-msg-size`.
const MAX_MESSAGE: usize = 8192;

/// The alarms of an instance.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    alarms: Vec<Alarm>,
    /// Names of the alarms raised when a process crashes (`alarm-segfault`).
    crash: Vec<String>,
    /// Names of the alarms raised when an accept queue is full (`alarm-backlog`).
    queue: Vec<String>,
    /// Minimum time between two equal messages of one alarm (`alarm-freq`).
    pause: Duration,
    instance: String,
    runner: Option<Runner>,
    /// Alarm names and messages raised within the last `pause`, with the time.
    recent: Vec<(String, String, Instant)>,
    next_check: Option<Instant>,
}

impl Alarms {
    /// Takes the alarms of a configuration. Logs a warning for each alarm name that is used but not defined.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        self.alarms = config.alarm().to_vec();
        self.crash = config.alarm_segfault().to_vec();
        self.queue = config.alarm_backlog().to_vec();
        self.pause = config.alarm_freq();
        self.instance = config.name().to_owned();
        self.next_check = (!self.queue.is_empty()).then_some(now + QUEUE_INTERVAL);
        let of_lines = config.log_alarm().iter();
        let of_lines = of_lines.flat_map(|rule| rule.logger.split(','));
        let listed = self.crash.iter().chain(&self.queue).map(String::as_str);
        for name in listed.chain(of_lines).filter(|name| !name.is_empty()) {
            if !self.is_defined(name) {
                tracing::warn!("there is no alarm {name}: add alarm = {name} cmd:COMMAND");
            }
        }
    }

    fn is_defined(&self, name: &str) -> bool {
        self.alarms.iter().any(|alarm| alarm.name == name)
    }

    /// The time at which [`Alarms::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let runner = self.runner.as_ref().and_then(Runner::deadline);
        runner.into_iter().chain(self.next_check).min()
    }

    /// Checks the accept queues of `sockets` if the check is due, and advances the queue of alarm commands.
    pub(super) fn tick<'a>(
        &mut self,
        sockets: impl Iterator<Item = &'a BoundSocket>,
        context: &CommandContext,
        outputs: &mut Outputs,
        now: Instant,
    ) {
        if self.next_check.is_some_and(|next| next <= now) {
            self.next_check = Some(now + QUEUE_INTERVAL);
            for message in sockets.filter_map(full_queue) {
                self.raise(&self.queue.clone(), &message, now);
            }
        }
        if let Some(runner) = &mut self.runner {
            // the runner logs failures
            let _ = runner.advance(context, outputs, now);
            if runner.is_idle() {
                self.runner = None;
            }
        }
    }

    /// Raises the alarms for crashes if a worker or a zygote was killed by a signal of a crash.
    pub(super) fn process_exited(&mut self, end: End, now: Instant) {
        const CRASHES: [Signal; 4] = [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
        ];
        let is_crash = |number| CRASHES.iter().any(|signal| *signal as i32 == number);
        if matches!(end.exit, Exit::Signal(number) if is_crash(number)) && !self.crash.is_empty() {
            let message = format!("{}: process {} {}", self.instance, end.pid, end.exit);
            self.raise(&self.crash.clone(), &message, now);
        }
    }

    /// Handles the exit of a child. Returns false if the child is not the command of an alarm.
    pub(super) fn child_exited(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> bool {
        let runner = self.runner.as_mut();
        runner.is_some_and(|runner| runner.child_exited(end, outputs, now))
    }

    /// Kills the running command, drops the queued commands, and ends the checks of the accept queues. From now on no
    /// alarm is raised.
    pub(super) fn stop(&mut self) {
        self.next_check = None;
        self.alarms.clear();
        if let Some(mut runner) = self.runner.take() {
            runner.kill();
        }
    }

    /// Raises an alarm for the application. Logs a warning if there is no alarm of this name.
    pub(super) fn raise_known(&mut self, name: &str, message: &str, now: Instant) {
        if self.is_defined(name) {
            return self.raise(&[name.to_owned()], message, now);
        }
        let name = log::escape(name.as_bytes());
        tracing::warn!("uwsgi.alarm: there is no alarm {name}: add alarm = {name} cmd:COMMAND");
    }

    /// Raises the alarms `names`, except those that were raised with the same message within the last `pause`.
    pub(super) fn raise(&mut self, names: &[String], message: &str, now: Instant) {
        let pause = self.pause;
        self.recent.retain(|(.., at)| now < *at + pause);
        let message = log::clipped(message, MAX_MESSAGE);
        for name in names {
            let known =
                |(name_, text, _): &(String, String, Instant)| name_ == name && text == message;
            if self.recent.iter().any(known) {
                continue;
            }
            if self.recent.len() < MAX_REMEMBERED {
                self.recent.push((name.clone(), message.to_owned(), now));
            }
            let alarms = self.alarms.iter().filter(|alarm| alarm.name == *name);
            let actions: Vec<Action> = alarms
                .filter_map(|alarm| action(alarm, &self.instance, message))
                .collect();
            self.run(actions, now);
        }
    }

    fn run(&mut self, actions: Vec<Action>, now: Instant) {
        if actions.is_empty() {
            return;
        }
        let runner = self.runner.get_or_insert_with(|| {
            let mut runner = Runner::continuing_on_failure();
            runner.set_time_limit(Some(COMMAND_TIMEOUT), now);
            runner
        });
        if runner.waiting() + actions.len() > MAX_WAITING {
            tracing::warn!("an alarm is dropped: {MAX_WAITING} others wait for their commands");
            return;
        }
        runner.add(
            actions
                .into_iter()
                .map(|action| Hook::new(log::ALARM, action)),
        );
    }
}

/// Returns the message about a socket whose accept queue is full. Returns `None` if the queue is not full or cannot be
/// read.
fn full_queue(socket: &BoundSocket) -> Option<String> {
    let queue = backlog::queue(socket.fd()).ok()?;
    (queue.limit > 0 && queue.waiting >= queue.limit).then(|| {
        format!(
            "the accept queue of {} is full ({} of {})",
            socket.listener.name, queue.waiting, queue.limit
        )
    })
}

/// Returns the command of an alarm. An alarm without a command is performed at once, and the result is `None`.
fn action(alarm: &Alarm, instance: &str, message: &str) -> Option<Action> {
    let (input, command) = match &alarm.engine {
        AlarmEngine::Log => {
            log::alarm(&alarm.name, message);
            return None;
        }
        AlarmEngine::Udp(address) => {
            if let Err(error) = send(*address, message) {
                log::alarm(
                    &alarm.name,
                    &format!("{address} cannot be reached: {error}"),
                );
            }
            return None;
        }
        AlarmEngine::Command(command) => (message.to_owned(), command.clone()),
        AlarmEngine::Webhook(url) => {
            let body = serde_json::json!({
                "text": message,
                "alarm": alarm.name,
                "instance": instance,
            });
            let send =
                "curl -fsS -m 10 -o /dev/null -H 'Content-Type: application/json' --data-binary @-";
            (body.to_string(), format!("{send} {}", quoted(url)))
        }
    };
    Some(Action::Exec(format!(
        "printf %s {} | {{ {command}\n}}",
        quoted(&input)
    )))
}

/// Sends a message as one datagram, without waiting.
fn send(address: SocketAddr, message: &str) -> io::Result<()> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.send_to(message.as_bytes(), address).map(drop)
}

/// Quotes the text as one word of a shell command. NUL characters are removed.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_word_of_the_shell() {
        assert_eq!(quoted("it's $(x) `y`\0"), r"'it'\''s $(x) `y`'");
        let alarm = Alarm {
            name: "a".to_owned(),
            engine: AlarmEngine::Command("cat > f".to_owned()),
        };
        let command = "printf %s 'm' | { cat > f\n}".to_owned();
        assert_eq!(action(&alarm, "site", "m"), Some(Action::Exec(command)));
    }

    #[test]
    fn the_same_message_is_raised_once_per_pause() {
        let mut alarms = Alarms {
            alarms: vec![Alarm {
                name: "a".to_owned(),
                engine: AlarmEngine::Command("true".to_owned()),
            }],
            pause: Duration::from_secs(3),
            ..Alarms::default()
        };
        let (now, names) = (Instant::now(), ["a".to_owned()]);
        let waiting = |alarms: &Alarms| alarms.runner.as_ref().map_or(0, Runner::waiting);
        for message in ["one", "one", "two"] {
            alarms.raise(&names, message, now);
        }
        assert_eq!(waiting(&alarms), 2);
        alarms.raise(&names, "one", now + Duration::from_secs(4));
        assert_eq!(waiting(&alarms), 3);
        for number in 0..100 {
            alarms.raise(&names, &number.to_string(), now);
        }
        assert_eq!(waiting(&alarms), MAX_WAITING);
        let long = "é".repeat(MAX_MESSAGE);
        assert_eq!(log::clipped(&long, MAX_MESSAGE - 1).len(), MAX_MESSAGE - 2);
    }
}
