//! The module itself: what it asks of Envoy, what it offers, how large it is.

use std::collections::BTreeSet;

use wasmparser::{ExternalKind, Parser, Payload};

/// proxy-wasm ABI 0.2.1.
const ENV: [&str; 17] = [
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_done",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];
/// What every Envoy since 2020 has of WASI; one function more and older proxies refuse the module.
const WASI: [&str; 5] = ["environ_get", "environ_sizes_get", "fd_write", "proc_exit", "random_get"];
/// Every callback costs a crossing, so those without a use are not offered.
const EXPORTS: [&str; 12] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];
const MAX_BYTES: usize = 200 * 1024;

#[test]
fn the_module_asks_for_nothing_that_an_envoy_may_lack() {
    let module = std::fs::read(otelmesh_e2e::wasm()).unwrap();
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    for payload in Parser::new(0).parse_all(&module) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    imports.insert((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.unwrap();
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::Memory) {
                        exports.insert(export.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    let all = |module: &str, names: &[&str]| -> BTreeSet<_> {
        names.iter().map(|name| (module.to_owned(), (*name).to_owned())).collect()
    };
    let allowed = &all("env", &ENV) | &all("wasi_snapshot_preview1", &WASI);
    let surplus: Vec<_> = imports.difference(&allowed).collect();
    assert!(surplus.is_empty(), "imports that an Envoy may lack: {surplus:?}");
    assert!(imports.is_superset(&all("env", &ENV)), "the list above names imports that are gone: {imports:?}");
    assert_eq!(exports, EXPORTS.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn the_module_catches_its_panics() {
    let module = std::fs::read(otelmesh_e2e::wasm()).unwrap();
    let mut payloads = Parser::new(0).parse_all(&module);
    let is_guarded = payloads.any(|payload| matches!(payload.unwrap(), Payload::TagSection(tags) if tags.count() == 1));
    assert!(is_guarded, "the module was not built by make wasm, which puts the guard in");
}

#[test]
fn the_module_is_small() {
    let len = std::fs::metadata(otelmesh_e2e::wasm()).unwrap().len() as usize;
    assert!(len <= MAX_BYTES, "{len} bytes");
    println!("{len} bytes");
}
