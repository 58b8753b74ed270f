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

pub mod admin;
pub mod booking;
pub mod catalog;
pub mod counter;
pub mod health;
pub mod identity;
pub mod layouts;
pub mod limits;
pub mod pricing;
pub mod replays;
pub mod reports;
pub mod retention;
pub mod seating;
pub mod seed;
pub mod shows;
pub mod tools;
pub mod transfer;
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
                new_account_has_the_requested_fields,
                taken_address_is_refused_in_any_case,
                ten_concurrent_sign_ups_create_one_account,
                account_is_found_by_its_address_in_any_case,
                unknown_user_is_not_found,
                account_and_first_session_are_created_atomically,
                refresh_token_works_once_and_returns_its_successor,
                of_ten_concurrent_rotations_one_succeeds_and_the_session_ends,
                second_use_of_a_token_ends_only_its_session,
                expired_refresh_token_is_refused,
                an_unknown_token_is_refused_and_stores_nothing,
                ending_a_session_is_idempotent,
                a_new_password_ends_every_session_of_its_account,
                password_reset_of_an_unknown_address_does_nothing,
                replaced_hash_ends_no_session,
                account_change_replaces_only_the_requested_fields,
                change_to_a_taken_address_is_refused_completely,
                of_ten_concurrent_changes_to_one_address_one_succeeds,
                password_change_keeps_the_requesting_session,
                password_change_without_a_session_ends_all_sessions,
                of_ten_concurrent_password_changes_one_succeeds,
                an_ended_session_changes_nothing,
                login_from_before_a_password_change_opens_no_session,
                anonymised_account_keeps_no_personal_data,
                of_ten_concurrent_deletions_one_succeeds,
                last_administrator_cannot_be_deleted,
                sessions_are_listed_newest_first_and_paged,
                session_lists_its_last_use,
                session_is_ended_only_by_its_owner,
                ending_a_session_returns_its_id,
            }
            catalog {
                movies_are_ordered_by_title_and_paged,
                movie_has_every_stored_field,
                search_matches_special_characters_literally,
                search_ignores_case_in_any_script,
                genre_and_language_match_completely,
                movies_of_a_theatre_have_an_upcoming_show,
                movies_are_filtered_by_windows,
                movie_filters_are_combined,
                shows_are_ordered_by_start_and_paged,
                show_has_every_stored_field,
                cancelled_show_is_not_listed_but_is_found_by_id,
                show_filters_by_movie_theatre_and_start,
                shows_are_filtered_by_windows,
                upcoming_shows_have_not_started,
                seats_available_excludes_live_claims,
                theatres_have_their_halls_in_order_and_are_paged,
                hall_has_the_seats_of_its_newest_layout,
                a_hall_without_a_layout_has_no_seats,
                theatre_with_an_unknown_time_zone_is_not_listed,
                show_without_prices_is_not_listed,
                page_is_filled_despite_invalid_rows,
                unknown_ids_are_not_found,
            }
            seating {
                booking_is_visible_at_once,
                expired_hold_claims_no_seats,
                blocked_seat_has_no_owner,
                claims_belong_to_one_show,
                a_layout_has_its_seats_in_order,
                a_layout_has_its_rows_sections_and_love_seats,
                unknown_show_and_layout_are_not_found,
            }
            pricing {
                show_prices_have_their_ticket_types,
                a_show_without_prices_has_an_empty_list,
                an_unknown_show_has_no_price_list,
            }
            booking {
                booking_is_stored_completely,
                forty_concurrent_bookings_are_all_stored,
                of_many_callers_of_one_seat_one_gets_it,
                overlapping_selections_are_all_or_nothing,
                replay_returns_the_same_bytes,
                fifty_identical_requests_create_one_booking,
                a_key_with_another_request_is_refused,
                a_key_belongs_to_its_user_and_scope,
                a_refusal_leaves_its_key_free,
                storm_creates_an_outbox_row_for_each_booking,
                a_cancelled_show_takes_no_booking,
                a_started_show_takes_no_booking,
                seats_of_another_hall_are_not_found,
                an_expired_hold_is_taken_over,
                held_and_blocked_seats_cannot_be_booked,
                an_ended_session_books_nothing,
                individually_ended_session_books_nothing,
                key_without_its_answer_books_nothing_again,
                read_returns_exactly_the_named_rows,
                empty_read_returns_the_time,
                written_batch_is_visible_at_once,
                a_show_cancelled_before_the_write_is_stale,
                a_session_ended_before_the_write_is_stale,
                write_of_an_existing_key_is_stale,
                write_of_a_claimed_seat_is_stale,
                used_generated_id_is_reported,
                a_hold_that_changed_before_the_write_is_stale,
                one_stale_command_fails_its_whole_batch,
                of_two_concurrent_writes_of_one_key_one_succeeds,
                of_two_concurrent_writes_of_one_seat_one_succeeds,
                reserved_booking_ids_are_disjoint,
                same_commands_leave_the_same_rows_on_every_store,
                ticket_types_are_stored_with_holds_and_bookings,
                a_ticket_type_without_a_price_is_refused,
                seats_of_the_previous_release_are_for_adults,
                a_history_is_newest_first_and_paged,
                a_history_is_filtered_by_time_and_status,
                booking_is_visible_only_to_its_owner,
                booking_with_an_invalid_row_is_not_listed,
                hold_with_an_invalid_row_is_not_listed,
                hold_is_stored_completely,
                a_hold_is_redeemed_once,
                expired_hold_is_reported_as_expired_until_it_is_swept,
                a_hold_is_extended_and_released,
                a_caller_holds_no_more_than_a_booking_may_have,
                best_seats_are_each_held_once,
                seat_gaps_are_refused_if_the_house_forbids_them,
                a_cancelled_booking_frees_its_seats,
                booking_changes_its_seats_atomically,
                rows_changed_before_the_write_are_stale,
                sales_open_and_close_at_the_times_of_the_show,
                opposite_selections_at_two_servers_do_not_deadlock,
                a_caller_holds_a_limited_number_of_seats_over_all_shows,
                seat_hold_time_continues_if_a_released_seat_is_held_again,
                alternating_holds_keep_no_seat_longer_than_thirty_minutes,
                a_caller_cancels_a_limited_number_of_bookings_a_day,
                cancellations_by_the_house_are_not_counted,
                limits_that_changed_before_the_write_are_stale,
            }
            seed {
                a_new_store_is_empty,
                a_plan_applied_twice_adds_nothing,
                concurrent_plans_add_each_row_once,
                existing_rows_stay_unchanged,
                shows_never_overlap_in_a_hall,
                shows_without_price_movie_or_hall_are_left_out,
                seeded_accounts_can_log_in,
                adult_ticket_type_exists_and_stays_unchanged,
            }
            transfer {
                repeated_import_adds_nothing,
                export_imports_into_an_empty_store_with_the_same_export,
                objects_with_other_content_are_refused_or_kept,
                shows_of_the_store_are_not_overlapped,
                retired_objects_are_left_out,
                concurrent_imports_add_each_object_once,
                imports_by_administrators_are_audited,
                transfers_report_an_unreachable_store,
            }
            admin {
                movie_is_created_changed_and_retired,
                theatre_and_hall_are_created_changed_and_retired,
                halls_are_ordered_by_name_and_filtered,
                stale_change_changes_nothing,
                of_ten_concurrent_changes_of_one_version_one_succeeds,
                taken_names_are_refused,
                objects_with_upcoming_shows_are_not_retired,
                change_requires_its_authority,
                rights_are_read_as_committed,
                change_with_a_key_is_made_once,
                concurrent_changes_with_one_key_are_one,
                ticket_type_is_created_changed_and_retired,
                ticket_types_are_ordered_and_searched,
                price_list_is_created_changed_and_retired,
                price_lists_are_ordered_and_filtered,
                currency_of_a_theatre_with_price_lists_stays,
                unreadable_price_list_is_left_out,
                audit_log_has_each_change,
                audit_log_has_changes_of_the_command_line,
                audit_log_is_append_only,
                old_entries_and_staff_keys_are_deleted,
                users_are_listed_and_changed,
                disabled_user_has_no_session,
                last_administrator_stays,
                cancellation_by_staff_is_audited,
                staff_ports_report_an_unreachable_store,
            }
            counter {
                box_office_sale_is_stored_completely,
                box_office_sale_is_made_once_for_its_key,
                seat_is_sold_online_or_at_the_box_office_or_blocked,
                box_office_account_is_created_once_and_hidden,
                customer_is_found_by_the_address_in_any_case,
                blocked_seats_are_listed_with_their_reasons,
                keys_of_blocks_are_deleted_with_their_answers,
                changes_of_a_booking_are_its_events,
                box_office_reports_an_unreachable_store,
            }
            layouts {
                a_layout_is_the_next_version_of_its_hall,
                layouts_are_listed_newest_first_and_paged,
                shows_without_sales_get_the_new_layout,
                retired_hall_gets_no_layout,
                concurrent_layouts_of_a_hall_follow_each_other,
                sales_and_layouts_exclude_each_other,
                sale_decided_before_a_new_layout_is_stale,
                layout_versions_report_an_unreachable_store,
            }
            shows {
                shows_are_added_all_or_none,
                new_shows_need_the_versions_that_were_read,
                concurrent_shows_do_not_overlap,
                show_with_bookings_moves_with_a_notice,
                new_prices_count_for_what_is_not_sold,
                sale_decided_before_a_change_of_its_show_is_stale,
                bookings_of_a_cancelled_show_are_cancelled_once,
                sales_and_cancellations_of_shows_exclude_each_other,
                shows_are_listed_for_staff,
                shows_report_an_unreachable_store,
            }
            reports {
                revenue_equals_the_ledger,
                occupancy_equals_the_ledger,
                booked_seats_are_listed_in_order,
                reports_are_limited_to_their_shows,
                tax_rate_is_that_of_the_sale,
                invalid_row_fails_its_report,
                reports_report_an_unreachable_store,
            }
            retention {
                old_answers_are_deleted_and_their_keys_stay,
                keys_without_a_clients_booking_are_deleted_with_their_answers,
                step_deletes_the_oldest_rows_and_is_bounded,
                old_events_are_deleted_and_nothing_else,
                tenures_are_deleted_once_they_no_longer_count,
                session_is_deleted_with_its_last_token,
                concurrent_sweeps_delete_each_row_once,
                sweeping_during_retries_books_nothing_twice,
                sweeping_reports_an_unreachable_store,
            }
            health {
                reachable_store_passes_its_check,
                pools_report_their_use,
                accounts_and_sessions_report_an_unreachable_store,
                reading_reports_an_unreachable_store,
                selling_reports_an_unreachable_store,
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
                remembered_answer_is_recalled_byte_for_byte,
                answer_is_recalled_only_for_its_key,
                later_answer_replaces_the_first,
                answer_expires,
                answers_of_every_size_are_kept_completely,
                concurrent_callers_recall_their_own_answers,
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
                window_begins_with_the_first_try_and_allows_the_limit,
                a_try_beyond_the_limit_does_not_lengthen_the_window,
                names_are_counted_apart,
                a_try_is_taken_back_while_its_window_lasts,
                limit_of_zero_tries_rejects_every_try,
                concurrent_tries_are_all_counted,
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
                    shared_limiters_allow_the_limit_together,
                    rejected_tries_do_not_lengthen_the_window,
                    try_taken_back_at_one_limiter_is_available_at_the_other,
                    concurrent_tries_at_both_limiters_stay_within_the_limit,
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Returns the text of all sources below a folder.
    fn sources(folder: &Path) -> String {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).unwrap() })
            .collect()
    }

    #[test]
    fn every_case_is_in_a_list() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let lists = include_str!("lib.rs");
        let cases = sources.lines().filter_map(|line| {
            let (name, signature) = line.strip_prefix("pub async fn ")?.split_once('(')?;
            // A helper takes more than the fixture, or returns something.
            let is_case = signature.starts_with("fixture: &dyn ") && signature.ends_with("Fixture) {");
            is_case.then_some(name)
        });
        let cases: Vec<_> = cases.collect();
        assert!(cases.len() > 100, "{}", cases.len());
        for case in cases {
            assert!(lists.contains(&format!("                {case},")), "{case} is in no list, so it never runs");
        }
    }
}
