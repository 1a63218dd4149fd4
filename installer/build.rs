//! Builds the library again when a file of the chart that it embeds comes or goes.

fn main() {
    println!("cargo::rerun-if-changed=../manifests");
}
