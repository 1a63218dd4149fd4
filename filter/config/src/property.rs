//! The path of an Envoy attribute. In: text with dots between the names, or a list of names, since some names have dots:
//! those of metadata, `filter_metadata` → `com.example.team`. Out: the names. Refuses a path with a name that is empty or
//! would be two for Envoy.

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::read::{Read, Refusal};

/// A path, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a path: text such as xds.cluster_name, or a list of names")]
pub enum PropertyPath {
    /// Names with dots between them.
    Dotted(String),
    /// Names that may have dots.
    Names(Vec<String>),
}

// === impl PropertyPath ===

impl PropertyPath {
    /// Its names; `None` if one of them cannot be.
    pub fn names(&self) -> Option<Vec<String>> {
        let names = match self {
            Self::Dotted(path) => path.split('.').map(str::to_owned).collect(),
            Self::Names(names) => names.clone(),
        };
        // Envoy takes a path as one text with NUL between the names.
        let is_whole = !names.is_empty() && names.iter().all(|name| !name.is_empty() && !name.contains('\0'));
        is_whole.then_some(names)
    }
}

impl Read for PropertyPath {
    fn read(json: Json<'_>) -> Result<Self, Refusal> {
        match json {
            Json::Text(path) => Ok(Self::Dotted(path)),
            Json::List(_) => Read::read(json).map(Self::Names),
            _ => Err(Refusal::of("expected a path: text such as xds.cluster_name, or a list of names")),
        }
    }
}
