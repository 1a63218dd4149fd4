//! What records must not say.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_VALUE_BYTES;
use crate::read::{object, words};

/// What is taken out of spans and logs, beside user names and passwords in hosts and the values of query keys that sign
/// requests, which always are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Redaction {
    /// Further query keys whose values are replaced; at most 64.
    pub query_keys: Vec<String>,
    /// Whether queries are left out altogether.
    pub drop_query: bool,
    /// Path templates: what stands for their parameters is replaced; the first that matches counts, at most 64.
    pub paths: Vec<String>,
    /// How much of a client's address is told.
    pub client_address: ClientAddress,
    /// Longest path, host or user agent in bytes, 64 to 2048; the rest is cut.
    pub max_value_bytes: u32,
}

/// How much of a client's address is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ClientAddress {
    /// All of it.
    #[default]
    Keep,
    /// Its network: the /24 of IPv4, the /48 of IPv6, and no port.
    Truncate,
    /// Nothing.
    Drop,
}

object!(Redaction {
    query_keys = "queryKeys",
    drop_query = "dropQuery",
    paths = "paths",
    client_address = "clientAddress",
    max_value_bytes = "maxValueBytes",
});
words!(ClientAddress { Keep = "keep", Truncate = "truncate", Drop = "drop" });

// === impl Redaction ===

impl Default for Redaction {
    fn default() -> Self {
        Self {
            query_keys: Vec::new(),
            drop_query: false,
            paths: Vec::new(),
            client_address: ClientAddress::Keep,
            max_value_bytes: MAX_VALUE_BYTES as u32,
        }
    }
}
