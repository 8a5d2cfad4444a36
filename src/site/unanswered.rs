//! Tracks engine calls without an answer: the engine may still carry one out, so the state of its container is unknown
//! until that is ruled out.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lateness::{AWAY, Late};
use super::wait::until;
use crate::model::ids::{ContainerId, ImageId};
use crate::model::image::{Image, ImageReference, Platform};
use crate::observation::ContainerChange;
use crate::observation::{Container, Host, RestartPolicy};
use crate::ports::{ContainerEngine, ContainerStatus, EngineError, PullProgress};
use crate::run::engine_call::EngineCall;
use crate::service::create_spec::CreateSpec;

/// How often drainswap checks whether the engine has carried a call out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A call that the engine has not answered.
#[derive(Debug)]
struct Unanswered {
    call: EngineCall,
    late: Late,
    /// Whether the full time limit passed while the connection was open. Nothing rules out then that the engine still
    /// carries the call out.
    is_given_up: bool,
}

/// A container engine, with the calls that it has not answered.
#[derive(Debug)]
pub struct TrackedEngine<E> {
    inner: E,
    unanswered: Mutex<Vec<Unanswered>>,
    /// Containers that may be stopping: a stop without an answer goes on for as long as its container takes.
    stopping: Mutex<BTreeSet<ContainerId>>,
}

/// The error that the engine may still carry out a call, and nothing rules that out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the engine has not answered the call to {call}, and may still carry it out. Check what hangs there (journalctl -u docker), then resume the run (`drainswap resume`)"
)]
pub struct UnansweredCall {
    pub call: EngineCall,
}

impl<E> TrackedEngine<E> {
    /// Wraps an engine that has no calls under way.
    #[must_use]
    pub fn new(inner: E) -> Self {
        Self { inner, unanswered: Mutex::default(), stopping: Mutex::default() }
    }

    /// Returns the calls that the engine may still carry out.
    #[must_use]
    pub fn unanswered(&self) -> Vec<EngineCall> {
        self.locked().iter().map(|it| it.call.clone()).collect()
    }

    /// Records a call that an earlier process made, and whose connection ended when that process exited.
    pub fn remember(&self, call: EngineCall) {
        if let EngineCall::Stop { container } = &call {
            self.note_stop(container);
        }
        self.add(call, false);
    }

    /// Records that an earlier process may have requested this stop.
    pub fn note_stop(&self, container: &ContainerId) {
        self.stopping().insert(container.clone());
    }

    /// Returns whether a stop of the container may be under way. Only the answer to another stop shows that it has
    /// ended.
    #[must_use]
    pub fn is_stopping(&self, container: &ContainerId) -> bool {
        self.stopping().contains(container)
    }

    fn stopping(&self) -> MutexGuard<'_, BTreeSet<ContainerId>> {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, call: EngineCall, is_given_up: bool) {
        self.locked().push(Unanswered { call, late: Late::default(), is_given_up });
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Unanswered>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits a change, and remembers it if it has no answer.
    async fn change<T>(
        &self,
        call: EngineCall,
        made: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let result = made.await;
        match &result {
            Err(EngineError::Unanswered { .. }) => self.add(call, false),
            Err(EngineError::GivenUp { .. }) => self.add(call, true),
            Ok(_) | Err(_) => {}
        }
        result
    }
}

impl<E: ContainerEngine> TrackedEngine<E> {
    /// Waits until no call without an answer can take effect any more: its effect is visible, or the engine has
    /// answered other calls for long enough.
    ///
    /// # Errors
    /// Fails if a call used up its full time limit and shows no effect, or if the engine does not answer for a minute.
    pub async fn settle(&self) -> Result<(), UnansweredCall> {
        let (late_for, never) = (self.inner.late_effect_window(), CancellationToken::new());
        if self.unanswered().is_empty() {
            return Ok(());
        }
        let Ok(_) = until(LOOK_EVERY, late_for + AWAY, &never, async || {
            let asked_at = Instant::now();
            let all = self.inner.containers().await.ok();
            let (answers, mut is_decided) = (all.as_ref().map(|_| asked_at), true);
            self.locked().retain_mut(|it| {
                let is_seen = all.as_ref().is_some_and(|all| it.call.is_seen(all));
                let is_over = it.late.is_over(answers, late_for);
                is_decided &= is_seen || is_over;
                !is_seen && (it.is_given_up || !is_over)
            });
            Ok::<_, Infallible>(is_decided.then_some(()))
        })
        .await;
        self.unanswered().into_iter().next().map_or(Ok(()), |call| Err(UnansweredCall { call }))
    }
}

impl<E: ContainerEngine> ContainerEngine for TrackedEngine<E> {
    async fn id(&self) -> Result<Option<String>, EngineError> {
        self.inner.id().await
    }

    fn late_effect_window(&self) -> Duration {
        self.inner.late_effect_window()
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.inner.containers().await
    }

    async fn host_addresses(&self, addresses: BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>, EngineError> {
        self.inner.host_addresses(addresses).await
    }

    async fn host(&self, paths: BTreeSet<String>) -> Host {
        self.inner.host(paths).await
    }

    async fn resolve(&self, reference: &ImageReference) -> Result<Image, EngineError> {
        self.inner.resolve(reference).await
    }

    async fn has(&self, image: &Image) -> Result<bool, EngineError> {
        self.inner.has(image).await
    }

    async fn only_copy(&self, image: &Image) -> Result<Option<String>, EngineError> {
        self.inner.only_copy(image).await
    }

    async fn tag(&self, image: &ImageId, name: &str) -> Result<(), EngineError> {
        self.inner.tag(image, name).await
    }

    async fn named(&self, name: &str) -> Result<Option<(ImageId, Vec<String>)>, EngineError> {
        self.inner.named(name).await
    }

    async fn untag(&self, name: &str) -> Result<bool, EngineError> {
        self.inner.untag(name).await
    }

    async fn remove_image(&self, image: &Image) -> Result<bool, EngineError> {
        self.inner.remove_image(image).await
    }

    async fn pull(
        &self,
        image: &Image,
        platform: Option<&Platform>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.inner.pull(image, platform, progress).await
    }

    async fn create(&self, recipe: &CreateSpec) -> Result<ContainerId, EngineError> {
        let call = EngineCall::Create { name: recipe.name.clone() };
        self.change(call, Box::pin(self.inner.create(recipe))).await
    }

    async fn changes(&self, recipe: &CreateSpec) -> Result<Option<Vec<ContainerChange>>, EngineError> {
        self.inner.changes(recipe).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let call = EngineCall::Start { container: container.clone() };
        self.change(call, Box::pin(self.inner.start(container))).await
    }

    async fn stop(&self, container: &ContainerId) -> Result<(), EngineError> {
        let call = EngineCall::Stop { container: container.clone() };
        let result = self.change(call, Box::pin(self.inner.stop(container))).await;
        match &result {
            Ok(()) => drop(self.stopping().remove(container)),
            Err(EngineError::Unanswered { .. } | EngineError::GivenUp { .. }) => self.note_stop(container),
            Err(_) => {}
        }
        result
    }

    async fn rename(&self, container: &ContainerId, name: &str) -> Result<(), EngineError> {
        let call = EngineCall::Rename { container: container.clone(), name: name.to_owned() };
        self.change(call, Box::pin(self.inner.rename(container, name))).await
    }

    async fn set_restart(&self, container: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError> {
        let call = EngineCall::SetRestart { container: container.clone(), policy: policy.clone() };
        self.change(call, Box::pin(self.inner.set_restart(container, policy))).await
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        let call = EngineCall::Remove { container: container.clone() };
        self.change(call, Box::pin(self.inner.remove(container))).await
    }

    async fn remove_with_volumes(
        &self,
        container: &ContainerId,
        but: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let call = EngineCall::Remove { container: container.clone() };
        self.change(call, Box::pin(self.inner.remove_with_volumes(container, but))).await
    }

    async fn container(&self, container: &ContainerId) -> Result<Container, EngineError> {
        self.inner.container(container).await
    }

    async fn status(&self, container: &ContainerId) -> Result<ContainerStatus, EngineError> {
        self.inner.status(container).await
    }

    async fn log_tail(&self, container: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        self.inner.log_tail(container, lines).await
    }
}
