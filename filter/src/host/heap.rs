//! Memory for a module with one thread. In: layouts. Out: blocks of what most of them are: small, of a few sizes, and soon
//! given back. Each size has a list of free blocks, so that a block costs a dozen instructions instead of a hundred; an
//! exchange takes some forty of them. What is larger goes to `talc`, which also has what blocks are cut from. Free blocks stay with their size:
//! memory is bounded by the most that was ever in use of each.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

#[cfg(not(target_os = "wasi"))]
use std::alloc::System;
#[cfg(target_os = "wasi")]
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

/// Blocks are multiples of this, and aligned to it.
const GRAIN: usize = 16;
/// The largest block is of so many grains.
const SIZES: usize = 64;
/// What blocks are cut from.
const CHUNK: usize = 16 * 1024;

#[cfg(target_os = "wasi")]
static LARGE: WasmDynamicTalc = new_wasm_dynamic_allocator();
/// Stands for it in tests.
#[cfg(not(target_os = "wasi"))]
static LARGE: System = System;

/// The allocator.
pub(crate) struct Heap(UnsafeCell<State>);

struct State {
    /// Of each size, the first free block; each holds the address of the next.
    free: [*mut u8; SIZES],
    /// What is left of the chunk.
    rest: *mut u8,
    left: usize,
}

// SAFETY: the module has one thread. Tests do not share theirs.
unsafe impl Sync for Heap {}

// === impl Heap ===

impl Heap {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(State { free: [ptr::null_mut(); SIZES], rest: ptr::null_mut(), left: 0 }))
    }
}

/// Which size a layout takes; `None` where it is too large.
fn size(layout: Layout) -> Option<usize> {
    let grains = layout.size().div_ceil(GRAIN).max(1);
    (grains <= SIZES && layout.align() <= GRAIN).then(|| grains.saturating_sub(1))
}

// SAFETY: a block is in one list or with its owner, never both; blocks do not overlap, since each is cut off the chunk's
// rest; they are as large as their size says, and aligned, since chunks and sizes are multiples of the grain.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = size(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { LARGE.alloc(layout) };
        };
        // SAFETY: one thread, and nothing below comes back here.
        let state = unsafe { &mut *self.0.get() };
        let Some(first) = state.free.get_mut(size) else { return ptr::null_mut() };
        if !first.is_null() {
            let block = *first;
            // SAFETY: a free block holds the address of the next.
            *first = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let len = size.saturating_add(1).saturating_mul(GRAIN);
        if state.left < len {
            let Ok(chunk) = Layout::from_size_align(CHUNK, GRAIN) else { return ptr::null_mut() };
            // SAFETY: the layout is not empty.
            state.rest = unsafe { LARGE.alloc(chunk) };
            // What was left of the last chunk is lost, a block of the largest size at most.
            state.left = if state.rest.is_null() { 0 } else { CHUNK };
            if state.left == 0 {
                return ptr::null_mut();
            }
        }
        let block = state.rest;
        // SAFETY: within the chunk.
        state.rest = unsafe { block.add(len) };
        state.left = state.left.saturating_sub(len);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(size) = size(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { LARGE.dealloc(block, layout) };
        };
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *self.0.get() };
        if let Some(first) = state.free.get_mut(size) {
            // SAFETY: the block is free, and holds a grain at least.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // SAFETY: the caller promises that `len`, rounded up to the alignment, is a valid size.
        let new = unsafe { Layout::from_size_align_unchecked(len, layout.align()) };
        match (size(layout), size(new)) {
            (Some(now), Some(then)) if now == then => block,
            // SAFETY: the caller's promise.
            (None, None) => unsafe { LARGE.realloc(block, layout, len) },
            // SAFETY: both blocks have as much as is copied.
            _ => unsafe {
                let to = self.alloc(new);
                if !to.is_null() {
                    ptr::copy_nonoverlapping(block, to, layout.size().min(len));
                    self.dealloc(block, layout);
                }
                to
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// A block, and what was written into it.
    struct Block {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    fn fill(block: &Block) {
        // SAFETY: ours, and as large.
        unsafe { block.at.write_bytes(block.mark, block.layout.size()) };
    }

    fn assert_kept(block: &Block, len: usize) {
        // SAFETY: ours, and as large.
        let bytes = unsafe { std::slice::from_raw_parts(block.at, len) };
        assert!(bytes.iter().all(|byte| *byte == block.mark), "a block of {len} bytes was written over");
    }

    #[test]
    fn blocks_never_overlap_and_keep_what_is_in_them() {
        let heap = Heap::new();
        let mut random = crate::propagation::id::Generator::seeded([7; 32]);
        let mut blocks: Vec<Block> = Vec::new();
        for n in 0..20_000u32 {
            let number = random.number();
            let len = 1 + (number >> 8) as usize % if number & 0xf == 0 { 5000 } else { 300 };
            match number & 3 {
                0 | 1 => {
                    let layout = Layout::from_size_align(len, 1 << (number >> 4 & 5)).unwrap();
                    // SAFETY: the layout is not empty.
                    let block = Block { at: unsafe { heap.alloc(layout) }, layout, mark: n as u8 };
                    assert_eq!(block.at.align_offset(layout.align()), 0);
                    fill(&block);
                    blocks.push(block);
                }
                2 if !blocks.is_empty() => {
                    let block = blocks.swap_remove(number as usize % blocks.len());
                    assert_kept(&block, block.layout.size());
                    // SAFETY: from this heap, with this layout.
                    unsafe { heap.dealloc(block.at, block.layout) };
                }
                3 if !blocks.is_empty() => {
                    let at = number as usize % blocks.len();
                    let block = &mut blocks[at];
                    let kept = len.min(block.layout.size());
                    // SAFETY: from this heap, with this layout.
                    block.at = unsafe { heap.realloc(block.at, block.layout, len) };
                    block.layout = Layout::from_size_align(len, block.layout.align()).unwrap();
                    assert_kept(block, kept);
                    fill(block);
                }
                _ => {}
            }
        }
        for block in blocks {
            assert_kept(&block, block.layout.size());
            // SAFETY: from this heap, with this layout.
            unsafe { heap.dealloc(block.at, block.layout) };
        }
    }

    #[test]
    fn a_block_that_was_given_back_is_given_out_again() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: layouts are not empty, blocks are the heap's own.
        unsafe {
            let first = heap.alloc(layout);
            heap.dealloc(first, layout);
            assert_eq!(heap.alloc(Layout::from_size_align(112, 16).unwrap()), first, "112 bytes are the same size");
            assert_ne!(heap.alloc(layout), first);
        }
    }
}
