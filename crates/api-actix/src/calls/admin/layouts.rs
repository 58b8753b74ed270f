//! Layouts of halls, for staff.

use actix_web::web::Data;
use domain::admin::{AddedLayout, ChangeRequest, LayoutCursor, LayoutUse, LayoutVersion};
use domain::ids::{HallId, LayoutId, SeatId, ShowId};
use domain::page::PageRequest;
use domain::seating::plan::NUMBER_MAX;
use domain::seating::{
    FocalPoint, Layout, LayoutPlan, PlanMistake, PlanPlace, PlannedLayout, RowName, RowPlan, SeatSeed, Section,
    SectionPlan,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::Schema;
// By another name, because the derived schemas have the whole paths of its types.
use utoipa::openapi::schema as schemas;

use crate::calls::instant;
use crate::http::body::{Body, BodyReader, Findings, JsonBody, JsonValue, object};
use crate::http::call::calls;
use crate::http::mistakes::Mistake;
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{Json, Page, PreviewedOrCreated};
use crate::http::session::Staff;
use crate::http::values::integer;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List the layouts of a hall of your theatres, newest first.
    GET "/api/admin/halls/{hall_id}/layouts" => list_layouts: "A page of layouts", or [HallNotFound];

    /// Add a layout to a hall of your theatres, or preview it.
    ///
    /// The layout is given as rows or as a text plan. `errors` lists all mistakes of the plan. With `preview=true`, the response has the
    /// seats, and nothing is stored. Otherwise the layout becomes the newest version of the hall. Upcoming shows without bookings, holds
    /// and blocked seats get it at once if they have prices for adults in all of its categories; the other shows keep their layouts.
    POST "/api/admin/halls/{hall_id}/layouts" => create_layout: "The layout", or [HallNotFound, Conflict];

    /// Get a layout of a hall of your theatres, with its seats.
    GET "/api/admin/layouts/{layout_id}" => staff_layout: "The layout", or [LayoutNotFound];
}

parameters! {
    /// Whether to store.
    pub struct PreviewParameter {
        /// `true` returns the layout without storing it.
        pub preview: Option<bool>,
    }
}

/// A layout to add: the seats of its plan.
pub struct NewLayout(pub PlannedLayout);

impl JsonBody for NewLayout {
    const NAME: &'static str = "NewLayout";

    fn schema() -> Schema {
        let rows = object("The rows, from the screen backwards")
            .member::<Rows>("rows", "The rows, from the screen backwards", None)
            .member::<Option<Sections>>("sections", "The focal points of sections", None)
            .without("plan");
        let plan = object("A drawing in text, a line for each row")
            .member::<String>(
                "plan",
                "A drawing in text, a line for each row",
                Some("category s = standard\nA | sss_sss\nB | ssssss".into()),
            )
            .without("rows")
            .without("sections");
        [rows, plan]
            .into_iter()
            .fold(schemas::OneOfBuilder::new(), |one_of, way| one_of.item(way.schema()))
            .build()
            .into()
    }

    fn read(body: &mut BodyReader<'_>) -> Option<Self> {
        let ways: Vec<_> = ["rows", "plan"].into_iter().filter(|name| body.has(name)).collect();
        let (whole, plan) = match ways.as_slice() {
            ["rows"] => {
                let (rows, sections) = (body.member::<Rows>("rows"), body.member::<Option<Sections>>("sections"));
                let sections = sections?.map(|Sections(sections)| sections).unwrap_or_default();
                ("rows", LayoutPlan::Rows { rows: rows?.0, sections })
            }
            ["plan"] if body.has("sections") => {
                body.mistake("sections", Mistake::new("conflict", "must not be given with plan, which has its own"));
                return None;
            }
            ["plan"] => ("plan", LayoutPlan::Text(body.member("plan")?)),
            [] => {
                body.mistake("rows", Mistake::new("required", "is required, or plan"));
                return None;
            }
            several => {
                let message = "must be given alone: one of rows and plan";
                several.iter().for_each(|name| body.mistake(name, Mistake::new("conflict", message)));
                return None;
            }
        };
        let report = |mistakes: Vec<PlanMistake>| {
            for mistake in mistakes {
                let (field, mistake) = field_and_mistake(whole, &mistake);
                body.findings.mistakes.add(field, mistake);
            }
        };
        plan.seats().map_err(report).ok().map(Self)
    }
}

/// Returns the member of the body in which a plan has a mistake. `whole` is the member that has the plan.
fn field_and_mistake(whole: &str, PlanMistake { place, problem }: &PlanMistake) -> (String, Mistake) {
    let sentence = problem.to_string();
    // The sentences of all mistakes are joined by the problem, which adds the last full stop.
    let sentence = sentence.trim_end_matches('.');
    let (field, message) = match place {
        PlanPlace::Plan => (whole.to_owned(), format!("is invalid: {sentence}")),
        PlanPlace::Text { .. } => (whole.to_owned(), format!("is invalid at {place}: {sentence}")),
        PlanPlace::Row { .. } | PlanPlace::Section { .. } => (place.to_string(), format!("is invalid: {sentence}")),
    };
    (field, Mistake::new(problem.code(), message))
}

/// The rows of a plan.
struct Rows(Vec<RowPlan>);

impl JsonValue for Rows {
    fn schema() -> Schema {
        let row = object("A row, or the next part of one")
            .member::<String>("row", "Its name: a number, letters or words", Some("A".into()))
            .member::<Whole>("from", "The number of the leftmost seat", Some(1.into()))
            .member::<Whole>("to", "The number of the rightmost seat", Some(12.into()))
            .member::<String>("category", "The category of its seats", Some("standard".into()))
            .member::<Option<Wholes>>("aisles_after", "The seats with an aisle on their right", None)
            .member::<Option<Wholes>>("accessible", "The seats for people in a wheelchair and their companions", None)
            .member::<Option<Wholes>>("skip", "Numbers that no seat has", None)
            .member::<Option<Pairs>>("pairs", "The love seats, each as two numbers side by side", None)
            .member::<Option<String>>("section", "The section of the hall; none for the main one", None)
            .member::<Option<Whole>>("x", "The place of the leftmost seat, in seat widths; usually 1", None)
            .member::<Option<Whole>>("y", "The depth, in seat depths; usually one behind the row before", None);
        schemas::ArrayBuilder::new().items(row.items()).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let read = |members: &Map<String, Value>, at: &str, findings: &mut Findings<'_>| {
            let mut row = Members { members, at, findings };
            // Every member is read, so that every mistake is reported.
            let (name, from, to) = (row.member("row"), row.member("from"), row.member("to"));
            let (category, section) = (row.member("category"), row.member::<Option<String>>("section"));
            let mut numbers = |name| row.member::<Option<Wholes>>(name);
            let (aisles_after, accessible, skip) = (numbers("aisles_after"), numbers("accessible"), numbers("skip"));
            let pairs = row.member::<Option<Pairs>>("pairs");
            let (x, y) = (row.member::<Option<Whole>>("x"), row.member::<Option<Whole>>("y"));
            let numbers = |numbers: Option<Wholes>| numbers.map(|Wholes(numbers)| numbers).unwrap_or_default();
            Some(RowPlan {
                row: name?,
                from: from.map(|Whole(from)| from)?,
                to: to.map(|Whole(to)| to)?,
                category: category?,
                aisles_after: numbers(aisles_after?),
                accessible: numbers(accessible?),
                skip: numbers(skip?),
                pairs: pairs?.map(|Pairs(pairs)| pairs).unwrap_or_default(),
                section: section?.unwrap_or_default(),
                x: x?.map(|Whole(x)| x),
                y: y?.map(|Whole(y)| y),
            })
        };
        objects(value, at, findings, read).map(Self)
    }
}

/// The focal points of sections.
struct Sections(Vec<SectionPlan>);

impl JsonValue for Sections {
    fn schema() -> Schema {
        let section = object("A section with its focal point")
            .member::<Option<String>>("name", "Its name; none for the main section", Some("Balcony".into()))
            .member::<Option<Focus>>("focus", "The point with the best view", None);
        schemas::ArrayBuilder::new().items(section.items()).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let read = |members: &Map<String, Value>, at: &str, findings: &mut Findings<'_>| {
            let mut section = Members { members, at, findings };
            let (name, focus) = (section.member::<Option<String>>("name"), section.member::<Option<Focus>>("focus"));
            Some(SectionPlan { name: name?.unwrap_or_default(), focus: focus?.map(|Focus(focus)| focus) })
        };
        objects(value, at, findings, read).map(Self)
    }
}

/// A focal point.
struct Focus(FocalPoint);

impl JsonValue for Focus {
    fn schema() -> Schema {
        object("A point")
            .member::<Whole>("x", "In seat widths", None)
            .member::<Whole>("y", "In seat depths", None)
            .schema()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(members) = value.as_object() else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be an object with x and y"));
            return None;
        };
        let mut point = Members { members, at, findings };
        let (x, y) = (point.member("x"), point.member("y"));
        let (Whole(x), Whole(y)) = (x?, y?);
        Some(Self(FocalPoint { x, y }))
    }
}

/// An integer of a plan. The domain checks its limits.
struct Whole(i32);

impl JsonValue for Whole {
    fn schema() -> Schema {
        whole().into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let number = integer(value).ok_or_else(|| Mistake::new("wrong_type", "must be an integer"));
        let message = format!("must be an integer from 1 to {NUMBER_MAX}");
        let fits = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
        let read = number.and_then(|number| fits(number).ok_or(Mistake::new("out_of_range", message)));
        findings.mistakes.take(at, read).map(Self)
    }
}

fn whole() -> schemas::Object {
    schemas::ObjectBuilder::new().schema_type(schemas::Type::Integer).minimum(Some(1)).maximum(Some(NUMBER_MAX)).build()
}

/// Numbers of seats.
struct Wholes(Vec<i32>);

impl JsonValue for Wholes {
    fn schema() -> Schema {
        schemas::ArrayBuilder::new().items(whole()).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(items) = value.as_array() else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of integers"));
            return None;
        };
        let read = |(number, item)| Whole::read(item, &format!("{at}[{number}]"), findings).map(|Whole(number)| number);
        let numbers: Vec<_> = items.iter().enumerate().map(read).collect();
        numbers.into_iter().collect::<Option<_>>().map(Self)
    }
}

/// Love seats.
struct Pairs(Vec<(i32, i32)>);

impl JsonValue for Pairs {
    fn schema() -> Schema {
        let pair = schemas::ArrayBuilder::new().items(whole()).min_items(Some(2)).max_items(Some(2));
        schemas::ArrayBuilder::new().items(pair).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(items) = value.as_array() else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of pairs of integers"));
            return None;
        };
        let read = |(number, item): (usize, &Value)| {
            let at = format!("{at}[{number}]");
            let Wholes(numbers) = Wholes::read(item, &at, findings)?;
            let [first, second] = numbers[..] else {
                findings.mistakes.add(at, Mistake::new("wrong_type", "must be two integers"));
                return None;
            };
            Some((first, second))
        };
        let pairs: Vec<_> = items.iter().enumerate().map(read).collect();
        pairs.into_iter().collect::<Option<_>>().map(Self)
    }
}

/// Reads a list of objects.
fn objects<T>(
    value: &Value,
    at: &str,
    findings: &mut Findings<'_>,
    read: impl Fn(&Map<String, Value>, &str, &mut Findings<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(items) = value.as_array() else {
        findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of objects"));
        return None;
    };
    let read = |(number, item): (usize, &Value)| {
        let at = format!("{at}[{number}]");
        let Some(members) = item.as_object() else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be an object"));
            return None;
        };
        read(members, &at, findings)
    };
    let items: Vec<_> = items.iter().enumerate().map(read).collect();
    items.into_iter().collect()
}

/// Reads the members of an object in a body.
struct Members<'object, 'findings, 'request> {
    members: &'object Map<String, Value>,
    at: &'object str,
    findings: &'findings mut Findings<'request>,
}

impl Members<'_, '_, '_> {
    /// Reads a member. Returns `None` after recording why.
    fn member<T: JsonValue>(&mut self, name: &str) -> Option<T> {
        let at = format!("{}.{name}", self.at);
        match self.members.get(name).filter(|value| !value.is_null()) {
            Some(value) => T::read(value, &at, self.findings),
            None => {
                let absent = T::absent();
                if absent.is_none() {
                    self.findings.mistakes.add(at, Mistake::new("required", "is required"));
                }
                absent
            }
        }
    }
}

/// A layout in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = LayoutVersion)]
pub struct LayoutVersionView {
    id: i64,
    hall_id: i64,
    /// Counts up from 1 in each hall.
    version: i64,
    seats_total: i64,
    #[schema(format = DateTime)]
    created_at: String,
    /// The number of scheduled shows with this layout that have not ended.
    used_by_shows: i64,
}

impl From<LayoutVersion> for LayoutVersionView {
    fn from(layout: LayoutVersion) -> Self {
        Self {
            id: layout.id.0,
            hall_id: layout.hall_id.0,
            version: layout.version,
            seats_total: layout.seats_total,
            created_at: instant(layout.created_at),
            used_by_shows: layout.used_by_shows,
        }
    }
}

/// A layout with its seats.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffLayout)]
pub struct LayoutView {
    /// `null` in a preview.
    id: Option<i64>,
    hall_id: i64,
    /// Counts up from 1 in each hall; `null` in a preview.
    version: Option<i64>,
    seats_total: i64,
    /// `null` in a preview.
    #[schema(format = DateTime)]
    created_at: Option<String>,
    /// The number of scheduled shows with this layout that have not ended; `null` in a preview.
    used_by_shows: Option<i64>,
    /// The layout as a text plan; `null` if it cannot be drawn.
    plan: Option<String>,
    /// The sections that have a name or a focal point.
    sections: Vec<LayoutSectionView>,
    /// The seats, ordered by row, then number.
    seats: Vec<LayoutSeatView>,
    /// The upcoming shows that have got this layout. Only if it was added by this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shows_updated: Option<Vec<i64>>,
    /// The upcoming shows of the hall that keep another layout: those with bookings, holds or blocked seats, and those of
    /// `shows_without_prices`. Only if the layout was added by this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shows_kept: Option<Vec<i64>>,
    /// The shows of `shows_kept` that lack only prices: some category of the layout has none for adults. Only if the layout was added by
    /// this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shows_without_prices: Option<Vec<i64>>,
}

/// A section of a layout.
#[derive(Serialize, ToSchema)]
#[schema(as = LayoutSection)]
struct LayoutSectionView {
    /// Empty for the main section.
    name: String,
    /// The point with the best view, if the plan has one.
    focus: Option<FocalPointView>,
}

/// A point of a layout.
#[derive(Serialize, ToSchema)]
#[schema(as = FocalPoint)]
struct FocalPointView {
    /// From the left, in seat widths.
    x: i32,
    /// From the screen, in seat depths.
    y: i32,
}

/// A seat of a layout.
#[derive(Serialize, ToSchema)]
#[schema(as = LayoutSeat)]
struct LayoutSeatView {
    /// `null` in a preview.
    id: Option<i64>,
    row: String,
    number: i32,
    category: String,
    accessible: bool,
    /// The position from the left, in seat widths.
    x: i32,
    /// The position from the screen, in seat depths.
    y: i32,
    /// Empty in the main section.
    section: String,
    /// The number of the love seat of which it is a half.
    pair: Option<i32>,
}

impl LayoutView {
    /// Returns a layout that is not stored.
    fn preview(hall_id: HallId, planned: PlannedLayout) -> Self {
        let plan = planned.to_text();
        let seats_total = i64::try_from(planned.seats.len()).unwrap_or(i64::MAX);
        let section = |Section { name, focus }| LayoutSectionView {
            name,
            focus: focus.map(|FocalPoint { x, y }| FocalPointView { x, y }),
        };
        let seat = |seat: SeatSeed| LayoutSeatView {
            id: None,
            row: RowName::as_str(&seat.row).to_owned(),
            number: seat.number,
            category: seat.category,
            accessible: seat.accessible,
            x: seat.x,
            y: seat.y,
            section: seat.section,
            pair: seat.pair,
        };
        Self {
            id: None,
            hall_id: hall_id.0,
            version: None,
            seats_total,
            created_at: None,
            used_by_shows: None,
            plan,
            sections: planned.sections.into_iter().map(section).collect(),
            seats: planned.seats.into_iter().map(seat).collect(),
            shows_updated: None,
            shows_kept: None,
            shows_without_prices: None,
        }
    }

    fn stored(version: LayoutVersion, layout: &Layout) -> Self {
        let mut view = Self::preview(version.hall_id, layout.into());
        for (seat, stored) in view.seats.iter_mut().zip(layout.seats()) {
            let SeatId(id) = stored.id;
            seat.id = Some(id);
        }
        Self {
            id: Some(version.id.0),
            version: Some(version.version),
            created_at: Some(instant(version.created_at)),
            used_by_shows: Some(version.used_by_shows),
            ..view
        }
    }
}

impl From<AddedLayout> for LayoutView {
    fn from(AddedLayout { version, layout, shows }: AddedLayout) -> Self {
        let LayoutUse { updated, kept, without_prices } = shows;
        let ids = |shows: Vec<ShowId>| Some(shows.into_iter().map(|ShowId(id)| id).collect());
        Self {
            shows_updated: ids(updated),
            shows_kept: ids(kept),
            shows_without_prices: ids(without_prices),
            ..Self::stored(version, &layout)
        }
    }
}

async fn list_layouts(
    Staff(member): Staff,
    Path(hall): Path<HallId>,
    Query(page): Query<PageRequest<LayoutCursor>>,
    state: Data<AppState>,
) -> Result<Page<LayoutVersionView>, Problem> {
    Ok(Page::new(state.admin.layouts(&member, hall, &page).await?, LayoutVersionView::from).private())
}

async fn create_layout(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(hall): Path<HallId>,
    Query(PreviewParameter { preview }): Query<PreviewParameter>,
    Body(NewLayout(planned)): Body<NewLayout>,
    state: Data<AppState>,
) -> Result<PreviewedOrCreated<LayoutView>, Problem> {
    if preview == Some(true) {
        let hall = state.admin.hall_for_layout(&member, hall).await?;
        return Ok(PreviewedOrCreated::Previewed(LayoutView::preview(hall.id, planned)));
    }
    let answer = state.admin.create_layout(&request, &member, hall, planned).await?;
    let location = format!("/api/admin/layouts/{}", answer.object_id);
    Ok(PreviewedOrCreated::Created { answer, location })
}

async fn staff_layout(
    Staff(member): Staff,
    Path(id): Path<LayoutId>,
    state: Data<AppState>,
) -> Result<Json<LayoutView>, Problem> {
    let (version, layout) = state.admin.layout(&member, id).await?;
    Ok(Json::private(LayoutView::stored(version, &layout)))
}
