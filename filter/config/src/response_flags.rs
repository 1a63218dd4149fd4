//! Envoy's response flags. In: the bit set of the `response.flags` attribute. Out: the names that Envoy's access logs
//! use, short (`UF`) and long. A bit without a name is printed as its number, so that nothing is hidden.

/// Short and long names in the order of the bits (Envoy, "Command operators", `%RESPONSE_FLAGS%`).
const FLAGS: [(&str, &str); 30] = [
    ("LH", "FailedLocalHealthCheck"),
    ("UH", "NoHealthyUpstream"),
    ("UT", "UpstreamRequestTimeout"),
    ("LR", "LocalReset"),
    ("UR", "UpstreamRemoteReset"),
    ("UF", "UpstreamConnectionFailure"),
    ("UC", "UpstreamConnectionTermination"),
    ("UO", "UpstreamOverflow"),
    ("NR", "NoRouteFound"),
    ("DI", "DelayInjected"),
    ("FI", "FaultInjected"),
    ("RL", "RateLimited"),
    ("UAEX", "UnauthorizedExternalService"),
    ("RLSE", "RateLimitServiceError"),
    ("DC", "DownstreamConnectionTermination"),
    ("URX", "UpstreamRetryLimitExceeded"),
    ("SI", "StreamIdleTimeout"),
    ("IH", "InvalidEnvoyRequestHeaders"),
    ("DPE", "DownstreamProtocolError"),
    ("UMSDR", "UpstreamMaxStreamDurationReached"),
    ("RFCF", "ResponseFromCacheFilter"),
    ("NFCF", "NoFilterConfigFound"),
    ("DT", "DurationTimeout"),
    ("UPE", "UpstreamProtocolError"),
    ("NC", "NoClusterFound"),
    ("OM", "OverloadManagerTerminated"),
    ("DF", "DnsResolutionFailed"),
    ("DO", "DropOverload"),
    ("DR", "DownstreamRemoteReset"),
    ("UDO", "UnconditionalDropOverload"),
];

fn bits(mut flags: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (flags != 0).then(|| flags.trailing_zeros())?;
        // The lowest bit goes.
        flags &= flags.wrapping_sub(1);
        Some(bit)
    })
}

/// Short names, separated by commas.
pub fn names(flags: u64) -> String {
    let mut out = String::new();
    for bit in bits(flags) {
        if !out.is_empty() {
            out.push(',');
        }
        match FLAGS.get(bit as usize) {
            Some((short, _)) => out.push_str(short),
            None => out.push_str(&bit.to_string()),
        }
    }
    out
}

/// The bit of a flag by its short name.
pub fn bit(short: &str) -> Option<u64> {
    let at = FLAGS.iter().position(|(name, _)| *name == short)?;
    1u64.checked_shl(u32::try_from(at).ok()?)
}

/// The long name of the first flag.
pub fn first_long_name(flags: u64) -> Option<&'static str> {
    bits(flags).next().and_then(|bit| FLAGS.get(bit as usize)).map(|(_, long)| *long)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn flags_read_as_in_envoys_access_logs() {
        assert_eq!(names(0), "");
        assert_eq!(names(1 << 5 | 1 << 15), "UF,URX");
        assert_eq!(names(1 << 14), "DC");
        assert_eq!(names(1 << 63 | 1), "LH,63");
        assert_eq!(first_long_name(1 << 14), Some("DownstreamConnectionTermination"));
        assert_eq!(first_long_name(0), None);
        assert_eq!(first_long_name(1 << 40), None);
    }
}
