//! Every scenario of the fault table, over both protocols: the books add up, and agree with what the receiver holds.

use otelmesh_e2e::faults::changes::Change;
use otelmesh_e2e::faults::{Bench, Subject, Wire, scenarios};

async fn all(wire: Wire) {
    let mut bench = Bench::start(Subject::Filter, wire).await;
    for scenario in scenarios(wire) {
        bench.run(&scenario).await;
    }
    bench.check_metrics().await;
}

#[tokio::test]
async fn hostile_receivers_over_http() {
    all(Wire::Http).await;
}

#[tokio::test]
async fn hostile_receivers_over_grpc() {
    all(Wire::Grpc).await;
}

#[tokio::test]
async fn changes_under_load_over_http() {
    for change in Change::ALL {
        change.run(Subject::Filter, Wire::Http).await;
    }
}

#[tokio::test]
async fn changes_under_load_over_grpc() {
    for change in Change::ALL {
        change.run(Subject::Filter, Wire::Grpc).await;
    }
}
