//! Envoy's side of proxy-wasm ABI 0.2.1, as far as the filter uses it: answers that never change, and a count of what is
//! asked. Panics where the module asks for what Envoy would refuse, or counts a loss.

use std::collections::BTreeMap;

use otelmesh_filter::host::Headers;
use wasmtime::{AsContextMut, Caller, Engine, Extern, Func, Linker, Memory};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;

/// What stands for Envoy.
#[derive(Default)]
pub(super) struct Envoy {
    pub(super) config: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) properties: BTreeMap<String, Vec<u8>>,
    pub(super) shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(super) metrics: Vec<String>,
    pub(super) time: u64,
    pub(super) tokens: u32,
    pub(super) calls: Vec<u32>,
    pub(super) crossings: BTreeMap<&'static str, u64>,
}

// === impl Envoy ===

impl Envoy {
    pub(super) fn crossed(&mut self, name: &'static str) {
        *self.crossings.entry(name).or_default() += 1;
    }

    /// What Envoy's attributes say of a request that went well.
    pub(super) fn describe(&mut self, outbound: bool) {
        let mut number = |path: &str, value: u64| {
            self.properties.insert(path.to_owned(), value.to_le_bytes().to_vec());
        };
        // `traffic_direction`: 1 is inbound, 2 outbound.
        number("xds.listener_direction", if outbound { 2 } else { 1 });
        number("response.code", 200);
        number("response.flags", 0);
        number("request.size", 0);
        number("response.size", 128);
        number("upstream.request_attempt_count", 1);
        let mut text = |path: &str, value: &str| {
            self.properties.insert(path.to_owned(), value.as_bytes().to_vec());
        };
        text("plugin_name", "otelmesh");
        text("request.protocol", "HTTP/1.1");
        text("source.address", "10.244.0.17:51324");
        text("upstream.address", "10.244.0.23:8080");
        text("connection.uri_san_peer_certificate", "spiffe://cluster.local/ns/shop/sa/frontend");
        text("upstream.uri_san_peer_certificate", "spiffe://cluster.local/ns/shop/sa/orders");
        text("xds.cluster_name", "outbound|8080||orders.shop.svc.cluster.local");
        for (key, value) in [("NAME", "orders-7d4b9c6f5-x2x7z"), ("NAMESPACE", "shop"), ("WORKLOAD_NAME", "orders")] {
            text(&format!("xds.node.metadata.{key}"), value);
        }
    }
}

fn memory(caller: &mut Caller<'_, Envoy>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).expect("the module has a memory")
}

fn bytes(caller: &mut Caller<'_, Envoy>, at: u32, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory(caller).read(caller, at as usize, &mut bytes).expect("a buffer within the module's memory");
    bytes
}

fn write(caller: &mut Caller<'_, Envoy>, at: u32, bytes: &[u8]) {
    memory(caller).write(caller, at as usize, bytes).expect("a place within the module's memory");
}

/// Hands bytes over: has the module allocate them, fills them, and says where they are.
fn give(caller: &mut Caller<'_, Envoy>, given: Option<Vec<u8>>, data: u32, len: u32) -> u32 {
    let Some(given) = given else { return NOT_FOUND };
    let at = if given.is_empty() {
        0
    } else {
        caller.data_mut().crossed("proxy_on_memory_allocate");
        let allocate = caller.get_export("proxy_on_memory_allocate").and_then(Extern::into_func).expect("an allocator");
        let allocate: wasmtime::TypedFunc<u32, u32> = Func::typed(&allocate, &mut *caller).expect("an allocator");
        allocate.call(caller.as_context_mut(), given.len() as u32).expect("memory")
    };
    write(caller, at, &given);
    write(caller, data, &at.to_le_bytes());
    write(caller, len, &(given.len() as u32).to_le_bytes());
    OK
}

fn map(pairs: &[(String, String)]) -> Vec<u8> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Headers::to_wire(&pairs)
}

type Here<'a> = Caller<'a, Envoy>;

/// Everything that the module may import.
pub(super) fn linker(engine: &Engine) -> Linker<Envoy> {
    let mut linker = Linker::new(engine);
    reads(&mut linker).and_then(|()| writes(&mut linker)).and_then(|()| wasi(&mut linker)).expect("names are unique");
    linker
}

const REQUEST_HEADERS: u32 = 0;

fn reads(linker: &mut Linker<Envoy>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |mut c: Here<'_>, at: u32| {
        c.data_mut().crossed("proxy_get_current_time_nanoseconds");
        let time = c.data().time;
        write(&mut c, at, &time.to_le_bytes());
        OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut c: Here<'_>, kind: u32, _: u32, _: u32, data: u32, len: u32| {
            c.data_mut().crossed("proxy_get_buffer_bytes");
            // 7 is the configuration; replies have no body here.
            let given = (kind == 7).then(|| c.data().config.clone());
            give(&mut c, given, data, len)
        },
    )?;
    linker.func_wrap("env", "proxy_get_header_map_pairs", |mut c: Here<'_>, kind: u32, data: u32, len: u32| {
        c.data_mut().crossed("proxy_get_header_map_pairs");
        let given =
            if kind == REQUEST_HEADERS { map(&c.data().headers) } else { Headers::to_wire(&[(":status", "200")]) };
        give(&mut c, Some(given), data, len)
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut c: Here<'_>, path: u32, path_len: u32, data: u32, len: u32| {
            c.data_mut().crossed("proxy_get_property");
            let path = String::from_utf8(bytes(&mut c, path, path_len)).expect("a path is text");
            let given = c.data().properties.get(&path.replace('\0', ".")).cloned();
            give(&mut c, given, data, len)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut c: Here<'_>, key: u32, key_len: u32, data: u32, len: u32, cas: u32| {
            c.data_mut().crossed("proxy_get_shared_data");
            let key = bytes(&mut c, key, key_len);
            let found = c.data().shared.get(&key).cloned();
            if let Some((_, number)) = &found {
                write(&mut c, cas, &number.to_le_bytes());
            }
            give(&mut c, found.map(|(value, _)| value), data, len)
        },
    )?;
    Ok(())
}

fn writes(linker: &mut Linker<Envoy>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_log", |mut c: Here<'_>, level: u32, text: u32, len: u32| {
        c.data_mut().crossed("proxy_log");
        let text = String::from_utf8_lossy(&bytes(&mut c, text, len)).into_owned();
        assert!(level <= 2, "the filter complains: {text}");
        OK
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |mut c: Here<'_>, _: u32| {
        c.data_mut().crossed("proxy_set_tick_period_milliseconds");
        OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |mut c: Here<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| {
            c.data_mut().crossed("proxy_replace_header_map_value");
            OK
        },
    )?;
    linker.func_wrap("env", "proxy_remove_header_map_value", |mut c: Here<'_>, _: u32, _: u32, _: u32| {
        c.data_mut().crossed("proxy_remove_header_map_value");
        OK
    })?;
    linker.func_wrap("env", "proxy_set_property", |mut c: Here<'_>, _: u32, _: u32, _: u32, _: u32| {
        c.data_mut().crossed("proxy_set_property");
        OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut c: Here<'_>, key: u32, key_len: u32, value: u32, len: u32, _: u32| {
            c.data_mut().crossed("proxy_set_shared_data");
            let (key, value) = (bytes(&mut c, key, key_len), bytes(&mut c, value, len));
            let entry = c.data_mut().shared.entry(key).or_default();
            *entry = (value, entry.1 + 1);
            OK
        },
    )?;
    linker.func_wrap("env", "proxy_define_metric", |mut c: Here<'_>, _: u32, name: u32, len: u32, id: u32| {
        c.data_mut().crossed("proxy_define_metric");
        let name = String::from_utf8(bytes(&mut c, name, len)).expect("a name is text");
        c.data_mut().metrics.push(name);
        let number = c.data().metrics.len() as u32;
        write(&mut c, id, &number.to_le_bytes());
        OK
    })?;
    linker.func_wrap("env", "proxy_increment_metric", |mut c: Here<'_>, id: u32, _: i64| {
        c.data_mut().crossed("proxy_increment_metric");
        let name = c.data().metrics.get(id as usize - 1).expect("a metric that was defined");
        let is_trouble =
            ["dropped", "rejected", "host_errors", "panics", "failed"].iter().any(|sign| name.contains(sign));
        assert!(!is_trouble, "{name} grows");
        OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut c: Here<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, token: u32| {
            c.data_mut().crossed("proxy_http_call");
            c.data_mut().tokens += 1;
            let number = c.data().tokens;
            c.data_mut().calls.push(number);
            write(&mut c, token, &number.to_le_bytes());
            OK
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |mut c: Here<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            c.data_mut().crossed("proxy_call_foreign_function");
            NOT_FOUND
        },
    )?;
    linker.func_wrap("env", "proxy_set_effective_context", |mut c: Here<'_>, _: u32| {
        c.data_mut().crossed("proxy_set_effective_context");
        OK
    })?;
    linker.func_wrap("env", "proxy_done", || OK)?;
    Ok(())
}

fn wasi(linker: &mut Linker<Envoy>) -> wasmtime::Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "random_get", |mut c: Here<'_>, at: u32, len: u32| {
        write(&mut c, at, &vec![42; len as usize]);
        OK
    })?;
    linker.func_wrap(WASI, "environ_get", |_: u32, _: u32| OK)?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut c: Here<'_>, count: u32, size: u32| {
        write(&mut c, count, &[0; 4]);
        write(&mut c, size, &[0; 4]);
        OK
    })?;
    linker.func_wrap(WASI, "clock_time_get", |_: u32, _: u64, _: u32| NOT_FOUND)?;
    linker.func_wrap(WASI, "fd_write", |_: u32, _: u32, _: u32, _: u32| NOT_FOUND)?;
    linker.func_wrap(WASI, "proc_exit", |code: u32| -> wasmtime::Result<()> { panic!("the module ends: {code}") })?;
    Ok(())
}
