//! What is fuzzed. In: bytes, of which each decides something. Out: nothing, or a panic where the filter panicked, or where
//! its books do not add up at the end. `make fuzz` looks for new inputs; a test replays those that were kept.

mod hostile;
mod input;

use otelmesh_filter::config::Config;
use otelmesh_filter::plugin::Plugin;

use hostile::Hostile;
use input::Input;

/// Configurations that reach most of the filter.
const CONFIGS: [&str; 6] = [
    "",
    r#"{"exporter":{"protocol":"grpc","cluster":"c"},"batch":{"maxExportBatchSize":1}}"#,
    r#"{"exporter":{"compression":"gzip"},"batch":{"maxExportBatchBytes":4096,"maxQueueBytes":4096,"dropPolicy":"oldest"}}"#,
    r#"{"propagation":{"extract":["tracecontext","baggage","b3","b3multi","jaeger","xray","ottrace"],"inject":["tracecontext","b3","b3multi","jaeger","xray","ottrace"],"clear":["b3"],"trust":"none","boundaries":[{"hosts":["*.example"],"policy":"strip"}]}}"#,
    r#"{"sampling":{"ratio":0.5,"rules":[{"paths":["/a/{id}","/b/**"],"methods":["GET"],"headers":{"x":"y"},"ratio":0.1,"maxPerSecond":1}],"keep":{"errors":true,"slowerThan":"1ms","responseFlags":["UF"]}},"routes":{"templates":["/a/{id}"],"fold":true},"metrics":{"interval":"1s","histogram":"exponential","temporality":"delta","maxSeries":10,"activeRequests":true,"bodySizes":true}}"#,
    r#"{"attributes":[{"name":"a","requestHeader":"x"},{"name":"b","responseHeader":"y","type":"int"},{"name":"c","baggage":"k"},{"name":"d","env":"E","type":"double"}],"batch":{"maxInFlight":16,"scheduleDelay":"100ms"},"logs":{"ratio":0.5,"policy":"errors"}}"#,
];

/// The parser of the pluginConfig: what it takes is within bounds, and is taken again when it is written out. Answers how
/// many configurations that were.
///
/// # Panics
/// It is not.
pub fn config(data: &[u8]) -> i64 {
    let Ok(config) = Config::parse(data) else { return 0 };
    config.check().expect("what was read is within bounds");
    let text = serde_json::to_vec(&config).expect("a configuration can be written");
    assert_eq!(Config::parse(&text).as_ref(), Ok(&config), "{}", String::from_utf8_lossy(&text));
    1
}

/// Replies to exports, over both protocols; answers how many records came to an end.
///
/// # Panics
/// The books do not add up.
pub fn reply(data: &[u8]) -> i64 {
    let mut input = Input::new(data);
    let config = CONFIGS[usize::from(input.byte() % 3)];
    let host = Hostile::new(config.as_bytes().to_vec());
    let mut plugin = Plugin::new(host.clone());
    plugin.on_configure(1);
    let mut id = 2;
    while !input.is_empty() {
        for _ in 0..1 + input.byte() % 8 {
            plugin.on_context_create(id, 1);
            plugin.on_request_headers(id, id & 1 == 0);
            plugin.on_log(id);
            plugin.on_done(id);
            id += 1;
        }
        host.advance(u64::from(input.byte()) * 1_000_000_000);
        plugin.on_tick(1);
        for token in host.take_calls() {
            host.set_reply(input.headers(), input.headers(), input.text());
            let [headers, body, trailers] = [input.byte(), input.byte(), input.byte()].map(u32::from);
            // Sizes as Envoy tells them, not as they are.
            plugin.on_call_response(token, headers, body << 17, trailers);
        }
    }
    host.assert_balanced(&mut plugin)
}

/// Whole lives of contexts, in any order, before a host whose every answer may be an error or rubbish; answers how many
/// records came to an end.
///
/// # Panics
/// The books do not add up.
pub fn exchange(data: &[u8]) -> i64 {
    let mut input = Input::new(data);
    let host = Hostile::new(Vec::new());
    host.turn(input.text());
    let mut plugin = Plugin::new(host.clone());
    plugin.on_configure(1);
    while !input.is_empty() {
        // Few ids, so that they meet again.
        let (step, id, other) = (input.byte(), u32::from(input.byte() % 8), u32::from(input.byte() % 4));
        // The corpus knows the steps by these numbers.
        match step % 11 {
            0 => plugin.on_context_create(id, other),
            1 => {
                let at = usize::from(input.byte());
                host.set_config(CONFIGS.get(at).map_or_else(|| input.text(), |text| text.as_bytes().to_vec()));
                plugin.on_configure(id);
            }
            2 | 3 => {
                host.set_request(input.headers(), input.headers());
                plugin.on_request_headers(id, id & 1 == 0);
            }
            4 => plugin.on_log(id),
            5 | 8 | 9 => drop(plugin.on_done(id)),
            6 => {
                host.advance(u64::from(input.byte()) * 50_000_000);
                plugin.on_tick(id);
            }
            7 => {
                host.set_reply(input.headers(), input.headers(), input.text());
                let token = host.take_calls().pop().unwrap_or(id);
                plugin.on_call_response(token, other, u32::from(input.byte()), u32::from(input.byte()));
            }
            // What the host answers from here on.
            _ => host.turn(input.text()),
        }
    }
    host.assert_balanced(&mut plugin)
}
