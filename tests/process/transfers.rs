//! The commands `import` and `export`.

use super::support::Site;

/// The example of `docs/import.md`.
const EXAMPLE: &str = include_str!("../../docs/import.toml");

/// Returns the example with names that the demo data does not have, and without its ticket type, which the demo data has.
fn beside_the_demo() -> String {
    let (_, rest) = EXAMPLE.split_once("[[movies]]").unwrap();
    format!("[[movies]]{rest}").replace("Lichtburg", "Capitol").replace("Amélie", "Mirror")
}

#[tokio::test(flavor = "multi_thread")]
async fn export_of_one_store_imports_into_another_with_the_same_export() {
    let first = Site::embedded();
    first.run(&["seed"], "").succeeded();
    let told = first.run(&["import", "-"], &beside_the_demo()).succeeded();
    assert!(told.starts_with("Imported:\n") && told.contains("shows"), "{told}");
    let exported = first.run(&["export"], "").succeeded();
    assert!(exported.contains("Das Boot") && exported.contains("Spirited Away"));
    let as_json = first.run(&["export", "--format", "json"], "").succeeded();

    let (embedded, postgres) = (Site::embedded(), Site::empty_postgres().await);
    postgres.run(&["migrate"], "").succeeded();
    embedded.run(&["import", "-"], &as_json).succeeded();
    postgres.run(&["import", "-"], &exported).succeeded();
    for site in [&embedded, &postgres] {
        assert!(site.run(&["export"], "").succeeded() == exported);
        assert!(site.run(&["export", "--format", "json"], "").succeeded() == as_json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn import_during_a_running_server_reports_what_it_does() {
    let site = Site::embedded();
    let server = site.serve();
    let wrong = EXAMPLE.replacen("Europe/Berlin", "Europe/Bonn", 1).replacen("\"12.50\"", "\"-1\"", 1);
    let told = site.run(&["import", "-"], &wrong).failed(1);
    for part in ["nothing was imported", "theatres[0].timezone", "theatres[0].price_lists[0].prices[0].price", "line "]
    {
        assert!(told.contains(part), "{told}");
    }
    // The demo data has a theatre with this name in another place.
    let told = site.run(&["import", "-"], EXAMPLE).failed(1);
    assert!(told.contains("theatres[0].name is the name of an existing theatre that differs in location"), "{told}");
    let told = site.run(&["import", "-"], &EXAMPLE.replace("[[movies]]", "[[films]]")).failed(1);
    assert!(told.contains("films is no member"), "{told}");
    let other = beside_the_demo();
    let told = site.run(&["import", "--dry-run", "-"], &other).succeeded();
    assert!(told.starts_with("Nothing was changed."), "{told}");
    assert_eq!(server.client.get("/api/movies?search=boot").await.expect(200), serde_json::json!([]));
    site.run(&["import", "-"], &other).succeeded();
    assert_eq!(server.client.get("/api/movies?search=boot").await.expect(200)[0]["title"], "Das Boot");
    let told = site.run(&["import", "/no/such/file"], "").failed(1);
    assert!(told.contains("/no/such/file cannot be read"), "{told}");
}
