//! What waits at the same moment is served together: questions asked as one, requests accepted in one transaction. While some are served the
//! next ones gather; nobody waits for others to come, and who is alone is served at once.
//!
//! Nothing is kept: serving begins after all that it is for have come, so each sees what was committed before it.
//! It knows nothing of what is served.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::StoreError;

/// How many groups may be slow at once before the next ones wait for them all the same.
const SLOW_MAX: usize = 3;

/// How often it is given way to others before what waits is served.
const LOOKS_MAX: usize = 8;

/// Who serves.
pub(super) trait Serve: Send + Sync + 'static {
    type Request: Send + 'static;
    type Answer: Send + 'static;

    /// How many are served together at most.
    const TOGETHER_MAX: usize;
    /// And how large they are together, unless it is one alone.
    const BYTES_MAX: usize = usize::MAX;
    /// After so long others no longer wait for a group that gets no answer: its connection may be dead, and theirs is not.
    const SLOW_AFTER: Duration = Duration::from_millis(100);

    /// The size of a request.
    fn bytes(_request: &Self::Request) -> usize {
        0
    }

    /// Serves some, at least one, in the order in which they came.
    fn serve(&self, group: Vec<Waiting<Self>>) -> impl Future<Output = ()> + Send;
}

/// One that waits to be served.
pub(super) struct Waiting<S: Serve + ?Sized> {
    pub(super) request: S::Request,
    pub(super) answer: Answer<S::Answer>,
}

/// Where an answer goes. Who has gone away does not want it.
pub(super) struct Answer<T>(oneshot::Sender<Result<T, StoreError>>);

impl<T> Answer<T> {
    pub(super) fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }

    pub(super) fn tell(self, answer: Result<T, StoreError>) {
        let _ = self.0.send(answer);
    }
}

/// Where requests gather. Who goes away while it waits takes nothing from the others.
pub(super) struct Together<S: Serve>(Arc<Place<S>>);

struct Place<S: Serve> {
    server: S,
    state: Mutex<State<S>>,
}

struct State<S: Serve> {
    waiting: Vec<Waiting<S>>,
    /// Somebody will take what waits.
    is_attended: bool,
    /// How many groups are being served, and waited for by nobody who came later.
    slow: usize,
}

impl<S: Serve> Together<S> {
    pub(super) fn new(server: S) -> Together<S> {
        let state = State { waiting: Vec::new(), is_attended: false, slow: 0 };
        Together(Arc::new(Place { server, state: Mutex::new(state) }))
    }

    /// Has a request served.
    pub(super) async fn serve(&self, request: S::Request) -> Result<S::Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.0.enter(Waiting { request, answer: Answer(answer) }) {
            // In a task of its own: who came first may go away, and the others still want to be served.
            tokio::spawn(attend(Arc::clone(&self.0)));
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Fault("who served many at once ended early".to_owned())))
    }
}

impl<S: Serve> Place<S> {
    /// Says whether somebody is needed to attend.
    fn enter(&self, waiting: Waiting<S>) -> bool {
        let mut state = self.state();
        state.waiting.push(waiting);
        !std::mem::replace(&mut state.is_attended, true)
    }

    /// Gives way to whoever is about to come, for as long as more come each time. With nothing else to do this node is back at once.
    async fn let_others_come(&self) {
        let mut before = 0;
        for _ in 0..LOOKS_MAX {
            tokio::task::yield_now().await;
            let waiting = self.state().waiting.len();
            if waiting <= before || waiting >= S::TOGETHER_MAX {
                return;
            }
            before = waiting;
        }
    }

    /// Who is to be served now; with nobody left nobody attends any more.
    fn take(&self) -> Option<Vec<Waiting<S>>> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            state.is_attended = false;
            return None;
        }
        let mut bytes: usize = 0;
        let fits = |waiting: &&Waiting<S>| {
            bytes = bytes.saturating_add(S::bytes(&waiting.request));
            bytes <= S::BYTES_MAX
        };
        let count = state.waiting.iter().take(S::TOGETHER_MAX).take_while(fits).count().max(1);
        // Who came first; mostly all.
        let left = state.waiting.split_off(count);
        Some(std::mem::replace(&mut state.waiting, left))
    }

    /// Whether who waits may go on without the group that is being served; if so, whether somebody else is needed now.
    fn leave(&self) -> Option<bool> {
        let mut state = self.state();
        if state.slow == SLOW_MAX {
            return None;
        }
        state.slow += 1;
        state.is_attended = !state.waiting.is_empty();
        Some(state.is_attended)
    }

    async fn serve(&self, mut group: Vec<Waiting<S>>) {
        group.retain(|waiting| waiting.answer.is_wanted());
        if !group.is_empty() {
            self.server.serve(group).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves for as long as somebody waits.
async fn attend<S: Serve>(place: Arc<Place<S>>) {
    let mut post = Post { place: &*place, of: Some(Duty::Attending) };
    loop {
        place.let_others_come().await;
        let Some(group) = place.take() else { break };
        let mut serving = pin!(place.serve(group));
        if tokio::time::timeout(S::SLOW_AFTER, serving.as_mut()).await.is_ok() {
            continue;
        }
        let left = place.leave();
        if let Some(is_wanted) = left {
            post.of = Some(Duty::Slow);
            if is_wanted {
                tokio::spawn(boxed(Arc::clone(&place)));
            }
        }
        serving.await;
        if left.is_some() {
            return;
        }
    }
    post.of = None;
}

/// A future that begins another of its own kind must be of a known size.
fn boxed<S: Serve>(place: Arc<Place<S>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(attend(place))
}

enum Duty {
    /// Whoever waits, waits for this one.
    Attending,
    /// Only those wait whom it is serving.
    Slow,
}

/// Leaves the place as others need it, also after a panic.
struct Post<'a, S: Serve> {
    place: &'a Place<S>,
    of: Option<Duty>,
}

impl<S: Serve> Drop for Post<'_, S> {
    fn drop(&mut self) {
        match self.of {
            None => {}
            Some(Duty::Slow) => self.place.state().slow -= 1,
            Some(Duty::Attending) => {
                let mut state = self.place.state();
                state.is_attended = false;
                // They are told that something went wrong, and come again; the next one is attended.
                let lost = std::mem::take(&mut state.waiting);
                drop(state);
                drop(lost);
            }
        }
    }
}

/// Who answers questions.
pub(super) trait Ask: Send + Sync + 'static {
    type Question: Clone + Eq + Hash + Send + 'static;
    type Answer: Clone + Send + 'static;

    /// How many are asked together at most.
    const QUESTIONS_MAX: usize;

    /// Asks them all; none comes twice. What has no answer is left out of what comes back.
    fn ask(
        &self,
        questions: Vec<Self::Question>,
    ) -> impl Future<Output = Result<HashMap<Self::Question, Self::Answer>, StoreError>> + Send;
}

/// Serves questions: equal ones are asked once.
pub(super) struct Questions<A: Ask>(pub(super) A);

impl<A: Ask> Serve for Questions<A> {
    type Request = A::Question;
    type Answer = Option<A::Answer>;

    const TOGETHER_MAX: usize = A::QUESTIONS_MAX;

    async fn serve(&self, group: Vec<Waiting<Self>>) {
        let mut asking: HashMap<A::Question, Vec<_>> = HashMap::with_capacity(group.len());
        for Waiting { request, answer } in group {
            asking.entry(request).or_default().push(answer);
        }
        let found = self.0.ask(asking.keys().cloned().collect()).await;
        for (question, waiting) in asking {
            let answer = match &found {
                Ok(found) => Ok(found.get(&question).cloned()),
                Err(error) => Err(error.clone()),
            };
            waiting.into_iter().for_each(|waiting| waiting.tell(answer.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use tokio::sync::Semaphore;

    use super::*;

    const STUCK: u32 = 1_000;
    const FAILS: u32 = 2_000;
    const PANICS: u32 = 3_000;
    const UNKNOWN: u32 = 4_000;

    /// Doubles what it is asked; one that is stuck is so until it is let go.
    struct Doubler {
        let_go: Semaphore,
        batches: Mutex<Vec<Vec<u32>>>,
    }

    impl Ask for Arc<Doubler> {
        type Question = u32;
        type Answer = u32;

        const QUESTIONS_MAX: usize = 64;

        async fn ask(&self, questions: Vec<u32>) -> Result<HashMap<u32, u32>, StoreError> {
            self.batches.lock().expect("no panic").push(questions.clone());
            let stuck = |question: &u32| (STUCK..FAILS).contains(question);
            if questions.iter().any(stuck) {
                self.let_go.acquire().await.expect("open").forget();
            }
            if questions.contains(&FAILS) {
                return Err(StoreError::Unavailable("no".to_owned()));
            }
            assert!(!questions.contains(&PANICS), "the panic of this test");
            Ok(questions.into_iter().filter(|at| *at != UNKNOWN).map(|at| (at, 2 * at)).collect())
        }
    }

    fn place() -> (Together<Questions<Arc<Doubler>>>, Arc<Doubler>) {
        let doubler = Arc::new(Doubler { let_go: Semaphore::new(0), batches: Mutex::default() });
        (Together::new(Questions(Arc::clone(&doubler))), doubler)
    }

    fn batches(doubler: &Doubler) -> Vec<Vec<u32>> {
        let mut batches = doubler.batches.lock().expect("no panic").clone();
        batches.iter_mut().for_each(|batch| batch.sort_unstable());
        batches
    }

    type Asked<'a> = Pin<Box<dyn Future<Output = Result<Option<u32>, StoreError>> + 'a>>;

    /// Asks, and does not yet wait for the answer.
    async fn begun(place: &Together<Questions<Arc<Doubler>>>, question: u32) -> Asked<'_> {
        let mut asked: Asked<'_> = Box::pin(place.serve(question));
        let polled = std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
        assert!(polled, "an answer without asking");
        asked
    }

    async fn all_begun(
        place: &Together<Questions<Arc<Doubler>>>,
        questions: impl IntoIterator<Item = u32>,
    ) -> Vec<Asked<'_>> {
        let mut asked = Vec::new();
        for question in questions {
            asked.push(begun(place, question).await);
        }
        asked
    }

    /// Until who attends has asked so often.
    async fn until_asked(doubler: &Doubler, count: usize) {
        while batches(doubler).len() < count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_waits_at_the_same_moment_is_asked_for_once() {
        let (place, doubler) = place();
        let first = begun(&place, STUCK).await;
        until_asked(&doubler, 1).await;
        // Nothing else runs while these come.
        let others = all_begun(&place, (0..20).chain(0..20).chain([UNKNOWN])).await;
        doubler.let_go.add_permits(1);
        assert_eq!(first.await, Ok(Some(2 * STUCK)));
        for (question, other) in (0..20).chain(0..20).zip(others) {
            assert_eq!(other.await, Ok(Some(2 * question)));
        }
        assert_eq!(place.serve(UNKNOWN).await, Ok(None));
        let asked = batches(&doubler);
        assert_eq!(asked[1], (0..20).chain([UNKNOWN]).collect::<Vec<_>>());
        assert_eq!(asked.len(), 3);
    }

    #[tokio::test]
    async fn more_than_fit_come_after() {
        let (place, doubler) = place();
        for (question, asked) in (0..150).zip(all_begun(&place, 0..150).await) {
            assert_eq!(asked.await, Ok(Some(2 * question)));
        }
        assert_eq!(batches(&doubler).iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    }

    #[tokio::test]
    async fn what_fails_fails_for_those_that_were_in_it() {
        let (place, _) = place();
        for asked in all_begun(&place, [1, FAILS, 2]).await {
            assert_eq!(asked.await, Err(StoreError::Unavailable("no".to_owned())));
        }
        assert_eq!(place.serve(1).await, Ok(Some(2)), "and for nobody who comes later");
    }

    #[tokio::test]
    async fn after_a_panic_nobody_waits_for_ever() {
        let (place, doubler) = place();
        let mut asked = all_begun(&place, [1, PANICS]).await;
        asked.extend(all_begun(&place, 10..100).await);
        for asked in asked {
            assert!(matches!(asked.await, Err(StoreError::Fault(_))));
        }
        assert_eq!(place.serve(3).await, Ok(Some(6)));
        assert_eq!(batches(&doubler).len(), 2);
    }

    #[tokio::test]
    async fn who_goes_away_takes_nothing_from_the_others() {
        let (place, doubler) = place();
        let mut asked = all_begun(&place, 0..10).await;
        // The first one too, who had somebody begin to ask.
        asked.drain(0..5).for_each(drop);
        for (question, asked) in (5..10).zip(asked) {
            assert_eq!(asked.await, Ok(Some(2 * question)));
        }
        assert_eq!(batches(&doubler), [[5, 6, 7, 8, 9]], "nobody wants to know of the others");
        drop(all_begun(&place, 0..10).await);
        assert_eq!(place.serve(11).await, Ok(Some(22)));
        assert_eq!(batches(&doubler).len(), 2);
        // And one whose question is on its way.
        let stuck = begun(&place, STUCK).await;
        until_asked(&doubler, 3).await;
        drop(stuck);
        doubler.let_go.add_permits(1);
        assert_eq!(place.serve(12).await, Ok(Some(24)));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_holds_up_nobody_else() {
        let (place, doubler) = place();
        let slow_max = u32::try_from(SLOW_MAX).expect("small");
        let mut stuck = Vec::new();
        for at in 0..slow_max {
            stuck.push(begun(&place, STUCK + at).await);
            until_asked(&doubler, 2 * stuck.len() - 1).await;
            assert_eq!(place.serve(at).await, Ok(Some(2 * at)));
        }
        // So many, and no more.
        let one_more = begun(&place, STUCK + slow_max).await;
        until_asked(&doubler, 2 * stuck.len() + 1).await;
        let waits = begun(&place, 7).await;
        doubler.let_go.add_permits(SLOW_MAX + 1);
        for (at, stuck) in (STUCK..).zip(stuck) {
            assert_eq!(stuck.await, Ok(Some(2 * at)));
        }
        assert_eq!((one_more.await, waits.await), (Ok(Some(2 * (STUCK + slow_max))), Ok(Some(14))));
        assert_eq!(place.0.state().slow, 0);
    }
}
