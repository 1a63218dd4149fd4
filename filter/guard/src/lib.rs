//! Catches the filter's panics at the border to Envoy.
//!
//! In: the module as rustc links it, where a panic ends in a call of `otelmesh_throw`, which traps. Envoy answers every
//! request of a worker whose VM has trapped with 503. Out: the same module, in which `otelmesh_throw` throws a WebAssembly
//! exception instead, and every callback catches it, calls `otelmesh_caught`, and answers what lets traffic go on. Stable
//! Rust has no exceptions on WebAssembly, so they are put in here. Refuses a module that is not laid out as rustc does it.
//!
//! Nothing is unwound: destructors do not run, and what a callback had borrowed stays borrowed, which is how the filter
//! knows to stay away from it. A real trap, such as of a stack that overflows, is none of this and stays one.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, CodeSection, ExportSection, Function, FunctionSection, Instruction, Module, RawSection, SectionId,
    TagKind, TagSection, TagType, TypeSection, ValType,
};
use wasmparser::{ExternalKind, FuncType, KnownCustom, Name, NameMap, Naming, Parser, Payload, TypeRef};

/// What a panic calls last.
const THROW: &str = "otelmesh_throw";
/// What is called when a panic was caught.
const CAUGHT: &str = "otelmesh_caught";
/// What rustc exports and only the module itself needs: these two, and what stands in for the C library's `getenv`.
const INNER: [&str; 3] = [THROW, CAUGHT, "getenv"];
/// What never runs, by a part of its mangled name: how the standard library's own panic hook, which the filter replaces
/// before anything else, prints a backtrace. It is a thirtieth of the module, and its linker cannot know.
const NEVER: [&str; 1] = ["16DisplayBacktrace"];
/// How Envoy's callbacks begin.
const CALLBACK: &str = "proxy_on_";
/// Callbacks whose answer means "go on" or "done" where it is 1; of all others it is 0.
const ANSWER_ONE: [&str; 3] = ["proxy_on_configure", "proxy_on_done", "proxy_on_vm_start"];
/// Where rustc keeps the pointer to its stack in memory: the first global.
const STACK_POINTER: u32 = 0;

/// What has to be known of a module before it is written again.
#[derive(Default)]
struct Layout {
    types: Vec<FuncType>,
    imported: u32,
    /// The type of each function that is not imported.
    functions: Vec<u32>,
    /// Exported functions.
    exports: BTreeMap<String, u32>,
    /// Functions that never run, where the module has names.
    never: Vec<u32>,
    has_stack_pointer: bool,
}

/// Puts the guard into a module.
///
/// # Errors
/// The module is malformed, or is not laid out as the filter is.
pub fn guard(module: &[u8]) -> Result<Vec<u8>> {
    let layout = Layout::of(module)?;
    let find = |name| layout.exports.get(name).copied().with_context(|| format!("the module exports no {name}"));
    let (throw, caught) = (find(THROW)?, find(CAUGHT)?);
    let callbacks: Vec<(&str, u32)> = layout
        .exports
        .iter()
        .filter(|(name, _)| name.starts_with(CALLBACK))
        .map(|(name, index)| (name.as_str(), *index))
        .collect();
    ensure!(!callbacks.is_empty(), "the module exports no {CALLBACK}*");
    ensure!(layout.has_stack_pointer, "the module's first global is no stack pointer");
    let first_wrapper = layout.imported + u32::try_from(layout.functions.len())?;
    let tag_type = u32::try_from(layout.types.len())?;

    let mut out = Module::new();
    let mut code = CodeSection::new();
    let mut has_tag = false;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let id = payload.as_section().map(|(id, _)| id);
        // Tags stand between memories and globals.
        if !has_tag && id.is_some_and(|id| id >= SectionId::Global as u8 && id != SectionId::Tag as u8) {
            let tags = TagType { kind: TagKind::Exception, func_type_idx: tag_type };
            out.section(TagSection::new().tag(tags));
            has_tag = true;
        }
        match payload {
            Payload::TypeSection(reader) => {
                let mut types = TypeSection::new();
                RoundtripReencoder.parse_type_section(&mut types, reader)?;
                types.ty().function([], []);
                out.section(&types);
            }
            Payload::FunctionSection(_) => {
                let mut functions = FunctionSection::new();
                for index in &layout.functions {
                    functions.function(*index);
                }
                for (_, index) in &callbacks {
                    functions.function(layout.type_of(*index)?.0);
                }
                out.section(&functions);
            }
            Payload::ExportSection(reader) => {
                let mut exports = ExportSection::new();
                for export in reader {
                    let export = export?;
                    let is_function = export.kind == ExternalKind::Func;
                    let wrapper = callbacks.iter().position(|(name, _)| is_function && *name == export.name);
                    let index =
                        wrapper.map_or(Ok(export.index), |at| u32::try_from(at).map(|at| first_wrapper + at))?;
                    if !INNER.contains(&export.name) {
                        exports.export(export.name, export.kind.into(), index);
                    }
                }
                out.section(&exports);
            }
            Payload::CodeSectionStart { .. } => {}
            Payload::CodeSectionEntry(body) => {
                let index = layout.imported + code.len();
                let instead = match index {
                    index if index == throw => Some(Instruction::Throw(0)),
                    index if layout.never.contains(&index) => Some(Instruction::Unreachable),
                    _ => None,
                };
                match instead {
                    Some(instruction) => {
                        let mut function = Function::new([]);
                        function.instruction(&instruction).instruction(&Instruction::End);
                        code.function(&function);
                    }
                    None => drop(code.raw(bytes(module, body.range())?)),
                }
                if code.len() as usize == layout.functions.len() {
                    for (name, index) in &callbacks {
                        code.function(&wrapper(name, *index, layout.type_of(*index)?.1, caught)?);
                    }
                    out.section(&code);
                }
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    out.section(&RawSection { id, data: bytes(module, range)? });
                }
            }
        }
    }
    ensure!(has_tag, "the module has no code");
    Ok(out.finish())
}

fn bytes(module: &[u8], range: Range<u64>) -> Result<&[u8]> {
    let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
    module.get(range).context("a section ends behind the module")
}

/// A callback that calls the one it stands for, and catches what that throws.
fn wrapper(name: &str, index: u32, signature: &FuncType, caught: u32) -> Result<Function> {
    let params = u32::try_from(signature.params().len())?;
    let block = match signature.results() {
        [] => BlockType::Empty,
        [wasmparser::ValType::I32] => BlockType::Result(ValType::I32),
        _ => bail!("{name} answers something else than a number"),
    };
    let mut function = Function::new([(1, ValType::I32)]);
    function.instruction(&Instruction::GlobalGet(STACK_POINTER)).instruction(&Instruction::LocalSet(params));
    // The older form of exceptions: it is the one that every V8 since 2021 knows.
    function.instruction(&Instruction::Try(block));
    for param in 0..params {
        function.instruction(&Instruction::LocalGet(param));
    }
    function.instruction(&Instruction::Call(index));
    function.instruction(&Instruction::Catch(0));
    function.instruction(&Instruction::LocalGet(params)).instruction(&Instruction::GlobalSet(STACK_POINTER));
    function.instruction(&Instruction::Call(caught));
    if !signature.results().is_empty() {
        function.instruction(&Instruction::I32Const(i32::from(ANSWER_ONE.contains(&name))));
    }
    function.instruction(&Instruction::End).instruction(&Instruction::End);
    Ok(function)
}

// === impl Layout ===

impl Layout {
    fn of(module: &[u8]) -> Result<Self> {
        let mut layout = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(reader) => {
                    layout.types = reader.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) => layout.imported += 1,
                            other => bail!("the module imports {other:?}, which is no function"),
                        }
                    }
                }
                Payload::FunctionSection(reader) => layout.functions = reader.into_iter().collect::<Result<_, _>>()?,
                Payload::TagSection(_) => bail!("the module has exceptions of its own"),
                Payload::GlobalSection(reader) => {
                    let first = reader.into_iter().next().transpose()?;
                    layout.has_stack_pointer = first
                        .is_some_and(|g| g.ty.mutable && g.ty.content_type == wasmparser::ValType::I32 && !g.ty.shared);
                }
                Payload::ExportSection(reader) => {
                    for export in reader {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            layout.exports.insert(export.name.to_owned(), export.index);
                        }
                    }
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        for names in names {
                            if let Name::Function(names) = names? {
                                layout.take_names(names)?;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(layout)
    }

    fn take_names(&mut self, names: NameMap<'_>) -> Result<()> {
        for name in names {
            let Naming { index, name } = name?;
            if NEVER.iter().any(|never| name.contains(never)) {
                self.never.push(index);
            }
        }
        Ok(())
    }

    /// The type of a function that is not imported, and its number.
    fn type_of(&self, index: u32) -> Result<(u32, &FuncType)> {
        let at = index.checked_sub(self.imported).context("a callback is imported")?;
        let number = *self.functions.get(at as usize).context("a callback does not exist")?;
        Ok((number, self.types.get(number as usize).context("a function has no type")?))
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::{Validator, WasmFeatures};

    use super::*;

    const MODULE: &str = r#"(module
        (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (global (mut i32) (i32.const 1024))
        (func (export "otelmesh_throw") unreachable)
        (func (export "otelmesh_caught"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call 1) (i32.const 0))
        (func (export "proxy_on_log") (param i32))
        (func (export "_initialize")))"#;

    fn guarded(text: &str) -> Result<Vec<u8>> {
        guard(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn a_guarded_module_is_valid_and_offers_what_it_offered() {
        let module = guarded(MODULE).unwrap();
        Validator::new_with_features(WasmFeatures::default() | WasmFeatures::LEGACY_EXCEPTIONS)
            .validate_all(&module)
            .unwrap();
        let layout_of = |module: &[u8]| {
            let mut exports = Vec::new();
            for payload in Parser::new(0).parse_all(module) {
                if let Payload::ExportSection(reader) = payload.unwrap() {
                    exports.extend(reader.into_iter().map(|export| export.unwrap().name.to_owned()));
                }
            }
            exports
        };
        assert_eq!(layout_of(&module), ["memory", "proxy_on_request_headers", "proxy_on_log", "_initialize"]);
    }

    #[test]
    fn a_module_that_is_laid_out_in_another_way_is_refused() {
        // What is replaced, by what, words of the error.
        for (from, to, words) in [
            ("otelmesh_throw", "x", "otelmesh_throw"),
            ("otelmesh_caught", "x", "otelmesh_caught"),
            ("proxy_on_", "on_", "proxy_on_"),
            ("(global (mut i32) (i32.const 1024))", "", "stack pointer"),
            ("(global (mut i32) (i32.const 1024))", "(global i32 (i32.const 1024))", "stack pointer"),
            ("(memory", "(tag) (memory", "exceptions of its own"),
        ] {
            let error = guarded(&MODULE.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{to}: {error:#}");
        }
        assert!(guard(b"rubbish").is_err());
        // What is guarded already would be caught twice.
        assert!(guard(&guarded(MODULE).unwrap()).is_err());
    }

    #[test]
    fn what_never_runs_is_gone_and_all_else_is_kept() {
        let with = |name: &str| {
            let long = "(drop (call 0 (i32.const 1) (i32.const 2) (i32.const 3)))".repeat(100);
            MODULE.replace(
                "(func (export \"_initialize\"))",
                &format!("(func ${name} {long}) (func (export \"_initialize\"))"),
            )
        };
        let never = guarded(&with("std16DisplayBacktrace3fmt")).unwrap();
        let other = guarded(&with("std9Backtrace3fmt")).unwrap();
        assert!(
            never.len() + 800 < other.len() && other.len() > with("f").len() / 8,
            "{} {}",
            never.len(),
            other.len()
        );
        for module in [never, other] {
            let features = WasmFeatures::default() | WasmFeatures::LEGACY_EXCEPTIONS;
            Validator::new_with_features(features).validate_all(&module).unwrap();
        }
    }
}
