//! The tables of the migrated database, as diesel's query builder knows them. Written by a test of this crate,
//! `tests/suite/schema.rs`, which says how when they differ.

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        at -> BigInt,
        actor_id -> BigInt,
        action -> Text,
        object_kind -> Text,
        object_id -> BigInt,
        theatre_id -> Nullable<BigInt>,
        before -> Text,
        after -> Text,
        request_id -> Text,
        address -> Text,
    }
}

diesel::table! {
    audit_retention (id) {
        id -> BigInt,
        delete_before -> BigInt,
    }
}

diesel::table! {
    booking_events (id) {
        id -> BigInt,
        booking_id -> BigInt,
        at -> BigInt,
        kind -> Text,
        actor -> Text,
        actor_id -> Nullable<BigInt>,
        reason -> Nullable<Text>,
        details -> Text,
    }
}

diesel::table! {
    booking_seats (booking_id, seat_id) {
        booking_id -> BigInt,
        seat_id -> BigInt,
        position -> BigInt,
        category -> Text,
        price_minor -> BigInt,
        ticket_type -> Text,
    }
}

diesel::table! {
    bookings (id) {
        id -> BigInt,
        reference -> Text,
        user_id -> BigInt,
        show_id -> BigInt,
        status -> Text,
        currency -> Text,
        booked_at -> BigInt,
        cancelled_at -> Nullable<BigInt>,
        counts_as_cancellation -> BigInt,
        channel -> Text,
        payment_kind -> Nullable<Text>,
        tax_basis_points -> Nullable<BigInt>,
    }
}

diesel::table! {
    express_imports (kind, old_id) {
        kind -> Text,
        old_id -> BigInt,
        new_id -> BigInt,
    }
}

diesel::table! {
    halls (id) {
        id -> BigInt,
        theatre_id -> BigInt,
        name -> Text,
        created_at -> BigInt,
        name_folded -> Nullable<Text>,
        retired_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    hold_seats (hold_id, seat_id) {
        hold_id -> Text,
        seat_id -> BigInt,
        position -> BigInt,
        category -> Text,
        price_minor -> BigInt,
        ticket_type -> Text,
    }
}

diesel::table! {
    holds (id) {
        id -> Text,
        user_id -> BigInt,
        show_id -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    id_blocks (name) {
        name -> Text,
        next -> BigInt,
    }
}

diesel::table! {
    idempotency_keys (user_id, scope, key) {
        user_id -> BigInt,
        scope -> Text,
        key -> Text,
        fingerprint -> Binary,
        operation_id -> Binary,
        booking_id -> Nullable<BigInt>,
        hold_id -> Nullable<Text>,
        answer -> Nullable<Binary>,
        created_at -> BigInt,
        show_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    layout_sections (layout_id, name) {
        layout_id -> BigInt,
        name -> Text,
        focus_x -> Nullable<BigInt>,
        focus_y -> Nullable<BigInt>,
    }
}

diesel::table! {
    layouts (id) {
        id -> BigInt,
        hall_id -> BigInt,
        version -> BigInt,
        seats_total -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    movies (id) {
        id -> BigInt,
        title -> Text,
        description -> Text,
        duration_minutes -> BigInt,
        genres -> Text,
        language -> Text,
        certificate -> Text,
        poster_url -> Nullable<Text>,
        release_date -> Text,
        search_folded -> Text,
        genres_folded -> Text,
        language_folded -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        retired_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    outbox (id) {
        id -> BigInt,
        kind -> Text,
        show_id -> BigInt,
        booking_id -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    price_lists (id) {
        id -> BigInt,
        theatre_id -> BigInt,
        name -> Text,
        name_folded -> Text,
        currency -> Text,
        content -> Text,
        version -> BigInt,
        retired_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    refresh_tokens (token_hash) {
        token_hash -> Binary,
        session_id -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    seat_blocks (show_id, seat_id) {
        show_id -> BigInt,
        seat_id -> BigInt,
        reason -> Text,
        blocked_by -> BigInt,
        blocked_at -> BigInt,
    }
}

diesel::table! {
    seat_claims (show_id, seat_id) {
        show_id -> BigInt,
        seat_id -> BigInt,
        layout_id -> BigInt,
        status -> Text,
        user_id -> Nullable<BigInt>,
        booking_id -> Nullable<BigInt>,
        hold_id -> Nullable<Text>,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    seat_tenures (show_id, user_id, seat_id) {
        show_id -> BigInt,
        user_id -> BigInt,
        seat_id -> BigInt,
        since -> BigInt,
        until -> BigInt,
    }
}

diesel::table! {
    seats (id) {
        id -> BigInt,
        layout_id -> BigInt,
        row_label -> Text,
        number -> BigInt,
        category -> Text,
        accessible -> BigInt,
        x -> BigInt,
        y -> BigInt,
        section -> Text,
        pair -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id) {
        id -> BigInt,
        user_id -> BigInt,
        created_at -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    show_cancellations (show_id) {
        show_id -> BigInt,
        cancelled_at -> BigInt,
        reason -> Text,
        bookings_cancelled_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    show_prices (show_id, category, ticket_type) {
        show_id -> BigInt,
        category -> Text,
        ticket_type -> Text,
        price_minor -> BigInt,
    }
}

diesel::table! {
    shows (id) {
        id -> BigInt,
        movie_id -> BigInt,
        theatre_id -> BigInt,
        hall_id -> BigInt,
        layout_id -> BigInt,
        start_time -> BigInt,
        end_time -> BigInt,
        hall_free_at -> BigInt,
        format -> Text,
        language -> Text,
        currency -> Text,
        status -> Text,
        created_at -> BigInt,
        sales_open_at -> Nullable<BigInt>,
        sales_close_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    staff_keys (user_id, scope, key) {
        user_id -> BigInt,
        scope -> Text,
        key -> Text,
        fingerprint -> Binary,
        object_id -> BigInt,
        version -> BigInt,
        answer -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    staff_theatres (user_id, theatre_id) {
        user_id -> BigInt,
        theatre_id -> BigInt,
    }
}

diesel::table! {
    theatres (id) {
        id -> BigInt,
        name -> Text,
        location -> Text,
        timezone -> Text,
        created_at -> BigInt,
        name_folded -> Nullable<Text>,
        currency -> Text,
        tax_basis_points -> BigInt,
        cleaning_minutes -> BigInt,
        retired_at -> Nullable<BigInt>,
        version -> BigInt,
        box_office_user_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    ticket_types (id) {
        id -> BigInt,
        code -> Text,
        names -> Text,
        needs_proof -> BigInt,
        position -> BigInt,
        version -> BigInt,
        retired_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
        search_folded -> Nullable<Text>,
    }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        email -> Text,
        email_folded -> Text,
        password_hash -> Text,
        role -> Text,
        session_generation -> BigInt,
        created_at -> BigInt,
        name_folded -> Nullable<Text>,
        disabled_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    audit_log,
    audit_retention,
    booking_events,
    booking_seats,
    bookings,
    express_imports,
    halls,
    hold_seats,
    holds,
    id_blocks,
    idempotency_keys,
    layout_sections,
    layouts,
    movies,
    outbox,
    price_lists,
    refresh_tokens,
    seat_blocks,
    seat_claims,
    seat_tenures,
    seats,
    sessions,
    show_cancellations,
    show_prices,
    shows,
    staff_keys,
    staff_theatres,
    theatres,
    ticket_types,
    users,
);
