//! The contract of each port as a suite of cases that every adapter passes.
//!
//! A case is an async function over a [`Fixture`]: an empty store for this case, with its ports and SQL access.
//! [`contract_tests!`] creates a test for each case:
//!
//! ```text
//! async fn make_fixture() -> MyFixture { … }
//! port_contracts::contract_tests!(make_fixture);
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is a test suite: what is not as it should be must stop the case"
)]

pub mod booking;
pub mod catalog;
pub mod health;
pub mod identity;
pub mod limits;
pub mod replays;
pub mod retention;
pub mod seating;
pub mod seed;
pub mod tools;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::booking::ReplayCache;
use domain::limits::RateLimiter;
pub use domain::stores::Stores;

/// A migrated, empty store for one case, with SQL access to it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The ports. A store that serves several committers at once has at least two elements in `batches`.
    fn stores(&self) -> &Stores;

    /// Runs one SQL statement directly on the store. The SQL is limited to what PostgreSQL and SQLite both accept.
    async fn execute(&self, sql: &str);

    /// Returns the first column of the first row, a 64-bit integer. Panics if there is no row or the value is null.
    async fn count(&self, sql: &str) -> i64;

    /// Returns the first column of each row, a non-null text, in the order of the rows.
    async fn texts(&self, sql: &str) -> Vec<String>;

    /// Returns an SQL expression for the instant `seconds` from now, in the store's format: `now() + interval '-5 seconds'`, or an
    /// integer literal.
    fn instant(&self, seconds: i64) -> String;

    /// Makes the store unreachable, open connections included, until the fixture is dropped.
    async fn break_backend(&self);
}

/// An isolated storage location for the replay cache of one case.
#[async_trait]
pub trait ReplayCacheFixture: Send + Sync {
    /// Returns a cache on that location that keeps entries for `ttl`.
    async fn cache(&self, ttl: Duration) -> Arc<dyn ReplayCache>;
}

/// An isolated storage location for the counters of one case, with clocks that move only by [`Self::pass`].
#[async_trait]
pub trait RateLimiterFixture: Send + Sync {
    /// Returns a limiter. Called once.
    async fn limiter(&self) -> Arc<dyn RateLimiter>;

    /// Advances the clocks.
    async fn pass(&self, time: Duration);
}

/// Two limiters that share their counters.
#[async_trait]
pub trait SharedRateLimiterFixture: RateLimiterFixture {
    /// Returns the limiter of a second server. Called once.
    async fn other_limiter(&self) -> Arc<dyn RateLimiter>;
}

/// The time after which a case counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a case and panics if it hangs. Used by [`contract_tests!`].
pub async fn in_time(case: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, case).await.expect("the case hangs");
}

/// Creates a `#[tokio::test]` for each case, in one module for each feature. `$make_fixture` is the name, in scope, of an `async fn() ->
/// impl Fixture` that creates a store for one case. Needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! contract_tests {
    ($make_fixture:ident) => {
        $crate::contract_tests! { @tests $make_fixture;
            identity {
                a_new_account_is_as_it_was_asked_for,
                an_address_is_taken_however_it_is_written,
                ten_sign_ups_at_once_make_one_account,
                an_account_is_found_by_its_address_folded,
                who_is_not_there_is_none,
                an_account_and_its_first_session_are_one_act,
                a_refresh_token_works_once_and_gives_the_next,
                ten_rotations_at_once_are_one_and_the_session_is_dead,
                a_second_use_ends_that_session_alone,
                a_token_that_ran_out_is_refused,
                an_unknown_token_is_refused_and_stores_nothing,
                a_session_ends_however_often_it_is_ended,
                a_new_password_ends_every_session_of_its_account,
                a_new_password_for_nobody_is_none,
                replaced_hash_ends_no_session,
                an_account_is_changed_as_asked,
                an_address_that_is_taken_is_not_changed_to,
                ten_changes_to_one_address_make_one,
                a_changed_password_keeps_the_session_that_asked,
                a_changed_password_without_a_session_ends_all,
                ten_new_passwords_at_once_are_one,
                an_ended_session_changes_nothing,
                a_login_from_before_a_new_password_opens_nothing,
                an_anonymised_account_is_nobodys,
                ten_deletions_at_once_are_one,
                the_last_administrator_stays,
                sessions_are_listed_newest_first_and_paged,
                a_session_tells_when_it_was_used,
                a_session_is_ended_by_its_owner_alone,
                an_end_tells_which_session_it_was,
            }
            catalog {
                movies_are_ordered_by_title_and_paged,
                a_movie_is_as_it_was_stored,
                search_takes_every_character_as_it_is,
                search_ignores_case_in_any_script,
                genre_and_language_match_whole,
                movies_are_shown_in_a_theatre_while_a_show_is_to_come,
                movies_are_shown_during_windows,
                movie_filters_must_all_hold,
                shows_are_ordered_by_start_and_paged,
                a_show_is_as_it_was_stored,
                a_cancelled_show_is_in_no_list_but_found,
                show_filters_by_movie_theatre_and_start,
                shows_during_windows,
                upcoming_shows_have_not_started,
                seats_available_counts_what_is_claimed_now,
                theatres_have_their_halls_in_order_and_are_paged,
                a_halls_seats_are_those_of_its_newest_layout,
                a_hall_without_a_layout_has_no_seats,
                a_theatre_with_an_unknown_time_zone_is_in_no_list,
                a_show_without_prices_is_in_no_list,
                a_page_is_filled_past_rows_that_are_left_out,
                what_is_not_there_is_none,
            }
            seating {
                a_booking_is_seen_at_once,
                a_hold_that_ran_out_claims_nothing,
                the_house_is_nobody,
                claims_are_of_their_own_show,
                a_layout_has_its_seats_in_order,
                what_is_not_there_is_none,
            }
            booking {
                a_booking_is_stored_whole,
                forty_bookings_at_once_are_all_stored,
                many_callers_and_one_seat_make_one_winner,
                overlapping_selections_are_all_or_nothing,
                a_replay_answers_the_same_bytes,
                fifty_of_the_same_make_one_booking,
                a_key_with_another_request_is_refused,
                a_key_belongs_to_its_user_and_scope,
                a_refusal_leaves_its_key_free,
                a_storm_leaves_an_outbox_row_for_each_booking,
                a_cancelled_show_takes_no_booking,
                a_started_show_takes_no_booking,
                seats_of_another_hall_are_not_found,
                an_expired_hold_is_taken_over,
                a_live_hold_and_the_house_keep_their_seats,
                an_ended_session_books_nothing,
                a_session_that_was_ended_singly_books_nothing,
                an_answer_that_is_forgotten_still_never_books_twice,
                a_read_has_what_is_named_and_nothing_else,
                a_read_that_names_nothing_tells_the_time,
                a_written_batch_is_there_at_once,
                a_show_cancelled_before_the_write_is_stale,
                a_session_ended_before_the_write_is_stale,
                a_key_that_is_there_already_is_stale,
                a_seat_that_is_claimed_already_is_stale,
                used_generated_id_is_reported,
                a_hold_that_changed_before_the_write_is_stale,
                one_stale_command_fails_its_whole_batch,
                two_writes_of_one_key_at_once_are_one,
                two_writes_of_one_seat_at_once_are_one,
                booking_ids_are_reserved_once,
                same_commands_leave_the_same_rows_on_every_store,
                a_history_is_newest_first_and_paged,
                a_history_is_filtered_by_time_and_status,
                a_booking_is_its_owners_alone,
                a_booking_with_a_bad_row_is_in_no_list,
                a_hold_with_a_bad_row_is_in_no_list,
                a_hold_is_stored_whole,
                a_hold_is_redeemed_once,
                a_hold_that_ran_out_is_told_so_until_it_is_swept,
                a_hold_is_extended_and_released,
                a_caller_holds_no_more_than_a_booking_may_have,
                the_best_seats_are_held_once_each,
                no_gap_is_left_where_the_house_forbids_it,
                a_cancelled_booking_frees_its_seats,
                a_booking_gets_other_seats_in_one_act,
                what_changed_before_the_write_is_stale,
                sales_open_and_close_by_the_shows_own_times,
                opposite_selections_at_two_servers_are_all_settled,
                a_caller_holds_a_limited_number_of_seats_over_all_shows,
                a_seat_that_was_let_go_of_counts_on_if_it_is_held_again,
                holding_and_releasing_in_turn_binds_no_seat_for_longer_than_thirty_minutes,
                a_caller_cancels_a_limited_number_of_bookings_a_day,
                what_the_house_cancels_counts_for_nobody,
                limits_that_changed_before_the_write_are_stale,
            }
            seed {
                a_new_store_is_empty,
                a_plan_applied_twice_adds_nothing,
                plans_applied_at_once_add_once,
                what_is_there_stays_as_it_is,
                shows_never_overlap_in_a_hall,
                shows_without_price_movie_or_hall_are_left_out,
                seeded_accounts_can_log_in,
            }
            retention {
                old_answers_go_and_their_keys_stay,
                keys_that_no_booking_stays_for_go_with_their_answers,
                a_step_takes_the_oldest_and_is_bounded,
                old_events_go_and_nothing_else,
                tenures_go_once_they_count_no_longer,
                a_session_goes_with_its_last_token,
                sweeps_at_once_take_each_row_once,
                sweeping_beside_retries_books_nothing_twice,
                sweeping_tells_that_the_store_is_gone,
            }
            health {
                a_store_that_answers_is_well,
                pools_tell_how_they_are_used,
                accounts_and_sessions_tell_that_the_store_is_gone,
                reading_tells_that_the_store_is_gone,
                selling_tells_that_the_store_is_gone,
            }
        }
    };
    (@tests $make_fixture:ident; $($module:ident { $($case:ident,)* })*) => {$(
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let fixture = super::$make_fixture().await;
                    $crate::in_time($crate::$module::$case(&fixture)).await;
                }
            )*
        }
    )*};
}

/// Creates a test for each case of [`ReplayCache`]. `$make_fixture` creates a [`ReplayCacheFixture`].
#[macro_export]
macro_rules! replay_cache_tests {
    ($make_fixture:ident) => {
        $crate::contract_tests! { @tests $make_fixture;
            replays {
                what_was_remembered_is_recalled_to_the_byte,
                it_is_recalled_for_that_very_key_alone,
                what_is_remembered_again_takes_the_place_of_the_first,
                it_is_forgotten_in_time,
                answers_of_every_size_are_kept_whole,
                many_at_once_are_each_their_own,
            }
        }
    };
}

/// Creates a test for each case of [`RateLimiter`]. `$make_fixture` creates a [`RateLimiterFixture`].
#[macro_export]
macro_rules! rate_limiter_tests {
    ($make_fixture:ident) => {
        $crate::contract_tests! { @tests $make_fixture;
            limits {
                a_window_begins_with_the_first_try_and_allows_so_many,
                a_try_beyond_the_limit_does_not_lengthen_the_window,
                names_are_counted_apart,
                a_try_is_taken_back_while_its_window_lasts,
                a_limit_of_no_tries_allows_none,
                tries_made_at_once_are_all_counted,
            }
        }
    };
}

/// Creates a test for each case of limiters that share their counters, in the module `shared`. `$make_fixture` creates a
/// [`SharedRateLimiterFixture`].
#[macro_export]
macro_rules! shared_rate_limiter_tests {
    ($make_fixture:ident) => {
        mod shared {
            use super::$make_fixture;

            $crate::contract_tests! { @tests $make_fixture;
                limits {
                    limiters_that_share_allow_the_limit_together,
                    tries_in_vain_lengthen_nobodys_window,
                    what_one_takes_back_the_other_may_have,
                    tries_made_at_once_at_both_are_within_the_limit,
                }
            }
        }
    };
}
