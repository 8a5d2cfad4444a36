//! Takes lanes back, and says what is true where that cannot be done.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::wait::{Waited, until};
use super::{Deploy, Failure};
use crate::event::Fact;
use crate::ids::ServerId;
use crate::journal::Record;
use crate::observation::AdminState;
use crate::outcome::{Outcome, Stranded};
use crate::plan::undo::{Care, undo};
use crate::plan::{LaneServer, Step};
use crate::ports::{ContainerEngine, Journal, LoadBalancer, Prober, WallClock};

/// How often, and how long, a step of an undo is tried: an engine or a load balancer that is just being
/// restarted comes back within this.
const TRY_EVERY: Duration = Duration::from_millis(500);
const TRY_FOR: Duration = Duration::from_secs(30);

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, J: Journal> Deploy<'_, L, E, P, C, J> {
    /// Takes a lane back as far as it was begun. Nobody's wish to stop interrupts it.
    pub(super) async fn undo_lane(&mut self, lane: usize, care: Care) -> Result<(), Failure> {
        let Some(begun) = self.begun.get(&lane).cloned() else { return Ok(()) };
        let stop = std::mem::take(&mut self.stop);
        let undone = self.undo_steps(lane, &begun, care).await;
        self.stop = stop;
        undone?;
        self.begun.remove(&lane);
        let at = self.world.clock.now();
        if let Err(error) = self.journal.append(&Record::Undone { at, lane }).await {
            // The world is as it was; that the journal does not say so must not stop what is left to undo.
            self.tell(Fact::Warned { message: error.to_string() });
        }
        Ok(())
    }

    async fn undo_steps(&mut self, lane: usize, begun: &[Step], care: Care) -> Result<(), Failure> {
        for step in undo(&self.plan.lanes[lane], begun, care) {
            match (step, care) {
                (Step::AwaitIdle, Care::Failed) => match self.effect(lane, step).await {
                    Err(Failure::DrainTimedOut { .. } | Failure::Reloaded { .. }) => {}
                    result => result?,
                },
                // It serves: where it cannot be taken away without loss, it goes on serving.
                (Step::Verify | Step::AwaitIdle | Step::Settle, Care::Serving) => {
                    if let Err(failure) = self.effect(lane, step).await {
                        self.insist(lane, Step::Ready).await?;
                        return Err(failure);
                    }
                }
                (Step::ProveOld, _) => self.effect(lane, step).await?,
                _ => self.insist(lane, step).await?,
            }
        }
        Ok(())
    }

    /// Tries a step again and again for a while.
    async fn insist(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        let mut last = Failure::Stopped;
        let never = CancellationToken::new();
        let waited = until(TRY_EVERY, TRY_FOR, &never, async || match self.effect(lane, step).await {
            Ok(()) => Ok::<_, Failure>(Some(())),
            Err(failure) => {
                last = failure;
                Ok(None)
            }
        });
        match waited.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => Err(last),
        }
    }

    /// Takes these lanes back, in this order. `failed` are lanes that are taken back already.
    pub(super) async fn roll_back(&mut self, lanes: &[usize], reason: String, failed: Vec<usize>) -> Outcome {
        let mut stranded = Vec::new();
        let mut undone = failed;
        for &lane in lanes {
            let touched = self.traffic_touched(lane);
            let servers = self.plan.lanes[lane].ids();
            if touched {
                self.tell(Fact::UndoStarted { servers: servers.clone() });
            }
            match self.undo_lane(lane, Care::Serving).await {
                Ok(()) if touched => {
                    undone.push(lane);
                    self.tell(Fact::Undone { servers });
                }
                Ok(()) => {}
                Err(error) => stranded.push((lane, error)),
            }
        }
        let after = undone.iter().max().map_or(0, |last| last + 1);
        self.discard_from(after).await;
        if stranded.is_empty() {
            self.rolled_back(reason, &undone, &[])
        } else {
            self.stuck(reason, &stranded).await
        }
    }

    pub(super) fn rolled_back(&self, reason: String, undone: &[usize], kept: &[usize]) -> Outcome {
        let lanes =
            |indices: &'_ [usize]| indices.iter().map(|index| &self.plan.lanes[*index]).collect::<Vec<_>>();
        let kept = lanes(kept).into_iter().flat_map(crate::plan::Lane::ids).collect();
        let mut left_out = Vec::new();
        for lane in lanes(undone) {
            let in_maint = |server: &&LaneServer| lane.state_after_undo(server) == AdminState::Maint;
            left_out.extend(lane.servers.iter().filter(in_maint).map(|server| server.id.clone()));
        }
        Outcome::RolledBack { reason, kept, left_out }
    }

    /// Removes the candidates of the lanes that were never reached.
    pub(super) async fn discard_from(&mut self, first: usize) {
        for lane in first..self.plan.lanes.len() {
            if let Err(error) = self.undo_lane(lane, Care::Failed).await {
                self.tell(Fact::Warned {
                    message: format!("a container that was only created is left: {error}"),
                });
            }
        }
    }

    /// The container's last words, where there is a new container.
    pub(super) async fn log_of_new(&self, lane: usize) -> Vec<String> {
        /// More than a screen helps nobody at three in the morning.
        const LINES: usize = 15;
        let Some(new) = self.created.get(&lane) else { return Vec::new() };
        self.world.engine.log_tail(new, LINES).await.unwrap_or_default()
    }

    /// What is true of the servers of lanes that could not be taken back, and what to do.
    pub(super) async fn stuck(&mut self, reason: String, lanes: &[(usize, Failure)]) -> Outcome {
        let seen = self.world.load_balancer.look(&self.plan.backends()).await.ok();
        let mut servers = Vec::new();
        for (index, failure) in lanes {
            let commands = self.commands(*index);
            for server in self.plan.lanes[*index].ids() {
                let state = seen.as_ref().and_then(|seen| seen.server(&server));
                let status = state.map_or("HAProxy does not say".to_owned(), |state| {
                    format!("HAProxy has it in {}", state.status)
                });
                servers.push(Stranded {
                    truth: format!("{status}; {failure}"),
                    server,
                    commands: commands.clone(),
                });
            }
        }
        Outcome::Stuck { reason, servers }
    }

    /// The commands that bring a lane's old container back, for a person. Each may be repeated, and one
    /// whose work is done already says so and harms nothing.
    fn commands(&self, lane: usize) -> Vec<String> {
        let mut commands = Vec::new();
        if let Some(replacement) = self.replacement(lane) {
            if let Some(new) = self.created.get(&lane) {
                commands.push(format!("docker rm -f {}", new.short()));
            }
            if let Some(old) = &replacement.old {
                commands.push(format!("docker rename {} {}", old.id.short(), old.name));
                let policy = if old.restart.name.is_empty() { "no" } else { &old.restart.name };
                commands.push(format!("docker update --restart {policy} {}", old.id.short()));
                commands.push(format!("docker start {}", old.id.short()));
            }
        }
        let ready = |server: &ServerId| format!("drainswap ready {server}");
        commands.extend(self.plan.lanes[lane].ids().iter().map(ready));
        commands
    }
}
