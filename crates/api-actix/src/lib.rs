//! The HTTP API, configuration, command line and wiring: the binary movie-booking
