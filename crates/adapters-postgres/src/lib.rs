//! Every store port on PostgreSQL, by diesel, diesel-async and deadpool
