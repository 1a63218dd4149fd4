//! The module in a Wasm runtime that counts: instructions and crossings of exchanges, the same in every run on every
//! machine, which no clock is.
//!
//! In: a [`Situation`]. Out: the [`Cost`] of one exchange in it, on average once the filter has settled. Envoy is stood in
//! for: its answers are fixed, and every export is taken. Panics where the module traps or asks for what it should not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Value, json};
use wasmtime::{Config, Engine, Instance, Memory, Module, ProfilingStrategy, Store};

use self::envoy::{Envoy, linker};

mod envoy;

/// Exchanges before anything is counted: batches, tables and buffers have their size by then.
const WARM_UP: u32 = 8192;
/// Exchanges that are counted. Full batches, so that each pays for its part of an export.
const COUNTED: u32 = 2048;
/// Exchanges between two ticks: a busy worker's.
const TICK: u32 = 1024;
/// Nanoseconds between two exchanges.
const PAUSE: u64 = 500_000;
const ROOT: u32 = 1;

/// What an exchange is like.
#[derive(Debug, Clone)]
pub struct Situation {
    /// In messages and tables.
    pub name: &'static str,
    /// pluginConfig.
    pub config: Value,
    /// Whether the request is on its way out of the workload.
    pub outbound: bool,
    /// Headers beside those that every request has.
    pub headers: Vec<(String, String)>,
}

/// What one exchange costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// WebAssembly instructions, as wasmtime's fuel counts them.
    pub instructions: f64,
    /// Calls of the module by Envoy and of Envoy by the module, by name.
    pub crossings: BTreeMap<String, f64>,
    /// Pages of 64 KiB that the module has after the warm-up, and those that it has in the end.
    pub pages: (u64, u64),
}

/// The module, compiled.
pub struct Compiled {
    engine: Engine,
    module: Module,
}

/// The module at work, and all that stands for Envoy.
pub struct Counted {
    store: Store<Envoy>,
    instance: Instance,
    memory: Memory,
    next: u32,
}

/// The situations whose costs are kept.
pub fn situations() -> Vec<Situation> {
    let config = |ratio: f64, logs: bool, metrics: bool| {
        json!({
            "sampling": {"ratio": ratio},
            "logs": {"enabled": logs},
            "metrics": {"enabled": metrics},
        })
    };
    let situation = |name, config| Situation { name, config, outbound: false, headers: Vec::new() };
    let carried = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"),
        ("tracestate", "ot=th:0,vendor=t61rcWkgMzE"),
    ];
    let carried = carried.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let many = (0..24).map(|n| (format!("x-header-{n}"), format!("value {n} of an ordinary length"))).collect();
    vec![
        situation("nothing recorded", config(0.0, false, false)),
        situation("10 % of spans", config(0.1, false, false)),
        situation("10 % of spans, all logs", config(0.1, true, false)),
        situation("all spans", config(1.0, false, false)),
        situation("all spans and logs", config(1.0, true, false)),
        situation("all signals", config(1.0, true, true)),
        Situation { outbound: true, ..situation("all signals, outbound", config(1.0, true, true)) },
        Situation { headers: carried, ..situation("all signals, a trace carried on", config(1.0, true, true)) },
        Situation { headers: many, ..situation("all signals, 24 more headers", config(1.0, true, true)) },
    ]
}

/// One of them.
///
/// # Panics
/// There is none of that name.
pub fn situation(name: &str) -> Situation {
    let found = situations().into_iter().find(|situation| situation.name == name);
    found.unwrap_or_else(|| panic!("there is no situation {name:?}"))
}

/// Headers that every request has.
const HEADERS: [(&str, &str); 9] = [
    (":authority", "orders.shop.svc.cluster.local:8080"),
    (":path", "/orders/4711?page=2"),
    (":method", "GET"),
    (":scheme", "http"),
    ("user-agent", "Go-http-client/1.1"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip"),
    ("x-forwarded-proto", "http"),
    ("x-request-id", "8f14e45f-ceea-467f-a8f7-0f1c4d1f6d2a"),
];

// === impl Situation ===

impl Situation {
    /// Counts.
    ///
    /// # Panics
    /// See the module.
    pub fn count(&self, module: &Compiled) -> Cost {
        let mut counted = Counted::new(module, self);
        counted.exchanges(WARM_UP);
        counted.store.data_mut().crossings.clear();
        let (pages, fuel) = (counted.pages(), counted.fuel());
        counted.exchanges(COUNTED);
        let each = |count: u64| count as f64 / f64::from(COUNTED);
        let crossings = &counted.store.data().crossings;
        let crossings = crossings.iter().map(|(name, count)| ((*name).to_owned(), each(*count))).collect();
        Cost { instructions: each(fuel - counted.fuel()), crossings, pages: (pages, counted.pages()) }
    }
}

// === impl Cost ===

impl Cost {
    /// All crossings.
    pub fn all_crossings(&self) -> f64 {
        self.crossings.values().sum()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.0} instructions {:>6.2} crossings", self.instructions, self.all_crossings())
    }
}

// === impl Compiled ===

impl Compiled {
    /// Compiles a module.
    ///
    /// # Panics
    /// It is none.
    pub fn new(module: &Path) -> Self {
        Self::with(module, ProfilingStrategy::None)
    }

    /// The same, telling `perf` the names of its functions.
    ///
    /// # Panics
    /// It is none.
    pub fn for_perf(module: &Path) -> Self {
        Self::with(module, ProfilingStrategy::PerfMap)
    }

    fn with(module: &Path, profiler: ProfilingStrategy) -> Self {
        let engine = Engine::new(Config::new().consume_fuel(true).profiler(profiler)).expect("x86_64 or arm64");
        let module = Module::from_file(&engine, module).unwrap_or_else(|error| panic!("{}: {error}", module.display()));
        Self { engine, module }
    }
}

// === impl Counted ===

impl Counted {
    /// A module that is configured.
    ///
    /// # Panics
    /// See the module.
    pub fn new(Compiled { engine, module }: &Compiled, situation: &Situation) -> Self {
        let mut envoy = Envoy { config: situation.config.to_string().into_bytes(), ..Envoy::default() };
        envoy.time = 1_700_000_000_000_000_000;
        let own = HEADERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        envoy.headers = own.chain(situation.headers.iter().cloned()).collect();
        envoy.describe(situation.outbound);
        let mut store = Store::new(engine, envoy);
        store.set_fuel(u64::MAX).expect("fuel is on");
        let instance = linker(engine).instantiate(&mut store, module).expect("the module asks for what Envoy has");
        let memory = instance.get_memory(&mut store, "memory").expect("the module has a memory");
        let mut counted = Self { store, instance, memory, next: ROOT + 1 };
        counted.call("_initialize", ());
        counted.call("proxy_on_context_create", (ROOT, 0u32));
        let _: u32 = counted.ask("proxy_on_vm_start", (ROOT, 0u32));
        let len = counted.store.data().config.len() as u32;
        let taken: u32 = counted.ask("proxy_on_configure", (ROOT, len));
        assert_eq!(taken, 1, "the filter is on");
        counted
    }

    /// So many exchanges, with ticks and replies between them.
    ///
    /// # Panics
    /// See the module.
    pub fn exchanges(&mut self, count: u32) {
        for _ in 0..count {
            let id = self.next;
            // As Envoy does, but for the ids that would be the root context's.
            self.next = self.next.checked_add(1).unwrap_or(ROOT + 1);
            self.call("proxy_on_context_create", (id, ROOT));
            let action: u32 = self.ask("proxy_on_request_headers", (id, 0u32, 1u32));
            assert_eq!(action, 0, "the request goes on");
            self.store.data_mut().time += PAUSE;
            self.call("proxy_on_log", id);
            let _: u32 = self.ask("proxy_on_done", id);
            if id.is_multiple_of(TICK) {
                self.call("proxy_on_tick", ROOT);
            }
            for token in std::mem::take(&mut self.store.data_mut().calls) {
                self.call("proxy_on_http_call_response", (ROOT, token, 1u32, 0u32, 0u32));
            }
        }
    }

    /// Pages of memory.
    pub fn pages(&self) -> u64 {
        self.memory.size(&self.store)
    }

    fn fuel(&self) -> u64 {
        self.store.get_fuel().expect("fuel is on")
    }

    fn call<P: wasmtime::WasmParams>(&mut self, name: &'static str, arguments: P) {
        self.ask::<P, ()>(name, arguments);
    }

    fn ask<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(&mut self, name: &'static str, arguments: P) -> R {
        self.store.data_mut().crossed(name);
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name).expect(name);
        function.call(&mut self.store, arguments).unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }
}
