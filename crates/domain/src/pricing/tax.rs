//! The tax in a gross price.

/// Returns the tax that is included in a gross amount, in minor units, rounded half to even.
///
/// `rate_basis_points` is the rate in hundredths of a percent: 19 % is 1900. A negative amount is a refund, and has a negative tax of the
/// same size.
///
/// For example, 11.90 at 19 % includes 1.90: 1190 × 1900 / (10000 + 1900) = 190.
///
/// ```
/// assert_eq!(domain::pricing::tax_included(1190, 1900), 190);
/// ```
pub fn tax_included(gross_minor: i64, rate_basis_points: u32) -> i64 {
    let divisor = i128::from(rate_basis_points) + 10_000;
    let numerator = i128::from(gross_minor.unsigned_abs()) * i128::from(rate_basis_points);
    let (whole, rest) = (numerator / divisor, numerator % divisor);
    let rounds_up = rest * 2 > divisor || (rest * 2 == divisor && whole % 2 == 1);
    let size = whole + i128::from(rounds_up);
    // Infallible: the tax is less than the gross amount, because the rate is less than the divisor.
    i64::try_from(if gross_minor < 0 { -size } else { size }).unwrap_or(gross_minor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tax_is_the_part_of_the_gross_amount() {
        assert_eq!(tax_included(1190, 1900), 190);
        assert_eq!(tax_included(1070, 700), 70);
        assert_eq!(tax_included(1250, 1900), 200);
        assert_eq!(tax_included(1250, 700), 82);
        assert_eq!(tax_included(1250, 0), 0);
        assert_eq!(tax_included(0, 1900), 0);
        assert_eq!(tax_included(200, 10_000), 100);
    }

    #[test]
    fn halves_are_rounded_to_the_even_unit() {
        // At 100 %, the tax is half of the gross amount.
        assert_eq!([1, 3, 5, 7].map(|gross| tax_included(gross, 10_000)), [0, 2, 2, 4]);
        // At 25 %, the tax is a fifth: it never ends in a half.
        assert_eq!([2, 3, 7, 8].map(|gross| tax_included(gross, 2_500)), [0, 1, 1, 2]);
    }

    #[test]
    fn refunds_have_the_same_tax_with_the_other_sign() {
        assert_eq!(tax_included(-1190, 1900), -190);
        assert_eq!([-1, -3].map(|gross| tax_included(gross, 10_000)), [0, -2]);
    }

    #[test]
    fn largest_amounts_do_not_overflow() {
        assert_eq!(tax_included(i64::MAX, 10_000), 4_611_686_018_427_387_904);
        assert!(tax_included(i64::MIN, u32::MAX) > i64::MIN);
    }

    proptest! {
        #[test]
        fn tax_is_within_half_a_unit_of_the_exact_value(gross in -1_000_000_000_i64..1_000_000_000, rate in 0_u32..20_000) {
            let tax = i128::from(tax_included(gross, rate));
            let divisor = i128::from(rate) + 10_000;
            let difference = tax * divisor - i128::from(gross) * i128::from(rate);
            prop_assert!(difference.abs() * 2 <= divisor);
        }
    }
}
