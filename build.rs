//! The files of `schemas/` and `topics/` are embedded in the program. Cargo knows of those it has compiled in; that a new one has come
//! it sees only by the folders.

fn main() {
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=topics");
}
