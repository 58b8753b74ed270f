//! The durations of requests.

use std::time::Duration;

/// Returns the time in milliseconds that `of_thousand` of a thousand requests did not exceed. Sorts the times.
pub fn percentile(times: &mut [Duration], of_thousand: usize) -> f64 {
    times.sort_unstable();
    let place = times.len().saturating_mul(of_thousand) / 1_000;
    let time = times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default();
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_are_faster_than_the_median_and_one_of_a_hundred_slower_than_the_99th() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 500), 51.0);
        assert_eq!(percentile(&mut times, 990), 100.0);
        assert_eq!(percentile(&mut times[..1], 990), 1.0);
        assert_eq!(percentile(&mut [], 990), 0.0);
    }
}
