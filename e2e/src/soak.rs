//! Mixed traffic for minutes, with a receiver that keeps misbehaving.
//!
//! In: for how long, and over which protocol. Out: memory on the way, the books, and what the receiver holds. Panics where
//! a request failed, the books do not add up, or memory grows.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::{Fault, Wire, scenarios};
use crate::proxy::{Books, Proxy, Setup};
use crate::raw;
use crate::scripted::Scripted;
use crate::upstream::Upstream;

/// Worker threads of the proxy.
const WORKERS: u32 = 2;
/// Clients, each with one request at a time.
const CLIENTS: usize = 8;
/// How long a fault is looked at.
const SCENE: Duration = Duration::from_secs(3);
/// What memory may grow by, in KiB, once every fault has happened: fragments of the heap, not records.
const GROWTH: u64 = 12 * 1024;

/// Memory at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Since the beginning.
    pub at: Duration,
    /// Resident set of the whole proxy in KiB.
    pub resident: u64,
}

/// What became of it all.
#[derive(Debug)]
pub struct Report {
    /// Requests that were answered as they should be.
    pub requests: usize,
    /// Faults in the order of time.
    pub faults: usize,
    /// Memory, oldest first.
    pub memory: Vec<Memory>,
    /// The books in the end.
    pub books: Books,
    /// Different spans and logs that the receiver took.
    pub received: [usize; 2],
}

/// Runs it.
///
/// # Panics
/// See above.
pub async fn run(time: Duration, wire: Wire) -> Report {
    let (upstream, mut receiver) = (Upstream::start().await, Scripted::start().await);
    let config = json!({
        "exporter": {"protocol": wire.name(), "timeout": "500ms", "compression": "gzip"},
        // Small enough for outages to fill it.
        "batch": {"scheduleDelay": "200ms", "maxQueueBytes": 1_048_576},
        "metrics": {"interval": "2s"},
        "routes": {"fold": true},
    });
    let collector = Some(receiver.address());
    let setup = Setup { config, collector, concurrency: WORKERS, ..Setup::new(upstream.address()) };
    let proxy = setup.start().await;
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let to = if n % 2 == 0 { proxy.inbound } else { proxy.outbound };
        clients.spawn(client(to, n, begun + time));
    }
    let (mut faults, mut memory) = (0, vec![resident(&proxy, begun)]);
    let all = scenarios(wire);
    while begun.elapsed() < time {
        let scenario = &all[faults % all.len()];
        match &scenario.fault {
            Fault::Answers(answers) => receiver.script(answers),
            Fault::Rubbish(connections) => receiver.rubbish(*connections).await,
            Fault::Away(_) => receiver.stop().await,
        }
        sleep(SCENE.min(time.saturating_sub(begun.elapsed()))).await;
        if matches!(scenario.fault, Fault::Away(_)) {
            receiver.restart();
        }
        faults += 1;
        memory.push(resident(&proxy, begun));
    }
    let mut requests = 0;
    while let Some(count) = clients.join_next().await {
        requests += count.expect("no client panics: every request was answered as it should be");
    }
    let empty = |books: &Books| ["spans", "logs"].iter().all(|noun| books.get(&format!("{noun}_waiting")) == 0);
    // A worker that met one fault after the other leaves the receiver alone for half a minute.
    let mut patience = 60;
    while !empty(&proxy.books().await) && patience > 0 {
        sleep(Duration::from_secs(1)).await;
        patience -= 1;
    }
    let books = proxy.until("nothing waits any more", |books| empty(books) && books.is_balanced()).await;
    proxy.assert_alive().await;
    let received = ["spans", "logs"].map(|noun| receiver.taken(noun).records.len());
    for (noun, received) in ["spans", "logs"].into_iter().zip(received) {
        let (told, lost) = (books.exported(noun) + books.get(&format!("{noun}_rejected")), books.dropped(noun));
        let (received, recorded) = (received as i64, books.recorded(noun));
        assert_eq!(recorded, requests as i64, "every request has a record: {books:?}");
        // What was dropped on arrival, the receiver has nevertheless.
        assert!(told <= received && recorded - received <= lost, "{noun}: {received} received, {books:?}");
    }
    // Each fault may need more than those before it, such as Envoy for a response of 8 MiB, but none needs more the second
    // time.
    if let Some((first, later)) = memory.split_at_checked(all.len() + 1) {
        let most = |memory: &[Memory]| memory.iter().map(|m| m.resident).max().unwrap_or(0);
        assert!(most(later) <= most(first) + GROWTH, "memory grows: {memory:?}");
    }
    Report { requests, faults, memory, books, received }
}

/// Sends one request after the other, now and then one that is meant to hurt.
async fn client(to: SocketAddr, number: usize, until: Instant) -> usize {
    let long = vec![b'x'; 20 * 1024];
    let mut count = 0;
    while Instant::now() < until {
        let path = format!("/{number}/{count}");
        let headers: &[(&str, &[u8])] = match count % 16 {
            3 => &[("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", b",,,")],
            7 => &[("traceparent", &long)],
            11 => &[("b3", b"\xff\xfe"), ("user-agent", b"\xc3\x28")],
            _ => &[],
        };
        let status = raw::send(to, &raw::request(path.as_bytes(), headers)).await;
        assert_eq!(status, Some(200), "{path}");
        count += 1;
        sleep(Duration::from_millis(4)).await;
    }
    count
}

fn resident(proxy: &Proxy, begun: Instant) -> Memory {
    let pid = proxy.envoy.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    Memory { at: begun.elapsed(), resident: line.trim().trim_end_matches(" kB").parse().expect("a number of KiB") }
}

// === impl Report ===

impl Report {
    /// Prints it.
    pub fn print(&self, wire: Wire) {
        let Self { requests, faults, memory, books, received } = self;
        println!(
            "{requests} requests over {WORKERS} workers, none failed; exports over {}; {faults} faults",
            wire.name()
        );
        for part in memory.chunks(memory.len().div_ceil(10)) {
            let Some(Memory { at, resident }) = part.first() else { continue };
            println!("  {:>4}s  {:>7} KiB, {} a worker", at.as_secs(), resident, resident / u64::from(WORKERS));
        }
        if let Some(Memory { at, resident }) = memory.last() {
            println!("  {:>4}s  {:>7} KiB, {} a worker", at.as_secs(), resident, resident / u64::from(WORKERS));
        }
        for (noun, received) in ["spans", "logs"].into_iter().zip(received) {
            let of = |name: &str| books.get(&format!("{noun}_{name}"));
            println!(
                "  {noun}: {} recorded = {} exported + {} rejected + {} dropped (queue_full {}, export_failed {}, \
                 too_large {}, shutdown {}) + {} waiting; the receiver has {received}",
                books.recorded(noun),
                books.exported(noun),
                of("rejected"),
                books.dropped(noun),
                of("dropped_queue_full"),
                of("dropped_export_failed"),
                of("dropped_too_large"),
                of("dropped_shutdown"),
                of("waiting"),
            );
        }
    }
}
