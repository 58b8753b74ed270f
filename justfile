# Lists the recipes.
default:
    @just --list

# Runs all tests, with PostgreSQL and Redis of their own; arguments go to `cargo test`.
test *arguments:
    cargo xtask test -- {{ arguments }}

# Runs everything that a change must pass.
ci:
    cargo xtask ci

# Proves that dependencies point inward only.
purity:
    cargo xtask purity

# Runs the server; arguments are those of `movie-booking`.
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

# Runs the last release's store contract on this tree's schema.
rollout *arguments:
    cargo xtask rollout {{ arguments }}

# Tests the server against its OpenAPI document.
schemathesis:
    cargo xtask schemathesis

# Changes the rules in small ways, and fails for each change that no test of the domain notices. Needs `cargo install cargo-mutants`.
mutants *arguments:
    cargo mutants --package domain --file 'crates/domain/src/booking/{decide,decide/*,committer,queue}.rs' --file 'crates/domain/src/seating/choice.rs' {{ arguments }}
