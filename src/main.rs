//! The `ruwsgi` binary; everything is in the library.
fn main() -> std::process::ExitCode {
    ruwsgi::cli::main()
}
