//! The options of the configuration that concern listening sockets.

use crate::config::{Address, Config, Wire};
use crate::ipc::Protocol;
use crate::net::unix_socket::Access;
use crate::sys::socket::{self, TcpSettings};
use crate::sys::user;

use super::error::BindError;

/// The options of the listening sockets. User and group names are looked up already.
pub(super) struct ListenOptions {
    /// The addresses to bind, with the protocol of each.
    pub(super) addresses: Vec<(Address, Protocol)>,
    /// The protocol of sockets that are inherited and not configured.
    pub(super) protocol: Protocol,
    /// `listen`.
    pub(super) backlog: Option<u32>,
    /// Mode and owner of Unix sockets.
    pub(super) access: Access,
    /// Settings of TCP sockets.
    pub(super) tcp: TcpSettings,
}

impl ListenOptions {
    /// Reads the options of a configuration.
    ///
    /// # Errors
    /// [`BindError::Owner`] for an unknown user or group.
    pub(super) fn new(config: &Config) -> Result<Self, BindError> {
        let protocol = match config.protocol() {
            Wire::Uwsgi => Protocol::Uwsgi,
            Wire::Http => Protocol::Http,
        };
        let lists = [
            (config.socket(), protocol),
            (config.http_socket(), Protocol::Http),
            (config.http(), Protocol::Http),
        ];
        let addresses = lists
            .into_iter()
            .flat_map(|(list, protocol)| {
                list.iter().map(move |address| (address.clone(), protocol))
            })
            .collect();
        let (uid, gid) = owner(config)?;
        Ok(Self {
            addresses,
            protocol,
            backlog: config.listen(),
            access: Access {
                mode: config.chmod_socket(),
                uid,
                gid,
            },
            tcp: TcpSettings {
                reuse_port: config.reuse_port(),
                keepalive: config.so_keepalive(),
                v6_only: false,
            },
        })
    }

    /// Adds an address that the emperor gives the instance. The mode of Unix sockets is then 0666 unless the configuration
    /// sets it, as in uWSGI.
    pub(super) fn with_address(mut self, address: Option<&Address>) -> Self {
        if let Some(address) = address {
            self.access.mode = self.access.mode.or(Some(0o666));
            if !self.addresses.iter().any(|(known, _)| known == address) {
                self.addresses.push((address.clone(), self.protocol));
            }
        }
        self
    }

    /// The backlog to use: `listen`, at most net.core.somaxconn, which is also the default.
    pub(super) fn backlog(&self) -> u32 {
        let limit = socket::somaxconn();
        match self.backlog {
            Some(backlog) if backlog > limit => {
                tracing::warn!(
                    "listen = {backlog} is more than net.core.somaxconn allows; {limit} is used"
                );
                limit
            }
            Some(backlog) => backlog,
            None => limit,
        }
    }
}

/// The owner of Unix sockets: that of `chown-socket`, otherwise the user and group that the instance changes to.
fn owner(config: &Config) -> Result<(Option<u32>, Option<u32>), BindError> {
    if let Some(owner) = config.chown_socket() {
        let uid = owner.user.as_deref().map(user::find_user).transpose()?;
        let gid = owner.group.as_deref().map(user::find_group).transpose()?;
        return Ok((uid.map(|user| user.uid), gid));
    }
    if !user::is_root() {
        // another user is refused where privileges are dropped; the group may be one of this process's
        let gid = config.gid().map(user::find_group).transpose()?;
        return Ok((None, gid.filter(|gid| user::is_member(*gid))));
    }
    let target_user = config.uid().map(user::find_user).transpose()?;
    let primary_group = target_user
        .as_ref()
        .and_then(|user| user.entry.as_ref())
        .map(|(_, gid)| *gid);
    let gid = config.gid().map(user::find_group).transpose()?;
    Ok((target_user.map(|user| user.uid), gid.or(primary_group)))
}
