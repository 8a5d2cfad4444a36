//! Prints a plan for people.

use std::fmt;
use std::time::Duration;

use crate::model::hook::HookPoint;
use crate::model::ids::ServerId;
use crate::model::image::previous;
use crate::model::words::{list, sessions};
use crate::plan::surge::{Surge, SurgePlace, SurgeServer, Way};
use crate::plan::{Cause, Lane, LaneServer, OnDrainTimeout, OnFailure, Plan, RunKind, Step};
use crate::topology::own_check::OwnCheck;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.goal.purpose {
            RunKind::Deploy => "deploy",
            RunKind::Rollback => "roll back",
        };
        let images = self.new_images().join(", ");
        if self.is_empty() {
            let (unchanged, so) = (list(&self.unchanged), self.up_to_date_reason());
            writeln!(f, "{what} {}: nothing to do for {unchanged} ({so})", self.goal.backend)?;
            return self.rest(f);
        }
        let to = if images.is_empty() { String::new() } else { format!(" to {images}") };
        writeln!(f, "{what} {}{to}", self.goal.backend)?;
        if !self.unchanged.is_empty() {
            writeln!(f, "  unchanged  {} ({})", list(&self.unchanged), self.up_to_date_reason())?;
        }
        self.rest(f)?;
        for warning in &self.warnings {
            writeln!(f, "  note       {warning}")?;
        }
        self.hook(f, HookPoint::BeforeRun)?;
        self.prepare(f)?;
        for (index, lane) in self.lanes.iter().enumerate() {
            self.lane(f, index + 1, lane)?;
        }
        self.closing(f)
    }
}

impl Plan {
    /// Writes what the run does not work on, and what stays out of service.
    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for left in self.rest.why_left() {
            writeln!(f, "  left       {left}")?;
        }
        for (out, ends_by_enable) in self.rest.why_out() {
            let hint = if ends_by_enable { " (--enable puts it in service)" } else { "" };
            writeln!(f, "  out        {out}{hint}")?;
        }
        Ok(())
    }

    /// Returns why the unchanged servers need no work.
    fn up_to_date_reason(&self) -> &'static str {
        match self.goal.purpose {
            RunKind::Deploy => "already running the wanted image",
            RunKind::Rollback => "as before the last deploy",
        }
    }

    /// Returns the images that the lanes' servers run afterwards, each once.
    fn new_images(&self) -> Vec<String> {
        let mut images = Vec::new();
        for replacement in self.lanes.iter().filter_map(|lane| lane.replacement.as_ref()) {
            let image = replacement.image.to_string();
            if !images.contains(&image) {
                images.push(image);
            }
        }
        images
    }

    fn prepare(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replacements = || self.lanes.iter().filter_map(|lane| lane.replacement.as_ref());
        let created = || replacements().filter(|it| it.is_created());
        if created().next().is_none() && self.surge.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nwhile every server is in rotation")?;
        for image in &self.images {
            let engines: Vec<String> = self.engines_for(image).into_iter().map(on).collect();
            writeln!(f, "  pull       {}{}", image.pinned(), engines.join(" and"))?;
        }
        if created().any(|it| it.changes.is_none() && !it.described) {
            writeln!(f, "  note       changes by the defaults of the new image are known once it is pulled")?;
        }
        for replacement in created() {
            let model = if replacement.described {
                "as drainswap.toml describes it".to_owned()
            } else {
                format!("with the settings of {}", replacement.like.name)
            };
            let on = on(&replacement.like.engine);
            writeln!(f, "  create     {}, stopped, {model}{on}", replacement.name)?;
        }
        self.surge.iter().try_for_each(|surge| self.joins(f, surge))
    }

    /// Writes how a surge server joins, and why.
    fn joins(&self, f: &mut fmt::Formatter<'_>, surge: &Surge) -> fmt::Result {
        let beside: Vec<ServerId> = surge.servers.iter().map(|it| it.stands_in_for.clone()).collect();
        let (container, on) = (surge.container_name(&self.run), on(&surge.like.engine));
        let proof: Vec<String> = surge.servers.iter().map(SurgeServer::proof).collect();
        writeln!(f, "  surge      {} joins beside {}: {}", list(&surge.ids()), list(&beside), surge.why)?;
        writeln!(f, "  create     {container}, with the settings of {}{on}", surge.like.name)?;
        writeln!(f, "  start      {container}")?;
        writeln!(
            f,
            "  prove      {} ({} at most)",
            proof.join(", "),
            seconds(self.goal.policy.ready_timeout)
        )?;
        for server in &surge.servers {
            writeln!(f, "  {server}")?;
        }
        Ok(())
    }

    fn hook(&self, f: &mut fmt::Formatter<'_>, moment: HookPoint) -> fmt::Result {
        if !self.goal.hooks.contains(&moment) {
            return Ok(());
        }
        writeln!(f, "  {:<10} {moment}", "hook")
    }

    fn lane(&self, f: &mut fmt::Formatter<'_>, number: usize, lane: &Lane) -> fmt::Result {
        writeln!(f, "\n{number}. {} ({}): {}", list(&lane.ids()), lane.role, lane.cause)?;
        for forecast in &lane.forecasts {
            writeln!(f, "  meanwhile  {forecast}")?;
        }
        let in_flight: u64 = lane.servers.iter().map(|server| server.sessions).fold(0, u64::saturating_add);
        if in_flight > 0 {
            writeln!(f, "  in flight  {} now", sessions(in_flight))?;
        }
        let created = lane.replacement.as_ref().filter(|it| it.is_created());
        for change in created.iter().flat_map(|it| it.changes.iter().flatten()) {
            writeln!(f, "  changes    {change}")?;
        }
        self.hook(f, HookPoint::BeforeDrain)?;
        for step in lane.steps.iter().filter(|step| !matches!(step, Step::Create | Step::Remove)) {
            if let Some(moment) = lane.hook_before(*step) {
                self.hook(f, moment)?;
            }
            writeln!(f, "  {step:<10} {}", self.describe(lane, *step))?;
        }
        self.hook(f, HookPoint::AfterEnable)
    }

    /// Returns what a step is done to, in the operator's words.
    fn describe(&self, lane: &Lane, step: Step) -> String {
        let name = lane.replacement.as_ref().map_or("", |replacement| &replacement.name).to_owned();
        let policy = &self.goal.policy;
        match step {
            Step::Create | Step::Remove | Step::Discard | Step::Return | Step::ProveOld => name,
            Step::Drain | Step::Maint | Step::PutBack => {
                let takes_out = lane.steps.iter().find(|it| matches!(it, Step::Drain | Step::Maint));
                let has_agent = lane.has_agents() && takes_out == Some(&step);
                let agent =
                    if has_agent { ", with the agent (agent-check) off until it is back" } else { "" };
                list(&lane.ids()) + agent
            }
            Step::Ready => lane.ready(),
            Step::Verify if policy.floor == 0 => format!("the old {name} is still there"),
            Step::Verify => {
                let serve = if policy.floor == 1 { "server serves" } else { "servers serve" };
                format!("at least {} {serve} without it, and the servers that take over answer", policy.floor)
            }
            Step::AwaitIdle => self.how_long_it_drains(),
            Step::Stop => format!("{name}, and keep it as {}", lane.kept(&self.run)),
            Step::Start => match lane.replacement.as_ref().and_then(|it| it.returning.as_ref()) {
                Some(returning) => format!("{}, as {name} again", returning.name),
                None => format!("the new {name}"),
            },
            Step::Prove => self.what_proves(lane),
            Step::Settle => "nothing is in flight, and nothing new can land".to_owned(),
            Step::Confirm if lane.enabled().next().is_none() => "the new container still answers".to_owned(),
            Step::Confirm => self.what_confirms(lane),
        }
    }

    fn how_long_it_drains(&self) -> String {
        let limit = seconds(self.goal.policy.drain_timeout);
        let then = match self.goal.policy.on_drain_timeout {
            OnDrainTimeout::Fail => return format!("until its last session has ended ({limit} at most)"),
            OnDrainTimeout::Maint => "set to maint and wait the same time again",
            OnDrainTimeout::Shutdown => "set to maint and shut down the rest",
            OnDrainTimeout::Force => "cut the rest",
        };
        format!("until its last session has ended; after {limit} {then}")
    }

    fn what_proves(&self, lane: &Lane) -> String {
        let policy = &self.goal.policy;
        let servers = lane.alive();
        let asked = servers.flat_map(|server| std::iter::once(&server.probe).chain(&server.also));
        let asked: Vec<String> = asked.map(ToString::to_string).collect();
        let times = if policy.rise > 1 { format!("{} times in a row, ", policy.rise) } else { String::new() };
        format!("{} ({times}{} at most)", asked.join(", "), seconds(policy.ready_timeout))
    }

    fn what_confirms(&self, lane: &Lane) -> String {
        let takes_traffic = lane.servers.iter().any(|server| server.takes_traffic);
        let and = if takes_traffic { " and gives it traffic" } else { "" };
        match lane.enabled().find_map(|server| server.own_check.as_ref()) {
            None => format!("HAProxy reports it up{and}"),
            Some(OwnCheck { why, .. }) => {
                let limit = seconds(lane.up_within(self.goal.policy.ready_timeout));
                format!(
                    "HAProxy's own check, which decides here ({why}), reports it up ({limit} at most){and}"
                )
            }
        }
    }

    /// Returns the names of the containers that are removed once a lane serves.
    fn removed(&self, lane: &Lane) -> Vec<String> {
        let replacement = lane.replacement.iter();
        replacement
            .flat_map(|it| it.removed(&self.run, self.goal.policy.keep))
            .map(|(_, name)| name)
            .collect()
    }

    fn closing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed: Vec<String> = self.lanes.iter().flat_map(|lane| self.removed(lane)).collect();
        let keeps = |lane: &&Lane| {
            lane.keeps_old() && lane.replacement.as_ref().is_some_and(|it| it.kept(self.goal.policy.keep) > 0)
        };
        let old = self.lanes.iter().filter(keeps);
        let mut kept: Vec<String> = old.map(|lane| lane.kept(&self.run)).collect();
        let image_kept = |lane: &Lane| {
            lane.replacement.as_ref()?.image_kept(self.goal.policy.keep)?;
            Some(format!("the image {}", previous::name(lane.name())))
        };
        kept.extend(self.lanes.iter().filter_map(image_kept));
        if !removed.is_empty() || !kept.is_empty() || !self.surge.is_empty() {
            writeln!(f, "\nwhen every server is in service again")?;
        }
        for surge in &self.surge {
            writeln!(f, "  leave      {}, once its last session has ended", list(&surge.ids()))?;
            writeln!(f, "  remove     {}", surge.container_name(&self.run))?;
        }
        for (what, names) in [("keep", kept), ("remove", removed)] {
            if !names.is_empty() {
                writeln!(f, "  {what:<10} {}", names.join(", "))?;
            }
        }
        self.hook(f, HookPoint::AfterRun)?;
        writeln!(f)?;
        if self.lanes.iter().all(|lane| lane.replacement.is_none()) {
            return writeln!(f, "If anything fails, every server is left in the state that it was found in.");
        }
        match self.goal.policy.on_failure {
            OnFailure::Rollback => {
                writeln!(f, "If anything fails, every server gets its old container back.")
            }
            OnFailure::Stop => {
                writeln!(f, "If anything fails, that server gets its old container back and the run stops.")
            }
        }
    }
}

impl SurgeServer {
    /// Returns what proves it, at a port or an address that is not known yet.
    fn proof(&self) -> String {
        let address = self.probe.address.to_string();
        let new = match &self.place {
            SurgePlace::Published { ip, .. } => format!("{ip}:PORT"),
            SurgePlace::Own { port, .. } => format!("ADDRESS:{port}"),
        };
        self.probe.to_string().replacen(&address, &new, 1)
    }
}

impl fmt::Display for SurgeServer {
    /// Writes the line of the printed plan that says how it joins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, .. } = self;
        match &self.way {
            Way::Added { words } => write!(f, "add        {id} {}", words.join(" ")),
            Way::Slot { address } => write!(f, "use        the placeholder {id} ({address})"),
        }
    }
}

/// Names an engine, unless it is the default one.
fn on(engine: &str) -> String {
    if engine.is_empty() { String::new() } else { format!(" on {engine}") }
}

impl Lane {
    /// Names the servers that are put in service, and those that are set back to the state that they had.
    fn ready(&self) -> String {
        let enabled = Some(list(&self.enabled_ids())).filter(|it| !it.is_empty());
        let stays = |it: &LaneServer| Some(format!("{} back to {}", it.id, it.stays?));
        enabled.into_iter().chain(self.servers.iter().filter_map(stays)).collect::<Vec<_>>().join("; ")
    }

    /// Returns the name under which the lane's old container is kept.
    pub(crate) fn kept(&self, run: &crate::model::ids::RunId) -> String {
        self.replacement.as_ref().map(|replacement| replacement.kept_name(run)).unwrap_or_default()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherImage { runs } => write!(f, "runs {runs}"),
            Self::NotServing { why } => write!(f, "does not serve: {why}"),
            Self::NotYetThere => f.write_str("has no container yet; drainswap.toml describes one"),
            Self::Superseded => f.write_str("the previous container comes back"),
            Self::Drifted => f.write_str("differs from its description in drainswap.toml"),
            Self::ContainerGone { like } => {
                write!(f, "its container is gone; a new one gets the settings of {like}")
            }
            Self::OutOfService { left_in } => write!(f, "runs the wanted image, but was left in {left_in}"),
        }
    }
}

/// Formats a duration in seconds: `90 s`, `1.5 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
