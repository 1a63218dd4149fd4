//! Values that must have a form or lie in a range: what the schema says to Helm, said to the command.
//!
//! In: typed values. Out: lines for keys that are wrong. Refuses what the schema's patterns and bounds refuse.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::must;
use crate::values::Values;

const PERCENT: RangeInclusive<f64> = 0.0..=100.0;

pub(super) fn check(values: &Values, wrong: &mut Vec<String>) {
    let (collector, traffic) = (&values.collector, &values.traffic);
    for (key, text) in [
        ("traffic.timeout", &traffic.timeout),
        ("traffic.ejectionTime", &traffic.ejection_time),
        ("collector.sampling.decisionWait", &collector.sampling.decision_wait),
        ("monitoring.interval", &values.monitoring.interval),
        ("trials.load.stage", &values.trials.load.stage),
    ] {
        let number = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let is_duration = is_number(number) && ["ms", "s", "m"].contains(&&text[number.len()..]);
        must(wrong, is_duration, format_args!("{key}: {text:?} must be a number with ms, s or m, such as 30s"));
    }
    let istio = &values.mesh.istio_version;
    let plain = istio.split('-').next().unwrap_or_default();
    let is_version = (2..=3).contains(&plain.split('.').count()) && plain.split('.').all(is_number);
    must(
        wrong,
        istio.is_empty() || is_version,
        format_args!("mesh.istioVersion: {istio:?} must be a version such as 1.30"),
    );
    let level = collector.pod_security.as_str();
    must(
        wrong,
        ["", "restricted", "baseline", "privileged"].contains(&level),
        format_args!("collector.podSecurity: {level:?} must be restricted, baseline, privileged or empty"),
    );
    let size = &collector.gateway.persistence.size;
    let is_size = ["Mi", "Gi", "Ti"].iter().any(|unit| size.strip_suffix(unit).is_some_and(is_number));
    must(wrong, is_size, format_args!("collector.gateway.persistence.size: {size:?} must end in Mi, Gi or Ti"));
    between(wrong, "collector.sampling.percentage", collector.sampling.percentage, PERCENT);
    between(wrong, "tracing.native.samplingPercentage", values.tracing.native.sampling_percentage, PERCENT);
    let gateway = &collector.gateway;
    between(wrong, "collector.gateway.replicas", gateway.replicas, 1..=u32::MAX);
    between(wrong, "collector.gateway.autoscaling.minReplicas", gateway.autoscaling.min_replicas, 1..=u32::MAX);
    between(wrong, "collector.gateway.autoscaling.cpu", gateway.autoscaling.cpu, 1..=100);
    between(wrong, "collector.gateway.autoscaling.memory", gateway.autoscaling.memory, 1..=100);
    between(wrong, "trials.load.requestsPerSecond", values.trials.load.requests_per_second, 1..=u32::MAX);
    super::tag_and_digest("collector.image", &collector.image.tag, &collector.image.digest, wrong);
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn between<T: PartialOrd + Display>(wrong: &mut Vec<String>, key: &str, value: T, range: RangeInclusive<T>) {
    let (least, most) = (range.start(), range.end());
    must(wrong, range.contains(&value), format_args!("{key}: {value} must be between {least} and {most}"));
}
