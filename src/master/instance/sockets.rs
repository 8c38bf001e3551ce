//! The sockets of an instance. The instance binds them at its start. If the instance runs on demand, the emperor keeps
//! them while the instance does not run.

use std::io;

use anyhow::{Context, Result, bail};

use crate::master::needed_sockets::check_sockets;
use crate::net;

use super::Instance;

impl Instance {
    /// Binds the sockets of the first generation. Uses inherited sockets where the configuration has their addresses,
    /// and removes the files of the other inherited sockets (`vacuum`).
    pub(in crate::master) fn bind(&mut self) -> Result<()> {
        let address = self.resources.emperor.on_demand.address.as_ref();
        let sockets = net::bind_all(&self.config, address, &self.resources.sockets)?;
        let before = std::mem::replace(&mut self.resources.sockets, sockets);
        self.resources.vacuum = self.config.vacuum();
        if self.resources.emperor.on_demand.held_by_emperor {
            // if this start fails, the sockets lent by the emperor stay; only the files of new sockets are removed
            self.resources.lent = before;
        } else {
            net::vacuum_dropped(&before, &self.resources.sockets);
        }
        Ok(())
    }

    /// Removes the files of sockets that the emperor has lent and that the instance does not use (`vacuum`).
    fn remove_unused_borrowed(&mut self) {
        let lent = std::mem::take(&mut self.resources.lent);
        net::vacuum_dropped(&lent, &self.resources.sockets);
    }

    /// Returns an error if the instance has no socket but needs a socket.
    pub(in crate::master) fn check_sockets(&self) -> Result<()> {
        check_sockets(&self.config, &self.resources.sockets)
    }

    /// Sends the sockets of an on-demand instance to the emperor, if the emperor started this process only to bind
    /// them. Returns whether the sockets were sent. If so, the process exits, and the emperor starts the instance at
    /// the first connection. Logs a warning if `on-demand` is set without an emperor.
    ///
    /// # Errors
    /// When the instance has no sockets, or they cannot be sent to the emperor.
    pub(in crate::master) fn hand_over_if_on_demand(&mut self) -> Result<bool> {
        if self.config.on_demand() && !self.resources.emperor.is_vassal() {
            tracing::warn!("on-demand has no effect: only an emperor can wait for connections");
        }
        if !self.resources.emperor.on_demand.is_hand_over(&self.config) {
            return Ok(false);
        }
        if self.resources.sockets.is_empty() {
            bail!("on-demand = true needs a socket");
        }
        self.send_sockets_to_emperor(true)
            .context("the sockets cannot be sent to the emperor")?;
        self.remove_unused_borrowed();
        self.resources.vacuum = false;
        Ok(true)
    }

    fn send_sockets_to_emperor(&self, waits: bool) -> io::Result<()> {
        let sockets = &self.resources.sockets;
        let kept = sockets.iter().map(|socket| socket.kept()).collect();
        let fds: Vec<_> = sockets.iter().map(|socket| socket.fd()).collect();
        self.resources.emperor.hand_over(kept, &fds, waits)
    }

    /// Tells the emperor which sockets to keep open when this process exits. For an on-demand instance the emperor
    /// keeps all sockets. For any other instance the emperor keeps none, and this process removes their files at its
    /// exit (`vacuum`). Logs an error if the emperor cannot be reached.
    pub(in crate::master) fn update_kept_sockets(&mut self) {
        let keep = self.resources.emperor.on_demand.is_on_demand(&self.config);
        self.resources.vacuum = self.config.vacuum() && !keep;
        let sent = match (keep, self.resources.emperor.on_demand.held_by_emperor) {
            (true, _) => self.send_sockets_to_emperor(false),
            (false, true) => self.resources.emperor.hand_over(Vec::new(), &[], false),
            (false, false) => Ok(()),
        };
        self.resources.emperor.on_demand.held_by_emperor = keep;
        self.remove_unused_borrowed();
        if let Err(error) = sent {
            tracing::error!("the list of sockets to keep cannot be sent to the emperor: {error}");
        }
    }

    /// Notes that the emperor keeps no sockets, because it stops the instance or has exited. This process removes the
    /// socket files at its exit (`vacuum`).
    pub(in crate::master) fn keeps_no_sockets(&mut self) {
        self.resources.vacuum = self.config.vacuum();
        self.remove_unused_borrowed();
    }
}
