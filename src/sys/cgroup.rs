//! cgroup v2: the cgroup of this process, child cgroups, and their files: cgroups(7).
//!
//! A cgroup that enables controllers for its children must not contain processes ("no internal processes"). Therefore a
//! process that creates child cgroups first moves into one of them.

mod error;
mod files;
mod group;
mod limits;
mod place;
mod subtree;

pub(super) use files::enter;
pub(crate) use group::Group;
pub(crate) use limits::{CpuQuota, Limits};
pub(crate) use place::own;
pub(crate) use subtree::Subtree;
