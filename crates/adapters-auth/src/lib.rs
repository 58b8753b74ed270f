//! Password hashing, access tokens and random values
