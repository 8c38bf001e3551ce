//! The vassal's side of `on-demand`: the emperor holds the listening sockets while the vassal does not run.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::config::{Address, Config};
use crate::process::{AddressRule, OnDemand, VassalEnvironment};
use crate::sys::inherited_socket::InheritedSocket;

/// The sockets and the address that the emperor passes to a vassal, and the order to a vassal on demand.
#[derive(Debug, Default)]
pub(crate) struct OnDemandSockets {
    /// The listening sockets passed by the emperor.
    pub(super) inherited: Vec<InheritedSocket>,
    /// The address that the emperor's options assign to this vassal, in addition to the addresses of its configuration.
    pub(super) address: Option<Address>,
    /// Whether the emperor also holds the current listening sockets of the vassal.
    pub(super) held_by_emperor: bool,
    /// What the vassal does at its start: serve, or hand its sockets over. `None` if the emperor does not support
    /// on-demand vassals.
    role: Option<OnDemand>,
    address_rule: Option<AddressRule>,
    /// The vassal's name.
    name: String,
}

impl OnDemandSockets {
    /// Takes the sockets and options of the vassal's environment. The address is not yet determined.
    pub(super) fn new(environment: &VassalEnvironment) -> Self {
        Self {
            held_by_emperor: !environment.sockets.is_empty(),
            inherited: environment.sockets.clone(),
            address: None,
            role: environment.on_demand,
            address_rule: environment.address_rule.clone(),
            name: environment.name.clone(),
        }
    }

    /// Determines the address that the emperor's options assign to this vassal: reads a file, builds the path in a
    /// directory, or runs a command and waits for its exit.
    ///
    /// # Errors
    /// If the file exists and cannot be read, the command fails, or the text is not an address.
    pub(super) fn resolve_address(&mut self) -> Result<()> {
        let name = &self.name;
        let text = match &self.address_rule {
            Some(AddressRule::Extension(extension)) => {
                first_line_of(Path::new(&format!("{name}{extension}")))?
            }
            Some(AddressRule::Directory(directory)) => {
                let stem = Path::new(name).file_stem().unwrap_or_default();
                let socket = format!("{}.socket", stem.to_string_lossy());
                Some(directory.join(socket).to_string_lossy().into_owned())
            }
            Some(AddressRule::Exec(command)) => output_of(command, name)?,
            None => None,
        };
        self.address = parse(text)?;
        Ok(())
    }

    /// Returns the address to use after a reload. Only an address from a file is determined again. `directory` is the
    /// directory where the vassal was started; it contains the file.
    ///
    /// # Errors
    /// If the file exists and cannot be read, or its first line is not an address.
    pub(super) fn reload_address(&self, directory: &Path) -> Result<Option<Address>> {
        match &self.address_rule {
            Some(AddressRule::Extension(extension)) => parse(first_line_of(
                &directory.join(format!("{}{extension}", self.name)),
            )?),
            _ => Ok(self.address.clone()),
        }
    }

    /// Whether this configuration makes the emperor hold the sockets while the instance does not run.
    pub(super) fn is_on_demand(&self, config: &Config) -> bool {
        self.role.is_some() && (config.on_demand() || self.address.is_some())
    }

    /// Whether the instance binds its sockets, hands them over to the emperor, and exits without serving.
    pub(super) fn is_hand_over(&self, config: &Config) -> bool {
        self.role == Some(OnDemand::HandOver) && self.is_on_demand(config)
    }
}

/// Parses an address. Returns None if the text is missing or empty.
fn parse(text: Option<String>) -> Result<Option<Address>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let address = Address::parse(&text);
    let address = address
        .map_err(|fault| anyhow::anyhow!("invalid on-demand address {text}: {}", fault.what))?;
    Ok(Some(address))
}

/// Reads the first line of a file, without surrounding whitespace. Returns None if the file does not exist.
fn first_line_of(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(
            text.lines().next().unwrap_or_default().trim().to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Runs a shell command and returns the first line of its output. The vassal's name is appended as the last argument,
/// as in uWSGI. Waits until the command exits.
fn output_of(command: &str, name: &str) -> Result<Option<String>> {
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("{command} \"$1\""), "sh", name])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run emperor-on-demand-exec = {command}"))?;
    if !output.status.success() {
        bail!("emperor-on-demand-exec = {command}: {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().map(|line| line.trim().to_owned()))
}
