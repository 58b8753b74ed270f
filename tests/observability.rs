//! The files in `docker/observability`: Prometheus queries use only metrics that servers report, and each alert says what to do.

use std::collections::BTreeSet;

use adapters_redis::testing::TestRedis;

use crate::harness::{self, StoreKind, TestApp};
use crate::metrics::Scrape;

const RULES: &str = include_str!("../docker/observability/rules.yaml");
const BOARD: &str = include_str!("../docker/observability/board.json");
/// The metrics of Prometheus itself.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];
/// Reported only by servers on PostgreSQL with `DB_DURABILITY=replicated`, which are tested with a pair of servers in the adapter's
/// tests.
const OF_REPLICATED: [&str; 1] = ["database_replicated"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_board_use_only_reported_metrics() {
    let redis = TestRedis::start().await.unwrap();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    harness::run(StoreKind::Sqlite, &[("REDIS_URL", &url)], every_metric_is_reported).await;
}

async fn every_metric_is_reported(app: &TestApp) {
    // Series of requests exist only after the first request.
    app.get("/healthz").send().await.ok(200);
    let scrape = Scrape::parse(app.get("/metrics").send().await.ok(200).text());
    let said: BTreeSet<&str> = scrape.samples.keys().map(|series| series.split('{').next().unwrap()).collect();
    let recorded: BTreeSet<&str> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    for (file, text) in [("rules.yaml", RULES), ("board.json", BOARD)] {
        let asked = metrics_of(text);
        assert!(asked.len() > 10, "{file}: {asked:?}");
        for name in asked {
            let known = said.contains(name)
                || recorded.contains(name)
                || OF_PROMETHEUS.contains(&name)
                || OF_REPLICATED.contains(&name);
            assert!(known, "{file} asks for {name}, which is none of {said:?} or {recorded:?}");
        }
    }
    let shown = metrics_of(BOARD);
    for name in recorded {
        assert!(shown.contains(name), "{name} is recorded, and not on the board");
    }
}

/// Returns the names that precede labels: `name{…}`.
fn metrics_of(text: &str) -> BTreeSet<&str> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let before = text.match_indices('{').filter_map(|(at, _)| text.get(..at));
    before.map(|before| before.rsplit(|c| !of_a_name(c)).next().unwrap()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn each_alert_has_a_summary_and_an_action() {
    let alerts: Vec<&str> = RULES.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 12, "{}", alerts.len());
    for alert in alerts {
        for wanted in ["severity: critical }|severity: warning }", "summary: \"", "action: \""] {
            let lines = alert.lines().filter(|line| wanted.split('|').any(|one| line.contains(one)));
            assert_eq!(lines.count(), 1, "{wanted} in {alert}");
        }
    }
}
