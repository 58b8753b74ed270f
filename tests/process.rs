//! The binary itself: starting, stopping, killing it, and its output.

mod backups;
mod commands;
mod connections;
mod crashes;
mod disks;
mod express;
mod logs;
mod observed;
mod proxies;
mod reports;
mod retention;
mod rollout;
mod secrets;
mod starting;
mod stopping;
mod storm;
mod support;
mod tour;
mod transfers;
mod tutorial;
