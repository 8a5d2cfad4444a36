//! Works a plan off: effects through the ports, one lane after the other, each step journaled.
//!
//! What to do was decided in the plan. What is decided here is only whether a step succeeded, and how
//! far to take back what did not.

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

/// The world that a run works on.
#[derive(Debug)]
pub struct World<L, E, P, C, H> {
    /// The load balancers.
    pub load_balancers: Vec<Tracked<L>>,
    /// The engines.
    pub engines: Engines<E>,
    /// Who asks servers whether they serve.
    pub prober: P,
    /// What time it is.
    pub clock: C,
    /// Commands of one's own at some moments.
    pub hooks: H,
    /// The containers that are described, by backend. They hold secrets, which a plan must not.
    pub descriptions: BTreeMap<String, crate::service::Container>,
    /// For the commands that a person is told to type.
    pub typed: CommandLine,
    /// What tells this site from another.
    pub site: journal::Site,
}

/// How a run is asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled by the first request: stop at the next safe point. A drain is given up at once; a
    /// container that has been stopped is seen through to its successor.
    pub asked: CancellationToken,
    /// Cancelled by the second: take back what is under way, now.
    pub now: CancellationToken,
}

/// What ended a run before any server left rotation. What it had created is removed again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Untouched(#[from] pub Failure);

/// What a lane replaces by what, and the engine that does it.
type Swap<'a, E> = (&'a Replacement, &'a TrackedEngine<E>);

/// One run of one plan.
pub struct Deploy<'a, L, E, P, C, H, J> {
    plan: &'a Plan,
    world: &'a World<L, E, P, C, H>,
    journal: &'a mut J,
    stop: Stop,
    teller: Rc<Teller<'a, C>>,
    /// Whether the backends are served while servers are out.
    watch: Rc<Watch<'a, C>>,
    /// What each lane replaces; nothing where it only puts servers back in service.
    swaps: Vec<Option<Swap<'a, E>>>,
    /// The process of each load balancer whose sessions are counted, by its name.
    workers: BTreeMap<String, u32>,
    /// The load balancers that have missed what was set since they did not answer.
    behind: BTreeSet<String>,
    /// Whether lanes are being taken back.
    is_undoing: bool,
    /// Whether no load balancer may miss what is done, although a lane is being taken back.
    needs_all: bool,
    /// The lanes whose servers are in maint: from then on until they are ready again, or put back.
    out: BTreeSet<usize>,
    /// The lanes of an unfinished run that have their old container back.
    back: BTreeSet<usize>,
    created: BTreeMap<usize, ContainerId>,
    begun: BTreeMap<usize, Vec<Step>>,
    /// Sessions since `HAProxy` started, of the lane's servers, right before they were made ready.
    sessions_before_ready: BTreeMap<ServerId, u64>,
    timing: Timing,
    /// The timings of the lanes that ended well.
    timings: Vec<Timing>,
    left_rotation: Option<Instant>,
    /// The lanes that a hook has left out.
    skipped: BTreeSet<usize>,
    /// Where servers must be sent whose lines have a host name: to the address that their container has now.
    sent_to: BTreeMap<ServerId, SocketAddr>,
    /// The copies that stand for old containers which could not come back to their ports.
    stand_ins: BTreeMap<usize, ContainerId>,
    /// The lanes whose old container another tool has replaced.
    taken_over: BTreeSet<usize>,
    /// The lanes of which it was told that the old container runs again.
    runs_again: BTreeSet<usize>,
    /// Servers that an undo has left in maint, and those that were to stay there.
    left_out: BTreeSet<ServerId>,
    /// Servers of which a look has shown an agent that may be on.
    agents_seen: BTreeSet<ServerId>,
    /// Servers that run their new container and that their agents keep out of service.
    out_by_agents: Vec<StaysOut>,
    /// How often somebody was told that his wish to stop was heard.
    stops_told: usize,
}

impl<'a, L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Deploy<'a, L, E, P, C, H, J>
{
    /// A run that has not begun.
    ///
    /// # Errors
    /// An engine that the plan needs is not known any more.
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
            agents_seen: BTreeSet::new(),
            out_by_agents: Vec::new(),
            stops_told: 0,
        })
    }

    /// Does what the plan says, and takes it back where that fails.
    ///
    /// # Errors
    /// Only what ended the run before any server left rotation.
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

    /// Takes an unfinished run back: every lane that it had begun, the last one first. A run that was
    /// removing old containers had succeeded with those lanes, and is finished instead.
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

    /// Brings an unfinished run to rest: the lane that it had in its hands is seen through, if its old container may have
    /// been stopped, and else put back. Nothing more is begun.
    pub async fn bring_to_rest(mut self, unfinished: &Run) -> Outcome {
        let started = Instant::now();
        let outcome = match self.take_over(unfinished).await {
            Err(failure) => self.not_taken_over(unfinished, &failure).await,
            Ok(()) if unfinished.was_removing() => self.give_up(self.reached()).await,
            Ok(()) => self.rest(unfinished).await,
        };
        self.close(outcome, started).await
    }

    /// Nothing is touched while the engine may still carry out what the run asked of it.
    async fn not_taken_over(&mut self, unfinished: &Run, failure: &Failure) -> Outcome {
        self.stranded(self.not_finished(), unfinished.in_hand().unwrap_or_default(), failure).await
    }

    fn not_finished(&self) -> String {
        format!("run {} was not finished", self.plan.run)
    }

    async fn rest(&mut self, unfinished: &Run) -> Outcome {
        let reason = self.not_finished();
        // From then on the journal says so.
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
            // Where its new container is gone, it has nothing to lose.
            Some(lane) => match self.take_lane_back(lane, Care::Failed).await {
                Ok(_) => self.give_up(lane).await,
                Err(failure) => self.stuck(reason, lane, &failure).await,
            },
        }
    }

    /// Whether a lane of an unfinished run is seen through: its old container may have been stopped or is gone, and the
    /// new one is there.
    async fn can_finish(&self, lane: usize, begun: &[Step]) -> bool {
        (is_replaced(begun) || self.old_is_gone(lane).await) && self.new_is_there(lane).await
    }

    /// Knows what an unfinished run has begun, and which lanes were taken back since, although its journal could not say
    /// so: they may serve already, and must not be taken out once more. The engines are asked first what has become of the
    /// calls that they had not answered.
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
            // One that may be stopping has not come back as long as its servers are out.
            let may_stop = self.old_may_be_stopping(*lane) && self.is_out_everywhere(*lane).await;
            if is_replaced(begun) && !may_stop && self.is_back(*lane, begun).await {
                self.back.insert(*lane);
                self.out.remove(lane);
            }
        }
        Ok(())
    }

    /// Whether all servers of a lane are in maint, or nothing tells that one is not.
    async fn is_out_everywhere(&mut self, lane: usize) -> bool {
        let ids = self.lane_of(lane).id_set();
        let Ok(seen) = self.look_anew(lane).await else { return true };
        let mut servers = seen.iter().flat_map(|seen| &seen.servers).filter(|it| ids.contains(&it.id));
        servers.all(|it| it.admin.state() == AdminState::Maint)
    }

    /// The steps of a lane that was replaced half-way. Each may be repeated; a reload since may have put its servers
    /// back into rotation, so that they are drained once more until the new container is known to serve.
    async fn rest_of(&mut self, lane: usize) -> Result<(), Failure> {
        let is_stopping = self.new_one(lane).is_some_and(|(new, engine)| engine.is_stopping(new));
        let serves = self.has_begun(lane, Step::Ready) && !is_stopping;
        let is_gone = self.old_is_gone(lane).await;
        let is_over = |step: &Step| {
            matches!(step, Step::Create | Step::Remove)
                // It serves nobody, so that nobody need carry its traffic, and it cannot be kept.
                || is_gone && matches!(step, Step::Verify | Step::Keep)
                || serves && !matches!(step, Step::Prove | Step::Ready | Step::Confirm)
        };
        self.steps(lane, |step| !is_over(step)).await
    }

    /// Everything that can be done while every server is still in rotation.
    async fn prepare(&mut self) -> Result<(), Failure> {
        for image in &self.plan.images {
            self.check_stop()?;
            self.pull(image).await?;
        }
        self.check_stop()?;
        self.create_all().await?;
        self.is_alone().await
    }

    /// Works the lanes off. An error means that the very first one ended before its servers left rotation.
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

    /// What becomes of a run when a lane has failed, or somebody has asked to stop meanwhile.
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
        // After a reload nobody can say what the old process still holds of the servers that serve.
        let keep = plan.policy.on_failure == OnFailure::Stop || matches!(failure, Failure::Reloaded { .. });
        let mut lanes = vec![(index, care)];
        // At the last look those behind it are through as well.
        let touched = |lane: &usize| *lane != index && self.traffic_touched(*lane);
        let others: Vec<usize> = (0..plan.lanes.len()).filter(touched).collect();
        if !keep {
            lanes.extend(others.iter().rev().map(|lane| (*lane, Care::Serving)));
            return self.roll_back(&lanes, failure.to_string()).await;
        }
        let outcome = self.roll_back(&lanes, failure.to_string()).await;
        let Outcome::RolledBack { reason, kept, left_out, asked } = outcome else { return outcome };
        self.remove_old(&others).await;
        let kept = others.iter().flat_map(|lane| plan.lanes[*lane].ids()).chain(kept).collect();
        Outcome::RolledBack { reason, kept, left_out, asked }
    }

    /// All steps of a lane from rotation to rotation.
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

    /// Those steps of a lane that are wanted.
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

    /// A step, with the command of somebody's own that comes before it.
    async fn hook_and_step(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        if self.stop.now.is_cancelled() {
            self.hear_stop();
            return Err(Failure::Stopped);
        }
        self.may_begin(lane, step)?;
        if let Some(moment) = self.plan.lanes[lane].moment_before(step) {
            // It may take its time: nothing may put the servers into rotation meanwhile.
            self.guarded(lane, async |this: &mut Self| this.hook(moment, Some(lane)).await).await?;
            self.may_begin(lane, step)?;
        }
        self.step(lane, step).await
    }

    /// One step: a record, the effect, a record.
    async fn step(&mut self, lane: usize, step: Step) -> Result<(), Failure> {
        self.begin(lane, step).await?;
        if step == Step::Remove {
            // By now everything serves; a hiccup must not leave a container behind for ever.
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

    /// Whether the lane's new container serves.
    fn is_through(&self, lane: usize) -> bool {
        self.has_begun(lane, Step::Confirm)
    }

    /// How many lanes are through, from the first on.
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

    /// Ends at a safe point, before lane `next`: what is replaced stays, the rest stays as it was.
    async fn give_up(&mut self, next: usize) -> Outcome {
        // One that was left out, or taken back meanwhile, is as it was.
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
            // With nothing left it is what it was meant to be.
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

    /// The servers that a person, haproxy.cfg or an agent keeps out of service.
    fn out_of_service(&self, is_meant: impl Fn(&ServerId) -> bool) -> Vec<StaysOut> {
        let all = self.plan.rest.out_of_service.iter().chain(&self.out_by_agents);
        all.filter(|it| is_meant(&it.server)).cloned().collect()
    }

    /// With these lanes through, and the rest left out.
    fn deployed(&self, through: &[usize]) -> Outcome {
        let lanes = &self.plan.lanes;
        let replaced = through.iter().filter(|lane| lanes[**lane].replacement.is_some()).count();
        let skipped = self.skipped.iter().flat_map(|lane| lanes[*lane].ids()).collect();
        let put_back = through.len() - replaced;
        let rest = Rest { left: self.plan.rest.left.clone(), out_of_service: self.out_of_service(|_| true) };
        Outcome::Deployed { replaced, put_back, skipped, rest }
    }

    /// Removes the old containers of these lanes. They have done their service; one that cannot be removed
    /// is only disk space.
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

    /// Says that a wish to stop was heard, once for each of the two.
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
                "{name} did not answer until the end: see there that these are in service: {}",
                crate::outcome::list(&servers)
            );
            self.tell(Fact::Warned { message });
        }
        for (engine, call) in self.world.engines.unanswered() {
            let at = self.world.clock.now();
            // The journal's trouble is told below.
            let _told = self.journal.append(&Record::Unanswered { at, engine, call }).await;
        }
        self.after_run(&outcome).await;
        let at = self.world.clock.now();
        if let Err(error) = self.journal.append(&Record::Closed { at, outcome: outcome.clone() }).await {
            let typed = |words: &[&str]| self.world.typed.command(words);
            let (status, resume) = (typed(&["status"]), typed(&["resume", &plan.backend]));
            let message = format!(
                "the run ended, and its journal does not say so: {error}. If `{status}` calls it unfinished, `{resume}` ends it"
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

/// The containers that come back in the place of new ones.
fn returning(plan: &Plan) -> BTreeMap<usize, ContainerId> {
    let lanes = plan.lanes.iter().enumerate();
    lanes
        .filter_map(|(lane, it)| Some((lane, it.replacement.as_ref()?.returning.as_ref()?.id.clone())))
        .collect()
}

/// The servers that a person or haproxy.cfg has put in maint, and that stay there.
fn kept_in_maint(plan: &Plan) -> BTreeSet<ServerId> {
    let kept = plan.rest.out_of_service.iter().filter(|it| it.state == AdminState::Maint);
    kept.map(|it| it.server.clone()).collect()
}

/// The middle one, the upper of two.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Whole milliseconds since a moment.
fn millis(since: Instant) -> u64 {
    whole_millis(since.elapsed())
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
