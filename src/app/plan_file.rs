//! `plan --save` and `deploy --plan`: drainswap does exactly what was approved, or nothing.

use std::path::{Component, Path, PathBuf};
use std::slice::from_ref;

use super::backend_lock::LockedSession;
use super::session::{Access, Session};
use super::signals::with_signals;
use super::{App, print_as_is};
use crate::adapters::private_file;
use crate::app::error::{Error, time_since};
use crate::app::exit::Exit;
use crate::cfg;
use crate::cli::{DeployOrPlan, Output, PolicyFlags};
use crate::model::image::{Image, ImageReference};
use crate::observation::Observation;
use crate::plan::drift::{differences, drift};
use crate::plan::file::{PlanBasis, PlanFile, ReadFile, seen_servers};
use crate::plan::weaker_limits::weaker_limits;
use crate::plan::{Approved, Goal, Plan, Policy, RunKind, Target};
use crate::ports::WallClock;

impl App {
    /// Saves a plan. If the file is stdout, the readable plan goes to stderr instead.
    pub(super) fn save(&self, plan: &Plan, basis: PlanBasis, path: &Path) -> Result<(), Error> {
        let text = PlanFile::new(basis, plan).text();
        if path == Path::new("-") {
            if self.output == Output::Text {
                self.note(plan.to_string().trim_end());
            }
            print_as_is(&text)?;
        } else {
            let not_saved =
                |error: std::io::Error| Error::NotSaved { path: named(path), reason: error.to_string() };
            private_file::write(path, text.as_bytes()).map_err(not_saved)?;
            self.show(plan)?;
        }
        let file = if path == Path::new("-") { "-".to_owned() } else { absolute_path(path) };
        let sha256 = cfg::sha256(&text);
        let apply = self.typed.command(&["deploy", "--plan", &file, "--approved", &sha256]);
        self.note(&format!(
            "the SHA-256 of the plan file is {sha256}. After its approval, apply it with `{apply}`"
        ));
        Ok(())
    }

    /// Applies a saved plan.
    pub(super) async fn deploy_plan(
        &self,
        path: &Path,
        typed: &DeployOrPlan,
        flags: &PolicyFlags,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        if !dry_run {
            self.events()?;
        }
        let approved = read(path, typed.approved.as_deref())?;
        refuse_other(path, &approved, typed, flags)?;
        self.settings.described()?;
        let backend = &approved.plan.goal.backend;
        let session = self.open(Access::Change, from_ref(backend)).await?;
        if dry_run {
            self.show(&self.approve(path, &approved, flags, &session).await?)?;
            return Ok(Exit::Done);
        }
        let locked = self.lock(session, backend).await?;
        let decide = async |locked: &LockedSession| {
            self.refuse_unfinished(locked).await?;
            let plan = self.approve(path, &approved, flags, &locked.session).await?;
            let touched = plan.backends();
            Ok((plan, touched))
        };
        let (locked, plan) = Box::pin(self.lock_and_plan(locked, decide)).await?;
        with_signals(async |stop| self.execute(&locked, &plan, stop).await).await
    }

    /// Builds the plan again, and returns it if nothing has changed since its approval.
    async fn approve(
        &self,
        path: &Path,
        approved: &PlanFile,
        flags: &PolicyFlags,
        session: &Session,
    ) -> Result<Plan, Error> {
        let PlanFile { basis, plan: of_file, .. } = approved;
        let target = Target::Everywhere(basis.image.clone());
        let goal = Goal {
            policy: of_file.goal.policy.clone(),
            approved: Some(Approved { run: of_file.run.clone(), at: of_file.at }),
            notes: weaker_limits_note(&of_file.goal.policy, &self.settings.written_policy())
                .into_iter()
                .collect(),
            ..self.goal(&of_file.goal.backend, RunKind::Deploy, target, flags)
        };
        let (observation, topology) = self.observe_for(session, &goal).await?;
        let plan = match self.plan_on(session, &observation, &topology, &goal).await {
            Ok(plan) => Ok(plan),
            Err(Error::Refused(refusals)) => Err(refusals),
            Err(error) => return Err(error),
        };
        let image = self.resolved(session, &basis.image).await?;
        let now = self.plan_basis(session, image, &observation, plan.as_ref().unwrap_or(of_file));
        let (at, age) = (of_file.at, session.site.clock.now().duration_since(of_file.at));
        let drift = drift(approved, &now, &plan);
        let (Ok(plan), []) = (plan, &drift[..]) else {
            return Err(Error::PlanDrifted { path: named(path), at, age, drift });
        };
        self.note(&format!("applying the plan made at {at}, {} ago", time_since(age)));
        Ok(plan)
    }

    /// Returns the facts that a plan is based on.
    pub(super) fn plan_basis(
        &self,
        session: &Session,
        image: Image,
        seen: &Observation,
        plan: &Plan,
    ) -> PlanBasis {
        let files = session
            .loaded
            .document
            .files
            .iter()
            .map(|file| ReadFile { file: absolute_path(&file.path), sha256: cfg::fingerprint(file) });
        let description =
            self.settings.descriptions().get(&plan.goal.backend).map(|it| cfg::sha256(format!("{it:?}")));
        let hooks = self.settings.hooks.iter().map(|(moment, command)| (*moment, cfg::sha256(command)));
        PlanBasis {
            image,
            configuration: files.collect(),
            servers: seen_servers(&seen.load_balancers, plan),
            settings: self.settings.written_policy(),
            description,
            hooks: hooks.collect(),
        }
    }

    /// Resolves the image's name again.
    async fn resolved(&self, session: &Session, image: &Image) -> Result<Image, Error> {
        let reference = match image {
            Image::Registry { reference, .. } => reference.clone(),
            Image::Local { reference, .. } => match reference.parse() {
                Ok(reference) => reference,
                // An image named by its ID needs no resolution.
                Err(_) => return Ok(image.clone()),
            },
        };
        Ok(self.resolve(session.site.engines.first()?, &reference).await?)
    }
}

/// Returns the absolute path without `..`, so that a file has the same name from every directory. Links are not
/// resolved, since their targets may change.
fn absolute_path(path: &Path) -> String {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        if part == Component::ParentDir {
            whole.pop();
        } else {
            whole.push(part);
        }
    }
    whole.display().to_string()
}

fn named(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}

/// Reads a plan file. With an approved SHA-256, the file must match it.
fn read(path: &Path, approved: Option<&str>) -> Result<PlanFile, Error> {
    let bytes = private_file::read(path)
        .map_err(|error| Error::NoPlanFile { path: named(path), reason: error.to_string() })?;
    let found = cfg::sha256(&bytes);
    if let Some(approved) = approved.filter(|approved| **approved != found) {
        return Err(Error::NotApproved { path: named(path), approved: approved.to_owned(), found });
    }
    PlanFile::read(&bytes).map_err(|error| Error::NotAPlanFile { path: named(path), error })
}

/// Refuses flags and `DRAINSWAP_*` variables that contradict the plan.
fn refuse_other(
    path: &Path,
    approved: &PlanFile,
    typed: &DeployOrPlan,
    flags: &PolicyFlags,
) -> Result<(), Error> {
    let plan = &approved.plan;
    let other = |planned: String, typed: String| Err(Error::OtherPlan { path: named(path), planned, typed });
    if let Some(backend) = typed.backend.as_ref().filter(|backend| **backend != plan.goal.backend) {
        return other(format!("backend {}", plan.goal.backend), format!("backend {backend}"));
    }
    let image = &approved.basis.image;
    if let Some(typed) = typed.image.as_ref().filter(|typed| !matches_reference(image, typed)) {
        return other(image.to_string(), typed.to_string());
    }
    let differs = differences(&plan.goal.policy, &flags.over(plan.goal.policy.clone()));
    if differs.is_empty() {
        return Ok(());
    }
    let planned: Vec<String> = differs.iter().map(|(name, planned, _)| format!("{name} {planned}")).collect();
    let typed: Vec<String> = differs.iter().map(|(name, _, typed)| format!("{name} {typed}")).collect();
    other(planned.join(", "), typed.join(", "))
}

/// Returns a note if the plan's policy allows more than the settings do.
fn weaker_limits_note(policy: &Policy, settings: &Policy) -> Option<String> {
    let laxer = weaker_limits(policy, settings);
    let each = laxer.iter().map(|(name, own, written)| format!("{name} {own}, not {written}"));
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("the plan is laxer than the settings: {}", each.join("; ")))
}

/// Returns whether a reference is the plan's reference, or names the image that the plan resolved it to.
fn matches_reference(image: &Image, typed: &ImageReference) -> bool {
    match image {
        Image::Registry { reference, digest } => typed == reference || typed.digest.as_ref() == Some(digest),
        Image::Local { reference, .. } => typed.to_string() == *reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, plan_file};

    #[test]
    fn only_the_approved_bytes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        let text = plan_file(&World::pair()).text();
        std::fs::write(&path, &text).unwrap();
        let sha256 = cfg::sha256(&text);
        assert!(read(&path, None).is_ok() && read(&path, Some(&sha256)).is_ok());
        // The same plan with other bytes was never approved.
        std::fs::write(&path, format!("{text}\n")).unwrap();
        let error = read(&path, Some(&sha256)).unwrap_err();
        assert_eq!(error.exit(), Exit::Drifted);
        assert!(error.to_string().contains(&sha256), "{error}");
        assert!(read(&path, None).is_ok());
    }

    #[test]
    fn a_laxer_policy_is_named() {
        let settings = World::pair().policy;
        let policy = Policy { floor: 0, ..settings.clone() };
        assert_eq!(weaker_limits_note(&settings, &settings), None);
        let note = weaker_limits_note(&policy, &settings).unwrap();
        assert_eq!(note, "the plan is laxer than the settings: floor 0, not 1");
    }

    #[test]
    fn a_file_is_the_same_however_it_is_named() {
        let here = std::env::current_dir().unwrap();
        let expected = here.join("haproxy.cfg").display().to_string();
        for spelling in ["haproxy.cfg", "./haproxy.cfg", "conf.d/../haproxy.cfg"] {
            assert_eq!(absolute_path(Path::new(spelling)), expected);
        }
        assert_eq!(absolute_path(Path::new("/etc//haproxy/./haproxy.cfg")), "/etc/haproxy/haproxy.cfg");
    }
}
