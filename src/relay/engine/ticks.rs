//! Time in the relay's loop: ticks of a coarse clock, in a wrapping counter.

use std::time::Duration;

use crate::sys::clock;

/// Length of a tick of the wheel.
pub(super) const TICK_MS: u64 = 16;
/// Ticks added to every deadline, because the clock is read once per batch and moves in steps: a tunnel may
/// be silent a little longer than configured, but is never ended early.
const GRACE_TICKS: u32 = 2;
/// Longest timeout, about 200 days; longer timeouts never fire in practice.
const TIMEOUT_TICKS_MAX: u32 = 1 << 30;

pub(super) fn deadline(since: u32, timeout: u32) -> u32 {
    since.wrapping_add(timeout).wrapping_add(GRACE_TICKS)
}

/// Rounds up, so that no timeout is shorter than configured.
pub(super) fn ticks_of(timeout: Duration) -> u32 {
    let ticks = timeout.as_millis().div_ceil(u128::from(TICK_MS));
    u32::try_from(ticks).map_or(TIMEOUT_TICKS_MAX, |ticks| ticks.min(TIMEOUT_TICKS_MAX))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "ticks wrap, and the wheel knows"
)]
pub(super) fn ticks_now() -> u32 {
    (clock::coarse().as_millis() / u128::from(TICK_MS)) as u32
}
