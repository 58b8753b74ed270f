//! The schema: migrating up, down and up again gives the same schema, the committed diesel schema matches the database, and a newer schema
//! is refused.

use adapters_postgres::testing::TestDatabase;
use adapters_postgres::{MigrateError, PostgresSettings, PostgresStore, SchemaState};
use tokio_postgres::NoTls;

async fn client(database: &TestDatabase) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn store(database: &TestDatabase) -> PostgresStore {
    PostgresStore::connect(PostgresSettings::parse(&database.url, 2).unwrap()).await.unwrap()
}

/// Returns every object of the schema, as the catalog describes it.
async fn dump(database: &TestDatabase) -> Vec<String> {
    let sql = "
        SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '
            || coalesce(column_default, '') || ' ' || coalesce(collation_name, '') || ' ' || is_identity
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL
        SELECT 'options ' || oid::regclass || ' ' || reloptions::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL
        UNION ALL
        SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT 'function ' || p.proname || ' ' || p.prosrc FROM pg_proc p
        LEFT JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
        WHERE p.pronamespace = 'public'::regnamespace AND d.objid IS NULL
        UNION ALL SELECT 'sequence ' || sequence_name || increment FROM information_schema.sequences
        UNION ALL SELECT 'extension ' || extname FROM pg_extension
        ORDER BY 1";
    client(database).await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_down_and_up_to_the_same() {
    let database = TestDatabase::create_empty().await.unwrap();
    let store = store(&database).await;
    let empty = dump(&database).await;
    assert_eq!(store.schema_state().await.unwrap(), SchemaState::Older);
    assert!(store.migrate().await.unwrap() > 0);
    assert_eq!(store.schema_state().await.unwrap(), SchemaState::Current);
    let migrated = dump(&database).await;
    assert!(migrated.len() > 100, "{migrated:?}");
    store.revert_migrations().await.unwrap();
    let reverted: Vec<_> =
        dump(&database).await.into_iter().filter(|line| !line.contains("__diesel_schema_migrations")).collect();
    assert_eq!(reverted, empty);
    store.migrate().await.unwrap();
    assert_eq!(dump(&database).await, migrated);
    assert_eq!(store.migrate().await.unwrap(), 0);
}

/// Autovacuum must follow the number of changed rows, not a share of all rows ever written.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_grow_are_vacuumed_before_a_fifth_of_them_is_dead() {
    let database = TestDatabase::create().await.unwrap();
    for table in ["seat_claims", "idempotency_keys", "outbox", "refresh_tokens"] {
        let sql = "SELECT option_value::float8 FROM pg_class, pg_options_to_table(reloptions)
            WHERE relname = $1 AND option_name = 'autovacuum_vacuum_scale_factor'";
        let rows = client(&database).await.query(sql, &[&table]).await.unwrap();
        assert_eq!(rows.len(), 1, "{table}");
        assert!(rows[0].get::<_, f64>(0) <= 0.05, "{table}");
    }
}

/// A failed CREATE INDEX CONCURRENTLY leaves an invalid index.
#[tokio::test(flavor = "multi_thread")]
async fn every_index_is_valid() {
    let database = TestDatabase::create().await.unwrap();
    let sql = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(client(&database).await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_migrate_at_once_and_it_happens_once() {
    let database = TestDatabase::create_empty().await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let store = store(&database).await;
        tasks.push(tokio::spawn(async move { store.migrate().await.unwrap() }));
    }
    let mut ran = Vec::new();
    for task in tasks {
        ran.push(task.await.unwrap());
    }
    assert_eq!(ran.iter().filter(|count| **count > 0).count(), 1, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let database = TestDatabase::create().await.unwrap();
    let store = store(&database).await;
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')").await.unwrap();
    assert_eq!(store.schema_state().await.unwrap(), SchemaState::Newer);
    assert!(matches!(store.migrate().await, Err(MigrateError::Newer)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_diesel_schema_is_the_databases() {
    let database = TestDatabase::create().await.unwrap();
    let printed = print_schema(&database).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == printed, "src/schema.rs is not the migrated database's: run this test with UPDATE_SCHEMA=1");
}

/// Returns diesel's `table!` for each table, ordered by name.
async fn print_schema(database: &TestDatabase) -> String {
    let client = client(database).await;
    let mut text = String::from(
        "//! The tables as diesel knows them. Written by a test from the migrated database: see `tests/suite/migrations.rs`.\n",
    );
    let tables = client
        .query(
            "SELECT c.relname::text, (SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
                FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
                WHERE i.indrelid = c.oid AND i.indisprimary)
             FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
                AND c.relname <> '__diesel_schema_migrations' ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    for table in &tables {
        let (name, keys): (String, Vec<String>) = (table.get(0), table.get(1));
        text.push_str(&format!("\ndiesel::table! {{\n    {name} ({}) {{\n", keys.join(", ")));
        let columns = client
            .query(
                "SELECT column_name::text, udt_name::text, is_nullable = 'YES' FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position",
                &[&name],
            )
            .await
            .unwrap();
        for column in &columns {
            let sql_type = diesel_type(column.get(1));
            let sql_type = if column.get(2) { format!("Nullable<{sql_type}>") } else { sql_type };
            text.push_str(&format!("        {} -> {sql_type},\n", column.get::<_, String>(0)));
        }
        text.push_str("    }\n}\n");
    }
    let foreign = client
        .query(
            "SELECT conrelid::regclass::text, confrelid::regclass::text, a.attname::text FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
             WHERE contype = 'f' AND cardinality(conkey) = 1
                AND (conrelid::regclass::text, confrelid::regclass::text) IN (('sessions', 'users'), ('refresh_tokens', 'sessions'))
             ORDER BY 1, 2",
            &[],
        )
        .await
        .unwrap();
    text.push('\n');
    for row in &foreign {
        let (child, parent, column): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        text.push_str(&format!("diesel::joinable!({child} -> {parent} ({column}));\n"));
    }
    text.push_str("diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions, users);\n");
    text
}

fn diesel_type(postgres: String) -> String {
    if let Some(element) = postgres.strip_prefix('_') {
        return format!("Array<{}>", diesel_type(element.to_owned()));
    }
    match postgres.as_str() {
        "int2" => "SmallInt",
        "int4" => "Integer",
        "int8" => "BigInt",
        "xid8" => "BigInt",
        "text" => "Text",
        "bool" => "Bool",
        "bytea" => "Binary",
        "date" => "Date",
        "timestamptz" => "Timestamptz",
        other => panic!("{other} has no diesel type here"),
    }
    .to_owned()
}
