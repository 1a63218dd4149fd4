//! What types cannot say about the values of what surrounds the collector.
//!
//! In: typed values. Out: lines for keys that are wrong. Refuses access rules that no sidecar would enforce, backends that
//! are nowhere, and a demo without an image.

use super::{is_label, must};
use crate::values::{CollectorMode, Mtls, Values};

pub(super) fn check(values: &Values, wrong: &mut Vec<String>) {
    let security = &values.security;
    let rules = !security.jwt.issuer.is_empty()
        || !security.allow.namespaces.is_empty()
        || !security.allow.service_accounts.is_empty();
    must(
        wrong,
        !rules || security.mtls != Mtls::Disable,
        "security.mtls: rules under security.allow and security.jwt need a sidecar at the collector; set PERMISSIVE or \
         STRICT",
    );
    // A cluster that the chart brings must speak as that policy has it.
    let brings_cluster = values.filter.own_cluster || !values.filter.target_refs.is_empty();
    must(
        wrong,
        values.collector.mode != CollectorMode::None || security.mtls == Mtls::Disable || brings_cluster,
        "security.mtls: the collector is your own (collector.mode none), and so is its policy",
    );
    for account in &security.allow.service_accounts {
        must(
            wrong,
            account.split_once('/').is_some_and(|(namespace, name)| is_label(namespace) && !name.is_empty()),
            format_args!("security.allow.serviceAccounts: {account:?} must be NAMESPACE/NAME"),
        );
    }
    for (i, backend) in security.network_policy.backends.iter().enumerate() {
        must(
            wrong,
            backend.namespace.is_empty() != backend.cidr.is_empty() && !backend.ports.is_empty(),
            format_args!("security.networkPolicy.backends[{i}]: needs ports, and either a namespace or a cidr"),
        );
    }
    let demo = &values.demo;
    must(
        wrong,
        !demo.enabled || !demo.image.is_empty(),
        "demo.image: is empty; name an image that answers HTTP on port 8080 and copies trace headers",
    );
    must(
        wrong,
        !demo.enabled || is_label(&demo.namespace),
        format_args!("demo.namespace: {:?} is no namespace", demo.namespace),
    );
}
