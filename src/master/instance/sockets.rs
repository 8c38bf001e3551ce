//! The sockets of an instance: bound at its start, and kept by the emperor while it does not run.

use std::io;

use anyhow::{Context, Result, bail};

use crate::net;

use super::Instance;

impl Instance {
    /// Binds what the first generation listens on.
    pub(in crate::master) fn bind(&mut self) -> Result<()> {
        let address = self.way.emperor.loan.address.as_ref();
        let sockets = net::bind_all(&self.config, address, &self.way.sockets)?;
        let before = std::mem::replace(&mut self.way.sockets, sockets);
        self.way.vacuum = self.config.vacuum();
        if self.way.emperor.loan.kept {
            // when this start fails they are the emperor's as they were, and only what is new is removed
            self.way.lent = before;
        } else {
            net::vacuum_dropped(&before, &self.way.sockets);
        }
        Ok(())
    }

    /// What was lent and is not in use any more is removed: the emperor keeps other sockets now, or none.
    fn return_loan(&mut self) {
        let lent = std::mem::take(&mut self.way.lent);
        net::vacuum_dropped(&lent, &self.way.sockets);
    }

    /// Hands the sockets to the emperor, where the instance is to run only when somebody connects and nobody has.
    pub(in crate::master) fn waits_for_demand(&mut self) -> Result<bool> {
        if self.config.on_demand() && !self.way.emperor.is_vassal() {
            tracing::warn!(
                "on-demand has no effect here: only an emperor can wait for connections"
            );
        }
        if !self.way.emperor.loan.is_to_wait(&self.config) {
            return Ok(false);
        }
        if self.way.sockets.is_empty() {
            bail!("on-demand = true needs a socket at which somebody can ask for it");
        }
        self.give_sockets_to_keep(true)
            .context("the emperor does not take the sockets")?;
        self.return_loan();
        self.way.vacuum = false;
        Ok(true)
    }

    fn give_sockets_to_keep(&self, waits: bool) -> io::Result<()> {
        let sockets = &self.way.sockets;
        let kept = sockets.iter().map(|socket| socket.kept()).collect();
        let fds: Vec<_> = sockets.iter().map(|socket| socket.fd()).collect();
        self.way.emperor.keep(kept, &fds, waits)
    }

    /// Tells the emperor which sockets it is to keep from now on: those of an instance on demand, also when this
    /// process ends; else none, and whoever wants them gone has to remove them here.
    pub(in crate::master) fn settle_who_keeps_sockets(&mut self) {
        let keep = self.way.emperor.loan.is_on_demand(&self.config);
        self.way.vacuum = self.config.vacuum() && !keep;
        let told = match (keep, self.way.emperor.loan.kept) {
            (true, _) => self.give_sockets_to_keep(false),
            (false, true) => self.way.emperor.keep(Vec::new(), &[], false),
            (false, false) => Ok(()),
        };
        self.way.emperor.loan.kept = keep;
        self.return_loan();
        if let Err(error) = told {
            tracing::error!("the emperor cannot be told which sockets to keep: {error}");
        }
    }

    /// The emperor wants the instance gone, or is gone itself: nobody keeps the sockets.
    pub(in crate::master) fn keeps_no_sockets(&mut self) {
        self.way.vacuum = self.config.vacuum();
        self.return_loan();
    }
}
