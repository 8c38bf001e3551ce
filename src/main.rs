//! The `ruwsgi` binary; the code is in the library.
fn main() -> std::process::ExitCode {
    ruwsgi::cli::main()
}
