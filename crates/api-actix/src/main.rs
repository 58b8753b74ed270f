//! The binary `movie-booking`.

/// A booking is a few dozen small allocations made on one thread and freed on another: the C library's allocator took a quarter
/// of the server's time (docs/measurements.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api_actix::commands::main()
}
