//! The options of the configuration for listening sockets.

use crate::config::{Address, Config, Wire};
use crate::ipc::Protocol;
use crate::sys::socket::{self, TcpSettings};

use super::error::BindError;
use super::socket_permissions::SocketPermissions;

/// The options of the listening sockets, with user and group names resolved to numbers.
pub(super) struct ListenOptions {
    /// The addresses to bind, with the protocol of each.
    pub(super) addresses: Vec<(Address, Protocol)>,
    /// The protocol of inherited sockets that are not configured, and of the address that comes from the emperor.
    pub(super) protocol: Protocol,
    /// Whether descriptor 0 is left alone even if it is a listening socket (`skip-zero`).
    pub(super) skips_zero: bool,
    /// The configured backlog (`listen`); `None` if it is not configured.
    pub(super) backlog: Option<u32>,
    /// Mode and owner of Unix sockets.
    pub(super) permissions: SocketPermissions,
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
        Ok(Self {
            addresses,
            protocol,
            skips_zero: config.skip_zero(),
            backlog: config.listen(),
            permissions: SocketPermissions::new(config)?,
            tcp: TcpSettings {
                reuse_port: config.reuse_port(),
                freebind: config.freebind(),
                keepalive: config.so_keepalive(),
                v6_only: false,
            },
        })
    }

    /// Adds the address that the emperor gives the instance, if there is one. As in uWSGI, the mode of Unix sockets is
    /// then 0666 unless the configuration sets it.
    pub(super) fn with_address(mut self, address: Option<&Address>) -> Self {
        if let Some(address) = address {
            self.permissions.mode = self.permissions.mode.or(Some(0o666));
            if !self.addresses.iter().any(|(known, _)| known == address) {
                self.addresses.push((address.clone(), self.protocol));
            }
        }
        self
    }

    /// The backlog to use: the option `listen`, but at most net.core.somaxconn. Without the option, the backlog is
    /// net.core.somaxconn. Logs a warning if the option is too high.
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
