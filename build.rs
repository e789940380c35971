//! Passes libtorch's folder on as rpath, so that test binaries find it without environment variables.
//! The Python extension needs none: `import torch` has loaded the libraries before.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let extension = std::env::var_os("CARGO_FEATURE_EXTENSION").is_some();
    if let (false, Ok(lib)) = (extension, std::env::var("DEP_TCH_LIBTORCH_LIB")) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
