//! The binary `movie-booking`.

fn main() -> std::process::ExitCode {
    api_actix::cli::main()
}
