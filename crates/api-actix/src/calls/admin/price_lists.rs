//! Price lists, for staff.

use std::time::SystemTime;

use actix_web::web::Data;
use chrono::{NaiveTime, Weekday};
use domain::admin::ChangeRequest;
use domain::catalog::PlaceName;
use domain::ids::{PriceListId, TheatreId};
use domain::money::{Currency, Money};
use domain::page::PageRequest;
use domain::pricing::{
    ManagedPriceList, PriceListChange, PriceListCursor, PriceListDraft, PriceRule, PricesAt, weekday_name,
};
use domain::seating::CategoryPrice;
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
use crate::calls::instant;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::preconditions::{OptionalIfMatch, RequiredIfMatch};
use crate::http::prices::{LocalTime, PriceDrafts, RuleDrafts};
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{CreatedByChange, Json, Page, RetiredByChange, UpdatedByChange, Versioned};
use crate::http::session::Staff;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List the price lists of your theatres by name, for staff.
    ///
    /// Administrators see the lists of all theatres. Includes retired ones.
    GET "/api/admin/price-lists" => list_price_lists: "A page of price lists", or [TheatreNotFound];

    /// Add a price list to one of your theatres.
    ///
    /// Its prices are in the currency of the theatre.
    POST "/api/admin/price-lists" => create_price_list: "The price list", or [TheatreNotFound, NameTaken];

    /// Get a price list of your theatres.
    GET "/api/admin/price-lists/{price_list_id}" => price_list: "The price list", or [PriceListNotFound];

    /// Change a price list of your theatres.
    ///
    /// `prices` and `rules` replace the former ones as a whole.
    PATCH "/api/admin/price-lists/{price_list_id}" => update_price_list: "The changed price list",
        or [PriceListNotFound, NameTaken];

    /// Retire a price list of your theatres.
    ///
    /// No new show uses it. Shows keep their prices.
    DELETE "/api/admin/price-lists/{price_list_id}" => retire_price_list: "The price list is retired",
        or [PriceListNotFound];

    /// Try out a price list of your theatres: get the prices of a show that begins at a time.
    GET "/api/admin/price-lists/{price_list_id}/prices" => prices_of_list: "The prices", or [PriceListNotFound, TheatreNotFound];
}

parameters! {
    /// Which theatre's price lists.
    pub struct PriceListParameters {
        /// Price lists of this theatre.
        pub theatre_id: Option<TheatreId>,
    }

    /// When a show begins.
    pub struct BeginningParameter {
        /// The local time of the theatre; now if it is absent.
        pub at: Option<LocalTime>,
    }
}

body! {
    /// A price list to add.
    pub struct NewPriceList as "NewPriceList" {
        pub theatre_id: TheatreId,
        /// 1 to 100 characters. Unique in the theatre.
        #[example = "Standard"]
        pub name: PlaceName,
        /// The base prices: 1 to 500, one for each pair of a category and a ticket type.
        pub prices: PriceDrafts,
        /// At most 50 rules. The first one that applies sets the prices; pairs that it does not name keep the base prices.
        pub rules: Option<RuleDrafts>,
    }

    /// A change of a price list. Absent members stay as they are.
    pub struct UpdatePriceList as "UpdatePriceList" {
        /// 1 to 100 characters. Unique in the theatre.
        pub name: Option<PlaceName>,
        /// All base prices.
        pub prices: Option<PriceDrafts>,
        /// All rules.
        pub rules: Option<RuleDrafts>,
    }
}

/// A price list as staff see it.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceList)]
pub struct PriceListView {
    id: i64,
    theatre_id: i64,
    name: String,
    /// ISO 4217. That of the theatre, until the list is retired.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// The base prices, by category, then ticket type.
    prices: Vec<ListPriceView>,
    /// In their order.
    rules: Vec<PriceRuleView>,
    /// When it was retired.
    #[schema(format = DateTime)]
    retired_at: Option<String>,
    /// Increased by every change; the number in the `ETag`.
    version: i64,
}

/// A price of a price list.
#[derive(Serialize, ToSchema)]
#[schema(as = ListPrice)]
pub struct ListPriceView {
    category: String,
    /// The code of the ticket type.
    #[schema(example = "adult")]
    ticket_type: String,
    /// In major units.
    #[schema(example = "12.50")]
    price: String,
}

/// A rule of a price list.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceRule)]
pub struct PriceRuleView {
    name: Option<String>,
    /// From `mon` to `sun`.
    weekdays: Vec<&'static str>,
    /// The first date, inclusive.
    #[schema(format = Date)]
    from_date: Option<String>,
    /// The last date, inclusive.
    #[schema(format = Date)]
    to_date: Option<String>,
    /// The beginning of the hours, inclusive.
    #[schema(example = "17:00")]
    from_time: Option<String>,
    /// The end of the hours, exclusive. An end before the beginning is on the next day.
    #[schema(example = "02:00")]
    to_time: Option<String>,
    /// The prices that differ from the base prices.
    prices: Vec<ListPriceView>,
}

/// The prices of a price list at a time.
#[derive(Serialize, ToSchema)]
#[schema(as = PricesAtTime)]
pub struct PricesAtView {
    /// The local time of the theatre.
    #[schema(example = "2026-12-24T20:00")]
    at: String,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// The index in `rules` of the rule that applies, from 0; `null` if the base prices apply.
    #[schema(minimum = 0)]
    rule: Option<usize>,
    /// The name of this rule.
    rule_name: Option<String>,
    /// By category, then ticket type.
    prices: Vec<ListPriceView>,
}

pub(super) fn prices_view(prices: &[CategoryPrice], currency: Currency) -> Vec<ListPriceView> {
    let view = |price: &CategoryPrice| ListPriceView {
        category: price.category.clone(),
        ticket_type: price.ticket_type.as_str().to_owned(),
        price: Money::new(price.minor, currency).to_string(),
    };
    prices.iter().map(view).collect()
}

impl PriceRuleView {
    fn new(rule: &PriceRule, currency: Currency) -> Self {
        let time = |time: NaiveTime| time.format("%H:%M").to_string();
        Self {
            name: rule.name.as_ref().map(|name| name.as_str().to_owned()),
            weekdays: rule.weekdays.iter(Weekday::Mon).map(weekday_name).collect(),
            from_date: rule.from_date.map(|date| date.to_string()),
            to_date: rule.to_date.map(|date| date.to_string()),
            from_time: rule.from_time.map(time),
            to_time: rule.to_time.map(time),
            prices: prices_view(&rule.prices, currency),
        }
    }
}

impl From<ManagedPriceList> for PriceListView {
    fn from(managed: ManagedPriceList) -> Self {
        let currency = managed.list.currency();
        Self {
            id: managed.id.0,
            theatre_id: managed.list.theatre_id().0,
            name: managed.name,
            currency: currency.code().to_owned(),
            prices: prices_view(&managed.list.base(), currency),
            rules: managed.list.rules().iter().map(|rule| PriceRuleView::new(rule, currency)).collect(),
            retired_at: managed.retired_at.map(instant),
            version: managed.version,
        }
    }
}

impl From<PricesAt> for PricesAtView {
    fn from(found: PricesAt) -> Self {
        let (rule, name) = found.rule.unzip();
        Self {
            at: found.at.format("%Y-%m-%dT%H:%M").to_string(),
            currency: found.currency.code().to_owned(),
            rule,
            rule_name: name.flatten().map(|name| name.as_str().to_owned()),
            prices: prices_view(&found.prices, found.currency),
        }
    }
}

async fn list_price_lists(
    Staff(member): Staff,
    Query((PriceListParameters { theatre_id }, (search, page))): Query<(
        PriceListParameters,
        (SearchParameter, PageRequest<PriceListCursor>),
    )>,
    state: Data<AppState>,
) -> Result<Page<PriceListView>, Problem> {
    let lists = state.admin.price_lists(&member, theatre_id, search.into_filter().as_deref(), &page).await?;
    Ok(Page::new(lists, PriceListView::from).private())
}

async fn create_price_list(
    Staff(member): Staff,
    request: ChangeRequest,
    Body(NewPriceList { theatre_id, name, prices, rules }): Body<NewPriceList>,
    state: Data<AppState>,
) -> Result<CreatedByChange<PriceListView>, Problem> {
    let rules = rules.map_or_else(Vec::new, |RuleDrafts(rules)| rules);
    let draft = PriceListDraft { theatre_id, name, prices: prices.0, rules };
    Ok(state.admin.create_price_list(&request, &member, draft).await?.into())
}

async fn price_list(
    Staff(member): Staff,
    Path(id): Path<PriceListId>,
    state: Data<AppState>,
) -> Result<Versioned<PriceListView>, Problem> {
    let list = state.admin.price_list(&member, id).await?;
    Ok(Versioned { version: list.version, view: list.into() })
}

async fn update_price_list(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<PriceListId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(UpdatePriceList { name, prices, rules }): Body<UpdatePriceList>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<PriceListView>, Problem> {
    let (prices, rules) = (prices.map(|PriceDrafts(prices)| prices), rules.map(|RuleDrafts(rules)| rules));
    let change = PriceListChange { name, prices, rules };
    Ok(state.admin.update_price_list(&request, &member, id, change, &precondition).await?.into())
}

async fn retire_price_list(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<PriceListId>,
    OptionalIfMatch(precondition): OptionalIfMatch,
    state: Data<AppState>,
) -> Result<RetiredByChange, Problem> {
    Ok(RetiredByChange(state.admin.retire_price_list(&request, &member, id, &precondition).await?))
}

async fn prices_of_list(
    Staff(member): Staff,
    Path(id): Path<PriceListId>,
    Query(BeginningParameter { at }): Query<BeginningParameter>,
    state: Data<AppState>,
) -> Result<Json<PricesAtView>, Problem> {
    let found = state.admin.prices_at(&member, id, at.map(|LocalTime(at)| at), SystemTime::now().into()).await?;
    Ok(Json::private(found.into()))
}
