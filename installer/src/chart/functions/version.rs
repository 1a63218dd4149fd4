//! Versions compared, as far as the chart's templates do it.
//!
//! In: one constraint such as `>=1.30-0`, and a version. Out: whether it holds. What follows a dash is left out of account
//! on both sides, as it is in Helm where the constraint ends in `-0`. Refuses other constraints.

use gotmpl::Value;

use super::{Outcome, arguments, error, text};

pub(super) fn semver_compare(args: &[Value]) -> Outcome {
    let [constraint, version] = arguments("semverCompare", args)?;
    let (constraint, version) = (text("semverCompare", constraint)?, text("semverCompare", version)?);
    let bound = constraint.strip_prefix(">=").and_then(|bound| bound.strip_suffix("-0")).and_then(numbers);
    let bound = bound.ok_or_else(|| error(format!("semverCompare knows no constraint {constraint:?}")))?;
    let version = numbers(version).ok_or_else(|| error(format!("Invalid Semantic Version: {version:?}")))?;
    Ok(Value::Bool(version >= bound))
}

/// Major, minor and patch; what is missing is zero.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.strip_prefix('v').unwrap_or(version).split(['-', '+']).next()?;
    let mut numbers = [0; 3];
    for (i, part) in plain.split('.').enumerate() {
        *numbers.get_mut(i)? = part.parse().ok()?;
    }
    Some(numbers)
}
