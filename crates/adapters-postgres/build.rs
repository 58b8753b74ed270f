//! Migrations are embedded: one that is added must build this crate anew.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/postgres");
}
