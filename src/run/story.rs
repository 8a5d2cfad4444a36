//! A run as its events describe it: the one fold that every report reads.

mod lane;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use lane::{Activity, Answer, LaneFailure, LaneState, LaneStory, Phase, PhaseKind};

use crate::model::ids::{LaneId, RunId};
use crate::model::image::Image;
use crate::plan::RunKind;
use crate::run::event::{EnginePull, Event, EventKind};
use crate::run::outcome::Outcome;

/// A run, from the events so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub run: Option<RunId>,
    pub backend: String,
    /// Whether the run deploys or rolls back.
    pub purpose: Option<RunKind>,
    /// The images that its servers get.
    pub images: Vec<Image>,
    /// The lanes of each wave: they run at the same time.
    waves: Vec<Vec<LaneId>>,
    /// The time of its first event.
    pub began: Option<Timestamp>,
    /// The time of its last event.
    pub last: Option<Timestamp>,
    /// Warnings for a person.
    pub notes: Vec<String>,
    /// The pull in progress.
    pub pulling: Option<Pulling>,
    /// The pulled images, and how long each pull took, in milliseconds.
    pub pulls: Vec<(Image, u64)>,
    /// Its lanes.
    pub lanes: BTreeMap<LaneId, LaneStory>,
    pub outcome: Option<Outcome>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A pull in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulling {
    pub image: Image,
    /// The time it started.
    pub since: Timestamp,
    /// The bytes received so far and those expected, if the engine has reported any.
    pub received: Option<(u64, u64)>,
    /// The progress of each engine, if there are several.
    pub engines: Vec<EnginePull>,
}

impl Story {
    /// Builds the story from events in their order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut story = Self::default();
        for event in events {
            story.record(event);
        }
        story
    }

    /// Adds one event. The first event of another run begins another story.
    pub fn record(&mut self, event: &Event) {
        if self.run.as_ref().is_some_and(|run| *run != event.run) {
            *self = Self::default();
        }
        self.run.get_or_insert_with(|| event.run.clone());
        self.began.get_or_insert(event.at);
        self.last = Some(event.at);
        self.record_run(event);
        self.record_pull(event);
        if let Some(id) = event.lane {
            self.lane(id).record(event);
        }
    }

    /// Returns the lanes that run at the same time as this one, and this one.
    #[must_use]
    pub fn wave_of(&self, lane: LaneId) -> Vec<LaneId> {
        let wave = self.waves.iter().find(|wave| wave.contains(&lane));
        wave.cloned().unwrap_or_else(|| vec![lane])
    }

    /// Returns the name by which people tell a lane from those that run at the same time, or `None` if it runs alone.
    #[must_use]
    pub fn name_beside_others(&self, lane: Option<LaneId>) -> Option<String> {
        let lane = lane.filter(|lane| self.wave_of(*lane).len() > 1)?;
        Some(self.lanes.get(&lane)?.name())
    }

    fn record_run(&mut self, event: &Event) {
        if let EventKind::RunStarted { backend, purpose, lanes, waves, images } = &event.kind {
            self.backend.clone_from(backend);
            self.purpose = Some(*purpose);
            self.images.clone_from(images);
            self.waves.clone_from(waves);
            for (index, servers) in lanes.iter().enumerate() {
                self.lane(LaneId::at(index)).servers.clone_from(servers);
            }
        }
        if let EventKind::Warned { message } = &event.kind {
            let name = self.name_beside_others(event.lane);
            self.notes.push(name.map_or_else(|| message.clone(), |name| format!("{name}: {message}")));
        }
        if let EventKind::RunEnded { outcome, took_ms, .. } = &event.kind {
            self.outcome = Some(outcome.clone());
            self.took_ms = *took_ms;
            self.lanes.values_mut().for_each(LaneStory::end);
        }
    }

    fn record_pull(&mut self, event: &Event) {
        if let EventKind::PullStarted { image } = &event.kind {
            let (image, since) = (image.clone(), event.at);
            self.pulling = Some(Pulling { image, since, received: None, engines: Vec::new() });
        }
        if let (EventKind::PullProgressed { received, expected, engines }, Some(pulling)) =
            (&event.kind, &mut self.pulling)
        {
            pulling.received = Some((*received, *expected));
            pulling.engines.clone_from(engines);
        }
        if let EventKind::Pulled { image, took_ms } = &event.kind {
            self.pulling = None;
            self.pulls.push((image.clone(), *took_ms));
        }
    }

    fn lane(&mut self, id: LaneId) -> &mut LaneStory {
        self.lanes.entry(id).or_insert_with(|| LaneStory::new(id))
    }
}

#[cfg(test)]
mod tests;
