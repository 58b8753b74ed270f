//! Money: integer minor units with their currency. It becomes a decimal string only in requests and responses.

use std::fmt;

use thiserror::Error;

/// An ISO 4217 currency code of three letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// The error of a text that is not three upper-case letters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a currency is three upper-case letters of ISO 4217, like EUR")]
pub struct CurrencyError;

impl Currency {
    /// Parses three upper-case letters.
    pub fn parse(text: &str) -> Result<Self, CurrencyError> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| CurrencyError)?;
        if letters.iter().all(u8::is_ascii_uppercase) { Ok(Self(letters)) } else { Err(CurrencyError) }
    }

    /// Returns the three letters.
    pub fn code(&self) -> &str {
        // Infallible: the constructor accepts only ASCII letters.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the number of digits of the minor unit by ISO 4217 (list one, 2024): 2 unless listed otherwise.
    pub fn digits(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The rate of a tax that prices include, in basis points: 0 to 50 %.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaxRate(u16);

/// The error of a text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a tax rate is a percentage from 0.00 to 50.00 with at most two decimals, like 7.00")]
pub struct TaxRateError;

impl TaxRate {
    /// The maximum. No value-added tax is as high; a larger rate is a typing mistake.
    const MAX: u16 = 5_000;
    /// No tax.
    pub const ZERO: Self = Self(0);

    /// Parses a percentage: digits, with one or two decimals.
    pub fn parse(percent: &str) -> Result<Self, TaxRateError> {
        let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
        let digits =
            |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 2) || !digits(decimals, 2) {
            return Err(TaxRateError);
        }
        let whole: u16 = whole.parse().map_err(|_| TaxRateError)?;
        let cents: u16 = format!("{decimals:0<2}").parse().map_err(|_| TaxRateError)?;
        Self::from_basis_points(i32::from(whole * 100 + cents))
    }

    /// Returns a rate of basis points.
    pub fn from_basis_points(points: i32) -> Result<Self, TaxRateError> {
        u16::try_from(points).ok().filter(|points| *points <= Self::MAX).map(Self).ok_or(TaxRateError)
    }

    /// Returns the rate in basis points.
    pub fn basis_points(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for TaxRate {
    /// Displays the percentage: `7.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// An amount of money, displayed in major units with the currency's digits: `15.00`, `1500` in JPY.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    /// The amount in minor units, such as cents or yen.
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    /// Returns `minor` units of `currency`.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.digits();
        if digits == 0 {
            return write!(f, "{}", self.minor);
        }
        let unit = 10_u64.pow(digits);
        let sign = if self.minor < 0 { "-" } else { "" };
        let amount = self.minor.unsigned_abs();
        let width = usize::try_from(digits).unwrap_or(2);
        write!(f, "{sign}{}.{:0width$}", amount / unit, amount % unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, currency: &str) -> String {
        Money::new(minor, Currency::parse(currency).unwrap()).to_string()
    }

    #[test]
    fn tax_rates_are_percentages_up_to_fifty() {
        for (text, points, shown) in
            [("19", 1900, "19.00"), ("7.5", 750, "7.50"), ("0", 0, "0.00"), ("50.00", 5000, "50.00")]
        {
            let rate = TaxRate::parse(text).unwrap();
            assert_eq!((rate.basis_points(), rate.to_string().as_str()), (points, shown));
        }
        for wrong in ["", "-1", "+7", "50.01", "100", "7.", ".5", "7.123", "7,5", "1e1", "٧"] {
            assert_eq!(TaxRate::parse(wrong), Err(TaxRateError), "{wrong}");
        }
        assert_eq!(TaxRate::from_basis_points(-1), Err(TaxRateError));
    }

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        assert_eq!(money(1500, "EUR"), "15.00");
        assert_eq!(money(1500, "JPY"), "1500");
        assert_eq!(money(1500, "KWD"), "1.500");
        assert_eq!(money(5, "USD"), "0.05");
        assert_eq!(money(-5, "USD"), "-0.05");
        assert_eq!(money(i64::MIN, "USD"), "-92233720368547758.08");
    }

    #[test]
    fn a_currency_is_three_upper_case_letters() {
        for wrong in ["", "EU", "EURO", "eur", "E1R", "ÉU"] {
            assert_eq!(Currency::parse(wrong), Err(CurrencyError), "{wrong}");
        }
    }
}
