//! Passes libtorch's folder on as rpath, so that test binaries find it without environment variables.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{lib}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
