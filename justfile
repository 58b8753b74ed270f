# Lists the recipes.
default:
    @just --list

# Runs all tests, on a PostgreSQL and a Redis server that are started for them; arguments are passed to `cargo nextest run`.
test *arguments:
    cargo xtask test -- {{ arguments }}

# Runs all checks that a change must pass.
ci:
    cargo xtask ci

# Checks that dependencies point inward only.
purity:
    cargo xtask purity

# Runs the server; arguments are passed to `movie-booking`.
run *arguments:
    cargo run --package api-actix --bin movie-booking -- {{ arguments }}

# Formats the code.
fmt:
    cargo fmt --all

# Measures the figures of docs/measurements.md.
bench:
    cargo xtask bench

# Compares the API with that of the last release.
api:
    cargo xtask api

# Runs the last release's store contract on the current schema.
rollout *arguments:
    cargo xtask rollout {{ arguments }}

# Tests the server against its OpenAPI document.
schemathesis:
    cargo xtask schemathesis

# Runs mutation tests of the domain's rules, and fails for each mutation that no test detects. Requires `cargo install cargo-mutants`.
mutants *arguments:
    cargo mutants --package domain --file 'crates/domain/src/booking/{decide,decide/*,committer,queue}.rs' --file 'crates/domain/src/seating/choice.rs' {{ arguments }}
