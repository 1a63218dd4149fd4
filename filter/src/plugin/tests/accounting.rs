//! Receivers that blink, refuse and vanish: nothing is lost without a count, and nothing grows without bound.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const LOGS_OFF: &str = r#"{"logs":{"enabled":false}}"#;

/// Ticks for `seconds` without an answer to anything.
fn wait(world: &mut World, seconds: u64) {
    for _ in 0..seconds * 2 {
        world.tick();
    }
}

#[test]
fn a_batch_leaves_when_it_is_full_without_waiting_for_a_tick() {
    let mut world = World::new(r#"{"batch":{"maxExportBatchSize":3},"logs":{"enabled":false}}"#);
    for _ in 0..2 {
        world.exchange(&[], 200);
    }
    assert!(world.host().calls.is_empty());
    world.exchange(&[], 200);
    let call = world.reply(Some(200), b"");
    assert_eq!((spans(&call).len(), call.phase), (3, Phase::Log));
}

#[test]
fn a_receiver_that_is_down_gets_everything_once_it_is_back() {
    let mut world = World::new(LOGS_OFF);
    world.exchange(&[], 200);
    world.tick();
    // Status of the reply; None stands for no reply at all.
    for status in [None, Some(503), Some(429), Some(502), Some(504)] {
        world.reply(status, b"");
        world.balance();
        assert!(world.host().calls.is_empty(), "no second try without a wait");
        world.exchange(&[], 200);
        wait(&mut world, 35);
        assert_eq!(world.host().calls.len(), 1);
    }
    let mut arrived = spans(&world.reply(Some(200), b"")).len();
    world.tick();
    arrived += spans(&world.reply(Some(200), b"")).len();
    world.balance();
    assert_eq!((arrived, world.stat("spans_exported"), world.stat("spans_waiting")), (6, 6, 0));
    assert_eq!((world.stat("exports_retried"), world.stat("exports_failed")), (5, 0));
}

#[test]
fn what_may_not_be_tried_again_is_dropped_and_counted() {
    for status in [400, 401, 404, 408, 413, 415, 500, 501, 505] {
        let mut world = World::new(LOGS_OFF);
        world.exchange(&[], 200);
        world.tick();
        world.reply(Some(status), b"");
        wait(&mut world, 40);
        assert!(world.host().calls.is_empty(), "{status}");
        world.balance();
        assert_eq!(world.stat("spans_dropped_export_failed"), 1, "{status}");
        assert_eq!(world.stat("exports_failed"), 1, "{status}");
    }
}

#[test]
fn rejects_of_a_partial_success_are_counted_and_not_sent_again() {
    let mut world = World::new(LOGS_OFF);
    for _ in 0..3 {
        world.exchange(&[], 200);
    }
    world.tick();
    let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "too old".into() };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    world.reply(Some(200), &body);
    wait(&mut world, 40);
    assert!(world.host().calls.is_empty());
    world.balance();
    assert_eq!((world.stat("spans_exported"), world.stat("spans_rejected")), (1, 2));
    assert!(world.host().lines.iter().any(|(_, line)| line.contains("too old")));
}

#[test]
fn a_long_outage_holds_memory_and_log_lines_flat() {
    let mut world = World::new(r#"{"batch":{"maxExportBatchBytes":8192,"maxQueueBytes":65536}}"#);
    world.host().refuse_calls = Some(Status::INTERNAL_FAILURE);
    for _ in 0..5_000 {
        world.exchange(&[(":method", "GET"), (":path", "/a")], 200);
        world.tick();
    }
    world.balance();
    let held: u64 = world.plugin.exporters.values().map(|e| e.waiting(Signal::Traces) + e.waiting(Signal::Logs)).sum();
    assert!(held > 100, "{held} records wait");
    assert!(world.stat("spans_dropped_queue_full") > 4_000);
    assert!(world.stat("exports_retried") < 200, "attempts thin out");
    let warnings = world.host().lines.iter().filter(|(level, _)| *level == LogLevel::Warn).count();
    assert_eq!(warnings, 1, "one line an outage");

    world.host().refuse_calls = None;
    wait(&mut world, 40);
    while !world.host().calls.is_empty() {
        world.reply(Some(200), b"");
    }
    wait(&mut world, 2);
    while !world.host().calls.is_empty() {
        world.reply(Some(200), b"");
    }
    world.balance();
    assert_eq!((world.stat("spans_waiting"), world.stat("logs_waiting")), (0, 0));
    assert_eq!(world.host().lines.last().unwrap().1.matches("succeed again").count(), 1);
}

#[test]
fn the_policy_says_which_end_of_an_outage_is_kept() {
    for (policy, kept) in [("newest", "/0"), ("oldest", "/999")] {
        let mut world = World::new(&format!(
            r#"{{"batch":{{"maxExportBatchBytes":4096,"maxQueueBytes":16384,"dropPolicy":"{policy}"}},"traces":{{"enabled":false}},
                "metrics":{{"enabled":false}}}}"#
        ));
        world.host().refuse_calls = Some(Status::INTERNAL_FAILURE);
        for n in 0..1_000 {
            world.exchange(&[(":method", "GET"), (":path", &format!("/{n}"))], 200);
        }
        world.tick();
        world.balance();
        let held: usize = world.plugin.exporters.values().map(Exporter::bytes).sum();
        assert!((8_192..=16_384).contains(&held), "{policy}: {held} bytes");
        world.host().refuse_calls = None;
        let mut bodies = Vec::new();
        for _ in 0..50 {
            wait(&mut world, 30);
            while !world.host().calls.is_empty() {
                let records = logs(&world.reply(Some(200), b""));
                bodies.extend(records.into_iter().map(|r| format!("{:?}", r.body)));
            }
        }
        world.balance();
        assert_eq!(world.stat("logs_waiting"), 0);
        assert_eq!(world.stat("logs_exported") + world.stat("logs_dropped_queue_full"), 1_000);
        assert!(bodies.iter().any(|body| body.contains(&format!("{kept} "))), "{policy}: {bodies:?}");
        let numbers: Vec<u32> =
            bodies.iter().map(|b| b.split(['/', ' ']).find_map(|w| w.parse().ok()).unwrap()).collect();
        assert!(numbers.is_sorted(), "in the order in which they came: {numbers:?}");
    }
}

#[test]
fn calls_under_way_are_capped_and_neither_signal_starves() {
    let mut world = World::new(r#"{"batch":{"maxExportBatchSize":1}}"#);
    for _ in 0..20 {
        world.exchange(&[], 200);
    }
    assert_eq!(world.host().calls.len(), 2);
    let mut order = Vec::new();
    while !world.host().calls.is_empty() {
        assert!(world.host().calls.len() <= 2);
        order.push(path(&world.reply(Some(200), b"")).to_owned());
    }
    world.tick();
    let logs_in_first_half = order[..20].iter().filter(|p| *p == "/v1/logs").count();
    assert!((8..=12).contains(&logs_in_first_half), "{order:?}");
    while !world.host().calls.is_empty() {
        world.reply(Some(200), b"");
    }
    world.balance();
    assert_eq!((world.stat("spans_exported"), world.stat("logs_exported")), (20, 20));
}

#[test]
fn a_record_that_is_too_large_is_counted() {
    let mut world = World::new(r#"{"batch":{"maxExportBatchBytes":4096},"logs":{"enabled":false}}"#);
    let long = "\u{fffd}".repeat(1000);
    world.exchange(&[(":path", &long), ("user-agent", &long), (":authority", &long)], 200);
    world.tick();
    world.balance();
    assert_eq!(world.stat("spans_dropped_too_large"), 1);
}

#[test]
fn a_missing_cluster_is_named_in_the_log() {
    let mut world = World::new("");
    world.host().refuse_calls = Some(Status::BAD_ARGUMENT);
    world.exchange(&[], 200);
    wait(&mut world, 5);
    let warnings: Vec<_> = world.host().lines.iter().filter(|(level, _)| *level == LogLevel::Warn).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].1.contains("no such cluster"), "{}", warnings[0].1);
    world.balance();
    assert_eq!(world.stat("spans_waiting"), 1);
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let mut world = World::new(LOGS_OFF);
    world.exchange(&[], 200);
    world.tick();
    let busy = [(":status", "429"), ("retry-after", "120")].map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec()));
    world.reply_with(busy.to_vec(), b"");
    wait(&mut world, 95);
    assert!(world.host().calls.is_empty(), "114 seconds have passed, each tick being 600 ms");
    wait(&mut world, 10);
    assert_eq!(spans(&world.reply(Some(200), b"")).len(), 1);
    world.balance();
}
