//! `otelmesh-guard IN OUT`: puts the guard into a module.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let [from, to] = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .try_into()
        .or_else(|args: Vec<PathBuf>| bail!("usage: otelmesh-guard IN OUT, and not {} arguments", args.len()))?;
    let module = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
    let guarded = otelmesh_guard::guard(&module).with_context(|| format!("cannot guard {}", from.display()))?;
    std::fs::write(&to, guarded).with_context(|| format!("cannot write {}", to.display()))
}
