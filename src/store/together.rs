//! Questions that wait at the same moment are asked as one. While it is on its way the next ones gather; nobody waits for others
//! to come, and a question alone goes at once.
//!
//! Nothing is kept: what is asked together begins after each of its questions came, so each sees what was committed before it.
//! It knows nothing of what is asked.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::StoreError;

/// After so long others no longer wait for an answer that does not come: the connection may be dead, and theirs is not.
const SLOW_AFTER: Duration = Duration::from_millis(100);

/// How many may be slow at once before the next ones wait for them all the same.
const SLOW_MAX: usize = 3;

/// How often it is given way to others before what waits is asked.
const LOOKS_MAX: usize = 8;

/// Who asks.
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

/// Where questions gather. Who goes away while it waits takes nothing from the others.
pub(super) struct Together<A: Ask>(Arc<Place<A>>);

struct Place<A: Ask> {
    asker: A,
    state: Mutex<State<A>>,
}

struct State<A: Ask> {
    waiting: Vec<Waiting<A>>,
    /// Somebody will take what waits.
    is_attended: bool,
    /// How many have asked and are waited for by nobody who came later.
    slow: usize,
}

struct Waiting<A: Ask> {
    question: A::Question,
    answer: oneshot::Sender<Result<Option<A::Answer>, StoreError>>,
}

impl<A: Ask> Together<A> {
    pub(super) fn new(asker: A) -> Together<A> {
        let state = State { waiting: Vec::new(), is_attended: false, slow: 0 };
        Together(Arc::new(Place { asker, state: Mutex::new(state) }))
    }

    /// The answer, if there is one.
    pub(super) async fn ask(&self, question: A::Question) -> Result<Option<A::Answer>, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.0.enter(Waiting { question, answer }) {
            // In a task of its own: who came first may go away, and the others still want to know.
            tokio::spawn(attend(Arc::clone(&self.0)));
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Fault("who asked for many at once ended early".to_owned())))
    }
}

impl<A: Ask> Place<A> {
    /// Says whether somebody is needed to attend.
    fn enter(&self, waiting: Waiting<A>) -> bool {
        let mut state = self.state();
        state.waiting.push(waiting);
        !std::mem::replace(&mut state.is_attended, true)
    }

    /// Gives way to whoever is about to ask, for as long as more come each time. With nothing else to do this node is back at once.
    async fn let_others_come(&self) {
        let mut before = 0;
        for _ in 0..LOOKS_MAX {
            tokio::task::yield_now().await;
            let waiting = self.state().waiting.len();
            if waiting <= before || waiting >= A::QUESTIONS_MAX {
                return;
            }
            before = waiting;
        }
    }

    /// What is to be asked now; with nothing left nobody attends any more.
    fn take(&self) -> Option<Vec<Waiting<A>>> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            state.is_attended = false;
            return None;
        }
        let count = state.waiting.len().min(A::QUESTIONS_MAX);
        // The oldest; mostly all.
        let left = state.waiting.split_off(count);
        Some(std::mem::replace(&mut state.waiting, left))
    }

    /// Whether what waits may go on without the one who asks; if so, whether somebody else is needed now.
    fn leave(&self) -> Option<bool> {
        let mut state = self.state();
        if state.slow == SLOW_MAX {
            return None;
        }
        state.slow += 1;
        state.is_attended = !state.waiting.is_empty();
        Some(state.is_attended)
    }

    async fn answer(&self, batch: Vec<Waiting<A>>) {
        let mut asking: HashMap<A::Question, Vec<_>> = HashMap::with_capacity(batch.len());
        for Waiting { question, answer } in batch {
            if !answer.is_closed() {
                asking.entry(question).or_default().push(answer);
            }
        }
        if asking.is_empty() {
            return;
        }
        let answers = self.asker.ask(asking.keys().cloned().collect()).await;
        for (question, waiting) in asking {
            let answer = match &answers {
                Ok(found) => Ok(found.get(&question).cloned()),
                Err(error) => Err(error.clone()),
            };
            for waiting in waiting {
                // Who has gone away does not want to know.
                let _ = waiting.send(answer.clone());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for as long as somebody waits.
async fn attend<A: Ask>(place: Arc<Place<A>>) {
    let mut post = Post { place: &*place, of: Some(Duty::Attending) };
    loop {
        place.let_others_come().await;
        let Some(batch) = place.take() else { break };
        let mut answering = pin!(place.answer(batch));
        if tokio::time::timeout(SLOW_AFTER, answering.as_mut()).await.is_ok() {
            continue;
        }
        let left = place.leave();
        if let Some(is_wanted) = left {
            post.of = Some(Duty::Slow);
            if is_wanted {
                tokio::spawn(boxed(Arc::clone(&place)));
            }
        }
        answering.await;
        if left.is_some() {
            return;
        }
    }
    post.of = None;
}

/// A future that begins another of its own kind must be of a known size.
fn boxed<A: Ask>(place: Arc<Place<A>>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(attend(place))
}

enum Duty {
    /// Whoever waits, waits for this one.
    Attending,
    /// Only those wait whose question is on its way.
    Slow,
}

/// Leaves the place as others need it, also after a panic.
struct Post<'a, A: Ask> {
    place: &'a Place<A>,
    of: Option<Duty>,
}

impl<A: Ask> Drop for Post<'_, A> {
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

    fn place() -> (Together<Arc<Doubler>>, Arc<Doubler>) {
        let doubler = Arc::new(Doubler { let_go: Semaphore::new(0), batches: Mutex::default() });
        (Together::new(Arc::clone(&doubler)), doubler)
    }

    fn batches(doubler: &Doubler) -> Vec<Vec<u32>> {
        let mut batches = doubler.batches.lock().expect("no panic").clone();
        batches.iter_mut().for_each(|batch| batch.sort_unstable());
        batches
    }

    type Asked<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Option<u32>, StoreError>> + 'a>>;

    /// Asks, and does not yet wait for the answer.
    async fn begun(place: &Together<Arc<Doubler>>, question: u32) -> Asked<'_> {
        let mut asked: Asked<'_> = Box::pin(place.ask(question));
        let polled = std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
        assert!(polled, "an answer without asking");
        asked
    }

    async fn all_begun(place: &Together<Arc<Doubler>>, questions: impl IntoIterator<Item = u32>) -> Vec<Asked<'_>> {
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
        assert_eq!(place.ask(UNKNOWN).await, Ok(None));
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
        assert_eq!(place.ask(1).await, Ok(Some(2)), "and for nobody who comes later");
    }

    #[tokio::test]
    async fn after_a_panic_nobody_waits_for_ever() {
        let (place, doubler) = place();
        let mut asked = all_begun(&place, [1, PANICS]).await;
        asked.extend(all_begun(&place, 10..100).await);
        for asked in asked {
            assert!(matches!(asked.await, Err(StoreError::Fault(_))));
        }
        assert_eq!(place.ask(3).await, Ok(Some(6)));
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
        assert_eq!(place.ask(11).await, Ok(Some(22)));
        assert_eq!(batches(&doubler).len(), 2);
        // And one whose question is on its way.
        let stuck = begun(&place, STUCK).await;
        until_asked(&doubler, 3).await;
        drop(stuck);
        doubler.let_go.add_permits(1);
        assert_eq!(place.ask(12).await, Ok(Some(24)));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_holds_up_nobody_else() {
        let (place, doubler) = place();
        let slow_max = u32::try_from(SLOW_MAX).expect("small");
        let mut stuck = Vec::new();
        for at in 0..slow_max {
            stuck.push(begun(&place, STUCK + at).await);
            until_asked(&doubler, 2 * stuck.len() - 1).await;
            assert_eq!(place.ask(at).await, Ok(Some(2 * at)));
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
