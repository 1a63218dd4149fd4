//! Everything behind the `otelmesh` command.
