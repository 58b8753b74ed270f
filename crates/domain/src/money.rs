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
