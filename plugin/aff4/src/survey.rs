//! Finding out what a set holds, one step at a time.
//!
//! ```text
//!   gather:  main ─▶ its turtle ─▶ other files, while streams are lost
//!   placing: segments ─▶ scratch;  maps ─▶ in order?
//! ```
//!
//! The directories are read at every open, up to 20 MiB for each TiB; what placing learns
//! is taken from the scratch where an earlier open left it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;

use fumehood_plugin::{Error, Host, Progress, Result, SourceHandle};

use crate::evidence::Evidence;
use crate::gather::Gather;
use crate::placing::Placing;

/// A survey, on its way or done.
pub struct Survey {
    scratch: Option<SourceHandle>,
    seed: [u8; 32],
    steps: u64,
    state: State,
}

enum State {
    Gathering(Box<Gather>),
    Placing(Box<Gather>, Box<Placing>),
    Done(Rc<Evidence>),
    /// An error ended it.
    Failed(Error),
}

impl Survey {
    /// The survey of the set that `main` belongs to.
    ///
    /// # Errors
    /// As [`Gather::new`].
    pub fn new(
        main: SourceHandle,
        host: Rc<dyn Host>,
        scratch: Option<SourceHandle>,
        seed: [u8; 32],
    ) -> Result<Self> {
        let state = State::Gathering(Box::new(Gather::new(main, host)?));
        Ok(Self { scratch, seed, steps: 0, state })
    }

    /// Goes on for a step.
    ///
    /// # Errors
    /// What is wrong with the set as a whole, or what a source answers.
    pub fn step(&mut self) -> Result<Progress> {
        self.steps += 1;
        let unknown = State::Failed(Error::OutOfRange);
        let state = core::mem::replace(&mut self.state, unknown);
        match self.go_on(state) {
            Ok(state) => self.state = state,
            Err(error) => {
                self.state = State::Failed(error.clone());
                return Err(error);
            }
        }
        let left = match &self.state {
            State::Gathering(gather) => gather.left().saturating_add(1),
            State::Placing(gather, placing) => placing.left(&gather.volumes).saturating_add(1),
            State::Done(_) | State::Failed(_) => 0,
        };
        Ok(Progress { done: self.steps, total: self.steps.saturating_add(left) })
    }

    /// What was found.
    ///
    /// # Errors
    /// Why nothing was, or [`Error::Io`] before all is done.
    pub fn evidence(&self) -> Result<Rc<Evidence>> {
        match &self.state {
            State::Done(evidence) => Ok(Rc::clone(evidence)),
            State::Failed(error) => Err(error.clone()),
            _ => Err(Error::Io("the image is not surveyed yet".into())),
        }
    }

    fn go_on(&self, state: State) -> Result<State> {
        match state {
            State::Gathering(mut gather) => {
                if gather.step()?.is_continue() {
                    return Ok(State::Gathering(gather));
                }
                let digest = gather.digest.clone();
                let placing = Placing::new(digest, self.scratch.clone(), &self.seed);
                Ok(State::Placing(gather, Box::new(placing)))
            }
            State::Placing(gather, mut placing) => {
                if placing.step(&gather.volumes, &gather.plan)?.is_continue() {
                    return Ok(State::Placing(gather, placing));
                }
                Ok(State::Done(Rc::new(Evidence {
                    volumes: gather.volumes,
                    plan: gather.plan,
                    maps: placing.maps,
                    segments: RefCell::new(placing.segments),
                    notes: gather.notes,
                })))
            }
            State::Failed(error) => Err(error),
            done => Ok(done),
        }
    }
}
