//! Plans of the booking path: each statement is prepared once, planned once, and finds its rows by an index even if the tables were empty.

use std::sync::Arc;

use adapters_postgres::testing::{BOOKING_STATEMENTS, TestDatabase};
use adapters_postgres::{PostgresBatchStore, PostgresSettings, PostgresStore};
use domain::admin::ChangeOrigin;
use domain::booking::{
    Action, BatchStore as _, HoldSeats, ReadSet, Rules, SeatGapRule, ShowBooking, StaffAct, WantedSeats,
};
use domain::identity::Caller;
use domain::ids::{SessionId, TheatreId};
use domain::seating::SeatWish;
use port_contracts::counter::house;
use port_contracts::tools::{Mode, RULES, SIMPLE, book, booked, command, held, selection, sell};
use port_contracts::world::{World, customer, hold};
use port_contracts::{Fixture as _, Stores};
use serde_json::Value;

use crate::contracts::make_fixture;

/// The numbers of bookings that are submitted together. Small and large, because custom plans for few rows look cheaper than the generic
/// plan.
const SIZES: [usize; 6] = [1, 2, 1, 5, 20, 40];

async fn batch_store(database: &TestDatabase) -> Arc<PostgresBatchStore> {
    let settings = PostgresSettings::parse(&database.url, 1).unwrap();
    Arc::new(PostgresStore::connect(settings).await.unwrap().batch_store())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_is_prepared_once_and_never_planned_for_one_batch() {
    let fixture = make_fixture().await;
    let world = World::build(&fixture).await;
    let (ana, bo) = (customer(&fixture).await, customer(&fixture).await);
    let store = batch_store(&fixture.database).await;
    let stores = Stores { batches: vec![store.clone()], ..fixture.stores().clone() };
    let seats =
        world.main.iter().map(|seat| (world.soon, seat)).chain(world.beta.iter().map(|seat| (world.later, seat)));
    let mut seats = seats.map(|(show, seat)| (show, seat.id));
    sell(&stores, SIMPLE, async |sellers| {
        for (round, size) in SIZES.into_iter().enumerate() {
            let chosen: Vec<_> = seats.by_ref().take(size).collect();
            assert_eq!(chosen.len(), size, "the world has too few seats");
            // One seat in each round has an expired hold, which is taken over.
            let (show, seat) = chosen[0];
            hold(&fixture, show, seat, bo, &format!("hold {round}"), -1).await;
            let commands = chosen.iter().map(|(show, seat)| book(ana, *show, &[*seat], &format!("{show}-{seat}")));
            for outcome in sellers.submit_all(commands.collect()).await {
                outcome.unwrap();
            }
        }
    })
    .await;
    after_sale(&stores, &world, ana).await;
    // The callers of these commands have no sessions, so sessions are read here.
    let sessions = ReadSet { sessions: [SessionId(1)].into(), ..ReadSet::default() };
    for _ in 0..2 {
        store.read(&sessions).await.unwrap();
        store.confirm().await.unwrap();
    }
    for sql in BOOKING_STATEMENTS {
        let quoted = sql.replace('\'', "''");
        let counted = format!(
            "SELECT generic_plans || ' ' || custom_plans AS line FROM pg_prepared_statements WHERE statement = '{quoted}'"
        );
        let counts = store.lines(&counted).await.unwrap();
        assert_eq!(counts.len(), 1, "prepared {} times: {sql}", counts.len());
        let (generic, custom) = counts[0].split_once(' ').unwrap();
        // At least two, because ids are reserved in blocks, not in each round.
        assert!(generic.parse::<usize>().unwrap() >= 2, "executed {generic} times: {sql}");
        assert_eq!(custom, "0", "planned anew: {sql}");
    }
    let known: Vec<_> = BOOKING_STATEMENTS.to_vec();
    let prepared = "SELECT statement AS line FROM pg_prepared_statements WHERE NOT from_sql AND statement NOT LIKE '%pg_prepared_statements%'";
    for statement in store.lines(prepared).await.unwrap() {
        assert!(known.contains(&statement.as_str()), "not in the list of the booking path: {statement}");
    }
}

/// Runs three rounds of every command on holds and bookings, with a rule that forbids seat gaps.
async fn after_sale(stores: &Stores, world: &World, caller: Caller) {
    let mode = Mode { rules: Rules { seat_gaps: SeatGapRule::Forbid, ..RULES }, ..SIMPLE };
    let row: Vec<_> = world.small.iter().map(|seat| seat.id).collect();
    let show_id = world.tomorrow;
    sell(stores, mode, async |sellers| {
        for round in 0..3 {
            let hold = async |seats| {
                held(&sellers.submit(command(caller, Action::Hold(HoldSeats { show_id, seats }), "")).await).0
            };
            let id = hold(WantedSeats::These(selection(&row[..1]).into())).await;
            sellers.submit(command(caller, Action::Extend(id.clone()), "")).await.unwrap();
            sellers.submit(command(caller, Action::Release(id), "")).await.unwrap();
            let id = hold(WantedSeats::Best(SeatWish { quantity: 1, category: None, accessible: None })).await;
            let (booking_id, ..) = booked(&sellers.submit(command(caller, Action::Redeem(id), "")).await);
            let booking = ShowBooking { show_id, booking_id };
            let sold = stores.bookings.booking(caller.user_id, booking_id).await.unwrap().unwrap().seats[0].id;
            let other = row.iter().find(|seat| **seat != sold).unwrap();
            sellers.submit(command(caller, Action::Change(booking, selection(&[*other])), "")).await.unwrap();
            sellers.submit(command(caller, Action::Cancel(booking), "")).await.unwrap();
            let again = book(caller, show_id, &row[..1], &format!("again {round}"));
            let (booking_id, ..) = booked(&sellers.submit(again).await);
            let act = StaffAct {
                origin: ChangeOrigin { request_id: "request".into(), address: "192.0.2.7".into() },
                theatre_id: TheatreId(1),
                customer: caller.user_id,
                reason: "The projector is broken".into(),
            };
            let cancel = Action::CancelFor(ShowBooking { show_id, booking_id }, act);
            sellers.submit(command(caller, cancel, "")).await.unwrap();
            sellers.submit(command(caller, Action::Block(house(show_id, &row)), "")).await.unwrap();
            sellers.submit(command(caller, Action::Unblock(house(show_id, &row)), "")).await.unwrap();
        }
    })
    .await;
}

/// Returns the SQL and the plan of each statement.
async fn plans(store: &PostgresBatchStore) -> Vec<(&'static str, Value)> {
    let mut plans = Vec::new();
    for (number, sql) in BOOKING_STATEMENTS.iter().enumerate() {
        // These statements have no plan.
        if sql.starts_with("BEGIN") || *sql == "COMMIT" {
            continue;
        }
        let prepare = format!("PREPARE explained_{number} AS {sql}").replace('\'', "''");
        store.lines(&format!("SELECT run('{prepare}') AS line")).await.unwrap();
        let parameters = (1..).take_while(|number| sql.contains(&format!("${number}"))).count();
        let nulls = vec!["NULL"; parameters].join(", ");
        let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        let plan = store.lines(&format!("SELECT plan_of('EXECUTE explained_{number}{values}') AS line")).await.unwrap();
        plans.push((*sql, serde_json::from_str(&plan[0]).unwrap()));
    }
    plans
}

/// Functions that run SQL and return plans as text, because the committer's connection only runs queries of one text column.
const HELPERS: &str = "
    CREATE FUNCTION run(statement text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN EXECUTE statement; RETURN ''; END $$;
    CREATE FUNCTION plan_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
        DECLARE plan json;
        BEGIN EXECUTE 'EXPLAIN (FORMAT JSON) ' || statement INTO plan; RETURN plan::text; END $$";

/// Returns every node of a plan that reads a table.
fn scans(plan: &Value) -> Vec<&Value> {
    match plan {
        Value::Array(items) => items.iter().flat_map(scans).collect(),
        Value::Object(members) => {
            let node = members.get("Node Type").and_then(Value::as_str).unwrap_or_default();
            let reads = members.contains_key("Relation Name") && node != "ModifyTable";
            reads.then_some(plan).into_iter().chain(members.values().flat_map(scans)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns whether a scan finds its rows by an index without reading the whole index.
fn finds_by_index(scan: &Value) -> bool {
    match scan["Node Type"].as_str() {
        Some("Index Scan" | "Index Only Scan") => !scan["Index Cond"].is_null(),
        // Its rows were located by the preceding lock.
        Some("Tid Scan") => true,
        // Its rows were found by an index.
        Some("Bitmap Heap Scan") => !scan["Recheck Cond"].is_null(),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_new_installation_every_statement_finds_its_rows_by_an_index() {
    let database = TestDatabase::create().await.unwrap();
    database.execute(HELPERS).await.unwrap();
    let mut tables = Vec::new();
    // The planner expects tables that were analysed while empty to stay empty, so a full scan looks cheapest.
    for analysed in [false, true] {
        if analysed {
            database.execute("ANALYZE").await.unwrap();
        }
        for (sql, plan) in plans(&*batch_store(&database).await).await {
            for scan in scans(&plan) {
                assert!(finds_by_index(scan), "analysed: {analysed}\n{sql}\n{scan:#}");
                tables.extend(scan["Relation Name"].as_str().map(str::to_owned));
            }
        }
    }
    for table in [
        "idempotency_keys",
        "users",
        "shows",
        "show_prices",
        "seat_claims",
        "holds",
        "hold_seats",
        "seat_tenures",
        "bookings",
        "seats",
    ] {
        assert!(tables.iter().any(|read| read == table), "{table} is read by no statement, so nothing was shown of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_scans_and_joins_as_postgresql_likes_them_a_new_installation_would_scan_tables() {
    let database = TestDatabase::create().await.unwrap();
    database.execute(HELPERS).await.unwrap();
    let store = batch_store(&database).await;
    // The plan stays generic. A custom plan for these NULLs would read nothing.
    for setting in ["enable_seqscan", "enable_hashjoin", "enable_mergejoin"] {
        store.lines(&format!("SELECT set_config('{setting}', 'on', false) AS line")).await.unwrap();
    }
    let plans = plans(&store).await;
    let scanned = plans.iter().any(|(_, plan)| scans(plan).into_iter().any(|scan| !finds_by_index(scan)));
    assert!(scanned, "the settings do nothing: leave them out");
}
