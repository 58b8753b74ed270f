//! Every store port on one SQLite file, the embedded default
