//! The `.if` blocks that are open at a line.

use std::ops::Range;

/// `HAProxy`'s `MAXNESTEDCONDS`.
const MAX_NESTED: usize = 100;

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
}

/// Why a directive does not fit where it stands.
#[derive(Copy, Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Misfit {
    #[error("no `.if` is open here")]
    Lone,
    #[error("the `.else` of this block came before")]
    AfterElse,
    #[error("more than {MAX_NESTED} `.if` inside each other")]
    TooDeep,
}

/// The open blocks of one file, outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks(Vec<Block>);

impl Blocks {
    /// Whether a line here counts.
    pub fn active(&self) -> bool {
        self.0.iter().all(|block| block.state == State::Taken)
    }

    /// Whether the directive of the innermost block stands where lines count.
    pub fn active_outside(&self) -> bool {
        let outer = self.0.len().saturating_sub(1);
        self.0[..outer].iter().all(|block| block.state == State::Taken)
    }

    /// Opens a block; the condition is only asked where lines count.
    pub fn open(&mut self, at: (u32, Range<usize>), condition: impl FnOnce() -> bool) -> Result<(), Misfit> {
        if self.0.len() + 1 >= MAX_NESTED {
            return Err(Misfit::TooDeep);
        }
        let state = match self.active() {
            true if condition() => State::Taken,
            true => State::Untried,
            false => State::Over,
        };
        self.0.push(Block { state, after_else: false, opened: at });
        Ok(())
    }

    /// `.elif`; the condition is only asked if no branch was taken yet.
    pub fn otherwise_if(&mut self, condition: impl FnOnce() -> bool) -> Result<(), Misfit> {
        let block = self.before_else()?;
        block.state = match block.state {
            State::Untried if condition() => State::Taken,
            State::Untried => State::Untried,
            State::Taken | State::Over => State::Over,
        };
        Ok(())
    }

    /// `.else`.
    pub fn otherwise(&mut self) -> Result<(), Misfit> {
        let block = self.before_else()?;
        block.after_else = true;
        block.state = if block.state == State::Untried { State::Taken } else { State::Over };
        Ok(())
    }

    /// `.endif`.
    pub fn close(&mut self) -> Result<(), Misfit> {
        self.0.pop().map(drop).ok_or(Misfit::Lone)
    }

    /// Where the blocks were opened that the file leaves open.
    pub fn left_open(self) -> impl Iterator<Item = (u32, Range<usize>)> {
        self.0.into_iter().map(|block| block.opened)
    }

    fn before_else(&mut self) -> Result<&mut Block, Misfit> {
        let block = self.0.last_mut().ok_or(Misfit::Lone)?;
        if block.after_else { Err(Misfit::AfterElse) } else { Ok(block) }
    }
}
