//! The sockets of an instance: bound at its start, and kept by the emperor while an on-demand instance does not run.

use std::io;

use anyhow::{Context, Result, bail};

use crate::master::needed_sockets::check_sockets;
use crate::net;

use super::Instance;

impl Instance {
    /// Binds the sockets of the first generation.
    pub(in crate::master) fn bind(&mut self) -> Result<()> {
        let address = self.resources.emperor.on_demand.address.as_ref();
        let sockets = net::bind_all(&self.config, address, &self.resources.sockets)?;
        let before = std::mem::replace(&mut self.resources.sockets, sockets);
        self.resources.vacuum = self.config.vacuum();
        if self.resources.emperor.on_demand.held_by_emperor {
            // if this start fails, the emperor's sockets stay, and only new ones are removed
            self.resources.lent = before;
        } else {
            net::vacuum_dropped(&before, &self.resources.sockets);
        }
        Ok(())
    }

    /// Removes the files of borrowed sockets that are not used any more.
    fn remove_unused_borrowed(&mut self) {
        let lent = std::mem::take(&mut self.resources.lent);
        net::vacuum_dropped(&lent, &self.resources.sockets);
    }

    /// Refuses an instance that nobody can connect to.
    pub(in crate::master) fn check_sockets(&self) -> Result<()> {
        check_sockets(&self.config, &self.resources.sockets)
    }

    /// Hands the sockets of an on-demand instance to the emperor, if no connection has requested its start; `true` if so.
    ///
    /// # Errors
    /// When there are no sockets, or the emperor is gone.
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

    /// Tells the emperor which sockets to keep: those of an on-demand instance, also after the exit of this process. Else it
    /// keeps none, and this process removes them at its exit.
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

    /// The emperor stops the instance, or has exited: it does not keep the sockets.
    pub(in crate::master) fn keeps_no_sockets(&mut self) {
        self.resources.vacuum = self.config.vacuum();
        self.remove_unused_borrowed();
    }
}
