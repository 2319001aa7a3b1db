//! One request over HTTP.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// The status of the answer of `address` to a `GET` of `path`, and what it holds; none while nobody answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let patience = Duration::from_secs(10);
    stream.set_read_timeout(Some(patience)).ok()?;
    // By this version answers come in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
