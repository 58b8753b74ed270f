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

/// The reason why a text is no amount: a predicate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AmountError {
    #[error("must be an amount of {currency:?} in digits, like {example}", example = Money::new(1_250, *currency))]
    Malformed { currency: Currency },
    #[error("must not be negative")]
    Negative,
    #[error("must have at most {} decimals in {currency:?}", currency.digits())]
    TooManyDecimals { currency: Currency },
    #[error("must be smaller")]
    TooLarge,
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

    /// Parses an amount in major units: ASCII digits, with a point and as many decimals as the currency has, or fewer. For example, in EUR
    /// `12.5` is 1 250 cents; in JPY `12.5` is refused.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, decimals) = match text.split_once('.') {
            None => (text, ""),
            Some((whole, decimals)) if is_number(decimals) => (whole, decimals),
            Some(_) => return Err(AmountError::Malformed { currency }),
        };
        if !is_number(whole) {
            let is_negative = whole.strip_prefix('-').is_some_and(is_number);
            return Err(if is_negative { AmountError::Negative } else { AmountError::Malformed { currency } });
        }
        let digits = usize::try_from(currency.digits()).unwrap_or(2);
        if decimals.len() > digits {
            return Err(AmountError::TooManyDecimals { currency });
        }
        let minor = format!("{whole}{decimals:0<digits$}").parse().map_err(|_| AmountError::TooLarge)?;
        Ok(Self { minor, currency })
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
    fn amounts_are_parsed_without_rounding() {
        let parse = |text: &str, currency: &str| {
            Money::parse(text, Currency::parse(currency).unwrap()).map(|money| money.minor)
        };
        for (text, currency, minor) in [
            ("12.50", "EUR", 1_250),
            ("12.5", "EUR", 1_250),
            ("12", "EUR", 1_200),
            ("0", "EUR", 0),
            ("0012.05", "EUR", 1_205),
            ("0.29", "USD", 29),
            ("1500", "JPY", 1_500),
            ("1.234", "KWD", 1_234),
            ("92233720368547758.07", "EUR", i64::MAX),
        ] {
            assert_eq!(parse(text, currency), Ok(minor), "{text}");
        }
        let eur = Currency::parse("EUR").unwrap();
        for text in
            ["", ".", "1.", ".5", "1,50", "1e2", "+1", "--1", "1.-5", " 1", "1 ", "１", "٣", "0x1", "NaN", "1.2.3"]
        {
            assert_eq!(parse(text, "EUR"), Err(AmountError::Malformed { currency: eur }), "{text}");
        }
        assert_eq!(
            (parse("-1", "EUR"), parse("-0.01", "EUR")),
            (Err(AmountError::Negative), Err(AmountError::Negative))
        );
        assert_eq!(parse("12.505", "EUR"), Err(AmountError::TooManyDecimals { currency: eur }));
        assert!(parse("12.5", "JPY").is_err() && parse("1.2345", "KWD").is_err());
        assert_eq!(parse("92233720368547758.08", "EUR"), Err(AmountError::TooLarge));
        assert_eq!(parse(&"9".repeat(10_000), "EUR"), Err(AmountError::TooLarge));
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
