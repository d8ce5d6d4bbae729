//! The body of an answer, passed on piece by piece by what is wrong at that moment.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::Fault;

/// Pieces on their way; a client that does not read holds up its own answer only.
const PIECES: usize = 16;
/// What is left of a stream without objects.
const BOOKMARK: &[u8] = br#""type":"BOOKMARK""#;

/// A body that is sent piece by piece; an error cuts the connection.
#[derive(Debug)]
pub(super) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Pieces {
    /// One piece.
    pub(super) fn of(piece: Bytes) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        // There is room for it.
        let _ = sender.try_send(Ok(piece));
        Self(receiver)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Passes a body on.
pub(super) struct Pump {
    faults: watch::Receiver<Fault>,
    began: Fault,
    /// Objects are left out; what waits for the end of its line.
    empties: Option<BytesMut>,
}

impl Pump {
    pub(super) fn new(mut faults: watch::Receiver<Fault>, empties: bool) -> Self {
        let began = faults.borrow_and_update().clone();
        Self { faults, began, empties: empties.then(BytesMut::new) }
    }

    pub(super) fn start(self, body: Incoming) -> Pieces {
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::spawn(self.run(body, sender));
        Pieces(receiver)
    }

    async fn run(mut self, mut body: Incoming, to: mpsc::Sender<io::Result<Bytes>>) {
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                _ = self.faults.changed() => match self.turned() {
                    Turned::GoesOn => continue,
                    Turned::IsCut => return cut(&to).await,
                    Turned::FallsSilent => return to.closed().await,
                },
                () = to.closed() => return,
            };
            let Some(Ok(frame)) = frame else { return };
            let Ok(piece) = frame.into_data() else { continue };
            if self.began == Fault::Truncates {
                let half = piece.slice(..piece.len() / 2);
                let _ = to.send(Ok(half)).await;
                return cut(&to).await;
            }
            let fault = self.faults.borrow().clone();
            if let Fault::Late(span) = fault {
                sleep(span).await;
            }
            let piece = self.thinned(piece);
            if !piece.is_empty() && to.send(Ok(piece)).await.is_err() {
                return;
            }
        }
    }

    fn turned(&mut self) -> Turned {
        match &*self.faults.borrow_and_update() {
            Fault::None | Fault::Late(_) => Turned::GoesOn,
            Fault::HalfOpen => Turned::FallsSilent,
            Fault::Refuses(..) | Fault::Truncates | Fault::EmptyServices => Turned::IsCut,
        }
    }

    /// What is left of a piece where objects are left out.
    fn thinned(&mut self, piece: Bytes) -> Bytes {
        let Some(waiting) = &mut self.empties else { return piece };
        waiting.extend_from_slice(&piece);
        let mut left = BytesMut::new();
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line = waiting.split_to(end + 1);
            if line.windows(BOOKMARK.len()).any(|window| window == BOOKMARK) {
                left.extend_from_slice(&line);
            }
        }
        left.freeze()
    }
}

/// What a change means for an answer that is under way.
enum Turned {
    GoesOn,
    IsCut,
    FallsSilent,
}

async fn cut(to: &mpsc::Sender<io::Result<Bytes>>) {
    let _ = to.send(Err(io::ErrorKind::ConnectionReset.into())).await;
}
