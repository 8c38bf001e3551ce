//! How many workers an instance has: pure rules.

/// What the configuration says about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// `cheap`: none until the first connection.
    pub(super) cheap: bool,
    /// Workers of an instance that begins to serve.
    pub(super) initial: u32,
    /// `processes`.
    pub(super) most: u32,
}

/// How many workers a generation begins with; `serving` are those of the one that serves, and how many it may have.
///
/// A reload keeps what the load has made of the number. One that has no workers stays so, unless the application is
/// loaded by the workers (`lazy`): nobody would know whether it can be.
pub(super) fn first_count(scale: &Scale, serving: Option<(u32, u32)>, lazy: bool) -> u32 {
    match serving {
        None if scale.cheap => 0,
        None => scale.initial,
        Some((0, _)) if !lazy => 0,
        Some((count, most)) if count == most => scale.most,
        Some((count, _)) => count.clamp(scale.initial.min(scale.most), scale.most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(initial: u32, most: u32) -> Scale {
        Scale {
            cheap: false,
            initial,
            most,
        }
    }

    #[test]
    fn a_start_begins_with_the_initial_number_and_a_cheap_one_with_none() {
        assert_eq!(first_count(&scale(2, 8), None, false), 2);
        let cheap = Scale {
            cheap: true,
            ..scale(2, 8)
        };
        assert_eq!(first_count(&cheap, None, false), 0);
    }

    #[test]
    fn a_reload_keeps_the_number_and_follows_what_the_configuration_allows_now() {
        assert_eq!(first_count(&scale(2, 8), Some((5, 8)), false), 5);
        assert_eq!(first_count(&scale(2, 8), Some((1, 8)), false), 2);
        assert_eq!(first_count(&scale(2, 3), Some((5, 8)), false), 3);
        assert_eq!(first_count(&scale(8, 8), Some((4, 4)), false), 8);
    }

    #[test]
    fn a_reload_of_an_instance_without_workers_keeps_it_so_unless_only_a_worker_can_prove_the_code()
    {
        assert_eq!(first_count(&scale(4, 4), Some((0, 4)), false), 0);
        assert_eq!(first_count(&scale(4, 4), Some((0, 4)), true), 4);
    }
}
