//! The capabilities of the vassals (`emperor-cap`). The emperor must be able to give every vassal exactly these
//! capabilities.

use anyhow::{Context, Result, bail};
use caps::Capability;

use crate::config::Config;
use crate::sys::capability::{self, Capabilities, Sets};
use crate::sys::user;

/// The capabilities of every vassal; `None` if each vassal has the default capabilities of its user.
///
/// # Errors
/// Fails if the emperor does not have the capabilities, or if it cannot limit vassals that run as root to them.
pub(super) fn of(config: &Config, tyrant: bool) -> Result<Option<Capabilities>> {
    let requested = Capabilities::of(config.emperor_cap());
    if requested.is_empty() {
        return Ok(None);
    }
    let own = Sets::own().context("the emperor's own capabilities cannot be read")?;
    let bounding = capability::bounding();
    let possible = own.permitted.intersection(bounding.union(own.inheritable));
    let missing = requested.difference(possible);
    if !missing.is_empty() {
        bail!(
            "emperor-cap = {missing}: the emperor does not have this capability, so it cannot grant it to vassals; start it as root, or under systemd with CapabilityBoundingSet= and AmbientCapabilities="
        );
    }
    let setpcap = Capabilities::of(&[Capability::CAP_SETPCAP]);
    let surplus = bounding.difference(requested);
    if may_be_root(config, tyrant)?
        && !surplus.is_empty()
        && own.effective.intersection(setpcap).is_empty()
    {
        bail!(
            "emperor-cap: the emperor is root without setpcap, so vassals that run as root would also have {surplus}; set uid and gid"
        );
    }
    Ok(Some(requested))
}

/// Whether a vassal may run as root.
fn may_be_root(config: &Config, tyrant: bool) -> Result<bool> {
    if !user::is_root() {
        return Ok(false);
    }
    if tyrant {
        return Ok(config.emperor_tyrant_root());
    }
    let user = config
        .uid()
        .map(|name| user::find_user_of("uid", name))
        .transpose()?;
    Ok(user.is_none_or(|user| user.uid == 0))
}
