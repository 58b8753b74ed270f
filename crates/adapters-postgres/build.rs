//! The migrations are embedded, so a new migration must trigger a rebuild of this crate.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/postgres");
}
