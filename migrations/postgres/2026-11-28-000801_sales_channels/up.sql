-- Where bookings are sold, and how box-office sales are paid. NOT VALID: the rows that exist have the defaults, and are not scanned.
ALTER TABLE bookings
    ADD COLUMN channel text NOT NULL DEFAULT 'online',
    -- NULL: sold online.
    ADD COLUMN payment_kind text;
ALTER TABLE bookings
    ADD CONSTRAINT bookings_channel_known CHECK (channel IN ('online', 'box_office')) NOT VALID,
    ADD CONSTRAINT bookings_payment_kind_known CHECK (payment_kind IN ('cash', 'card_terminal', 'complimentary')) NOT VALID;
