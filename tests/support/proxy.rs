//! A way to a server that can go wrong without being refused or reset.

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
    /// Carries requests, but no answers.
    Mute,
    /// Carries nothing.
    Stall,
}

/// A proxy of one server. Bytes that are not carried when they come are never carried, nor is
/// anything after them on their connection.
pub struct Proxy {
    endpoint: String,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// A proxy that carries to `endpoint`, for as long as the runtime lives.
    pub async fn to(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = endpoint.replace("http://", "");
        let (mode, modes) = watch::channel(Mode::Carry);
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = TcpStream::connect(&target).await.unwrap().into_split();
                let modes = || modes.clone();
                tokio::spawn(carry(near_in, far_out, modes(), |mode| mode != Mode::Stall));
                tokio::spawn(carry(far_in, near_out, modes(), |mode| mode == Mode::Carry));
            }
        });
        Self { endpoint, mode }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Changes what it does.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mode: watch::Receiver<Mode>,
    carries: fn(Mode) -> bool,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if !carries(*mode.borrow()) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
