//! A way to a server that can go wrong without being refused or reset.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a proxy does with the bytes that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carries them in both directions.
    Carry,
    /// Carries requests, and loses the answers.
    Mute,
    /// Loses everything.
    Stall,
    /// Keeps requests until another mode says what becomes of them, and carries answers.
    HoldRequests,
    /// Keeps answers, and carries requests.
    HoldAnswers,
    /// Keeps everything.
    Hold,
    /// Carries everything, each piece so much later.
    Slow(Duration),
    /// Ends connections, and every new one at once.
    Refuse,
}

/// One way through a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// What is done with the bytes of one direction.
enum Treatment {
    Carry,
    Lose,
    Hold,
    Delay(Duration),
    End,
}

impl Mode {
    fn treatment(self, direction: Direction) -> Treatment {
        match (self, direction) {
            (Self::Mute, Direction::Answer) | (Self::Stall, _) => Treatment::Lose,
            (Self::HoldRequests, Direction::Request)
            | (Self::HoldAnswers, Direction::Answer)
            | (Self::Hold, _) => Treatment::Hold,
            (Self::Slow(by), _) => Treatment::Delay(by),
            (Self::Refuse, _) => Treatment::End,
            _ => Treatment::Carry,
        }
    }
}

/// A proxy of one server. Bytes that were lost are never carried, nor is anything after them on their connection.
pub struct Proxy {
    endpoint: String,
    mode: watch::Sender<Mode>,
    held: Arc<Mutex<Vec<u8>>>,
    answered: Arc<AtomicU64>,
}

/// What one direction of one connection is carried by.
struct Carrier {
    direction: Direction,
    mode: watch::Receiver<Mode>,
    /// All requests that are or were held.
    held: Arc<Mutex<Vec<u8>>>,
    /// How many bytes of answers were carried.
    answered: Arc<AtomicU64>,
}

impl Proxy {
    /// A proxy that carries to `endpoint`, for as long as the runtime lives.
    pub async fn to(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = endpoint.replace("http://", "");
        let (mode, modes) = watch::channel(Mode::Carry);
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let held = Arc::new(Mutex::new(Vec::new()));
        let answered = Arc::new(AtomicU64::new(0));
        let carrier = {
            let (held, answered) = (held.clone(), answered.clone());
            move |direction| Carrier {
                direction,
                mode: modes.clone(),
                held: held.clone(),
                answered: answered.clone(),
            }
        };
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let request = carrier(Direction::Request);
                if *request.mode.borrow() == Mode::Refuse {
                    continue;
                }
                let answer = carrier(Direction::Answer);
                let target = target.clone();
                tokio::spawn(async move {
                    // A server that is away: the connection ends, as one does that is refused.
                    let Ok(far) = TcpStream::connect(target).await else {
                        return;
                    };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    tokio::spawn(request.carry(near_in, far_out));
                    answer.carry(far_in, near_out).await;
                });
            }
        });
        Self {
            endpoint,
            mode,
            held,
            answered,
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Changes what it does.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Whether a request with `text` in it was held.
    pub fn has_held(&self, text: &str) -> bool {
        let held = self.held.lock().unwrap();
        held.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    }

    /// How many bytes of answers it has carried.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Carrier {
    async fn carry(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buffer = vec![0; 1 << 16];
        let mut waiting = Vec::new();
        let mut is_open = true;
        while is_open || !waiting.is_empty() {
            tokio::select! {
                read = from.read(&mut buffer), if is_open => match read {
                    Ok(length @ 1..) => {
                        waiting.extend_from_slice(&buffer[..length]);
                        self.note(&buffer[..length]);
                    }
                    _ => is_open = false,
                },
                // The proxy itself is gone: what waits is never carried.
                changed = self.mode.changed() => if changed.is_err() {
                    return;
                },
            }
            let mode = *self.mode.borrow();
            match mode.treatment(self.direction) {
                Treatment::Hold => continue,
                Treatment::End => return,
                Treatment::Lose if waiting.is_empty() => continue,
                Treatment::Lose => std::future::pending::<()>().await,
                Treatment::Delay(by) => tokio::time::sleep(by).await,
                Treatment::Carry => {}
            }
            if to.write_all(&waiting).await.is_err() {
                return;
            }
            if self.direction == Direction::Answer {
                let length = u64::try_from(waiting.len()).unwrap();
                self.answered.fetch_add(length, Ordering::Relaxed);
            }
            waiting.clear();
        }
    }

    /// Keeps a copy of requests that are held.
    fn note(&self, bytes: &[u8]) {
        let treatment = self.mode.borrow().treatment(self.direction);
        if self.direction == Direction::Request && matches!(treatment, Treatment::Hold) {
            self.held.lock().unwrap().extend_from_slice(bytes);
        }
    }
}
