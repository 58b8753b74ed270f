//! The contract of each port as a suite of cases that every adapter passes
