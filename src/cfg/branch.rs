//! The `.if` blocks of a file, as a tree: blocks can be nested.

use std::ops::Range;

/// `HAProxy`'s `MAXNESTEDCONDS`.
const MAX_NESTED: usize = 100;

/// An `.if` block, up to its `.endif`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// The `.if`, every `.elif` and the `.else`, in order.
    pub branches: Vec<Branch>,
    /// The line of its `.endif`; `None` if the file ends first.
    pub endif: Option<u32>,
}

/// One branch of a block: its directive and the lines up to the next directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The line of `.if`, `.elif` or `.else`, counted from 1.
    pub line: u32,
    /// Whether its lines are active, as decided by this block alone.
    pub taken: bool,
    /// The blocks inside the branch.
    pub inner: Vec<Conditional>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    /// The lines are active.
    Taken,
    /// No branch was taken yet: a later `.elif` or `.else` may be.
    Untried,
    /// Another branch was taken, or the whole block is inside a dropped one.
    Over,
}

#[derive(Clone, Debug)]
struct Block {
    state: State,
    after_else: bool,
    /// The line and the position of its `.if`.
    opened: (u32, Range<usize>),
    /// The branches before the open one.
    branches: Vec<Branch>,
    open: Branch,
}

impl Block {
    fn close(mut self, endif: Option<u32>) -> Conditional {
        self.branches.push(self.open);
        Conditional { branches: self.branches, endif }
    }
}

/// The reason why a directive is misplaced.
#[derive(Copy, Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BranchError {
    #[error("no `.if` is open here. Remove it, or add the `.if`")]
    Lone,
    /// An `.elif` follows the `.else`.
    #[error("this block already has an `.else`. Move it before the `.else`, or remove one")]
    ElifAfterElse,
    #[error("this block already has an `.else`. Remove one")]
    SecondElse,
    #[error("more than {MAX_NESTED} `.if` blocks are nested. Nest fewer")]
    TooDeep,
}

/// The blocks of one file while it is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    /// The open blocks, outermost first.
    open: Vec<Block>,
    /// The closed outermost blocks.
    closed: Vec<Conditional>,
    /// The number of open blocks beyond the limit. They are counted but decide nothing.
    too_deep: usize,
}

impl Blocks {
    /// Returns whether a line here is active.
    pub fn active(&self) -> bool {
        self.open.iter().all(|block| block.state == State::Taken)
    }

    /// Returns whether the innermost block is itself in active lines.
    pub fn active_outside(&self) -> bool {
        let outer = self.open.len().saturating_sub(1);
        self.open[..outer].iter().all(|block| block.state == State::Taken)
    }

    /// Opens a block. Evaluates the condition only where lines are active.
    pub fn open(
        &mut self,
        at: (u32, Range<usize>),
        condition: impl FnOnce() -> bool,
    ) -> Result<(), BranchError> {
        if self.open.len() + 1 >= MAX_NESTED {
            self.too_deep += 1;
            // HAProxy stops reading here, so only the first one is reported.
            return if self.too_deep == 1 { Err(BranchError::TooDeep) } else { Ok(()) };
        }
        let state = match self.active() {
            true if condition() => State::Taken,
            true => State::Untried,
            false => State::Over,
        };
        let open = Branch { line: at.0, taken: state == State::Taken, inner: Vec::new() };
        self.open.push(Block { state, after_else: false, opened: at, branches: Vec::new(), open });
        Ok(())
    }

    /// Handles `.elif`. Evaluates the condition only if no branch was taken yet.
    pub fn begin_elif(&mut self, line: u32, condition: impl FnOnce() -> bool) -> Result<(), BranchError> {
        if self.too_deep > 0 {
            return Ok(());
        }
        let block = self.before_else(BranchError::ElifAfterElse)?;
        let holds = block.state == State::Untried && condition();
        self.next_branch(line, holds);
        Ok(())
    }

    /// Handles `.else`.
    pub fn begin_else(&mut self, line: u32) -> Result<(), BranchError> {
        if self.too_deep > 0 {
            return Ok(());
        }
        let block = self.before_else(BranchError::SecondElse)?;
        block.after_else = true;
        let holds = block.state == State::Untried;
        self.next_branch(line, holds);
        Ok(())
    }

    /// Closes the open branch of the innermost block, and opens the next one.
    fn next_branch(&mut self, line: u32, holds: bool) {
        let Some(block) = self.open.last_mut() else { return };
        block.state = match block.state {
            State::Untried if holds => State::Taken,
            State::Untried => State::Untried,
            State::Taken | State::Over => State::Over,
        };
        let next = Branch { line, taken: block.state == State::Taken, inner: Vec::new() };
        block.branches.push(std::mem::replace(&mut block.open, next));
    }

    /// Handles `.endif`.
    pub fn close(&mut self, line: u32) -> Result<(), BranchError> {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return Ok(());
        }
        let block = self.open.pop().ok_or(BranchError::Lone)?;
        self.close_conditional(block.close(Some(line)));
        Ok(())
    }

    fn close_conditional(&mut self, conditional: Conditional) {
        match self.open.last_mut() {
            Some(outer) => outer.open.inner.push(conditional),
            None => self.closed.push(conditional),
        }
    }

    /// Returns all blocks, and where the blocks that the file leaves open begin.
    pub fn finish(mut self) -> (Vec<Conditional>, Vec<(u32, Range<usize>)>) {
        let left_open = self.open.iter().map(|block| block.opened.clone()).collect();
        while let Some(block) = self.open.pop() {
            self.close_conditional(block.close(None));
        }
        (self.closed, left_open)
    }

    /// Returns the innermost block, or an error if it already has an `.else`.
    fn before_else(&mut self, after_else: BranchError) -> Result<&mut Block, BranchError> {
        let block = self.open.last_mut().ok_or(BranchError::Lone)?;
        if block.after_else { Err(after_else) } else { Ok(block) }
    }
}
