//! Headers that no sane client sends. Envoy itself refuses some of them; whatever it lets through, the filter lives.

use otelmesh_e2e::proxy::{Setup, inbound_manager};
use otelmesh_e2e::raw;
use otelmesh_e2e::upstream::Upstream;
use serde_json::{Value, json};

/// Lets 90 KiB of headers through, where Envoy's default is 60.
fn large_headers(bootstrap: &mut Value) {
    let manager = inbound_manager(bootstrap);
    manager["max_request_headers_kb"] = json!(90);
    manager["common_http_protocol_options"] = json!({"max_headers_count": 8000});
}

#[tokio::test]
async fn hostile_headers_neither_trap_nor_lose_a_request() {
    type Lines<'a> = Vec<(&'a str, &'a [u8])>;
    let upstream = Upstream::start().await;
    let setup = Setup { edit: Box::new(large_headers), concurrency: 2, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    let long = vec![b'x'; 64 * 1024];
    let members = (0..6000).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",").into_bytes();
    let commas = vec![b','; 64 * 1024];
    let good: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let many: Lines<'_> =
        [("traceparent", good)].into_iter().chain(std::iter::repeat_n(("tracestate", &b"a=1"[..]), 4000)).collect();
    let spaced = [&[b' '; 200][..], good, &[b'\t'; 200]].concat();
    let rows: Vec<(&str, Lines<'_>)> = vec![
        (
            "bytes that are not UTF-8",
            vec![("traceparent", b"\xff\xfe\xfd"), ("b3", b"\x80"), ("user-agent", b"\xc3\x28")],
        ),
        ("other headers that are not UTF-8", vec![("x-anything", b"\xf0\x28\x8c\xbc"), ("cookie", b"\xa0\xa1")]),
        ("64 KiB of traceparent", vec![("traceparent", &long)]),
        ("64 KiB of tracestate", vec![("traceparent", good), ("tracestate", &long)]),
        ("64 KiB of b3", vec![("b3", &long)]),
        ("64 KiB of x-b3", vec![("x-b3-traceid", &long), ("x-b3-spanid", b"x")]),
        ("64 KiB of user agent", vec![("user-agent", &long)]),
        ("64 KiB of empty members", vec![("traceparent", good), ("tracestate", &commas)]),
        ("thousands of tracestate members", vec![("traceparent", good), ("tracestate", &members)]),
        ("thousands of tracestate headers", many),
        ("white space around", vec![("traceparent", &spaced)]),
        (
            "every format at once",
            vec![("traceparent", good), ("b3", b"0"), ("x-b3-traceid", b"1"), ("x-b3-flags", b"9")],
        ),
    ];
    let mut recorded = 0;
    for (reason, headers) in &rows {
        for _ in 0..3 {
            let status = raw::send(proxy.inbound, &raw::request(b"/", headers)).await;
            assert_eq!(status, Some(200), "{reason}");
            assert_eq!(upstream.last().value("traceparent").len(), 55, "{reason}");
            recorded += 1;
        }
    }
    for path in [&b"/%ff%fe?sig=%00"[..], b"/\xc3\xa9", b"/a?b?c#d", b"//", &[b"/", &long[..]].concat()] {
        // Envoy may refuse a path; it then answers before the filter sees a request, or lets it through.
        let status = raw::send(proxy.inbound, &raw::request(path, &[])).await;
        assert!(matches!(status, Some(200 | 400)), "{status:?}");
        recorded += i64::from(status == Some(200));
    }
    let books = proxy.until("all records", |b| b.exported("logs") >= recorded && b.get("logs_waiting") == 0).await;
    books.assert_balanced();
    assert_eq!(books.dropped("logs") + books.dropped("spans"), 0);
    let refusals = proxy.receiver.snapshot().refusals;
    assert!(refusals.is_empty(), "a receiver could not read an export: {refusals:?}");
    proxy.assert_alive().await;
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/after", &[])).await, Some(200));
    assert_eq!(upstream.last().values("traceparent").len(), 1, "the filter still works");
}

#[tokio::test]
async fn what_envoy_refuses_by_itself_does_not_disturb_the_filter() {
    let upstream = Upstream::start().await;
    let proxy = Setup::new(upstream.address()).start().await;
    let large = vec![b'x'; 100 * 1024];
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/", &[("x", &large)])).await, Some(431));
    assert_eq!(raw::send(proxy.inbound, b"rubbish\r\n\r\n").await, Some(400));
    assert_eq!(raw::send(proxy.inbound, b"GET / HTTP/1.1\r\n\r\n").await, Some(400), "no host");
    assert_eq!(raw::send(proxy.inbound, &raw::request(b"/", &[])).await, Some(200));
    let books = proxy.until("the good one", |b| b.exported("logs") > 0 && b.get("logs_waiting") == 0).await;
    books.assert_balanced();
    proxy.assert_alive().await;
}
