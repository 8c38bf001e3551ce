//! The capabilities of the vassals (`emperor-cap`): whether the emperor can give these, and no others.

use anyhow::{Context, Result, bail};
use caps::Capability;

use crate::config::Config;
use crate::sys::capability::{self, Capabilities, Sets};
use crate::sys::user;

/// What every vassal is to have; `None`: what comes of its user.
///
/// # Errors
/// When the emperor cannot give it, or could not keep vassals that run as root to it.
pub(super) fn of(config: &Config, tyrant: bool) -> Result<Option<Capabilities>> {
    let wanted = Capabilities::of(config.emperor_cap());
    if wanted.is_empty() {
        return Ok(None);
    }
    let own = Sets::own().context("the emperor's own capabilities cannot be read")?;
    let bounding = capability::bounding();
    let possible = own.permitted.intersection(bounding.union(own.inheritable));
    let missing = wanted.difference(possible);
    if !missing.is_empty() {
        bail!(
            "emperor-cap = {missing}: the emperor does not have that itself, so it cannot give it to vassals; start it as root, or under systemd with CapabilityBoundingSet= and AmbientCapabilities="
        );
    }
    let setpcap = Capabilities::of(&[Capability::CAP_SETPCAP]);
    let surplus = bounding.difference(wanted);
    if may_be_root(config, tyrant)?
        && !surplus.is_empty()
        && own.effective.intersection(setpcap).is_empty()
    {
        bail!(
            "emperor-cap: the emperor is root, but without setpcap, so it cannot keep vassals that run as root from having {surplus} too; set uid and gid"
        );
    }
    Ok(Some(wanted))
}

/// Whether a vassal may be started as root.
fn may_be_root(config: &Config, tyrant: bool) -> Result<bool> {
    if !user::is_root() {
        return Ok(false);
    }
    if tyrant {
        return Ok(config.emperor_tyrant_root());
    }
    let user = config.uid().map(user::find_user).transpose()?;
    Ok(user.is_none_or(|user| user.uid == 0))
}
