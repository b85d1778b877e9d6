//! How people time and move: random draws that are the same on every platform. Whole numbers where it can be; the
//! transcendental functions are those of `libm`, in software, and all else that is done with floats is exact to the bit
//! by IEEE 754.

use std::f64::consts::TAU;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::event::Point;
use crate::engine::Millis;

/// A place in the viewport, in CSS pixels: from the left, from the top.
pub type Spot = (i32, i32);

/// How often the pointer's way is sampled, in ms.
const SAMPLE: i32 = 30;

/// A source of human behaviour.
#[derive(Debug)]
pub struct Human {
    random: Xoshiro256PlusPlus,
}

impl Human {
    /// The `number`th person of that seed; all are independent of each other.
    pub fn new(seed: u64, number: u64) -> Self {
        // An odd factor: no two numbers of a seed share a state.
        let random = Xoshiro256PlusPlus::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { random }
    }

    /// A whole number in the range, both ends included.
    pub fn between(&mut self, low: Millis, high: Millis) -> Millis {
        self.random.random_range(low..=high)
    }

    /// As [`between`](Self::between), for pixels and counts.
    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        self.random.random_range(low..=high)
    }

    /// True so often in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// One of them; there must be one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.random.random_range(0..choices.len())]
    }

    /// One of them, by their weights.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.random_range(0..total);
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        choices[0].1
    }

    /// True with that probability.
    pub fn share(&mut self, share: f64) -> bool {
        self.uniform() < share
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        // 53 bits: each value is exact.
        (self.random.random::<u64>() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(TAU * self.uniform())
    }

    /// Log-normally distributed, as human reaction and dwell times are: half of them below the median; `spread` is the standard
    /// deviation of the logarithm. Held within the range.
    pub fn lasting(&mut self, median: Millis, spread: f64, low: Millis, high: Millis) -> Millis {
        ((median as f64 * libm::exp(spread * self.normal())) as Millis).clamp(low, high)
    }

    /// Exponentially distributed with that mean: the pause between two arrivals that know nothing of each other.
    pub fn pause(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.uniform())
    }

    /// The way of a pointer from one spot to another: a slight bow, slow at both ends (minimum jerk), in a time that grows
    /// with the logarithm of the distance (Fitts). It has two points at least.
    pub fn way(&mut self, from: Spot, to: Spot) -> Vec<Point> {
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let distance = libm::sqrt(dx * dx + dy * dy);
        let median = 150.0 + 130.0 * libm::log(1.0 + distance / 40.0);
        let duration = self.lasting(median as Millis, 0.2, 120, 1_500) as i32;
        let bow = (self.uniform() - 0.5) * 0.3;
        let samples = (duration / SAMPLE).max(1);
        let point = |sample: i32| {
            let t = f64::from(sample) / f64::from(samples);
            let along = t * t * t * (10.0 - 15.0 * t + 6.0 * t * t);
            let aside = bow * along * (1.0 - along);
            let x = f64::from(from.0) + dx * along - dy * aside;
            let y = f64::from(from.1) + dy * along + dx * aside;
            (sample * duration / samples, x as i32, y as i32)
        };
        let mut points: Vec<Point> = (0..samples).map(point).collect();
        points.push((duration, to.0, to.1));
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_lasts_is_below_the_median_and_all_in_its_range() {
        let mut human = Human::new(1, 1);
        let drawn: Vec<Millis> = (0..10_000).map(|_| human.lasting(1_000, 0.5, 300, 5_000)).collect();
        assert!(drawn.iter().all(|millis| (300..=5_000).contains(millis)));
        let below = |limit| drawn.iter().filter(|millis| **millis < limit).count();
        // A standard deviation below: 15.9 % of them.
        assert!(below(1_000).abs_diff(5_000) < 200 && below(607).abs_diff(1_587) < 150);
    }

    /// Another version of a dependency may draw otherwise: then seeds no longer mean what they meant, and this says so.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut human = Human::new(1, 0);
        let drawn = [(); 4].map(|()| human.between(0, 999));
        let lasting = [(); 3].map(|()| human.lasting(1_000, 0.5, 0, 1_000_000));
        assert_eq!((drawn, lasting), ([811, 747, 100, 746], [763, 233, 1161]));
    }

    #[test]
    fn weights_are_shares() {
        let mut human = Human::new(1, 2);
        let drawn: Vec<u8> = (0..10_000).map(|_| human.weighted(&[(70, 0), (0, 1), (30, 2)])).collect();
        let count = |choice| drawn.iter().filter(|drawn| **drawn == choice).count();
        assert!(count(0).abs_diff(7_000) < 200 && count(1) == 0);
    }

    #[test]
    fn a_way_leads_there_without_turning_back() {
        let mut human = Human::new(1, 3);
        for _ in 0..1_000 {
            let mut spot = || (human.within(0, 1_900), human.within(0, 1_000));
            let (from, to) = (spot(), spot());
            let points = human.way(from, to);
            let (first, last) = (points[0], points[points.len() - 1]);
            assert_eq!(((first.1, first.2), (last.1, last.2)), (from, to));
            assert!(
                first.0 == 0 && (120..=1_500).contains(&last.0) && points.is_sorted_by_key(|point| point.0)
            );
            let steps = points.windows(2).map(|two| (two[1].1 - two[0].1, two[1].2 - two[0].2));
            let long: Vec<Spot> = steps.filter(|(x, y)| x * x + y * y >= 100).collect();
            assert!(long.windows(2).all(|two| two[0].0 * two[1].0 + two[0].1 * two[1].1 >= 0), "{points:?}");
        }
    }
}
