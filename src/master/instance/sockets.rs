//! The sockets of an instance: bound at its start, and kept by the emperor while it does not run.

use std::io;

use anyhow::{Context, Result, bail};

use crate::net;

use super::Instance;

impl Instance {
    /// Binds what the first generation listens on.
    pub(in crate::master) fn bind(&mut self) -> Result<()> {
        let address = self.resources.emperor.loan.address.as_ref();
        let sockets = net::bind_all(&self.config, address, &self.resources.sockets)?;
        let before = std::mem::replace(&mut self.resources.sockets, sockets);
        self.resources.vacuum = self.config.vacuum();
        if self.resources.emperor.loan.kept {
            // when this start fails they are the emperor's as they were, and only what is new is removed
            self.resources.lent = before;
        } else {
            net::vacuum_dropped(&before, &self.resources.sockets);
        }
        Ok(())
    }

    /// What was lent and is not in use any more is removed: the emperor keeps other sockets now, or none.
    fn return_loan(&mut self) {
        let lent = std::mem::take(&mut self.resources.lent);
        net::vacuum_dropped(&lent, &self.resources.sockets);
    }

    /// Hands the sockets to the emperor, where the instance is to run only when somebody connects and nobody has.
    pub(in crate::master) fn waits_for_demand(&mut self) -> Result<bool> {
        if self.config.on_demand() && !self.resources.emperor.is_vassal() {
            tracing::warn!(
                "on-demand has no effect here: only an emperor can wait for connections"
            );
        }
        if !self.resources.emperor.loan.is_to_wait(&self.config) {
            return Ok(false);
        }
        if self.resources.sockets.is_empty() {
            bail!("on-demand = true needs a socket at which somebody can ask for it");
        }
        self.give_sockets_to_keep(true)
            .context("the emperor does not take the sockets")?;
        self.return_loan();
        self.resources.vacuum = false;
        Ok(true)
    }

    fn give_sockets_to_keep(&self, waits: bool) -> io::Result<()> {
        let sockets = &self.resources.sockets;
        let kept = sockets.iter().map(|socket| socket.kept()).collect();
        let fds: Vec<_> = sockets.iter().map(|socket| socket.fd()).collect();
        self.resources.emperor.keep(kept, &fds, waits)
    }

    /// Tells the emperor which sockets it is to keep from now on: those of an instance on demand, also when this
    /// process ends; else none, and whoever wants them gone has to remove them here.
    pub(in crate::master) fn settle_who_keeps_sockets(&mut self) {
        let keep = self.resources.emperor.loan.is_on_demand(&self.config);
        self.resources.vacuum = self.config.vacuum() && !keep;
        let told = match (keep, self.resources.emperor.loan.kept) {
            (true, _) => self.give_sockets_to_keep(false),
            (false, true) => self.resources.emperor.keep(Vec::new(), &[], false),
            (false, false) => Ok(()),
        };
        self.resources.emperor.loan.kept = keep;
        self.return_loan();
        if let Err(error) = told {
            tracing::error!("the emperor cannot be told which sockets to keep: {error}");
        }
    }

    /// The emperor wants the instance gone, or is gone itself: nobody keeps the sockets.
    pub(in crate::master) fn keeps_no_sockets(&mut self) {
        self.resources.vacuum = self.config.vacuum();
        self.return_loan();
    }
}
