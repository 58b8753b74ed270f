//! The tables as diesel knows them. Written by a test from the migrated database: see `tests/suite/migrations.rs`.

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        at -> Timestamptz,
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
        id -> SmallInt,
        delete_before -> Timestamptz,
    }
}

diesel::table! {
    booking_events (id) {
        id -> BigInt,
        booking_id -> BigInt,
        at -> Timestamptz,
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
        position -> SmallInt,
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
        booked_at -> Timestamptz,
        cancelled_at -> Nullable<Timestamptz>,
        counts_as_cancellation -> Bool,
        channel -> Text,
        payment_kind -> Nullable<Text>,
        tax_basis_points -> Nullable<Integer>,
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
        created_at -> Timestamptz,
        name_folded -> Nullable<Text>,
        retired_at -> Nullable<Timestamptz>,
        version -> BigInt,
    }
}

diesel::table! {
    hold_seats (hold_id, seat_id) {
        hold_id -> Text,
        seat_id -> BigInt,
        position -> SmallInt,
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
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
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
        answer -> Nullable<Binary>,
        created_at -> Timestamptz,
        hold_id -> Nullable<Text>,
        show_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    layout_sections (layout_id, name) {
        layout_id -> BigInt,
        name -> Text,
        focus_x -> Nullable<Integer>,
        focus_y -> Nullable<Integer>,
    }
}

diesel::table! {
    layouts (id) {
        id -> BigInt,
        hall_id -> BigInt,
        version -> Integer,
        seats_total -> Integer,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    movies (id) {
        id -> BigInt,
        title -> Text,
        description -> Text,
        duration_minutes -> Integer,
        genres -> Array<Text>,
        language -> Text,
        certificate -> Text,
        poster_url -> Nullable<Text>,
        release_date -> Date,
        search_folded -> Text,
        genres_folded -> Array<Text>,
        language_folded -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        retired_at -> Nullable<Timestamptz>,
        version -> BigInt,
    }
}

diesel::table! {
    outbox (id) {
        id -> BigInt,
        kind -> Text,
        show_id -> BigInt,
        booking_id -> Nullable<BigInt>,
        transaction_id -> BigInt,
        created_at -> Timestamptz,
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
        retired_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    refresh_tokens (token_hash) {
        token_hash -> Binary,
        session_id -> BigInt,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    seat_blocks (show_id, seat_id) {
        show_id -> BigInt,
        seat_id -> BigInt,
        reason -> Text,
        blocked_by -> BigInt,
        blocked_at -> Timestamptz,
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
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    seat_tenures (show_id, user_id, seat_id) {
        show_id -> BigInt,
        user_id -> BigInt,
        seat_id -> BigInt,
        since -> Timestamptz,
        until -> Timestamptz,
    }
}

diesel::table! {
    seats (id) {
        id -> BigInt,
        layout_id -> BigInt,
        row_label -> Text,
        number -> Integer,
        category -> Text,
        accessible -> Bool,
        x -> Integer,
        y -> Integer,
        section -> Text,
        pair -> Nullable<Integer>,
    }
}

diesel::table! {
    sessions (id) {
        id -> BigInt,
        user_id -> BigInt,
        created_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    show_cancellations (show_id) {
        show_id -> BigInt,
        cancelled_at -> Timestamptz,
        reason -> Text,
        bookings_cancelled_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    show_prices (show_id, category, ticket_type) {
        show_id -> BigInt,
        category -> Text,
        price_minor -> BigInt,
        ticket_type -> Text,
    }
}

diesel::table! {
    shows (id) {
        id -> BigInt,
        movie_id -> BigInt,
        theatre_id -> BigInt,
        hall_id -> BigInt,
        layout_id -> BigInt,
        start_time -> Timestamptz,
        end_time -> Timestamptz,
        hall_free_at -> Timestamptz,
        format -> Text,
        language -> Text,
        currency -> Text,
        status -> Text,
        created_at -> Timestamptz,
        sales_open_at -> Nullable<Timestamptz>,
        sales_close_at -> Nullable<Timestamptz>,
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
        created_at -> Timestamptz,
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
        created_at -> Timestamptz,
        name_folded -> Nullable<Text>,
        currency -> Text,
        tax_basis_points -> Integer,
        cleaning_minutes -> Integer,
        retired_at -> Nullable<Timestamptz>,
        version -> BigInt,
        box_office_user_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    ticket_types (id) {
        id -> BigInt,
        code -> Text,
        names -> Text,
        needs_proof -> Bool,
        position -> Integer,
        version -> BigInt,
        retired_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
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
        created_at -> Timestamptz,
        name_folded -> Nullable<Text>,
        disabled_at -> Nullable<Timestamptz>,
        version -> BigInt,
    }
}

diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions, users);
