//! Sockets that the emperor keeps while no process serves on them (`on-demand`), and lends to one that does.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::config::{Address, Config};
use crate::process::{AddressRule, OnDemand, VassalEnvironment};
use crate::sys::inherited_socket::InheritedSocket;

/// What the emperor offers and lends.
#[derive(Debug, Default)]
pub(crate) struct Loan {
    /// The sockets.
    pub(super) lent: Vec<InheritedSocket>,
    /// An address that is not in the configuration.
    pub(super) address: Option<Address>,
    /// The emperor keeps the sockets of now.
    pub(super) kept: bool,
    offered: Option<OnDemand>,
    rule: Option<AddressRule>,
    /// The vassal's name.
    name: String,
}

impl Loan {
    /// What this process was started with.
    pub(super) fn new(environment: &VassalEnvironment) -> Self {
        Self {
            kept: !environment.sockets.is_empty(),
            lent: environment.sockets.clone(),
            address: None,
            offered: environment.on_demand,
            rule: environment.address_rule.clone(),
            name: environment.name.clone(),
        }
    }

    /// Finds the address that the emperor's own options give this vassal.
    ///
    /// # Errors
    /// When it cannot be found out, or is none.
    pub(super) fn find_address(&mut self) -> Result<()> {
        let name = &self.name;
        let text = match &self.rule {
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

    /// The address for a reload of a vassal that was started in `directory`: that of a file may be another one now.
    ///
    /// # Errors
    /// Those of [`Loan::find_address`].
    pub(super) fn address_anew(&self, directory: &Path) -> Result<Option<Address>> {
        match &self.rule {
            Some(AddressRule::Extension(extension)) => parse(first_line_of(
                &directory.join(format!("{}{extension}", self.name)),
            )?),
            _ => Ok(self.address.clone()),
        }
    }

    /// Whether the emperor keeps the sockets of an instance with this configuration while it does not run.
    pub(super) fn is_on_demand(&self, config: &Config) -> bool {
        self.offered.is_some() && (config.on_demand() || self.address.is_some())
    }

    /// Whether it shall only hand its sockets over, and leave.
    pub(super) fn is_to_wait(&self, config: &Config) -> bool {
        self.offered == Some(OnDemand::HandOver) && self.is_on_demand(config)
    }
}

fn parse(text: Option<String>) -> Result<Option<Address>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let address = Address::parse(&text);
    let address = address.map_err(|fault| {
        anyhow::anyhow!("its address on demand, {text}, is none: {}", fault.what)
    })?;
    Ok(Some(address))
}

fn first_line_of(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(
            text.lines().next().unwrap_or_default().trim().to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

/// What a shell's command prints when the vassal's name is put behind it, as uWSGI does.
fn output_of(command: &str, name: &str) -> Result<Option<String>> {
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("{command} \"$1\""), "sh", name])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("emperor-on-demand-exec = {command} cannot be run"))?;
    if !output.status.success() {
        bail!("emperor-on-demand-exec = {command}: {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().map(|line| line.trim().to_owned()))
}
