//! The content of a price list.

use chrono::{NaiveDate, NaiveTime, Weekday, WeekdaySet};
use domain::ids::TheatreId;
use domain::money::Currency;
use domain::pricing::{PriceList, PriceRule, PriceRuleName, TicketTypeCode, parse_weekday, weekday_name};
use domain::seating::CategoryPrice;
use serde::{Deserialize, Serialize};

use crate::StoredJsonError;

/// The format of times: nothing is lost.
const TIME: &str = "%H:%M:%S";

/// The base prices, and the rules in their order. Unknown members are ignored, so that a later release can add some.
#[derive(Serialize, Deserialize)]
struct Content {
    prices: Vec<Price>,
    rules: Vec<Rule>,
}

#[derive(Serialize, Deserialize)]
struct Price {
    category: String,
    ticket_type: String,
    minor: i64,
}

#[derive(Serialize, Deserialize)]
struct Rule {
    name: Option<String>,
    weekdays: Vec<String>,
    from_date: Option<String>,
    to_date: Option<String>,
    from_time: Option<String>,
    to_time: Option<String>,
    prices: Vec<Price>,
}

/// Returns the content of a price list as it is stored: a JSON object.
pub fn stored_price_list(list: &PriceList) -> String {
    let rules = list.rules().iter().map(|rule| Rule {
        name: rule.name.as_ref().map(|name| name.as_str().to_owned()),
        weekdays: rule.weekdays.iter(Weekday::Mon).map(|day| weekday_name(day).to_owned()).collect(),
        from_date: rule.from_date.map(|date| date.to_string()),
        to_date: rule.to_date.map(|date| date.to_string()),
        from_time: rule.from_time.map(|time| time.format(TIME).to_string()),
        to_time: rule.to_time.map(|time| time.format(TIME).to_string()),
        prices: stored_prices(&rule.prices),
    });
    let content = Content { prices: stored_prices(&list.base()), rules: rules.collect() };
    serde_json::json!(content).to_string()
}

fn stored_prices(prices: &[CategoryPrice]) -> Vec<Price> {
    let stored = |price: &CategoryPrice| Price {
        category: price.category.clone(),
        ticket_type: price.ticket_type.as_str().to_owned(),
        minor: price.minor,
    };
    prices.iter().map(stored).collect()
}

/// Parses the stored content of a price list.
pub fn parsed_price_list(
    theatre_id: TheatreId,
    currency: Currency,
    stored: &str,
) -> Result<PriceList, StoredJsonError> {
    parsed(theatre_id, currency, stored).map_err(StoredJsonError::of("price list"))
}

fn parsed(theatre_id: TheatreId, currency: Currency, stored: &str) -> Result<PriceList, String> {
    let content: Content = serde_json::from_str(stored).map_err(text)?;
    let rules = content.rules.into_iter().map(rule).collect::<Result<_, _>>()?;
    PriceList::new(theatre_id, currency, prices(content.prices)?, rules)
        .map_err(|errors| errors.first().map(ToString::to_string).unwrap_or_default())
}

fn rule(rule: Rule) -> Result<PriceRule, String> {
    let date = |date: Option<String>| date.map(|date| date.parse::<NaiveDate>().map_err(text)).transpose();
    let time = |time: Option<String>| time.map(|time| NaiveTime::parse_from_str(&time, TIME).map_err(text)).transpose();
    let mut weekdays = WeekdaySet::EMPTY;
    for day in &rule.weekdays {
        weekdays.insert(parse_weekday(day).ok_or_else(|| format!("an unknown weekday: {day}"))?);
    }
    Ok(PriceRule {
        name: rule.name.map(PriceRuleName::from_stored),
        weekdays,
        from_date: date(rule.from_date)?,
        to_date: date(rule.to_date)?,
        from_time: time(rule.from_time)?,
        to_time: time(rule.to_time)?,
        prices: prices(rule.prices)?,
    })
}

fn prices(stored: Vec<Price>) -> Result<Vec<CategoryPrice>, String> {
    let price = |Price { category, ticket_type, minor }| {
        Ok(CategoryPrice { category, ticket_type: TicketTypeCode::parse(&ticket_type).map_err(text)?, minor })
    };
    stored.into_iter().map(price).collect()
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_reads_as_it_is_written() {
        let stored = r#"{"prices":[{"category":"standard","ticket_type":"adult","minor":1250}],"rules":[
            {"name":"Weekend","weekdays":["fri","sat"],"from_date":"2026-12-01","to_date":null,"from_time":"17:00:00",
             "to_time":"02:00:00","prices":[{"category":"standard","ticket_type":"adult","minor":1400}]}]}"#;
        let currency = Currency::parse("EUR").unwrap();
        let list = parsed_price_list(TheatreId(1), currency, stored).unwrap();
        assert_eq!((list.base().len(), list.rules().len()), (1, 1));
        let again = parsed_price_list(TheatreId(1), currency, &stored_price_list(&list)).unwrap();
        assert_eq!(again, list);
    }

    #[test]
    fn invalid_content_is_an_error() {
        let currency = Currency::parse("EUR").unwrap();
        for wrong in [
            "",
            "{}",
            r#"{"prices":[{"category":"standard","ticket_type":"adult","minor":-1}],"rules":[]}"#,
            r#"{"prices":[{"category":"standard","ticket_type":"ADULT","minor":1}],"rules":[]}"#,
        ] {
            let error = parsed_price_list(TheatreId(1), currency, wrong).unwrap_err().to_string();
            assert!(error.starts_with("a stored price list is not valid: "), "{error}");
        }
    }
}
