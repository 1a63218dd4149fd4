//! Configurations that come, change, go and are wrong.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_bad_configuration_switches_the_filter_off_and_is_reported_once() {
    let mut world = World::new(r#"{"sampling":{"ratio":2}}"#);
    let headers = [(":method", "GET"), ("traceparent", "rubbish"), ("tracestate", "a")];
    world.exchange(&headers, 200);
    let untouched: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
    assert_eq!(world.host().request_headers, untouched, "traffic flows untouched");
    // Another worker of the same process gets the same configuration.
    world.root(r#"{"sampling":{"ratio":2}}"#);
    let errors = |world: &mut World| world.host().lines.iter().filter(|(level, _)| *level == LogLevel::Error).count();
    assert_eq!(errors(&mut world), 1);
    assert!(world.host().lines[0].1.contains("sampling.ratio must be from 0 to 1"));
    assert_eq!(world.stat("config_rejected"), 1);
    assert!(world.host().calls.is_empty());
    // Once it was right in between, a relapse is news again.
    world.root("{}");
    world.root(r#"{"sampling":{"ratio":2}}"#);
    assert_eq!(errors(&mut world), 2);
}

#[test]
fn every_refusal_names_its_key() {
    // pluginConfig, what the sentence must contain, reason.
    let rows = [
        ("{", "line 1", "no JSON"),
        ("[]", "expected an object", "an array"),
        ("0", "expected an object", "a number"),
        (r#"{"batch":[]}"#, "expected an object", "an array further down"),
        ("{\u{1}}", "line 1", "a control character"),
        ("{} x", "trailing characters", "something behind the object"),
        (r#"{"smapling":{}}"#, "smapling", "an unknown key"),
        (r#"{"exporter":{"clustr":"c"}}"#, "clustr", "an unknown key further down"),
        (r#"{"exporter":{"cluster":""}}"#, "exporter.cluster", "no cluster"),
        (r#"{"exporter":{"cluster":"a b"}}"#, "exporter.cluster", "a cluster with a space"),
        (r#"{"exporter":{"protocol":"http/json"}}"#, "unknown variant `http/json`", "a protocol that we do not speak"),
        (r#"{"exporter":{"protocol":"grpc"}}"#, "exporter.cluster", "gRPC to the port of OTLP/HTTP"),
        (r#"{"exporter":{"compression":"zstd"}}"#, "unknown variant `zstd`", "a compression that Envoy does not offer"),
        (r#"{"batch":{"dropPolicy":"random"}}"#, "unknown variant `random`", "a policy that we do not have"),
        (r#"{"exporter":{"tracesPath":"v1"}}"#, "exporter.tracesPath", "a path without a slash"),
        (r#"{"exporter":{"logsPath":"/\n"}}"#, "exporter.logsPath", "a path with a newline"),
        (r#"{"exporter":{"timeout":"0s"}}"#, "exporter.timeout", "no time at all"),
        (r#"{"exporter":{"timeout":10}}"#, "a duration such as", "a number without a unit"),
        (r#"{"exporter":{"timeout":"10h"}}"#, "a duration such as", "a unit that we do not know"),
        (r#"{"exporter":{"timeout":"99999999m"}}"#, "a duration such as", "a number that is too large"),
        (r#"{"batch":{"scheduleDelay":"61s"}}"#, "batch.scheduleDelay", "too long a wait"),
        (r#"{"batch":{"maxExportBatchSize":0}}"#, "batch.maxExportBatchSize", "an empty batch"),
        (r#"{"batch":{"maxExportBatchBytes":1}}"#, "batch.maxExportBatchBytes", "too small a batch"),
        (r#"{"batch":{"maxQueueBytes":4096}}"#, "batch.maxQueueBytes", "a queue smaller than a batch"),
        (r#"{"batch":{"maxInFlight":17}}"#, "batch.maxInFlight", "too many calls"),
        (r#"{"batch":{"maxInFlight":-1}}"#, "invalid value", "a negative number"),
        (r#"{"propagation":{"extract":["b3","b3"]}}"#, "propagation.extract", "a format twice"),
        (r#"{"propagation":{"inject":["zipkin"]}}"#, "unknown variant", "a format that we do not know"),
        (r#"{"sampling":{"ratio":-0.1}}"#, "sampling.ratio", "less than nothing"),
        (
            r#"{"sampling":{"rules":[{}]}}"#,
            "sampling.rules[0] needs either action or ratio",
            "a rule that does nothing",
        ),
        (
            r#"{"sampling":{"rules":[{"action":"keep","ratio":1}]}}"#,
            "sampling.rules[0] needs either",
            "a rule of two minds",
        ),
        (r#"{"sampling":{"rules":[{"ratio":1},{"ratio":2}]}}"#, "sampling.rules[1] has a ratio", "a rule's ratio"),
        (
            r#"{"sampling":{"rules":[{"ratio":1,"maxPerSecond":0}]}}"#,
            "sampling.rules[0] has a maxPerSecond",
            "a limit of none",
        ),
        (
            r#"{"sampling":{"rules":[{"ratio":1,"paths":["a"]}]}}"#,
            "sampling.rules[0] has a path",
            "a path without a slash",
        ),
        (r#"{"sampling":{"rules":[{"ratio":1,"hosts":["a*"]}]}}"#, "sampling.rules[0] has a host", "a star in a name"),
        (r#"{"sampling":{"rules":[{"ratio":1,"pathes":[]}]}}"#, "pathes", "an unknown key of a rule"),
        (r#"{"sampling":{"keep":{"responseFlags":["XX"]}}}"#, "no response flag XX", "a flag that Envoy does not have"),
        (r#"{"exclude":{"paths":["healthz"]}}"#, "exclude.paths: healthz", "an excluded path without a slash"),
        (r#"{"exclude":{"userAgents":[""]}}"#, "exclude.userAgents", "a prefix of everything"),
        (r#"{"logs":{"ratio":2}}"#, "logs.ratio", "more than all logs"),
        (r#"{"logs":{"policy":"some"}}"#, "unknown variant", "a policy that we do not know"),
        (r#"{"propagation":{"clear":["b3","b3"]}}"#, "propagation.clear", "a format twice"),
        (r#"{"propagation":{"inbound":{"extract":["b3","b3"]}}}"#, "propagation.inbound.extract", "on one side"),
        (
            r#"{"propagation":{"boundaries":[{"hosts":["a/b"],"policy":"strip"}]}}"#,
            "propagation.boundaries: a/b",
            "no host",
        ),
        (r#"{"propagation":{"boundaries":[{"hosts":["a"]}]}}"#, "policy", "a boundary without a policy"),
        (r#"{"routes":{"templates":["a"]}}"#, "routes.templates: a", "a template without a slash"),
        (r#"{"attributes":[{"literal":"x"}]}"#, "without a name", "an attribute without a name"),
        (r#"{"attributes":[{"name":"n"}]}"#, "n needs exactly one of", "an attribute without a source"),
        (r#"{"attributes":[{"name":"n","literal":"x","env":"y"}]}"#, "n needs exactly one of", "two sources"),
        (r#"{"attributes":[{"name":"n","requestHeader":"Authorization"}]}"#, "credentials", "a secret"),
        (r#"{"attributes":[{"name":"n","responseHeader":"set-cookie"}]}"#, "credentials", "a cookie"),
        (
            r#"{"attributes":[{"name":"n","literal":"x","type":"text"}]}"#,
            "unknown variant",
            "a type that we do not know",
        ),
        (r#"{"metrics":{"interval":"500ms"}}"#, "metrics.interval", "more often than is good"),
        (r#"{"metrics":{"interval":"11m"}}"#, "metrics.interval", "too seldom"),
        (r#"{"metrics":{"temporality":"both"}}"#, "unknown variant", "a temporality that there is not"),
        (r#"{"metrics":{"histogram":"linear"}}"#, "unknown variant", "a form that there is not"),
        (r#"{"metrics":{"boundaries":[]}}"#, "metrics.boundaries", "no bounds"),
        (r#"{"metrics":{"boundaries":[1,1]}}"#, "metrics.boundaries", "a bound twice"),
        (r#"{"metrics":{"sizeBoundaries":[2,1]}}"#, "metrics.sizeBoundaries", "bounds out of order"),
        (r#"{"metrics":{"sizeBoundaries":[-1]}}"#, "metrics.sizeBoundaries", "a size below nothing"),
        (r#"{"metrics":{"maxBuckets":161}}"#, "metrics.maxBuckets", "too many buckets"),
        (r#"{"metrics":{"maxBuckets":1}}"#, "metrics.maxBuckets", "too few buckets"),
        (r#"{"metrics":{"maxSeries":9}}"#, "metrics.maxSeries", "too few series"),
        (r#"{"metrics":{"maxSeries":10001}}"#, "metrics.maxSeries", "too many series"),
        (r#"{"logs":{"body":"{query}"}}"#, "logs.body", "a field that there is not"),
        (r#"{"semconv":"new"}"#, "unknown variant", "names that nobody has"),
        (r#"{"redaction":{"paths":["users"]}}"#, "redaction.paths: users", "a path without a slash"),
        (r#"{"redaction":{"maxValueBytes":63}}"#, "redaction.maxValueBytes", "too little to read"),
        (r#"{"redaction":{"maxValueBytes":2049}}"#, "redaction.maxValueBytes", "too much"),
        (r#"{"redaction":{"clientAddress":"hash"}}"#, "unknown variant", "a way that there is not"),
        (
            r#"{"attributes":[{"name":"n","property":"request.headers.Cookie"}]}"#,
            "credentials",
            "a secret by its attribute",
        ),
        (r#"{"attributes":[{"name":"n","property":"request.headers"}]}"#, "credentials", "all headers"),
        (
            r#"{"attributes":[{"name":"n","property":["request","headers","cookie"]}]}"#,
            "credentials",
            "a secret by the names of its path",
        ),
        (r#"{"attributes":[{"name":"n","property":"upstream..a"}]}"#, "n has a property with", "an empty name"),
        (r#"{"attributes":[{"name":"n","property":[]}]}"#, "n has a property with", "no name at all"),
        (
            r#"{"attributes":[{"name":"n","property":["request\u0000headers\u0000cookie"]}]}"#,
            "n has a property with",
            "a path in a name, past the check for secrets",
        ),
        (r#"{"attributes":[{"name":"n","property":7}]}"#, "attributes[0].property: expected a path", "a number"),
        (r#"{"direction":"sideways"}"#, "unknown variant", "a direction that we do not know"),
        (r#"{"resource":{"attributes":{"":"x"}}}"#, "resource.attributes", "an empty key"),
    ];
    for (json, sentence, reason) in rows {
        let error = Config::parse(json.as_bytes()).expect_err(reason).to_string();
        assert!(error.contains(sentence), "{reason}: {error}");
    }
    assert!(Config::parse(b"\xff\xfe").is_err(), "bytes that are no text");
}

#[test]
fn nothing_means_the_defaults_and_the_defaults_survive_the_wire() {
    for nothing in ["", " \n", "null", "{}"] {
        assert_eq!(Config::parse(nothing.as_bytes()), Ok(Config::default()));
    }
    let json = serde_json::to_string(&Config::default()).unwrap();
    assert_eq!(Config::parse(json.as_bytes()), Ok(Config::default()), "{json}");
    assert!(Config::default().check().is_ok());
}

#[test]
fn root_contexts_that_send_to_the_same_place_share_a_batch() {
    let mut world = World::new("");
    let same = world.root(r#"{"sampling":{"ratio":1}}"#);
    let other = world.root(r#"{"exporter":{"cluster":"elsewhere"}}"#);
    for root in [ROOT, same, other] {
        world.parent = root;
        world.exchange(&[(":method", "GET")], 200);
    }
    world.tick();
    let mut calls: Vec<_> = (0..4).map(|_| world.reply(Some(200), b"")).collect();
    calls.retain(|call| path(call) == "/v1/traces");
    let sent: Vec<_> = calls.iter().map(|call| (call.cluster.as_str(), spans(call).len())).collect();
    assert_eq!(sent, [(crate::config::DEFAULT_CLUSTER, 2), ("elsewhere", 1)]);
    assert!(world.host().calls.is_empty());
}

#[test]
fn a_change_of_configuration_keeps_what_waits() {
    let mut world = World::new("");
    world.exchange(&[], 200);
    let newer = world.root(r#"{"sampling":{"ratio":0.5}}"#);
    assert!(world.plugin.on_done(ROOT), "nothing is under way, so the old one may go");
    assert!(world.host().calls.is_empty(), "the new one sends it in its own time");
    world.host().time += SECOND;
    world.plugin.on_tick(newer);
    assert_eq!(spans(&world.reply(Some(200), b"")).len(), 1);
    world.reply(Some(200), b"");
    world.balance();
    assert_eq!(world.stat("spans_exported"), 1);
}

#[test]
fn an_exchange_has_the_configuration_of_its_own_root_context_whatever_comes_and_goes() {
    let ratio = |ratio: u8| format!(r#"{{"sampling":{{"ratio":{ratio}}},"logs":{{"enabled":false}}}}"#);
    let spans = |world: &mut World| {
        world.plugin.publish();
        world.stat("spans_recorded")
    };
    let mut world = World::new(&ratio(1));
    let alone = world.begin(&[]);
    let newer = world.root(&ratio(0));
    world.end(alone, 200);
    assert_eq!(spans(&mut world), 1, "it began when there was one alone");
    let of_older = world.begin(&[]);
    world.parent = newer;
    let of_newer = world.begin(&[]);
    let off = world.root("rubbish");
    world.parent = off;
    world.exchange(&[], 200);
    world.end(of_newer, 200);
    assert_eq!(spans(&mut world), 1);
    // The older one comes back without a word of Envoy's, as its connections have kept it.
    world.parent = ROOT;
    world.exchange(&[], 200);
    assert!(world.plugin.on_done(newer) && world.plugin.on_done(off));
    world.end(of_older, 200);
    world.exchange(&[], 200);
    assert_eq!(spans(&mut world), 4);
    assert!(world.plugin.parents.is_empty() && world.plugin.exchanges.is_empty());
    world.balance();
}

#[test]
fn the_last_root_context_of_a_receiver_sends_everything_before_it_goes() {
    let mut world = World::new("");
    world.exchange(&[], 200);
    world.root(r#"{"exporter":{"cluster":"elsewhere"}}"#);
    assert!(!world.plugin.on_done(ROOT), "it asks for time");
    assert_eq!(world.host().calls.len(), 3);
    for _ in 0..3 {
        assert!(world.host().done.is_empty());
        world.reply(Some(200), b"");
    }
    assert_eq!(world.host().done, [ROOT], "and says when it is done");
    world.balance();
    assert_eq!(["spans_exported", "logs_exported", "data_points_exported"].map(|stat| world.stat(stat)), [1; 3]);
    assert_eq!(world.plugin.exporters.values().count(), 1, "the other's");
}

#[test]
fn what_cannot_leave_at_the_end_is_counted() {
    let rows = [(Status::INTERNAL_FAILURE, "no healthy host"), (Status(77), "a status that nobody knows")];
    for (status, reason) in rows {
        let mut world = World::new("");
        world.exchange(&[], 200);
        world.root(r#"{"exporter":{"cluster":"elsewhere"}}"#);
        world.host().refuse_calls = Some(status);
        assert!(world.plugin.on_done(ROOT), "{reason}");
        world.balance();
        for noun in ["spans", "logs", "data_points"] {
            assert_eq!(world.stat(&format!("{noun}_dropped_export_failed")), 1, "{noun}: {reason}");
            assert_eq!(world.stat(&format!("{noun}_waiting")), 0, "{noun}: {reason}");
        }
    }
}

#[test]
fn what_is_held_when_the_vm_goes_is_counted_before_it_is_gone() {
    let mut world = World::new("");
    world.exchange(&[], 200);
    world.tick();
    let under_way = world.host().calls.len();
    world.exchange(&[], 200);
    let other = world.root(r#"{"exporter":{"cluster":"elsewhere"}}"#);
    assert!(under_way > 0 && world.plugin.on_done(other), "nothing of the other's is held");
    assert!(world.plugin.on_done(ROOT), "there is no time to ask for");
    assert_eq!(world.host().calls.len(), under_way, "a call would be cancelled at once");
    world.balance();
    for noun in ["spans", "logs"] {
        assert_eq!(world.stat(&format!("{noun}_dropped_shutdown")), 2, "{noun}");
        assert_eq!(world.stat(&format!("{noun}_waiting")), 0, "{noun}");
    }
    assert!(world.stat("data_points_dropped_shutdown") > 0, "what was measured goes, too");
    while !world.host().calls.is_empty() {
        world.reply(Some(200), b"");
    }
    world.balance();
}

#[test]
fn a_root_context_on_its_way_out_waits_for_all_of_its_calls_and_begins_no_more() {
    let mut world = World::new(r#"{"batch":{"maxExportBatchSize":1},"logs":{"enabled":false}}"#);
    world.parent = world.root(r#"{"exporter":{"cluster":"elsewhere"},"logs":{"enabled":false}}"#);
    // Both exporters are pumped by the first root context's tick.
    world.exchange(&[], 200);
    world.tick();
    world.parent = ROOT;
    for _ in 0..4 {
        world.exchange(&[], 200);
    }
    let heir = world.root(r#"{"batch":{"maxExportBatchSize":1},"logs":{"enabled":false}}"#);
    assert_eq!(world.host().calls.len(), 3, "one elsewhere, two here");
    assert!(!world.plugin.on_done(ROOT));
    world.reply(Some(200), b"");
    assert!(world.host().done.is_empty(), "the calls of the other exporter are its own too");
    world.reply(Some(200), b"");
    world.tick();
    assert_eq!(world.host().calls.len(), 1, "what waits is left to the heir");
    assert!(world.host().done.is_empty());
    world.reply(Some(200), b"");
    assert_eq!(world.host().done, [ROOT]);
    world.host().time += SECOND;
    world.plugin.on_tick(heir);
    while !world.host().calls.is_empty() {
        world.reply(Some(200), b"");
    }
    world.balance();
    assert_eq!((world.stat("spans_exported"), world.stat("spans_waiting")), (5, 0));
}

#[test]
fn a_worker_beats_once_a_second_however_often_it_ticks_and_whatever_its_configuration() {
    for config in ["{}", r#"{"sampling":{"ratio":2}}"#, r#"{"batch":{"scheduleDelay":"60s"}}"#] {
        let mut world = World::new(config);
        assert!((1..=1000).contains(&world.host().tick_ms), "{config}: in time");
        let start = world.stat("heartbeats");
        // Two root contexts tick, 0.6 s apart.
        world.root(config);
        for _ in 0..50 {
            world.tick();
            world.during(Phase::Root, |plugin| plugin.on_tick(ROOT + 1));
        }
        assert!((29..=31).contains(&(world.stat("heartbeats") - start)), "{config}: {}", world.stat("heartbeats"));
    }
}

#[test]
fn a_clock_that_is_set_makes_no_heartbeats_and_takes_none_for_long() {
    let mut world = World::new("{}");
    for set in [24 * 3600 * SECOND, SECOND] {
        world.host().time = set;
        world.tick();
        let start = world.stat("heartbeats");
        assert!(start < 5, "none for the time that was passed over: {start}");
        world.tick();
        world.tick();
        assert_eq!(world.stat("heartbeats"), start + 1);
    }
}
