//! Sockets that the emperor keeps while no process serves on them (`on-demand`), and lends to one that does.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::config::{Address, Config};
use crate::net::Lent;
use crate::sys::environment;

/// Set where the emperor keeps the sockets of vassals that are on demand.
const OFFER: &str = "RUWSGI_EMPEROR_KEEPS";
/// The descriptors that it lends, separated by commas: the number of each and, of a Unix socket with a file, that file's
/// device and inode.
const LENT: &str = "RUWSGI_EMPEROR_SOCKETS";
/// Where a vassal's address comes from if not from its configuration: `extension`, `directory` or `exec`, and what of it.
const RULE: &str = "RUWSGI_EMPEROR_ADDRESS";
/// The vassal's name.
const NAME: &str = "RUWSGI_VASSAL";

/// What the emperor offers and lends.
#[derive(Debug, Default)]
pub(crate) struct Loan {
    /// The sockets.
    pub(super) lent: Vec<Lent>,
    /// An address that is not in the configuration.
    pub(super) address: Option<Address>,
    /// The emperor keeps the sockets of now.
    pub(super) kept: bool,
    offered: Option<Offer>,
    rule: Option<OsString>,
}

/// What the emperor wants of a vassal that is on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// To hand over its sockets and leave.
    Keep,
    /// To serve.
    Serve,
}

impl Loan {
    /// What this process was started with. To be called once, before there are threads.
    pub(super) fn from_environment() -> Self {
        let lent = environment::take(LENT);
        let lent = lent.as_deref().and_then(|text| text.to_str());
        let lent: Vec<Lent> = lent
            .unwrap_or_default()
            .split(',')
            .filter_map(Lent::parse)
            .collect();
        let offered = match environment::take(OFFER) {
            Some(word) if word == "1" => Some(Offer::Keep),
            Some(_) => Some(Offer::Serve),
            None => None,
        };
        Self {
            kept: !lent.is_empty(),
            lent,
            address: None,
            offered,
            rule: environment::take(RULE),
        }
    }

    /// Finds the address that the emperor's own options give this vassal.
    ///
    /// # Errors
    /// When it cannot be found out, or is none.
    pub(super) fn find_address(&mut self) -> Result<()> {
        let Some(rule) = &self.rule else {
            return Ok(());
        };
        let rule = rule.to_string_lossy();
        let name = name();
        let text = match rule.split_once(' ') {
            Some(("extension", extension)) => {
                first_line_of(Path::new(&format!("{name}{extension}")))?
            }
            Some(("directory", directory)) => {
                let stem = Path::new(&name).file_stem().unwrap_or_default();
                Some(format!("{directory}/{}.socket", stem.to_string_lossy()))
            }
            Some(("exec", command)) => output_of(command, &name)?,
            _ => None,
        };
        self.address = parse(text)?;
        Ok(())
    }

    /// The address for a reload of a vassal that was started in `directory`: that of a file may be another one now.
    ///
    /// # Errors
    /// Those of [`Loan::find_address`].
    pub(super) fn address_anew(&self, directory: &Path) -> Result<Option<Address>> {
        let rule = self.rule.as_ref().map(|rule| rule.to_string_lossy());
        match rule.as_deref().and_then(|rule| rule.split_once(' ')) {
            Some(("extension", extension)) => parse(first_line_of(
                &directory.join(format!("{}{extension}", name())),
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
        self.offered == Some(Offer::Keep) && self.is_on_demand(config)
    }
}

fn name() -> String {
    std::env::var(NAME).unwrap_or_default()
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
