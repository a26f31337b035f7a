//! What a rule does to a call it meets.

use core::time::Duration;

/// The kind of a slot without a rule.
pub(crate) const NOTHING: u32 = 0;
const FAIL: u32 = 1;
/// The kind of [`Effect::Hang`].
pub(crate) const HANG: u32 = 2;
const FIXED: u32 = 3;
const UNIFORM: u32 = 4;
const EXPONENTIAL: u32 = 5;
const SPOIL: u32 = 6;

/// What a rule does to a call it meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Answers with this code; the module behind never sees the call.
    Fail(u64),
    /// Keeps it for so long, or until the rule is cleared; then it goes on.
    Hang(Option<Duration>),
    /// Takes so long.
    Fixed(Duration),
    /// Takes between so long and so long.
    Uniform(Duration, Duration),
    /// Takes so long on average, distributed exponentially.
    Exponential(Duration),
    /// Flips a bit of what the function puts out.
    Spoil,
}

impl Effect {
    /// As it stands in shared memory: a kind and two numbers.
    pub(crate) fn write(self) -> (u32, u64, u64) {
        match self {
            Self::Fail(code) => (FAIL, code, 0),
            Self::Hang(None) => (HANG, u64::MAX, 0),
            Self::Hang(Some(duration)) => (HANG, nanoseconds(duration), 0),
            Self::Fixed(duration) => (FIXED, nanoseconds(duration), 0),
            Self::Uniform(low, high) => (UNIFORM, nanoseconds(low), nanoseconds(high)),
            Self::Exponential(mean) => (EXPONENTIAL, nanoseconds(mean), 0),
            Self::Spoil => (SPOIL, 0, 0),
        }
    }

    /// Reads it back; none where there is no effect.
    pub(crate) fn read(kind: u32, first: u64, second: u64) -> Option<Self> {
        let duration = Duration::from_nanos(first);
        match kind {
            FAIL => Some(Self::Fail(first)),
            HANG => Some(Self::Hang((first != u64::MAX).then_some(duration))),
            FIXED => Some(Self::Fixed(duration)),
            UNIFORM => Some(Self::Uniform(duration, Duration::from_nanos(second))),
            EXPONENTIAL => Some(Self::Exponential(duration)),
            SPOIL => Some(Self::Spoil),
            _ => None,
        }
    }

    /// Tells whether it is about the work of a call: one that only asks for a size has none.
    pub(crate) const fn is_about_work(self) -> bool {
        !matches!(self, Self::Fail(_) | Self::Hang(_))
    }

    /// How long a call is delayed; `draw` gives a random number.
    pub(crate) fn delay(self, mut draw: impl FnMut() -> u64) -> Duration {
        match self {
            Self::Fail(_) | Self::Hang(_) | Self::Spoil => Duration::ZERO,
            Self::Fixed(duration) => duration,
            Self::Uniform(low, high) => low + high.saturating_sub(low).mul_f64(fraction(draw())),
            Self::Exponential(mean) => mean.mul_f64(-fraction(draw()).ln()),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// A random number, more than 0 and at most 1.
fn fraction(draw: u64) -> f64 {
    let upper = u32::try_from(draw >> 32).unwrap_or(u32::MAX);
    (f64::from(upper) + 1.0) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_keep_their_bounds_and_their_mean() {
        let (low, high) = (Duration::from_millis(1), Duration::from_millis(9));
        let uniform = Effect::Uniform(low, high);
        assert!(uniform.delay(|| 0) >= low);
        assert_eq!(uniform.delay(|| u64::MAX), high);
        assert_eq!(Effect::Fixed(low).delay(|| unreachable!("nothing is left to chance")), low);
        let exponential = Effect::Exponential(low);
        assert_eq!(exponential.delay(|| u64::MAX), Duration::ZERO);
        let steps: u32 = 1000;
        let step = u64::MAX / u64::from(steps);
        let sum: Duration =
            (0..steps).map(|at| exponential.delay(|| step * u64::from(at) + step / 2)).sum();
        assert!((sum / steps).abs_diff(low) < Duration::from_micros(10));
    }
}
