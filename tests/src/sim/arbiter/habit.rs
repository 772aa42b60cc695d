//! `Habit`: how the parts under test behave. One way is right; each of the others is a bug that the oracle must find.

/// A way to behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Habit {
    /// As it must be.
    #[default]
    Sound,
    /// A member that begins to lead takes itself for one that has led and watched for a while.
    NeverWatches,
    /// A server takes whatever it is named owner of, also what was granted to an earlier run of it.
    ForgetsRuns,
    /// An arbiter that lost a decision waits for its outcome for ever.
    WaitsForEver,
    /// As it must be, but for its timers, which make no sense: servers beat so seldom that they are held dead all the
    /// time. Nothing is asked of it but that no epoch has two owners, and none comes back.
    Absurd,
}
