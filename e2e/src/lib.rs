//! otelmesh against real parts.
