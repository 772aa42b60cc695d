//! Compiles the `.proto` files in pure Rust: no protoc to install.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "session", "record", "change", "fldb", "raft", "control", "files", "client",
    ]
    .map(|name| format!("proto/baton/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(&files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
