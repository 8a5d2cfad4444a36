//! The `.if` blocks of a file: a tree, since they stand inside each other.

use std::ops::Range;

/// `HAProxy`'s `MAXNESTEDCONDS`.
const MAX_NESTED: usize = 100;

/// An `.if` with everything up to its `.endif`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// The `.if`, every `.elif` and the `.else`, in order.
    pub branches: Vec<Branch>,
    /// The line of its `.endif`; `None` if the file ends before.
    pub endif: Option<u32>,
}

/// One branch of a block: its directive and the lines up to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The line of `.if`, `.elif` or `.else`, from 1.
    pub line: u32,
    /// Whether its lines count, as far as this block decides it.
    pub taken: bool,
    /// The blocks among its lines.
    pub inner: Vec<Conditional>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    /// The lines count.
    Taken,
    /// No branch was taken yet: a later `.elif` or `.else` may be.
    Untried,
    /// Another branch was taken, or the whole block stands in a dropped one.
    Over,
}

#[derive(Clone, Debug)]
struct Block {
    state: State,
    after_else: bool,
    /// Where its `.if` is written, and on which line.
    opened: (u32, Range<usize>),
    /// Its branches before the one that is open.
    branches: Vec<Branch>,
    open: Branch,
}

impl Block {
    fn close(mut self, endif: Option<u32>) -> Conditional {
        self.branches.push(self.open);
        Conditional { branches: self.branches, endif }
    }
}

/// Why a directive does not fit where it stands.
#[derive(Copy, Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Misfit {
    #[error("no `.if` is open here")]
    Lone,
    #[error("this block already has an `.else`")]
    AfterElse,
    #[error("more than {MAX_NESTED} `.if` blocks are nested")]
    TooDeep,
}

/// The blocks of one file while it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    /// Those that are open, outermost first.
    open: Vec<Block>,
    /// The outermost ones that are closed.
    closed: Vec<Conditional>,
    /// How many more are open than may be: they are counted and decide nothing.
    too_deep: usize,
}

impl Blocks {
    /// Whether a line here counts.
    pub fn active(&self) -> bool {
        self.open.iter().all(|block| block.state == State::Taken)
    }

    /// Whether the directive of the innermost block stands where lines count.
    pub fn active_outside(&self) -> bool {
        let outer = self.open.len().saturating_sub(1);
        self.open[..outer].iter().all(|block| block.state == State::Taken)
    }

    /// Opens a block; the condition is only asked where lines count.
    pub fn open(&mut self, at: (u32, Range<usize>), condition: impl FnOnce() -> bool) -> Result<(), Misfit> {
        if self.open.len() + 1 >= MAX_NESTED {
            self.too_deep += 1;
            // HAProxy reads no further: the first one is the problem.
            return if self.too_deep == 1 { Err(Misfit::TooDeep) } else { Ok(()) };
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

    /// `.elif`; the condition is only asked if no branch was taken yet.
    pub fn otherwise_if(&mut self, line: u32, condition: impl FnOnce() -> bool) -> Result<(), Misfit> {
        if self.too_deep > 0 {
            return Ok(());
        }
        let holds = self.before_else()?.state == State::Untried && condition();
        self.next_branch(line, holds)
    }

    /// `.else`.
    pub fn otherwise(&mut self, line: u32) -> Result<(), Misfit> {
        if self.too_deep > 0 {
            return Ok(());
        }
        let holds = self.before_else()?.state == State::Untried;
        self.next_branch(line, holds)?;
        self.before_else()?.after_else = true;
        Ok(())
    }

    fn next_branch(&mut self, line: u32, holds: bool) -> Result<(), Misfit> {
        let block = self.before_else()?;
        block.state = match block.state {
            State::Untried if holds => State::Taken,
            State::Untried => State::Untried,
            State::Taken | State::Over => State::Over,
        };
        let next = Branch { line, taken: block.state == State::Taken, inner: Vec::new() };
        block.branches.push(std::mem::replace(&mut block.open, next));
        Ok(())
    }

    /// `.endif`.
    pub fn close(&mut self, line: u32) -> Result<(), Misfit> {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return Ok(());
        }
        let block = self.open.pop().ok_or(Misfit::Lone)?;
        self.keep(block.close(Some(line)));
        Ok(())
    }

    fn keep(&mut self, conditional: Conditional) {
        match self.open.last_mut() {
            Some(outer) => outer.open.inner.push(conditional),
            None => self.closed.push(conditional),
        }
    }

    /// All blocks, and where those were opened that the file leaves open.
    pub fn finish(mut self) -> (Vec<Conditional>, Vec<(u32, Range<usize>)>) {
        let left_open = self.open.iter().map(|block| block.opened.clone()).collect();
        while let Some(block) = self.open.pop() {
            self.keep(block.close(None));
        }
        (self.closed, left_open)
    }

    fn before_else(&mut self) -> Result<&mut Block, Misfit> {
        let block = self.open.last_mut().ok_or(Misfit::Lone)?;
        if block.after_else { Err(Misfit::AfterElse) } else { Ok(block) }
    }
}
