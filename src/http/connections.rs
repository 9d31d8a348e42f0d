//! How many connections are open at once, and who has to go where one more comes.
//!
//! A connection on which nobody has proved who they are (it is idle, or its request is still coming in, or was refused) makes room for
//! a new one, the longest such first. One with a request whose signature holds is left alone until its answer is sent. So
//! whoever opens connections and says nothing is in the way of nobody but themselves. Also here: an answer that is not
//! taken ends its connection.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use axum_server::accept::Accept;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Sleep;
use tower_service::Service;
use uuid::Uuid;

use super::limits::Limit;
use crate::metrics::TURNED_AWAY;

/// How long a client may take nothing of an answer.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// When who was turned away may come again, in seconds.
const RETRY_AFTER_S: u64 = 5;
/// Those who are turned away and looked after until they have seen it, at the same moment; others are just closed.
const FAREWELLS_MAX: usize = 64;
/// How long that may take each, and how much of a request is read away meanwhile.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// The connections of a listener.
struct Connections {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts on, for ids and for the order in `unproved`.
    next: u64,
    open: HashMap<u64, Open>,
    /// Those that make room, by since when; to their ids.
    unproved: BTreeMap<u64, u64>,
}

struct Open {
    /// Requests whose signature holds and that are not answered whole.
    proved: usize,
    /// Its place in `unproved`, where it has one.
    since: u64,
    end: oneshot::Sender<()>,
}

impl State {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Ends the connection that has been unproved for longest.
    fn make_room(&mut self) -> bool {
        let Some((_, id)) = self.unproved.pop_first() else { return false };
        if let Some(open) = self.open.remove(&id) {
            // It may be ending by itself.
            let _ = open.end.send(());
        }
        true
    }
}

impl Connections {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, and word of when it has to go.
    fn enter(self: &Arc<Self>) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut state = self.state();
        if state.open.len() >= self.max {
            if !state.make_room() {
                return None;
            }
            TURNED_AWAY.add(&["idle_connections"], 1);
        }
        let (end, ended) = oneshot::channel();
        let id = state.tick();
        state.unproved.insert(id, id);
        state.open.insert(id, Open { proved: 0, since: id, end });
        Some((Place { connections: Arc::clone(self), id }, ended))
    }

    fn proved(&self, id: u64) {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(open) = state.open.get_mut(&id) {
            if open.proved == 0 {
                state.unproved.remove(&open.since);
            }
            open.proved += 1;
        }
    }

    fn answered(&self, id: u64) {
        let mut state = self.state();
        let now = state.tick();
        let state = &mut *state;
        if let Some(open) = state.open.get_mut(&id) {
            open.proved -= 1;
            if open.proved == 0 {
                open.since = now;
                state.unproved.insert(now, id);
            }
        }
    }
}

/// A connection's place among the others, until it ends.
struct Place {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if let Some(open) = state.open.remove(&self.id) {
            state.unproved.remove(&open.since);
        }
    }
}

/// A request on a connection. Kept with it, and with its answer until that is sent.
pub(super) struct Standing {
    place: Arc<Place>,
    is_proved: AtomicBool,
}

impl Standing {
    /// Its signature holds: the connection is not closed for another one before the answer is sent.
    pub(super) fn prove(&self) {
        if !self.is_proved.swap(true, Ordering::Relaxed) {
            self.place.connections.proved(self.place.id);
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if self.is_proved.load(Ordering::Relaxed) {
            self.place.connections.answered(self.place.id);
        }
    }
}

/// Lets connections in, so many at once, to what another acceptor makes of them.
#[derive(Clone)]
pub struct BoundedAcceptor<A> {
    inner: A,
    connections: Arc<Connections>,
    farewells: Arc<Semaphore>,
    /// Whether who is turned away is told in plain HTTP.
    is_plain: bool,
}

impl<A> BoundedAcceptor<A> {
    /// At most `max` connections at once. Who is one too many is told so where the listener speaks plain HTTP.
    pub fn new(inner: A, max: usize, is_plain: bool) -> BoundedAcceptor<A> {
        let connections = Arc::new(Connections { max, state: Mutex::default() });
        BoundedAcceptor { inner, connections, farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)), is_plain }
    }
}

type Accepting<I, S> = Pin<Box<dyn Future<Output = io::Result<(SeatedStream<I>, SeatedService<S>)>> + Send>>;

impl<A, S> Accept<TcpStream, S> for BoundedAcceptor<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
    A::Stream: Send,
    A::Service: Send,
{
    type Stream = SeatedStream<A::Stream>;
    type Service = SeatedService<A::Service>;
    type Future = Accepting<A::Stream, A::Service>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Some((place, mut ended)) = self.connections.enter() else {
            let (farewells, max, is_plain) = (Arc::clone(&self.farewells), self.connections.max, self.is_plain);
            return Box::pin(async move {
                let problem = Limit::Connections.turns_away(max as u64, RETRY_AFTER_S);
                if is_plain && let Ok(_turn) = farewells.try_acquire() {
                    let told = problem.to_json(&Uuid::new_v4().simple().to_string()).to_string();
                    let _ = tokio::time::timeout(FAREWELL_WITHIN, farewell(stream, &told)).await;
                }
                Err(io::Error::other("there are too many connections"))
            });
        };
        let accepting = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = tokio::select! {
                biased;
                _ = &mut ended => return Err(closed_for_another()),
                accepted = accepting => accepted?,
            };
            let place = Arc::new(place);
            let stream = SeatedStream { stream, ended: Some(ended), stalled: None, _place: Arc::clone(&place) };
            Ok((stream, SeatedService { service, place }))
        })
    }
}

fn closed_for_another() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "it was closed to make room for another one")
}

/// Tells it, and reads away what has come, so that the client comes to see it.
async fn farewell(mut stream: TcpStream, problem: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: {RETRY_AFTER_S}\r\n\
         Content-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{problem}",
        problem.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

/// A connection that has a place.
pub struct SeatedStream<I> {
    stream: I,
    /// `None` once it has to go.
    ended: Option<oneshot::Receiver<()>>,
    /// When it is given up, while nothing of an answer is taken.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Arc<Place>,
}

impl<I> SeatedStream<I> {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(ended) = &mut self.ended
            && Pin::new(ended).poll(context).is_pending()
        {
            return Ok(());
        }
        self.ended = None;
        Err(closed_for_another())
    }

    /// What came of writing, within its time.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(TAKEN_WITHIN)));
        match stalled.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing of the answer is taken")))
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for SeatedStream<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.stream).poll_read(context, into)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for SeatedStream<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.written(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.written(context, shut)
    }
}

/// What answers the requests of a connection that has a place.
#[derive(Clone)]
pub struct SeatedService<S> {
    service: S,
    place: Arc<Place>,
}

impl<S, B> Service<Request<B>> for SeatedService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<SeatedBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<SeatedBody>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let standing = Arc::new(Standing { place: Arc::clone(&self.place), is_proved: AtomicBool::new(false) });
        request.extensions_mut().insert(Arc::clone(&standing));
        let answering = self.service.call(request);
        Box::pin(async move { Ok(answering.await?.map(|body| SeatedBody { body, _standing: standing })) })
    }
}

/// The body of an answer: while it is sent, its connection keeps its place.
pub struct SeatedBody {
    body: Body,
    _standing: Arc<Standing>,
}

impl HttpBody for SeatedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize) -> Arc<Connections> {
        Arc::new(Connections { max, state: Mutex::default() })
    }

    fn standing(place: Place) -> Arc<Standing> {
        Arc::new(Standing { place: Arc::new(place), is_proved: AtomicBool::new(false) })
    }

    #[test]
    fn who_says_nothing_for_longest_makes_room() {
        let connections = connections(2);
        let (_first, mut first_ended) = connections.enter().expect("room");
        let (second, mut second_ended) = connections.enter().expect("room");
        let (third, mut third_ended) = connections.enter().expect("the first one goes");
        assert!(first_ended.try_recv().is_ok() && second_ended.try_recv().is_err());
        // Whose request holds, stays, also while several do; the next one goes, although it came later.
        let (second, third) = (standing(second), standing(third));
        second.prove();
        second.prove();
        let (fourth, mut fourth_ended) = connections.enter().expect("the third one goes");
        assert!(third_ended.try_recv().is_ok() && second_ended.try_recv().is_err());
        // That one's own end comes later and changes nothing.
        drop(third);
        assert_eq!(connections.state().open.len(), 2);
        let fourth = standing(fourth);
        fourth.prove();
        assert!(connections.enter().is_none(), "all are at something");
        // Answered, and then idle: it makes room.
        let (place, is_proved) = (Arc::clone(&fourth.place), AtomicBool::new(false));
        drop(fourth);
        let again = Standing { place, is_proved };
        again.prove();
        assert!(connections.enter().is_none());
        drop(again);
        let (_fifth, _) = connections.enter().expect("there is room by itself");
        assert!(fourth_ended.try_recv().is_err(), "it ended by itself");
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let connections = connections(3);
        for _ in 0..10 {
            let seats: Vec<_> = (0..3).map(|_| connections.enter().expect("room").0).collect();
            drop(seats);
        }
        let state = connections.state();
        assert!(state.open.is_empty() && state.unproved.is_empty());
    }
}
