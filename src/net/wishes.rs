//! What the configuration says of sockets.

use crate::config::{Address, Config, Wire};
use crate::ipc::Protocol;
use crate::sys::socket::{self, TcpSettings};
use crate::sys::unix_socket::Access;
use crate::sys::user;

use super::error::BindError;

/// The configuration's part, numbers in the place of names.
pub(super) struct Wishes {
    pub(super) addresses: Vec<(Address, Protocol)>,
    /// For sockets that were inherited without being configured.
    pub(super) protocol: Protocol,
    pub(super) backlog: Option<u32>,
    pub(super) access: Access,
    pub(super) tcp: TcpSettings,
}

impl Wishes {
    pub(super) fn of(config: &Config) -> Result<Self, BindError> {
        let protocol = match config.protocol() {
            Wire::Uwsgi => Protocol::Uwsgi,
            Wire::Http => Protocol::Http,
        };
        let group = [
            (config.socket(), protocol),
            (config.http_socket(), Protocol::Http),
            (config.http(), Protocol::Http),
        ];
        let addresses = group
            .into_iter()
            .flat_map(|(list, protocol)| {
                list.iter().map(move |address| (address.clone(), protocol))
            })
            .collect();
        let (uid, gid) = owner(config)?;
        Ok(Wishes {
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

    /// These, and an address that the emperor gives the instance: everybody may connect there unless the configuration
    /// says otherwise, as in uWSGI.
    pub(super) fn and(mut self, address: Option<&Address>) -> Self {
        if let Some(address) = address {
            self.access.mode = self.access.mode.or(Some(0o666));
            if !self.addresses.iter().any(|(known, _)| known == address) {
                self.addresses.push((address.clone(), self.protocol));
            }
        }
        self
    }

    /// The backlog, which the machine limits.
    pub(super) fn backlog(&self) -> u32 {
        let most = socket::somaxconn();
        match self.backlog {
            Some(wanted) if wanted > most => {
                tracing::warn!(
                    "listen = {wanted} is more than net.core.somaxconn allows; {most} is used"
                );
                most
            }
            Some(wanted) => wanted,
            None => most,
        }
    }
}

/// Whose the Unix sockets are: as `chown-socket` says, else the user's whom the instance becomes.
fn owner(config: &Config) -> Result<(Option<u32>, Option<u32>), BindError> {
    if let Some(owner) = config.chown_socket() {
        let uid = owner.user.as_deref().map(user::find_user).transpose()?;
        let gid = owner.group.as_deref().map(user::find_group).transpose()?;
        return Ok((uid.map(|user| user.uid), gid));
    }
    if !user::is_root() {
        // a user of another name is judged where privileges are dropped; a group may be shared with others
        let gid = config.gid().map(user::find_group).transpose()?;
        return Ok((None, gid.filter(|gid| user::is_member(*gid))));
    }
    let become_user = config.uid().map(user::find_user).transpose()?;
    let own_group = become_user
        .as_ref()
        .and_then(|user| user.entry.as_ref())
        .map(|(_, gid)| *gid);
    let gid = config.gid().map(user::find_group).transpose()?;
    Ok((become_user.map(|user| user.uid), gid.or(own_group)))
}
