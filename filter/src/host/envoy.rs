//! Envoy itself: the imports and exports of proxy-wasm ABI 0.2.1. All unsafe code of this crate is here and in `heap`.
//!
//! Buffers that the host returns were allocated through `proxy_on_memory_allocate` below and belong to us from then on.

use std::cell::RefCell;
use std::ptr;

use super::heap::Heap;
use super::{Call, Headers, Host, LogLevel, MapKind, MetricKind, Status};
use crate::plugin::Plugin;
use crate::stats::PANICS;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(ms: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, k: *const u8, k_len: usize, v: *const u8, v_len: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, k: *const u8, k_len: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_property(name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_get_shared_data(k: *const u8, k_len: usize, data: *mut *mut u8, len: *mut usize, cas: *mut u32) -> u32;
    fn proxy_set_shared_data(k: *const u8, k_len: usize, v: *const u8, v_len: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_len: usize,
        argument: *const u8,
        argument_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_done() -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buf: *mut u8, len: usize) -> u16;
    fn environ_sizes_get(count: *mut usize, len: *mut usize) -> u16;
    fn environ_get(pointers: *mut *mut u8, buf: *mut u8) -> u16;
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// `proxy_buffer_type_t`.
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

/// More than an Envoy has workers, at one number each.
const MAX_RACES: u32 = 1024;

struct Envoy;

#[global_allocator]
static HEAP: Heap = Heap::new();

thread_local! {
    // One VM a worker thread, and one plugin a VM: inbound and outbound share its batches, and they outlive a change
    // of configuration.
    static PLUGIN: RefCell<Option<Plugin<Envoy>>> = const { RefCell::new(None) };
}

// === impl Envoy ===

fn ok(status: u32) -> Result<(), Status> {
    if status == Status::OK.0 { Ok(()) } else { Err(Status(status)) }
}

/// Takes over a buffer that `read` has the host allocate.
fn owned(read: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = ptr::null_mut();
    let mut len = 0usize;
    ok(read(&mut data, &mut len)).ok()?;
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the host got `data` from `proxy_on_memory_allocate(len)`, which leaked a box of `len` bytes, and filled
    // all of it.
    Some(unsafe { Vec::from_raw_parts(data, len, len) })
}

impl Host for Envoy {
    fn log(&mut self, level: LogLevel, message: &str) {
        // SAFETY: the host only reads the text.
        unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
    }

    fn now(&self) -> u64 {
        let mut time = 0;
        // SAFETY: the host writes eight bytes.
        unsafe { proxy_get_current_time_nanoseconds(&mut time) };
        time
    }

    fn random(&mut self, seed: &mut [u8]) {
        // SAFETY: the host writes `len` bytes.
        unsafe { random_get(seed.as_mut_ptr(), seed.len()) };
    }

    fn env(&self, name: &str) -> Option<String> {
        let (mut count, mut len) = (0usize, 0usize);
        // SAFETY: the host writes two numbers.
        ok(unsafe { environ_sizes_get(&mut count, &mut len) }.into()).ok()?;
        let (mut pointers, mut text) = (vec![ptr::null_mut(); count], vec![0u8; len]);
        // SAFETY: the host writes as much as it has just said.
        ok(unsafe { environ_get(pointers.as_mut_ptr(), text.as_mut_ptr()) }.into()).ok()?;
        let mut pairs = text.split(|b| *b == 0);
        let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        String::from_utf8(value.to_vec()).ok()
    }

    fn configuration(&self) -> Option<Vec<u8>> {
        // SAFETY: see `owned`.
        owned(|data, len| unsafe { proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, data, len) })
    }

    fn headers(&self, map: MapKind) -> Option<Headers> {
        // SAFETY: see `owned`.
        owned(|data, len| unsafe { proxy_get_header_map_pairs(map as u32, data, len) }).map(Headers::from_wire)
    }

    fn call_response_body(&self, limit: usize) -> Option<Vec<u8>> {
        // SAFETY: see `owned`.
        owned(|data, len| unsafe { proxy_get_buffer_bytes(CALL_RESPONSE_BODY, 0, limit, data, len) })
    }

    fn replace_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        let map = MapKind::RequestHeaders as u32;
        // SAFETY: the host only reads name and value.
        ok(unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
    }

    fn remove_request_header(&mut self, name: &str) -> Result<(), Status> {
        // SAFETY: the host only reads the name.
        ok(unsafe { proxy_remove_header_map_value(MapKind::RequestHeaders as u32, name.as_ptr(), name.len()) })
    }

    fn property(&self, path: &str) -> Option<Vec<u8>> {
        // SAFETY: the host only reads the path; for the rest see `owned`.
        owned(|data, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, len) })
    }

    fn set_property(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        // SAFETY: the host only reads name and value.
        ok(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
    }

    fn shared(&self, key: &str) -> Option<Vec<u8>> {
        let mut cas = 0;
        // SAFETY: the host only reads the key; for the rest see `owned`.
        owned(|data, len| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &mut cas) })
    }

    fn set_shared(&mut self, key: &str, value: &[u8]) {
        // SAFETY: the host only reads key and value. A cas of 0 overwrites.
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), 0) };
    }

    fn next_number(&mut self, key: &str) -> Option<u32> {
        // Every failure means that another worker has got a number, so there are not many.
        for _ in 0..MAX_RACES {
            let mut cas = 0;
            // SAFETY: the host only reads the key; for the rest see `owned`.
            let now =
                owned(|data, len| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &mut cas) })?;
            let number = u32::from_le_bytes(now.try_into().ok()?);
            let next = number.checked_add(1)?.to_le_bytes();
            // SAFETY: the host only reads key and value, and compares the cas.
            if unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), next.as_ptr(), next.len(), cas) } == Status::OK.0
            {
                return Some(number);
            }
        }
        None
    }

    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<u32, Status> {
        let mut id = 0;
        // SAFETY: the host reads the name and writes the id.
        ok(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) }).map(|()| id)
    }

    fn increment_metric(&mut self, id: u32, by: i64) -> Result<(), Status> {
        // SAFETY: plain numbers.
        ok(unsafe { proxy_increment_metric(id, by) })
    }

    fn set_tick_period(&mut self, ms: u32) {
        // SAFETY: a plain number.
        unsafe { proxy_set_tick_period_milliseconds(ms) };
    }

    fn call(&mut self, call: &Call<'_>) -> Result<u32, Status> {
        let headers = Headers::to_wire(call.headers);
        let no_trailers = Headers::to_wire(&[]);
        let mut token = 0;
        // SAFETY: the host only reads the buffers and writes the token.
        ok(unsafe {
            proxy_http_call(
                call.cluster.as_ptr(),
                call.cluster.len(),
                headers.as_ptr(),
                headers.len(),
                call.body.as_ptr(),
                call.body.len(),
                no_trailers.as_ptr(),
                no_trailers.len(),
                call.timeout_ms,
                &mut token,
            )
        })
        .map(|()| token)
    }

    fn compress(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        const NAME: &str = "compress";
        // SAFETY: the host only reads name and argument; for the rest see `owned`.
        owned(|data, len| unsafe {
            proxy_call_foreign_function(NAME.as_ptr(), NAME.len(), bytes.as_ptr(), bytes.len(), data, len)
        })
    }

    fn done(&mut self, id: u32) {
        // SAFETY: plain numbers; the host refuses an id that it does not know.
        unsafe {
            if proxy_set_effective_context(id) == Status::OK.0 {
                proxy_done();
            }
        }
    }
}

// === exports ===

/// Runs `body` on the plugin, or answers `otherwise` where there is none yet.
fn with<T>(otherwise: T, body: impl FnOnce(&mut Plugin<Envoy>) -> T) -> T {
    PLUGIN.with(|plugin| match plugin.try_borrow_mut() {
        Ok(mut plugin) => body(plugin.get_or_insert_with(|| Plugin::new(Envoy))),
        // Envoy calls back only after our call has returned, so that call has panicked: see `otelmesh_caught`.
        Err(_) => otherwise,
    })
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: called once, by the host, before anything else.
    unsafe { __wasm_call_ctors() };
    std::panic::set_hook(Box::new(|panic| {
        Envoy.log(LogLevel::Error, &format!("otelmesh: off on this worker, which goes on without it: {panic}"));
        otelmesh_throw();
    }));
}

/// Ends the callback that runs. A trap, until otelmesh-guard makes an exception of it, which all callbacks catch.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn otelmesh_throw() -> ! {
    core::arch::wasm32::unreachable()
}

/// Called once an exception was caught. The plugin stays borrowed by the callback that did not end, so nothing touches
/// it again: `with` passes by. This must not panic: it would be a trap.
#[unsafe(no_mangle)]
extern "C" fn otelmesh_caught() {
    if let Ok(id) = Envoy.define_metric(MetricKind::Counter, PANICS) {
        // There is nobody left to tell of a failure.
        let _ = Envoy.increment_metric(id, 1);
    }
}

/// Panics where a request asks for it, or lets its stack overflow: what tests of the guard and of its limits are made with.
#[cfg(feature = "trap")]
#[expect(clippy::panic, reason = "it is what is asked for")]
fn trap(phase: &[u8]) {
    #[expect(unconditional_recursion, reason = "it is what is asked for")]
    fn overflow(depth: u64) -> u64 {
        std::hint::black_box(overflow(std::hint::black_box(depth)) ^ depth)
    }
    match Envoy.headers(MapKind::RequestHeaders).unwrap_or_default().get(b"x-otelmesh-trap") {
        Some(asked) if asked == phase => panic!("a request asked for it"),
        Some(b"overflow") => drop(overflow(0)),
        _ => {}
    }
}

/// What the standard library's own panic hook, which never runs here, asks for `RUST_BACKTRACE`. The C library's would
/// bring an allocator of its own along.
#[unsafe(no_mangle)]
extern "C" fn getenv(_name: *const u8) -> *const u8 {
    ptr::null()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(len: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(len)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    with((), |plugin| plugin.on_context_create(id, parent));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_id: u32, _config_len: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, _config_len: u32) -> u32 {
    with((), |plugin| plugin.on_configure(id));
    // A refusal would make Envoy answer 500 to all traffic where it has no older configuration.
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    with((), |plugin| plugin.on_tick(id));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: u32, end: u32) -> u32 {
    with((), |plugin| {
        #[cfg(feature = "trap")]
        trap(b"request");
        plugin.on_request_headers(id, end != 0);
    });
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(_id: u32, token: u32, headers: u32, body: u32, trailers: u32) {
    with((), |plugin| plugin.on_call_response(token, headers, body, trailers));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    with((), |plugin| {
        #[cfg(feature = "trap")]
        trap(b"log");
        plugin.on_log(id);
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(id: u32) -> u32 {
    with(1, |plugin| u32::from(plugin.on_done(id)))
}
