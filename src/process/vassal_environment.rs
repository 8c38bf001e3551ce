//! The environment variables by which an emperor passes settings to a vassal that it starts.
//!
//! The emperor serialises a [`VassalEnvironment`] to variables. The vassal parses these variables once, before it reads
//! its configuration, and removes all except its name. Therefore the variables are never read as options, and no
//! process of the vassal inherits them.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::VassalFile;
use crate::log;
use crate::process::interpreter::Shim;
use crate::sys::environment;
use crate::sys::inherited_socket::InheritedSocket;

/// The number of the descriptor of the channel to the emperor.
const CHANNEL: &str = "RUWSGI_EMPEROR_FD";
/// With the value `1`, the vassal keeps running when its emperor exits.
const OUTLIVES_EMPEROR: &str = "RUWSGI_EMPEROR_KEEP";
/// With the value `1`, the vassal runs in a cgroup that the emperor limits.
const IN_CGROUP: &str = "RUWSGI_EMPEROR_GROUPS";
/// The program of the start hook (`vassals-start-hook`).
const START_HOOK: &str = "RUWSGI_EMPEROR_HOOK";
/// Whether a vassal on demand serves. With the value `1` it hands its sockets over to the emperor and exits; with `0`
/// it serves.
const ON_DEMAND: &str = "RUWSGI_EMPEROR_KEEPS";
/// The sockets that the emperor has kept for the vassal, separated by commas.
const SOCKETS: &str = "RUWSGI_EMPEROR_SOCKETS";
/// The source of an on-demand vassal's address: `extension`, `directory` or `exec`, a space, and the argument.
const ADDRESS_RULE: &str = "RUWSGI_EMPEROR_ADDRESS";
/// The name of the vassal's configuration file.
const FILE: &str = "RUWSGI_EMPEROR_FILE";
/// With the value `1`, an executable configuration file is run, and its output is the configuration.
const FILE_EXEC: &str = "RUWSGI_EMPEROR_EXEC";
/// The user id that must own the configuration file.
const FILE_OWNER: &str = "RUWSGI_EMPEROR_OWNER";
/// A version manager's shim and the interpreter that it names.
const SHIM: &str = "RUWSGI_SHIM";

/// All settings that an emperor passes to a vassal by the environment. The default is for a process that is no vassal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VassalEnvironment {
    /// The vassal's name. The variable stays in the environment, because all processes of the vassal log the name.
    pub(crate) name: String,
    /// The vassal's end of the channel to the emperor.
    pub(crate) channel: Option<RawFd>,
    /// Whether the vassal keeps running when its emperor exits (`emperor-no-orphans = false`).
    pub(crate) outlives_emperor: bool,
    /// Whether the emperor has put the vassal into a cgroup. On the vassal's request the emperor then sets further
    /// limits (`cgroup-memory-max` and the like).
    pub(crate) in_cgroup: bool,
    /// The program to run before the vassal starts (`vassals-start-hook`).
    pub(crate) start_hook: Option<OsString>,
    /// What the process of a vassal on demand does; `None` if the emperor keeps no sockets for the vassal.
    pub(crate) on_demand: Option<OnDemand>,
    /// The listening sockets that the emperor has kept for the vassal.
    pub(crate) sockets: Vec<InheritedSocket>,
    /// The source of an on-demand vassal's address; `None` if the address is in the vassal's configuration.
    pub(crate) address_rule: Option<AddressRule>,
    /// The vassal's configuration file, and the rules for reading it.
    pub(crate) file: Option<VassalFile>,
    /// The interpreter that the shim on PATH names. The emperor passes it on because running the shim is slow.
    pub(crate) shim: Option<Shim>,
}

/// What the process of a vassal on demand does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDemand {
    /// Bind the vassal's sockets, hand them over to the emperor, and exit.
    HandOver,
    /// Serve requests on the sockets that the emperor has kept.
    Serve,
}

/// The source of an on-demand vassal's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressRule {
    /// The first line of a file, whose name is the vassal's name followed by this extension
    /// (`emperor-on-demand-extension`).
    Extension(String),
    /// A socket in this directory, named after the vassal (`emperor-on-demand-directory`).
    Directory(PathBuf),
    /// The first line that this shell command prints (`emperor-on-demand-exec`).
    Exec(String),
}

impl VassalEnvironment {
    /// Parses the variables and removes them from this process's environment, except the vassal's name.
    ///
    /// Must be called once only, while the process has one thread.
    pub(crate) fn take() -> Self {
        Self::parse(|name| match name {
            log::VASSAL_NAME => std::env::var_os(name),
            _ => environment::take(name),
        })
    }

    /// Parses the variables, whose values `variable` returns by name. An invalid value counts as absent.
    fn parse(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let (executable, owner) = (text(FILE_EXEC), text(FILE_OWNER));
        Self {
            name: text(log::VASSAL_NAME).unwrap_or_default(),
            channel: text(CHANNEL).and_then(|number| number.parse().ok()),
            outlives_emperor: variable(OUTLIVES_EMPEROR).is_some(),
            in_cgroup: variable(IN_CGROUP).is_some(),
            start_hook: variable(START_HOOK),
            on_demand: text(ON_DEMAND).map(|word| match word.as_str() {
                "1" => OnDemand::HandOver,
                _ => OnDemand::Serve,
            }),
            sockets: text(SOCKETS)
                .map(|list| list.split(',').filter_map(InheritedSocket::parse).collect())
                .unwrap_or_default(),
            address_rule: variable(ADDRESS_RULE).and_then(|rule| AddressRule::parse(&rule)),
            file: text(FILE).map(|name| VassalFile {
                name,
                executable: executable.is_some(),
                owner: owner.and_then(|uid| uid.parse().ok()),
            }),
            shim: variable(SHIM).and_then(|shim| Shim::from_text(&shim)),
        }
    }

    /// The environment variables with which the emperor starts the vassal. A setting that is absent or false has no
    /// variable.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let flag = |is_set: bool| is_set.then(|| OsString::from("1"));
        let sockets: Vec<String> = self.sockets.iter().map(ToString::to_string).collect();
        let file = self.file.as_ref();
        let all = [
            (log::VASSAL_NAME, Some(OsString::from(&self.name))),
            (
                CHANNEL,
                self.channel.map(|number| number.to_string().into()),
            ),
            (OUTLIVES_EMPEROR, flag(self.outlives_emperor)),
            (IN_CGROUP, flag(self.in_cgroup)),
            (START_HOOK, self.start_hook.clone()),
            (
                ON_DEMAND,
                self.on_demand.map(|what| match what {
                    OnDemand::HandOver => "1".into(),
                    OnDemand::Serve => "0".into(),
                }),
            ),
            (
                SOCKETS,
                (!sockets.is_empty()).then(|| sockets.join(",").into()),
            ),
            (
                ADDRESS_RULE,
                self.address_rule.as_ref().map(AddressRule::to_text),
            ),
            (FILE, file.map(|file| file.name.clone().into())),
            (FILE_EXEC, flag(file.is_some_and(|file| file.executable))),
            (
                FILE_OWNER,
                file.and_then(|file| file.owner)
                    .map(|uid| uid.to_string().into()),
            ),
            (SHIM, self.shim.as_ref().map(Shim::to_text)),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

impl AddressRule {
    fn parse(text: &OsStr) -> Option<Self> {
        let bytes = text.as_bytes();
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let argument = OsStr::from_bytes(&bytes[space + 1..]);
        let words = || argument.to_string_lossy().into_owned();
        match &bytes[..space] {
            b"extension" => Some(Self::Extension(words())),
            b"directory" => Some(Self::Directory(argument.into())),
            b"exec" => Some(Self::Exec(words())),
            _ => None,
        }
    }

    fn to_text(&self) -> OsString {
        let (kind, argument) = match self {
            Self::Extension(extension) => ("extension ", OsStr::new(extension)),
            Self::Directory(directory) => ("directory ", directory.as_os_str()),
            Self::Exec(command) => ("exec ", OsStr::new(command)),
        };
        let mut text = OsString::from(kind);
        text.push(argument);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::FileId;

    fn read_back(environment: &VassalEnvironment) -> VassalEnvironment {
        let variables = environment.variables();
        VassalEnvironment::parse(|wanted| {
            let mut all = variables.iter();
            all.find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn a_vassal_parses_what_its_emperor_serialises() {
        let file = Some(FileId {
            device: 8,
            inode: 99,
        });
        let full = VassalEnvironment {
            name: "a b.ini".to_owned(),
            channel: Some(7),
            outlives_emperor: true,
            in_cgroup: true,
            start_hook: Some("/bin/hook".into()),
            on_demand: Some(OnDemand::HandOver),
            sockets: vec![
                InheritedSocket {
                    number: 8,
                    file: None,
                },
                InheritedSocket { number: 9, file },
            ],
            address_rule: Some(AddressRule::Directory("/run/a b".into())),
            file: Some(VassalFile {
                name: "a b.ini".to_owned(),
                executable: true,
                owner: Some(1000),
            }),
            shim: Shim::from_text(OsStr::new("/shims/python3\n/usr/bin/python3")),
        };
        assert!(full.shim.is_some());
        assert_eq!(full.variables().len(), 12);
        assert_eq!(read_back(&full), full);
        for address_rule in [
            Some(AddressRule::Extension(".socket".to_owned())),
            Some(AddressRule::Exec("echo /run/a b".to_owned())),
            None,
        ] {
            let environment = VassalEnvironment {
                address_rule,
                on_demand: Some(OnDemand::Serve),
                ..VassalEnvironment::default()
            };
            assert_eq!(read_back(&environment), environment);
        }
    }

    #[test]
    fn a_process_without_the_variables_is_no_vassal() {
        let none = VassalEnvironment::parse(|_| None);
        assert_eq!(none, VassalEnvironment::default());
    }

    #[test]
    fn values_that_are_not_understood_count_as_absent() {
        let odd = VassalEnvironment::parse(|name| match name {
            CHANNEL => Some("x".into()),
            SOCKETS => Some("x,y:8:9".into()),
            ADDRESS_RULE => Some("elsewhere".into()),
            _ => None,
        });
        assert_eq!(odd, VassalEnvironment::default());
    }
}
