-- Where bookings are sold, and how box-office sales are paid.
ALTER TABLE bookings ADD COLUMN channel TEXT NOT NULL DEFAULT 'online'
    CONSTRAINT bookings_channel_known CHECK (channel IN ('online', 'box_office'));
-- NULL: sold online.
ALTER TABLE bookings ADD COLUMN payment_kind TEXT
    CONSTRAINT bookings_payment_kind_known CHECK (payment_kind IN ('cash', 'card_terminal', 'complimentary'));
