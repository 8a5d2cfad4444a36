//! Executes a plan: applies its steps through the ports, one lane at a time, and journals each step.
//!
//! The plan decides what to do. This module decides only whether a step succeeded, and how much to undo if it did not.

mod address;
mod agents;
mod balancers;
pub mod carriers;
mod container;
mod drain;
pub mod engines;
mod failure;
mod hooks;
pub mod idle;
mod last_look;
pub mod late;
mod lateness;
mod outage;
mod recovery;
mod replaced;
mod rotation;
mod silence;
mod step;
mod teller;
pub mod unanswered;
pub mod wait;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use engines::Engines;
pub use failure::Failure;
use hooks::Wish;
pub use late::Tracked;
use recovery::TakenBack;
use teller::Teller;
use unanswered::TrackedEngine;
use watch::Watch;

use crate::command_line::CommandLine;
use crate::event::{Fact, Listener, Timing};
use crate::hook::Moment;
use crate::ids::{ContainerId, ServerId};
use crate::journal::{self, Record, Run};
use crate::observation::AdminState;
use crate::outcome::{Outcome, Rest, StaysOut};
use crate::plan::undo::{Care, is_replaced};
use crate::plan::{OnFailure, Plan, Replacement, Step};
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};

/// The site that a run works on, seen through the ports.
#[derive(Debug)]
pub struct World<L, E, P, C, H> {
    pub load_balancers: Vec<Tracked<L>>,
    pub engines: Engines<E>,
    pub prober: P,
    pub clock: C,
    pub hooks: H,
    /// Described containers, by backend. They hold secrets, which a plan must not contain.
    pub descriptions: BTreeMap<String, crate::service::Container>,
    /// Builds the `drainswap` commands that messages suggest.
    pub typed: CommandLine,
    pub site: journal::Site,
}

/// The two stop requests that a run can receive.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled by the first request: stop at the next safe point. A drain is aborted at once; if the old container is
    /// already stopped, the run waits for the new one to come up.
    pub asked: CancellationToken,
    /// Cancelled by the second request: undo the current lane at once.
    pub now: CancellationToken,
}

/// The failure that ended a run before any server left rotation. Containers that the run had created are removed again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Untouched(#[from] pub Failure);

/// A lane's replacement, and the engine that performs it.
type Swap<'a, E> = (&'a Replacement, &'a TrackedEngine<E>);

/// One run of one plan.
pub struct Deploy<'a, L, E, P, C, H, J> {
    plan: &'a Plan,
    world: &'a World<L, E, P, C, H>,
    journal: &'a mut J,
    stop: Stop,
    teller: Rc<Teller<'a, C>>,
    /// Detects backends that no server serves while servers are out.
    watch: Rc<Watch<'a, C>>,
    /// What each lane replaces; `None` for a lane that only puts servers back in service.
    swaps: Vec<Option<Swap<'a, E>>>,
    /// The process whose sessions are counted, by the name of its load balancer.
    workers: BTreeMap<String, u32>,
    /// Load balancers that missed changes because they did not answer.
    behind: BTreeSet<String>,
    /// Whether a lane is being undone.
    is_undoing: bool,
    /// Whether every load balancer must receive the current change, even while a lane is being undone.
    needs_all: bool,
    /// Lanes whose servers are in maint, until they are ready again or put back.
    out: BTreeSet<usize>,
    /// Lanes of an unfinished run whose old container is already back.
    back: BTreeSet<usize>,
    created: BTreeMap<usize, ContainerId>,
    begun: BTreeMap<usize, Vec<Step>>,
    /// Sessions of the lane's servers since `HAProxy` started, counted right before they were set to ready.
    sessions_before_ready: BTreeMap<ServerId, u64>,
    timing: Timing,
    /// Timings of the lanes that succeeded.
    timings: Vec<Timing>,
    left_rotation: Option<Instant>,
    /// Lanes that a hook skipped.
    skipped: BTreeSet<usize>,
    /// Current container addresses of the servers whose lines have a host name.
    sent_to: BTreeMap<ServerId, SocketAddr>,
    /// Copies of old containers that could not get their ports back.
    stand_ins: BTreeMap<usize, ContainerId>,
    /// Lanes whose old container another tool replaced.
    taken_over: BTreeSet<usize>,
    /// Lanes whose old container runs again and has been reported.
    runs_again: BTreeSet<usize>,
    /// Servers that an undo left in maint, and servers that stay in maint.
    left_out: BTreeSet<ServerId>,
    /// Servers that an undo gave their old container back.
    restored: BTreeSet<ServerId>,
    /// Anonymous volumes of new containers that had served and were removed by an undo.
    volumes_left: BTreeSet<String>,
    /// Servers that were seen with an agent that may be on.
    agents_seen: BTreeSet<ServerId>,
    /// Servers that run their new container, but are kept out of service by their agents.
    out_by_agents: Vec<StaysOut>,
    /// Stop requests already reported.
    stops_told: usize,
}

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Deploy<'a, L, E, P, C, H, J>
{
    /// Prepares a run of `plan`.
    ///
    /// # Errors
    /// Fails if an engine that the plan needs is no longer known.
    pub fn new(
        plan: &'a Plan,
        world: &'a World<L, E, P, C, H>,
        journal: &'a mut J,
        stop: Stop,
        listener: &'a mut dyn Listener,
    ) -> Result<Self, EngineError> {
        let swap = |it: &'a Replacement| world.engines.named(&it.like.engine).map(|engine| (it, engine));
        let swaps = plan.lanes.iter().map(|lane| lane.replacement.as_ref().map(swap).transpose());
        let teller = Rc::new(Teller::new(&plan.run, &world.clock, listener));
        Ok(Self {
            plan,
            world,
            swaps: swaps.collect::<Result<_, _>>()?,
            journal,
            stop,
            watch: Rc::new(Watch::new(plan, Rc::clone(&teller))),
            teller,
            workers: plan.workers.iter().map(|it| (it.load_balancer.clone(), it.pid)).collect(),
            behind: BTreeSet::new(),
            is_undoing: false,
            needs_all: false,
            out: BTreeSet::new(),
            back: BTreeSet::new(),
            created: returning(plan),
            begun: BTreeMap::new(),
            sessions_before_ready: BTreeMap::new(),
            timing: Timing::default(),
            timings: Vec::new(),
            left_rotation: None,
            skipped: BTreeSet::new(),
            sent_to: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
            runs_again: BTreeSet::new(),
            taken_over: BTreeSet::new(),
            left_out: kept_in_maint(plan),
            restored: BTreeSet::new(),
            volumes_left: BTreeSet::new(),
            agents_seen: BTreeSet::new(),
            out_by_agents: Vec::new(),
            stops_told: 0,
        })
    }

    /// Executes the plan, and rolls back if a step fails.
    ///
    /// # Errors
    /// Returns only a failure that ended the run before any server left rotation.
    pub async fn run(mut self) -> Result<Outcome, Untouched> {
        let started = Instant::now();
        let plan = self.plan;
        let opened = Record::Opened {
            version: journal::VERSION,
            pid: std::process::id(),
            plan: Box::new(plan.clone()),
            site: Some(Box::new(self.world.site.of(plan))),
        };
        self.journal.append(&opened).await.map_err(Failure::from)?;
        self.tell(Fact::RunStarted {
            backend: plan.backend.clone(),
            purpose: plan.purpose,
            lanes: plan.lanes.iter().map(crate::plan::Lane::ids).collect(),
            images: plan.images.clone(),
        });
        for message in &plan.warnings {
            self.tell(Fact::Warned { message: message.clone() });
        }
        let result = self.begin_and_work().await;
        match result {
            Ok(outcome) => Ok(self.close(outcome, started).await),
            Err(failure) => {
                self.discard_candidates().await;
                let stopped = failure == Failure::Stopped;
                let outcome = if stopped {
                    self.cancelled(&[])
                } else {
                    Outcome::Refused { reason: failure.to_string() }
                };
                self.close(outcome.clone(), started).await;
                if stopped { Ok(outcome) } else { Err(Untouched(failure)) }
            }
        }
    }

    async fn begin_and_work(&mut self) -> Result<Outcome, Failure> {
        if self.hook(Moment::BeforeRun, None).await? == Wish::Skip {
            return Ok(Outcome::Skipped);
        }
        self.prepare().await?;
        self.lanes().await
    }

    /// Rolls an unfinished run back: undoes every lane that it had begun, the last one first. A run that was already
    /// removing old containers had succeeded with those lanes, so it is finished instead.
    pub async fn take_back(mut self, unfinished: &Run) -> Outcome {
        let started = Instant::now();
        let outcome = match self.take_over(unfinished).await {
            Err(failure) => self.not_taken_over(unfinished, &failure).await,
            Ok(()) if unfinished.was_removing() => self.give_up(self.reached()).await,
            Ok(()) => self.take_all_back().await,
        };
        self.close(outcome, started).await
    }

    async fn take_all_back(&mut self) -> Outcome {
        let reason = self.not_finished();
        let lanes: Vec<_> = (0..self.plan.lanes.len()).rev().map(|lane| (lane, Care::Serving)).collect();
        let mut outcome = self.roll_back(&lanes, reason).await;
        if let Outcome::RolledBack { asked, .. } = &mut outcome {
            *asked = true;
        }
        outcome
    }

    /// Resumes an unfinished run up to the next safe point: completes the lane in progress if its old container may
    /// have been stopped, and undoes that lane otherwise. Begins no further lane.
    pub async fn bring_to_rest(mut self, unfinished: &Run) -> Outcome {
        let started = Instant::now();
        let outcome = match self.take_over(unfinished).await {
            Err(failure) => self.not_taken_over(unfinished, &failure).await,
            Ok(()) if unfinished.was_removing() => self.give_up(self.reached()).await,
            Ok(()) => self.rest(unfinished).await,
        };
        self.close(outcome, started).await
    }

    /// Reports the run as stuck without touching anything, because the engine may still carry out the run's earlier
    /// calls.
    async fn not_taken_over(&mut self, unfinished: &Run, failure: &Failure) -> Outcome {
        self.stranded(self.not_finished(), unfinished.in_hand().unwrap_or_default(), failure).await
    }

    fn not_finished(&self) -> String {
        format!("run {} was not finished", self.plan.run)
    }

    async fn rest(&mut self, unfinished: &Run) -> Outcome {
        let reason = self.not_finished();
        // Record the undo that the interrupted run could not record.
        for lane in self.back.clone() {
            if let Err(failure) = self.take_lane_back(lane, Care::Serving).await {
                return self.stuck(reason, lane, &failure).await;
            }
        }
        let left = Run { begun: self.begun.clone(), ..unfinished.clone() };
        match left.in_hand() {
            None => self.give_up(0).await,
            Some(lane) if self.can_finish(lane, &left.begun[&lane]).await => match self.rest_of(lane).await {
                Ok(()) => self.give_up(lane + 1).await,
                Err(failure) => self.after(lane, failure).await,
            },
            // If its new container is gone, there are no sessions to preserve.
            Some(lane) => match self.take_lane_back(lane, Care::Failed).await {
                Ok(_) => self.give_up(lane).await,
                Err(failure) => self.stuck(reason, lane, &failure).await,
            },
        }
    }

    /// Returns whether a lane of an unfinished run can be completed: its old container may have been stopped or is
    /// gone, and the new one exists.
    async fn can_finish(&self, lane: usize, begun: &[Step]) -> bool {
        (is_replaced(begun) || self.old_is_gone(lane).await) && self.new_is_there(lane).await
    }

    /// Loads the state of an unfinished run: what it had begun, and which lanes were undone since without a record in
    /// the journal. Those lanes may serve already and must not be taken out again. Asks the engines first what became
    /// of the calls that they had not answered.
    async fn take_over(&mut self, unfinished: &Run) -> Result<(), Failure> {
        self.created.extend(unfinished.created.clone());
        self.begun.clone_from(&unfinished.begun);
        let is_out = |lane: &usize| self.has_begun(*lane, Step::Maint) && !self.has_begun(*lane, Step::Ready);
        self.out = (0..self.plan.lanes.len()).filter(is_out).collect();
        for (engine, call) in &unfinished.unanswered {
            self.world.engines.named(engine)?.remember(call.clone());
        }
        for lane in 0..self.plan.lanes.len() {
            if let Some((old, engine)) = self.old(lane).filter(|_| unfinished.is_under_way(lane, Step::Keep))
            {
                engine.may_stop(&old.id);
            }
        }
        let in_hand = unfinished.in_hand().unwrap_or_default();
        for (_, engine) in self.engines(|_| true) {
            self.guarded(in_hand, async |this: &mut Self| this.until_it_answers(engine).await).await?;
        }
        for (lane, begun) in &unfinished.begun {
            // A container that may be stopping does not count as restored while its servers are out.
            let may_stop = self.old_may_be_stopping(*lane) && self.is_out_everywhere(*lane).await;
            if is_replaced(begun) && !may_stop && self.is_back(*lane, begun).await {
                self.back.insert(*lane);
                self.out.remove(lane);
            }
        }
        Ok(())
    }

    /// Returns whether all servers of a lane are in maint. Assumes so if the load balancers cannot be queried.
    async fn is_out_everywhere(&mut self, lane: usize) -> bool {
        let ids = self.lane_of(lane).id_set();
        let Ok(seen) = self.look_anew(lane).await else { return true };
        let mut servers = seen.iter().flat_map(|seen| &seen.servers).filter(|it| ids.contains(&it.id));
        servers.all(|it| it.admin.state() == AdminState::Maint)
    }

    /// Runs the remaining steps of a lane that was interrupted halfway. Each step may be repeated. A reload since then
    /// may have put the servers back into rotation, so they are drained again unless the new container is known to
    /// serve.
    async fn rest_of(&mut self, lane: usize) -> Result<(), Failure> {
        let is_stopping = self.new_one(lane).is_some_and(|(new, engine)| engine.is_stopping(new));
        let serves = self.has_begun(lane, Step::Ready) && !is_stopping;
        let is_gone = self.old_is_gone(lane).await;
        let is_over = |step: &Step| {
            matches!(step, Step::Create | Step::Remove)
                // The old container has no traffic to take over, and it cannot be stopped and kept.
                || is_gone && matches!(step, Step::Verify | Step::Keep)
                || serves && !matches!(step, Step::Prove | Step::Ready | Step::Confirm)
        };
        self.steps(lane, |step| !is_over(step)).await
    }

    /// Does everything that is possible while every server is still in rotation.
    async fn prepare(&mut self) -> Result<(), Failure> {
        for image in &self.plan.images {
            self.check_stop()?;
            self.pull(image).await?;
        }
        self.check_stop()?;
        self.create_all().await?;
        self.is_alone().await
    }

    /// Runs the lanes. Returns an error only if the first lane failed before its servers left rotation.
    async fn lanes(&mut self) -> Result<Outcome, Failure> {
        let plan = self.plan;
        for index in 0..plan.lanes.len() {
            let Err(failure) = self.lane(index).await else { continue };
            if !self.traffic_touched(index) && index == 0 {
                return Err(failure);
            }
            return Ok(self.after(index, failure).await);
        }
        self.catch_up(None).await;
        let through: Vec<usize> = (0..plan.lanes.len()).filter(|lane| !self.skipped.contains(lane)).collect();
        if let Err((lane, failure)) = Box::pin(self.last_look(&through)).await {
            return Ok(Box::pin(self.after(lane, failure)).await);
        }
        self.discard_candidates().await;
        self.remove_old(&through).await;
        Ok(self.deployed(&through))
    }

    /// Ends the run after a lane failed, or after a stop request interrupted it.
    async fn after(&mut self, index: usize, failure: Failure) -> Outcome {
        let plan = self.plan;
        if failure == Failure::Stopped && !self.traffic_touched(index) {
            return self.give_up(index).await;
        }
        let care = failure.care();
        if failure == Failure::Stopped {
            return match self.take_lane_back(index, care).await {
                Ok(TakenBack::Undone) => self.give_up(index).await,
                Ok(TakenBack::Serves(_)) => self.give_up(index + 1).await,
                Err(error) => self.stuck(failure.to_string(), index, &error).await,
            };
        }
        // After a reload, the sessions that the old process holds on serving servers cannot be counted.
        let keep = plan.policy.on_failure == OnFailure::Stop || matches!(failure, Failure::Reloaded { .. });
        let mut lanes = vec![(index, care)];
        // During the last check, the lanes after it are finished as well.
        let touched = |lane: &usize| *lane != index && self.traffic_touched(*lane);
        let others: Vec<usize> = (0..plan.lanes.len()).filter(touched).collect();
        if !keep {
            lanes.extend(others.iter().rev().map(|lane| (*lane, Care::Serving)));
            return self.roll_back(&lanes, failure.to_string()).await;
        }
        let outcome = self.roll_back(&lanes, failure.to_string()).await;
        let Outcome::RolledBack { reason, kept, left_out, restored, asked } = outcome else { return outcome };
        self.remove_old(&others).await;
        let kept = others.iter().flat_map(|lane| plan.lanes[*lane].ids()).chain(kept).collect();
        Outcome::RolledBack { reason, kept, left_out, restored, asked }
    }

    /// Runs all steps of a lane, from rotation to rotation.
    async fn lane(&mut self, index: usize) -> Result<(), Failure> {
        let lane = &self.plan.lanes[index];
        self.check_stop()?;
        self.timing = Timing::default();
        self.left_rotation = None;
        self.tell(Fact::LaneStarted {
            lane: index + 1,
            of: self.plan.lanes.len(),
            servers: lane.ids(),
            role: lane.role,
            cause: lane.cause.clone(),
            forecasts: lane.forecasts.clone(),
        });
        if self.hook(Moment::BeforeDrain, Some(index)).await? == Wish::Skip {
            self.skipped.insert(index);
            self.tell(Fact::LaneSkipped { servers: lane.ids() });
            return Ok(());
        }
        self.steps(index, |step| !matches!(step, Step::Create | Step::Remove)).await?;
        self.hook(Moment::AfterEnable, Some(index)).await.map(drop)
    }

    /// Runs the steps of a lane that `is_wanted` selects.
    async fn steps(&mut self, index: usize, is_wanted: impl Fn(&Step) -> bool) -> Result<(), Failure> {
        let lane = &self.plan.lanes[index];
        for step in lane.steps.iter().filter(|step| is_wanted(step)) {
            if let Err(failure) = self.hook_and_step(index, *step).await {
                if failure != Failure::Stopped {
                    let (log, health) = self.last_words(index).await;
                    let reason = failure.to_string();
                    self.tell(Fact::StepFailed { servers: lane.ids(), step: *step, reason, log, health });
                }
                return Err(failure);
            }
        }
        self.timings.push(self.timing);
        self.tell(Fact::LaneFinished { servers: lane.ids(), timing: self.timing });
        Ok(())
    }

    /// Runs a step, and before it the hook that belongs to it.
    async fn hook_and_step(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        if self.stop.now.is_cancelled() {
            self.hear_stop();
            return Err(Failure::Stopped);
        }
        self.may_begin(lane, step)?;
        if let Some(moment) = self.plan.lanes[lane].moment_before(step) {
            // The hook may take long, and the servers must stay out of rotation until it ends.
            self.guarded(lane, async |this: &mut Self| this.hook(moment, Some(lane)).await).await?;
            self.may_begin(lane, step)?;
        }
        self.step(lane, step).await
    }

    /// Runs one step: a record, the effect, a record.
    async fn step(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        self.begin(lane, step).await?;
        if step == Step::Remove {
            // Everything serves by now, so retry: a passing error must not leave a container behind.
            self.insist_on(lane, step).await?;
        } else if let Err(failure) = self.effect(lane, step).await {
            return Err(self.explained(lane, failure).await);
        }
        self.end(lane, step).await
    }

    async fn begin(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        let at = self.world.clock.now();
        self.journal.append(&Record::Begun { at, lane, step }).await?;
        self.begun.entry(lane).or_default().push(step);
        Ok(())
    }

    async fn end(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        let at = self.world.clock.now();
        Ok(self.journal.append(&Record::Done { at, lane, step }).await?)
    }

    /// Returns whether the lane's new container serves.
    fn is_through(&self, lane: usize) -> bool {
        self.has_begun(lane, Step::Confirm)
    }

    /// Returns how many lanes are finished, counted from the first.
    fn reached(&self) -> usize {
        let lanes = self.plan.lanes.len();
        (0..lanes).find(|lane| !self.is_through(*lane)).unwrap_or(lanes)
    }

    fn has_begun(&self, lane: usize, step: Step) -> bool {
        self.begun.get(&lane).is_some_and(|begun| begun.contains(&step))
    }

    fn traffic_touched(&self, lane: usize) -> bool {
        let begun = self.begun.get(&lane).map(Vec::as_slice).unwrap_or_default();
        begun.iter().any(|step| step.touches_traffic())
    }

    /// Ends the run at a safe point, before lane `next`: replaced servers stay replaced, and the rest stay as they
    /// were.
    async fn give_up(&mut self, next: usize) -> Outcome {
        // A lane that was skipped or undone is unchanged.
        let replaced: Vec<usize> = (0..next).filter(|lane| self.traffic_touched(*lane)).collect();
        if let Err((lane, failure)) = Box::pin(self.last_look(&replaced)).await {
            return Box::pin(self.after(lane, failure)).await;
        }
        self.discard_candidates().await;
        self.remove_old(&replaced).await;
        self.cancelled(&replaced)
    }

    fn cancelled(&self, replaced: &[usize]) -> Outcome {
        let lanes = 0..self.plan.lanes.len();
        let (replaced, remaining): (Vec<_>, Vec<_>) = lanes.partition(|lane| replaced.contains(lane));
        if remaining.is_empty() {
            // No lane remains, so the run is complete.
            return self.deployed(&replaced);
        }
        let names = |lanes: Vec<usize>| lanes.iter().flat_map(|lane| self.plan.lanes[*lane].ids()).collect();
        Outcome::Cancelled {
            replaced: names(replaced),
            remaining: names(remaining),
            left_out: self.left_out.iter().cloned().collect(),
            rest: Rest {
                left: Vec::new(),
                out_of_service: self.out_of_service(|it| !self.left_out.contains(it)),
            },
        }
    }

    /// Returns the selected servers that an operator, haproxy.cfg or an agent keeps out of service.
    fn out_of_service(&self, is_meant: impl Fn(&ServerId) -> bool) -> Vec<StaysOut> {
        let all = self.plan.rest.out_of_service.iter().chain(&self.out_by_agents);
        all.filter(|it| is_meant(&it.server)).cloned().collect()
    }

    /// Returns the outcome of a run that finished the lanes `through` and skipped the rest.
    fn deployed(&self, through: &[usize]) -> Outcome {
        let lanes = &self.plan.lanes;
        let replaced = through.iter().filter(|lane| lanes[**lane].replacement.is_some()).count();
        let skipped = self.skipped.iter().flat_map(|lane| lanes[*lane].ids()).collect();
        let put_back = through.len() - replaced;
        let rest = Rest { left: self.plan.rest.left.clone(), out_of_service: self.out_of_service(|_| true) };
        Outcome::Deployed { replaced, put_back, skipped, rest }
    }

    /// Removes the old containers of these lanes. A failure is only a warning: an old container that is left costs only
    /// disk space.
    async fn remove_old(&mut self, lanes: &[usize]) {
        self.warn_of_restarted(lanes).await;
        let plan = self.plan;
        for &lane in lanes.iter().filter(|lane| plan.lanes[**lane].steps.contains(&Step::Remove)) {
            if let Err(error) = self.step(lane, Step::Remove).await {
                self.tell(Fact::Warned { message: format!("the old container was not removed: {error}") });
            }
        }
    }

    fn check_stop(&mut self) -> Result<(), Failure> {
        self.hear_stop();
        if self.stop.asked.is_cancelled() { Err(Failure::Stopped) } else { Ok(()) }
    }

    /// Reports a stop request, once for each of the two.
    fn hear_stop(&mut self) {
        let asked = [&self.stop.asked, &self.stop.now].iter().filter(|token| token.is_cancelled()).count();
        if self.stops_told < asked {
            self.stops_told = asked;
            let is_begun = |lane: &&usize| self.begun.get(lane).is_some_and(|begun| is_replaced(begun));
            let seen_through = self.out.iter().filter(is_begun).flat_map(|lane| self.plan.lanes[*lane].ids());
            self.tell(Fact::StopAsked { at_once: asked > 1, seen_through: seen_through.collect() });
        }
    }

    async fn close(&mut self, outcome: Outcome, started: Instant) -> Outcome {
        let plan = self.plan;
        let outcome = Box::pin(self.settled(outcome)).await;
        for name in std::mem::take(&mut self.behind) {
            let servers = plan.lanes.iter().flat_map(crate::plan::Lane::ids).collect::<Vec<_>>();
            let message = format!(
                "{name} did not answer before the run ended: check there that these servers are in service: {}",
                crate::outcome::list(&servers)
            );
            self.tell(Fact::Warned { message });
        }
        self.name_volumes_left();
        for (engine, call) in self.world.engines.unanswered() {
            let at = self.world.clock.now();
            // The journal's error is reported below.
            let _told = self.journal.append(&Record::Unanswered { at, engine, call }).await;
        }
        self.after_run(&outcome).await;
        let at = self.world.clock.now();
        if let Err(error) = self.journal.append(&Record::Closed { at, outcome: outcome.clone() }).await {
            let typed = |words: &[&str]| self.world.typed.command(words);
            let (status, resume) = (typed(&["status"]), typed(&["resume", &plan.backend]));
            let message = format!(
                "the run ended, but its journal could not record that: {error}. If `{status}` reports the run as unfinished, `{resume}` closes it"
            );
            self.tell(Fact::Warned { message });
        }
        let own_ms = median(self.timings.iter().map(Timing::own_ms).collect());
        self.tell(Fact::RunEnded { outcome: outcome.clone(), took_ms: millis(started), own_ms });
        outcome
    }

    fn tell(&self, fact: Fact) {
        self.teller.tell(fact);
    }
}

/// Returns the kept containers that come back instead of new ones, by lane.
fn returning(plan: &Plan) -> BTreeMap<usize, ContainerId> {
    let lanes = plan.lanes.iter().enumerate();
    lanes
        .filter_map(|(lane, it)| Some((lane, it.replacement.as_ref()?.returning.as_ref()?.id.clone())))
        .collect()
}

/// Returns the servers that an operator or haproxy.cfg put in maint, and that stay there.
fn kept_in_maint(plan: &Plan) -> BTreeSet<ServerId> {
    let kept = plan.rest.out_of_service.iter().filter(|it| it.state == AdminState::Maint);
    kept.map(|it| it.server.clone()).collect()
}

/// Returns the median; of two middle values, the upper one.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Returns the whole milliseconds since `since`.
fn millis(since: Instant) -> u64 {
    whole_millis(since.elapsed())
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
