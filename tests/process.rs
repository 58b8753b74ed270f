//! The program itself: the binary as users start it, stop it, kill it, and what it writes.

mod commands;
mod crashes;
mod logs;
mod observed;
mod starting;
mod stopping;
mod storm;
mod support;
mod tour;
